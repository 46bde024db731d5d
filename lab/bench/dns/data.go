package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/miekg/dns"
)

const (
	staticZone = "bench.example."
	mapZone    = "map.example."
	mapName    = "cdn." + mapZone
	pops       = 20
)

// zoneText is the static zone: names with one address of each family, aliases,
// names with eight addresses.
func zoneText() []byte {
	var b bytes.Buffer
	b.WriteString("$TTL 300\n@ SOA ns hostmaster 1 7200 3600 1209600 60\n@ NS ns\nns A 192.0.2.53\n")
	for i := range 500 {
		fmt.Fprintf(&b, "n%d A 198.51.%d.%d\nn%d AAAA 2001:db8::%x\n", i, i/250, i%250+1, i, i+1)
	}
	for i := range 50 {
		fmt.Fprintf(&b, "c%d CNAME n%d\n", i, i)
		for j := range 8 {
			fmt.Fprintf(&b, "e%d A 203.0.113.%d\n", i, i*4%200+j+1)
		}
	}
	return b.Bytes()
}

// staticQueries are lines for dnsperf: 5 % for names that are not there.
func staticQueries() []byte {
	var b bytes.Buffer
	r := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		switch k := r.IntN(100); {
		case k < 5:
			fmt.Fprintf(&b, "x%d.%s A\n", r.IntN(1_000_000), staticZone)
		case k < 12:
			fmt.Fprintf(&b, "c%d.%s A\n", r.IntN(50), staticZone)
		case k < 19:
			fmt.Fprintf(&b, "e%d.%s A\n", r.IntN(50), staticZone)
		case k < 70:
			fmt.Fprintf(&b, "n%d.%s A\n", r.IntN(500), staticZone)
		default:
			fmt.Fprintf(&b, "n%d.%s AAAA\n", r.IntN(500), staticZone)
		}
	}
	return b.Bytes()
}

// network is one line of a map.
type network struct {
	prefix netip.Prefix
	pop    int
}

// networks makes n different networks of /12 to /24 that overlap, one in eight
// of IPv6 from /28 to /48.
func networks(n int, seed uint64) []network {
	r := rand.New(rand.NewPCG(seed, 2))
	seen := make(map[netip.Prefix]bool, n)
	out := make([]network, 0, n)
	for len(out) < n {
		var p netip.Prefix
		if r.IntN(8) == 0 {
			var a [16]byte
			binary.BigEndian.PutUint64(a[:], r.Uint64()>>8|0x2a00_0000_0000_0000)
			p = netip.PrefixFrom(netip.AddrFrom16(a), 28+r.IntN(21)).Masked()
		} else {
			var a [4]byte
			binary.BigEndian.PutUint32(a[:], r.Uint32())
			if a[0] == 0 || a[0] == 127 || a[0] >= 224 {
				continue
			}
			// As in routing tables most networks are long.
			bits := 24 - int(r.ExpFloat64()*2)
			if bits < 12 {
				continue
			}
			p = netip.PrefixFrom(netip.AddrFrom4(a), bits).Masked()
		}
		if !seen[p] {
			seen[p] = true
			out = append(out, network{p, r.IntN(pops)})
		}
	}
	return out
}

func popName(i int) string { return fmt.Sprintf("p%d", i) }

func popAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}) }

// gdnsdNets writes a map in gdnsd's format, which ours reads too.
func gdnsdNets(path string, nets []network) error {
	return write(path, func(w *bufio.Writer) {
		for _, n := range nets {
			fmt.Fprintf(w, "%v => [ %s ]\n", n.prefix, popName(n.pop))
		}
	})
}

func write(path string, content func(*bufio.Writer)) error {
	f, err := os.Create(filepath.Clean(path))
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	content(w)
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// subnets are client subnets, most of them in the map.
func subnets(nets []network, n int) []netip.Prefix {
	r := rand.New(rand.NewPCG(3, 3))
	out := make([]netip.Prefix, 0, n)
	for len(out) < n {
		if r.IntN(10) == 0 {
			out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(1 + r.IntN(126)), byte(r.IntN(256)), byte(r.IntN(256)), 0}), 24))
			continue
		}
		p := nets[r.IntN(len(nets))].prefix
		if p.Addr().Is6() {
			out = append(out, netip.PrefixFrom(p.Addr(), 56))
			continue
		}
		a := p.Addr().As4()
		v := binary.BigEndian.Uint32(a[:]) | r.Uint32()>>p.Bits()&^0xff
		binary.BigEndian.PutUint32(a[:], v)
		out = append(out, netip.PrefixFrom(netip.AddrFrom4(a), 24))
	}
	return out
}

// mapQuery asks for the name of the map with a client subnet.
func mapQuery(p netip.Prefix) *dns.Msg {
	m := new(dns.Msg).SetQuestion(mapName, dns.TypeA)
	m.RecursionDesired = false
	m.SetEdns0(1232, false)
	e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()}
	if p.Addr().Is6() {
		e.Family = 2
	}
	m.IsEdns0().Option = []dns.EDNS0{e}
	return m
}

// mapQueries are messages for dnsperf -B.
func mapQueries(nets []network) ([]byte, error) {
	var b []byte
	for _, p := range subnets(nets, 20_000) {
		m, err := mapQuery(p).Pack()
		if err != nil {
			return nil, err
		}
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(m))), m...)
	}
	return b, nil
}
