package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/pop/api"
)

// theZone has what the tests of the DNS server serve.
const theZone = `$TTL 300
@ IN SOA ns1 hostmaster %d 3600 600 604800 60
@ IN NS ns1
ns1 IN A 192.0.2.53
txt IN TXT "%s"
`

// resolves asks the DNS server of a world as a resolver that tells the client's
// network, and gives the records of the answer and the scope.
func (w *world) resolves(name string, kind uint16, client string) (out []string, scope int) {
	w.t.Helper()
	m := new(dns.Msg).SetQuestion(name, kind)
	m.SetEdns0(1232, false)
	p := netip.MustParsePrefix(client)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_SUBNET{
		Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: net.IP(p.Addr().AsSlice()),
	})
	r, _, err := new(dns.Client).Exchange(m, w.dnsAt())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, o := range r.IsEdns0().Option {
		if s, ok := o.(*dns.EDNS0_SUBNET); ok {
			scope = int(s.SourceScope)
		}
	}
	for _, rr := range r.Answer {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(out)
	return out, scope
}

func (w *world) dnsAt() string { return netip.AddrPortFrom(w.us4, 5300).String() }

// answersAs waits until a question has an answer.
func (w *world) answersAs(name string, kind uint16, client string, want ...string) {
	w.t.Helper()
	until(w.t, fmt.Sprintf("%s for %s: %q", name, client, want), func() ([]string, error) {
		got, _ := w.resolves(name, kind, client)
		return got, nil
	}, func(got []string) bool { return slices.Equal(got, want) })
}

// dnsSection is one with two POPs: this one, and one that nobody hears of.
func (w *world) dnsSection(names string) string {
	return fmt.Sprintf(`{listen: ["%s"], zones: [{name: example.net, file: %s}],
  steer: {nets: [%s],
    pops: [{pop: LON, name: lon.pop.example.org, caches: [{address: 192.0.2.1}, {address: 192.0.2.2}]}, {pop: NYC, name: nyc.pop.example.org}],
    locations: [{name: eu, destination: europe}, {name: us, destination: america}],
    destinations: [{name: europe, pops: [{pop: LON}], failover: [{pop: NYC}]}, {name: america, pops: [{pop: NYC}]}],
    names: [%s]}}`, w.dnsAt(), w.file("z.zone"), w.file("nets.csv"), names)
}

// TestDNS: names are answered by the client's network and by how the POPs are,
// files and the configuration are read again without a question lost, and what
// is wrong in them changes nothing.
func TestDNS(t *testing.T) {
	w := newWorld(t)
	w.write("z.zone", fmt.Sprintf(theZone, 1, "one"))
	w.write("nets.csv", "203.0.113.0/24,eu\n198.51.100.0/24,us\n")
	w.write("secret", strings.Repeat("s", 32))
	lon, nyc := w.addr(0, 9799), w.addr(1, 9799)
	fleet := func(at, pop, peer string) string {
		return fmt.Sprintf(`{listen: "%s", secret-file: %s, poll: 100ms, peers: [{pop: %s, url: "http://%s/"}]}`, at, w.file("secret"), pop, peer)
	}
	at := netip.MustParseAddrPort(nyc).Addr()
	other := startRouter(t, at.Next()) // a POP that no neighbor hears takes no clients
	w.node("NYC", "{mode: none}", "fleet: "+fleet(nyc, "LON", lon), fmt.Sprintf(`bgp:
  global: {config: {as: 64500, router-id: 10.0.0.2, local-address-list: ["%s"]}}
  neighbors: [%s]
services: [{name: web, prefixes: [%s], always: true}]`, at, neighbor(at, other.addr), web4))
	w.sections["fleet"] = fleet(lon, "NYC", nyc)
	w.sections["dns"] = w.dnsSection("{name: www.example.net}")
	w.configure(w.web())
	w.up("web")
	p := w.start(nil)
	w.r4.await(0, "announce "+web4)

	const www, eu, us = "www.example.net.", "203.0.113.0/24", "198.51.100.0/24"
	w.answersAs(www, dns.TypeA, eu, "192.0.2.1", "192.0.2.2")
	if got, scope := w.resolves(www, dns.TypeA, eu); scope != 24 {
		t.Errorf("%q, scope %d", got, scope)
	}
	w.answersAs(www, dns.TypeA, us, "nyc.pop.example.org.")
	w.answersAs("txt.example.net.", dns.TypeTXT, us, `"one"`)
	e, err := w.client().DNSExplain(soon(t), api.DNSQuestion{Name: www, Client: "203.0.113.9"})
	if err != nil || e.POP != "LON" || e.Scope != 24 || len(e.Steps) < 6 {
		t.Errorf("explained: %+v, %v", e, err)
	}

	// The service is down: its clients are failed over, nobody else's answer
	// changes; a drain does the same.
	w.down("web")
	w.answersAs(www, dns.TypeA, eu, "nyc.pop.example.org.")
	w.up("web")
	w.answersAs(www, dns.TypeA, eu, "192.0.2.1", "192.0.2.2")

	// Files that change count without a word, unless they are wrong.
	w.write("nets.csv", "203.0.113.0/24,us\n")
	w.write("z.zone", fmt.Sprintf(theZone, 2, "two"))
	w.answersAs(www, dns.TypeA, eu, "nyc.pop.example.org.")
	w.answersAs("txt.example.net.", dns.TypeTXT, us, `"two"`)
	w.write("nets.csv", "203.0.113.0/33,us\n")
	s := until(t, "a bad file is told of", func() (api.DNSStatus, error) { return w.client().DNSStatus(soon(t)) },
		func(s api.DNSStatus) bool { return s.Error != "" })
	if !strings.Contains(s.Error, "nets.csv:1: ") || len(s.Zones) != 1 || s.Zones[0].Serial != 2 || len(s.POPs) != 2 {
		t.Errorf("status: %+v", s)
	}
	w.answersAs(www, dns.TypeA, eu, "nyc.pop.example.org.")

	// A reload takes names; a wrong one is refused whole.
	w.write("nets.csv", "203.0.113.0/24,eu\n")
	w.sections["dns"] = w.dnsSection("{name: www.example.net}, {name: img.example.net, max: 1, customer: nobody}")
	w.configure(w.web())
	p.signal(syscall.SIGHUP)
	p.says(`no customer \"nobody\"`)
	w.sections["dns"] = w.dnsSection("{name: www.example.net}, {name: img.example.net, max: 1}")
	w.configure(w.web())
	p.signal(syscall.SIGHUP)
	until(t, "img.example.net", func() ([]string, error) {
		got, _ := w.resolves("img.example.net.", dns.TypeA, eu)
		return got, nil
	}, func(got []string) bool { return len(got) == 1 && strings.HasPrefix(got[0], "192.0.2.") })
	w.answersAs(www, dns.TypeA, eu, "192.0.2.1", "192.0.2.2")

	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// TestDNSCaches: an address whose check fails is not answered while another is
// there, and says so where it is asked; where all fail the POP's clients go on.
func TestDNSCaches(t *testing.T) {
	w := newWorld(t)
	w.write("z.zone", fmt.Sprintf(theZone, 1, "one"))
	w.write("nets.csv", "203.0.113.0/24,eu\n")
	section := func(check string) string {
		s := strings.Replace(w.dnsSection("{name: www.example.net}"), "{address: 192.0.2.1}", "{address: 192.0.2.1, check: one}", 1)
		return strings.Replace(s, "{address: 192.0.2.2}", "{address: 192.0.2.2, check: "+check+"}", 1)
	}
	check := func(name string) string {
		return fmt.Sprintf("{name: %s, type: file, path: %s, invert: true, interval: 100ms, fast: 50ms, timeout: 10s, rise: 1, fall: 1}", name, w.file(name+".up"))
	}
	configure := func() {
		w.configure(w.web("combine: {mode: any}", "checks: ["+check("one")+", "+check("two")+", "+check("web")+"]"))
	}
	w.sections["dns"] = section("three")
	configure()
	w.refuses(2, []string{"--check-config"}, "dns.steer.pops[0].caches[1].check", `service web has no check "three"`)
	w.sections["dns"] = section("two")
	configure()
	w.up("web")
	w.up("one")
	w.up("two")
	p := w.start(nil)
	w.r4.await(0, "announce "+web4)

	const www, eu = "www.example.net.", "203.0.113.0/24"
	w.answersAs(www, dns.TypeA, eu, "192.0.2.1", "192.0.2.2")
	w.down("one")
	w.answersAs(www, dns.TypeA, eu, "192.0.2.2")
	e, err := w.client().DNSExplain(soon(t), api.DNSQuestion{Name: www, Client: "203.0.113.9"})
	if err != nil || !slices.Equal(e.Addresses, []string{"192.0.2.2"}) || !strings.Contains(fmt.Sprint(e.Steps), "(1 of 2 caches down)") {
		t.Errorf("explained: %+v, %v", e, err)
	}
	if s, err := w.client().DNSStatus(soon(t)); err != nil || s.POPs[0].Caches != 2 || s.POPs[0].Down != 1 {
		t.Errorf("status: %+v, %v", s, err)
	}
	w.sections["dns"] = strings.Replace(w.sections["dns"], "names: [", "names: [{name: img.example.net}, ", 1)
	configure()
	p.signal(syscall.SIGHUP) // nothing that is known is lost
	p.says("msg=reloaded")
	if got, _ := w.resolves(www, dns.TypeA, eu); !slices.Equal(got, []string{"192.0.2.2"}) {
		t.Errorf("after a reload %q", got)
	}
	w.down("two")
	w.answersAs(www, dns.TypeA, eu, "nyc.pop.example.org.")
	w.up("one")
	w.answersAs(www, dns.TypeA, eu, "192.0.2.1")
	p.signal(syscall.SIGTERM)
	p.ends(0)
}

// TestDNSRefusals: what is wrong with files is told before anything runs.
func TestDNSRefusals(t *testing.T) {
	w := newWorld(t)
	w.write("z.zone", "@ IN SOA ns1 hostmaster 1 2 3\n")
	w.write("nets.csv", "203.0.113.0/24,eu\n")
	w.sections["dns"] = w.dnsSection("{name: www.example.net}")
	w.configure(w.web())
	w.refuses(2, []string{"--check-config"}, "dns", "z.zone")
	w.write("z.zone", fmt.Sprintf(theZone, 1, "one"))
	if err := os.Remove(w.file("nets.csv")); err != nil {
		t.Fatal(err)
	}
	w.refuses(2, []string{"--check-config"}, "dns", "nets.csv", "no such file")
	w.write("nets.csv", "203.0.113.0/24,eu\n")

	l, err := net.Listen("tcp", w.dnsAt())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	began := time.Now()
	w.refuses(1, nil, "dns.listen", "address already in use")
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("refused after %v", d)
	}
}
