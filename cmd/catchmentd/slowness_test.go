package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/pop/api"
)

// slowWorld is a world whose service is the cache server, with another server
// beside it on the same address.
type slowWorld struct {
	*cached
	other string // its URL
	slow  netip.Addr
	fast  netip.Addr
}

// large is what both servers send.
var large = bytes.Repeat([]byte("0123456789abcdef"), 1<<20)

func newSlowWorld(t *testing.T) *slowWorld {
	c := newCached(t, "")
	s := &slowWorld{
		cached: c, slow: netip.AddrFrom4([4]byte{127, 50, byte(c.n), 1}), fast: netip.AddrFrom4([4]byte{127, 51, byte(c.n), 1}),
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		http.ServeContent(w, r, "large", time.Unix(1, 0), bytes.NewReader(large))
	})
	c.origin.Config.Handler = h
	l, err := net.Listen("tcp", netip.AddrPortFrom(c.us4, 8888).String())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	s.other = srv.URL
	return s
}

// downloads has a client get so many objects at once. A slow one has a small
// window and reads a little now and then, until it has enough.
func (s *slowWorld) downloads(from netip.Addr, url string, n int, slow bool) {
	s.t.Helper()
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Control: func(_, _ string, c syscall.RawConn) error {
		if !slow {
			return nil
		}
		var err error
		if e := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<10) }); e != nil {
			return e
		}
		return err
	}}
	var life sync.WaitGroup
	for range n {
		life.Go(func() {
			tr := &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}
			defer tr.CloseIdleConnections()
			req, err := http.NewRequestWithContext(s.t.Context(), "GET", url, nil)
			if err != nil {
				s.t.Error(err)
				return
			}
			req.Host = "www.example.com"
			res, err := tr.RoundTrip(req)
			if err != nil {
				s.t.Error(err)
				return
			}
			defer res.Body.Close()
			if !slow {
				if n, err := io.Copy(io.Discard, res.Body); n != int64(len(large)) || err != nil {
					s.t.Errorf("%d bytes of %s: %v", n, url, err)
				}
				return
			}
			tick := time.NewTicker(50 * time.Millisecond) // 160 kB/s at most
			defer tick.Stop()
			for got := int64(0); got < 640<<10; {
				<-tick.C
				n, err := io.CopyN(io.Discard, res.Body, 8<<10)
				if got += n; err != nil {
					s.t.Error(err)
					return
				}
			}
		})
	}
	life.Wait()
}

func (s *slowWorld) cache() string { return fmt.Sprintf("http://%s/large", s.vip) }

// section is a section slowness.
func (s *slowWorld) slowness(more string) string {
	return "{rate: 4Mbit, judge: 1s, every: 500ms, " + more + "}"
}

// tells waits for what is known of an address.
func (s *slowWorld) tells(c *api.Client, a netip.Addr, what string, ok func(api.SlownessNetwork) bool) api.SlownessNetwork {
	s.t.Helper()
	return until(s.t, fmt.Sprintf("%s is %s", a, what), func() (api.SlownessNetwork, error) {
		l, err := c.SlownessNetworks(soon(s.t), api.SlownessQuery{Network: a.String()})
		if err != nil || len(l) == 0 {
			return api.SlownessNetwork{}, err
		}
		return l[0], nil
	}, ok)
}

func verdict(v string) func(api.SlownessNetwork) bool {
	return func(n api.SlownessNetwork) bool { return n.Verdict == v }
}

// TestSlowness: a client that reads slowly is recognized by the cache server's
// transfers, its network is told and exported, and the next DNS answer sends it
// to the cheap POP; a fast one stays. It is known after a restart.
func TestSlowness(t *testing.T) {
	s := newSlowWorld(t)
	lon, nyc := s.addr(0, 9799), s.addr(1, 9799)
	s.write("secret", strings.Repeat("s", 32))
	fleet := func(at, pop, peer string) string {
		return fmt.Sprintf(`{listen: "%s", secret-file: %s, poll: 100ms, peers: [{pop: %s, url: "http://%s/"}]}`, at, s.file("secret"), pop, peer)
	}
	at := netip.MustParseAddrPort(nyc).Addr()
	other := startRouter(t, at.Next())
	far := s.node("NYC", "{mode: none}", "fleet: "+fleet(nyc, "LON", lon), fmt.Sprintf(`bgp:
  global: {config: {as: 64500, router-id: 10.0.0.2, local-address-list: ["%s"]}}
  neighbors: [%s]
services: [{name: web, prefixes: [%s], always: true}]
slowness: {rate: 4Mbit, judge: 1s}`, at, neighbor(at, other.addr), web4))
	s.write("z.zone", fmt.Sprintf(theZone, 1, "one"))
	s.write("nets.csv", "127.0.0.0/8,eu\n203.0.113.0/24,eu\n")
	s.sections["fleet"] = fleet(lon, "NYC", nyc)
	s.sections["dns"] = fmt.Sprintf(`{listen: ["%s"], zones: [{name: example.net, file: %s}],
  steer: {nets: [%s], pops: [{pop: LON, name: lon.pop.example.org, caches: [{address: 192.0.2.1}]}, {pop: NYC, name: nyc.pop.example.org}],
    locations: [{name: eu, destination: europe}], destinations: [{name: europe, pops: [{pop: LON}], failover: [{pop: NYC}], cheap: [{pop: NYC}]}],
    names: [{name: www.example.net}]}}`, s.dnsAt(), s.file("z.zone"), s.file("nets.csv"))
	files := fmt.Sprintf("export: %s, nets: {file: %s, datacenters: cheap}", s.file("all.csv"), s.file("slow.nets"))
	s.sections["slowness"] = s.slowness("steer: true, " + files)
	s.configure(s.cacheWeb())
	p := s.start(nil)
	s.r4.await(0, "announce "+web4)

	const www = "www.example.net."
	slow, fast := netip.PrefixFrom(s.slow, 24).Masked(), netip.PrefixFrom(s.fast, 24).Masked()
	s.answersAs(www, dns.TypeA, slow.String(), "192.0.2.1")
	s.downloads(s.fast, s.cache(), 10, false)
	s.downloads(s.slow, s.cache(), 10, true)
	n := s.tells(s.client(), s.slow, "slow", func(n api.SlownessNetwork) bool { return n.Verdict == "slow" && n.Moved })
	if n.Network != slow || n.Class != "receiver-slow" || !n.Moved || n.By != "measured" || n.Samples < 8 || n.P50 <= 0 || n.P50 > 500e3 || n.Receiver < 0.4 {
		t.Errorf("%+v", n)
	}
	if n := s.tells(s.client(), s.fast, "fast", verdict("fast")); n.Network != fast || n.Moved || n.Slow {
		t.Errorf("%+v", n)
	}
	s.answersAs(www, dns.TypeA, slow.String(), "nyc.pop.example.org.")
	s.answersAs(www, dns.TypeA, fast.String(), "192.0.2.1")
	e, err := s.client().DNSExplain(soon(t), api.DNSQuestion{Name: www, Client: s.slow.String()})
	if text := fmt.Sprint(e.Steps); err != nil || e.POP != "NYC" || !strings.Contains(text, "measured receiver-slow") || !strings.Contains(text, "limited by clients that read slowly") {
		t.Errorf("explained: %+v, %v", e, err)
	}
	s.exported(slow, fast)

	// What LON has seen NYC knows.
	if n := s.tells(far.c, s.slow, "slow for NYC", verdict("slow")); n.Network != slow || n.Class != "receiver-slow" || n.Samples < 8 {
		t.Errorf("at NYC: %+v", n)
	}
	if st, err := far.c.SlownessStatus(soon(t)); err != nil || len(st.POPs) != 1 || st.POPs[0].POP != "LON" || st.POPs[0].Networks != 2 || st.Kept != 0 {
		t.Errorf("NYC's status: %+v, %v", st, err)
	}

	// The operator's word goes before what was measured, at once and back.
	s.write("by-hand.csv", fmt.Sprintf("%s,fast\n203.0.113.0/24,by hand\n", slow))
	s.sections["slowness"] = s.slowness(fmt.Sprintf("steer: true, operator: [%s], %s", s.file("by-hand.csv"), files))
	s.configure(s.cacheWeb())
	p.signal(syscall.SIGHUP)
	s.answersAs(www, dns.TypeA, slow.String(), "192.0.2.1")
	s.answersAs(www, dns.TypeA, "203.0.113.0/24", "nyc.pop.example.org.")
	s.write("by-hand.csv", "203.0.113.0/33,x\n")
	until(t, "a bad list is told of", func() (api.SlownessStatus, error) { return s.client().SlownessStatus(soon(t)) },
		func(st api.SlownessStatus) bool { return strings.Contains(fmt.Sprint(st.Errors), "by-hand.csv:1: ") })
	s.answersAs(www, dns.TypeA, "203.0.113.0/24", "nyc.pop.example.org.")
	s.write("by-hand.csv", "198.51.100.0/24,x\n")
	s.answersAs(www, dns.TypeA, "203.0.113.0/24", "192.0.2.1")
	s.answersAs(www, dns.TypeA, slow.String(), "nyc.pop.example.org.")

	// What is known outlives the daemon.
	p.signal(syscall.SIGTERM)
	p.ends(0)
	p = s.start(nil)
	p.says("msg=ready")
	s.answersAs(www, dns.TypeA, slow.String(), "nyc.pop.example.org.")
	if text := s.scrape(); !strings.Contains(text, "catchment_slowness_moved_networks 1") || !strings.Contains(text, `catchment_slowness_slow_networks{family="ipv4"} 1`) {
		t.Errorf("metrics:\n%s", text)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// exported checks the files of a world with one slow and one fast network.
func (s *slowWorld) exported(slow, fast netip.Prefix) {
	s.t.Helper()
	for name, want := range map[string][]string{
		"all.csv":   {slow.String() + ",receiver-slow,true,", fast.String() + ","},
		"slow.nets": {slow.String() + " => [ cheap ]\n"},
	} {
		until(s.t, name, func() (string, error) {
			b, err := os.ReadFile(s.file(name))
			return string(b), err
		}, func(text string) bool {
			for _, w := range want {
				if !strings.Contains(text, w) {
					return false
				}
			}
			return name != "slow.nets" || text == want[0]
		})
	}
	var out bytes.Buffer
	if err := s.client().SlownessExport(context.Background(), &out); err != nil || !strings.Contains(out.String(), slow.String()) {
		s.t.Errorf("export: %v\n%s", err, out.String())
	}
}

// TestSlownessOthers: clients of a server that is not ours are recognized by
// the kernel's flows.
func TestSlownessOthers(t *testing.T) {
	s := newSlowWorld(t)
	s.sections["slowness"] = s.slowness(fmt.Sprintf("vips: [%s]", s.us4))
	s.configure(s.cacheWeb())
	p := s.start(nil)
	p.says("msg=ready")
	s.downloads(s.slow, s.other, 10, true)
	if n := s.tells(s.client(), s.slow, "slow", verdict("slow")); n.Class != "receiver-slow" || n.Moved {
		t.Errorf("%+v", n)
	}
	if st, err := s.client().SlownessStatus(soon(t)); err != nil || st.Table == nil || st.Own != 0 || st.Steer {
		t.Errorf("%+v, %v", st, err)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}
