package dns

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/server/dns/zone"
)

// byFirst chooses by the first octet of the client: odd ones go to one pool,
// even ones to the other, 99 to none; all with scope 8 (16 for IPv6).
type byFirst struct{ odd, even *zone.Pool }

func (c byFirst) Choose(q *zone.Query) zone.Choice {
	if !q.Client.IsValid() {
		return zone.Choice{Pool: c.odd}
	}
	scope := uint8(8)
	if q.Client.Is6() {
		scope = 16
	}
	switch first := q.Client.AsSlice()[0]; {
	case first == 99:
		return zone.Choice{Why: "no healthy POP", Scope: scope}
	case first%2 == 1:
		return zone.Choice{Pool: c.odd, Scope: scope}
	}
	return zone.Choice{Pool: c.even, Scope: scope}
}

func addrs(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func pool(t testing.TB, id string, v4, v6 []string, name string) *zone.Pool {
	var a, b [][]netip.Addr
	if v4 != nil {
		a = [][]netip.Addr{addrs(v4...)}
	}
	if v6 != nil {
		b = [][]netip.Addr{addrs(v6...)}
	}
	p, err := zone.NewPool(id, 30*time.Second, a, b, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func exampleZone(t testing.TB) Zone {
	lon := pool(t, "LON", []string{"198.51.100.1", "198.51.100.2"}, []string{"2001:db8:1::1"}, "")
	fra := pool(t, "FRA", []string{"198.51.100.9"}, nil, "")
	ams := pool(t, "AMS", nil, nil, "ams.pop.example.net.")
	return Zone{Name: "example.org", File: "testdata/example.zone", Dynamic: []zone.Dynamic{
		{Name: "cdn.example.org", Chooser: byFirst{lon, fra}},
		{Name: "*.cust.example.org", Chooser: byFirst{lon, fra}},
		{Name: "away.example.org.", Chooser: byFirst{lon, ams}},
	}}
}

func newServer(t testing.TB, change func(*Options)) *Server {
	o := Options{Zones: []Zone{exampleZone(t)}, Identity: "LON-1", Rates: Rates{Answers: -1, Errors: -1}}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testWorker(s *Server, udp bool) *worker {
	w := newWorker(s, udp)
	w.from = netip.MustParseAddrPort("203.0.113.9:4000")
	w.local = netip.MustParseAddr("192.0.2.53")
	w.second = 1_800_000_000
	return w
}

// ask packs a question, has it answered and reads the answer.
func ask(t testing.TB, w *worker, name string, typ uint16, change func(*dns.Msg)) *dns.Msg {
	q := new(dns.Msg)
	q.SetQuestion(name, typ)
	if change != nil {
		change(q)
	}
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	out := w.answer(nil, b)
	if len(out) == 0 {
		return nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatalf("%s %s: %v", name, dns.TypeToString[typ], err)
	}
	if !m.Response || m.Id != q.Id || m.Opcode != q.Opcode || len(m.Question) != 1 || m.Question[0] != q.Question[0] {
		t.Fatalf("%s %s: not an answer to it:\n%v", name, dns.TypeToString[typ], m)
	}
	return m
}

func edns(size uint16, options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(size, false)
		m.IsEdns0().Option = options
	}
}

// brief is an answer in one line: code, flags, sections without TTLs.
func brief(m *dns.Msg) string {
	if m == nil {
		return "silence"
	}
	out := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		out = append(out, "aa")
	}
	if m.Truncated {
		out = append(out, "tc")
	}
	for i, s := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		var rrs []string
		for _, rr := range s {
			if rr.Header().Rrtype == dns.TypeOPT {
				continue
			}
			f := strings.Fields(rr.String())
			data := ""
			if rr.Header().Rrtype != dns.TypeSOA && rr.Header().Rrtype != dns.TypeTXT {
				data = " " + strings.Join(f[4:], " ")
			}
			rrs = append(rrs, strings.TrimSuffix(f[0], ".example.org.")+" "+f[3]+data)
		}
		if len(rrs) > 0 {
			out = append(out, []string{"", "| ", "+ "}[i]+strings.Join(rrs, ", "))
		}
	}
	return strings.Join(out, " ")
}

// What a name is answered with, by RFC 1034, 2308, 4592 and 6604.
func TestAnswers(t *testing.T) {
	w := testWorker(newServer(t, nil), true)
	const soa = " | example.org. SOA"
	for _, c := range []struct {
		name string
		typ  uint16
		want string
	}{
		{"mail", dns.TypeA, "NOERROR aa mail A 192.0.2.25"},
		{"mail", dns.TypeAAAA, "NOERROR aa" + soa},
		{"www", dns.TypeA, "NOERROR aa www A 192.0.2.80, www A 192.0.2.81"},
		{"WwW", dns.TypeAAAA, "NOERROR aa WwW AAAA 2001:db8::80"},
		{"upper", dns.TypeA, "NOERROR aa upper A 192.0.2.99"},
		{"alias", dns.TypeAAAA, "NOERROR aa alias CNAME www.example.org., www AAAA 2001:db8::80"},
		{"alias", dns.TypeCNAME, "NOERROR aa alias CNAME www.example.org."},
		{"alias", dns.TypeMX, "NOERROR aa alias CNAME www.example.org." + soa},
		{"chain1", dns.TypeAAAA, "NOERROR aa chain1 CNAME chain2.example.org., chain2 CNAME chain3.example.org., chain3 CNAME www.example.org., www AAAA 2001:db8::80"},
		{"loop1", dns.TypeA, "NOERROR aa loop1 CNAME loop2.example.org., loop2 CNAME loop1.example.org."},
		{"out", dns.TypeA, "NOERROR aa out CNAME www.example.net."},
		{"gone", dns.TypeA, "NXDOMAIN aa gone CNAME nothere.example.org." + soa},
		{"into", dns.TypeA, "NOERROR aa into CNAME host.sub.example.org."},
		{"nothere", dns.TypeA, "NXDOMAIN aa" + soa},
		{"x.www", dns.TypeA, "NXDOMAIN aa" + soa},
		{"x.wild", dns.TypeA, "NOERROR aa x.wild A 192.0.2.7"},
		{"y.x.wild", dns.TypeA, "NOERROR aa y.x.wild A 192.0.2.7"},
		{"x.wild", dns.TypeTXT, "NOERROR aa x.wild TXT"},
		{"x.wild", dns.TypeMX, "NOERROR aa" + soa},
		{"*.wild", dns.TypeA, "NOERROR aa *.wild A 192.0.2.7"},
		{"wild", dns.TypeA, "NOERROR aa" + soa},
		{"real.wild", dns.TypeA, "NOERROR aa" + soa},
		{"x.real.wild", dns.TypeA, "NXDOMAIN aa" + soa},
		{"x.walias", dns.TypeAAAA, "NOERROR aa x.walias CNAME www.example.org., www AAAA 2001:db8::80"},
		{"ent", dns.TypeA, "NOERROR aa" + soa},
		{"c.ent", dns.TypeA, "NOERROR aa" + soa},
		{"x.ent", dns.TypeA, "NXDOMAIN aa" + soa},
		{"sub", dns.TypeA, "NOERROR | sub NS ns.sub.example.org., sub NS ns1.example.org. + ns.sub A 192.0.2.54, ns.sub AAAA 2001:db8::54, ns1 A 192.0.2.53, ns1 AAAA 2001:db8::53"},
		{"host.sub", dns.TypeA, "NOERROR | sub NS ns.sub.example.org., sub NS ns1.example.org. + ns.sub A 192.0.2.54, ns.sub AAAA 2001:db8::54, ns1 A 192.0.2.53, ns1 AAAA 2001:db8::53"},
		{"secure", dns.TypeDS, "NOERROR aa secure DS 12345 13 2 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF"},
		{"sub", dns.TypeDS, "NOERROR aa" + soa},
		{"x.secure", dns.TypeDS, "NOERROR | secure NS ns1.example.org. + ns1 A 192.0.2.53, ns1 AAAA 2001:db8::53"},
		{"cdn", dns.TypeA, "NOERROR aa cdn A 198.51.100.1, cdn A 198.51.100.2"},
		{"cdn", dns.TypeAAAA, "NOERROR aa cdn AAAA 2001:db8:1::1"},
		{"cdn", dns.TypeTXT, "NOERROR aa" + soa},
		{"x.cdn", dns.TypeA, "NXDOMAIN aa" + soa},
		{"q.cust", dns.TypeAAAA, "NOERROR aa q.cust AAAA 2001:db8:1::1"},
		{"todyn", dns.TypeAAAA, "NOERROR aa todyn CNAME cdn.example.org., cdn AAAA 2001:db8:1::1"},
		{"svc", dns.TypeHTTPS, `NOERROR aa svc HTTPS 1 . alpn="h2,h3" ipv4hint="192.0.2.80"`},
		{"mail", 65280, "NOERROR aa" + soa},
		{"mail", dns.TypeANY, "NOERROR aa mail A 192.0.2.25"},
		{"www", dns.TypeANY, "NOERROR aa www AAAA 2001:db8::80"},
		{"mail", dns.TypeRRSIG, "NOERROR aa" + soa},
		{"mail", dns.TypeMAILB, "NOTIMP"},
		{"example.org.", dns.TypeNS, "NOERROR aa example.org. NS ns1.example.org., example.org. NS ns2.example.net."},
		{"example.org.", dns.TypeDS, "NOERROR aa" + soa},
		{"example.org.", dns.TypeAXFR, "REFUSED"},
		{"example.org.", dns.TypeIXFR, "REFUSED"},
		{"example.com.", dns.TypeA, "REFUSED"},
		{".", dns.TypeNS, "REFUSED"},
		{"org.", dns.TypeSOA, "REFUSED"},
		{`esc\.ape`, dns.TypeA, `NOERROR aa esc\.ape A 192.0.2.10`},
		{`\000\255`, dns.TypeA, `NOERROR aa \000\255 A 192.0.2.11`},
	} {
		name := c.name
		if !strings.HasSuffix(name, ".") {
			name += ".example.org."
		}
		for _, round := range []string{"first", "again"} {
			if got := brief(ask(t, w, name, c.typ, nil)); got != c.want {
				t.Errorf("%s %s, %s:\n got %s\nwant %s", name, dns.TypeToString[c.typ], round, got, c.want)
			}
		}
	}
}

// A negative answer is good for the least of the SOA's TTL and its last field.
func TestNegativeTTL(t *testing.T) {
	w := testWorker(newServer(t, nil), true)
	for _, name := range []string{"nothere.example.org.", "mail.example.org."} {
		if m := ask(t, w, name, dns.TypeTXT, nil); len(m.Ns) != 1 || m.Ns[0].Header().Ttl != 60 {
			t.Errorf("%s: %v", name, m)
		}
	}
	if m := ask(t, w, "example.org.", dns.TypeSOA, nil); len(m.Answer) != 1 || m.Answer[0].Header().Ttl != 3600 {
		t.Errorf("%v", m)
	}
}

func subnetOf(p string) *dns.EDNS0_SUBNET {
	n := netip.MustParsePrefix(p)
	e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(n.Bits()), Address: n.Addr().AsSlice()}
	if n.Addr().Is6() {
		e.Family = 2
	}
	return e
}

// The client subnet decides, and the scope says for whom the answer is good
// (RFC 7871 §7.2).
func TestClientSubnet(t *testing.T) {
	w := testWorker(newServer(t, nil), true)
	for _, c := range []struct {
		name, subnet string
		typ          uint16
		want         string
		scope        uint8
	}{
		{"cdn", "11.1.2.0/24", dns.TypeA, "NOERROR aa cdn A 198.51.100.1, cdn A 198.51.100.2", 8},
		{"cdn", "12.1.2.0/24", dns.TypeA, "NOERROR aa cdn A 198.51.100.9", 8},
		{"cdn", "12.1.2.0/24", dns.TypeAAAA, "NOERROR aa | example.org. SOA", 8},
		{"cdn", "2a00::/48", dns.TypeA, "NOERROR aa cdn A 198.51.100.9", 16},
		{"cdn", "99.0.0.0/24", dns.TypeA, "SERVFAIL", 8},
		{"cdn", "0.0.0.0/0", dns.TypeA, "NOERROR aa cdn A 198.51.100.1, cdn A 198.51.100.2", 0},
		{"todyn", "12.1.2.0/24", dns.TypeA, "NOERROR aa todyn CNAME cdn.example.org., cdn A 198.51.100.9", 8},
		{"away", "12.1.2.0/24", dns.TypeA, "NOERROR aa away CNAME ams.pop.example.net.", 8},
		{"away", "11.1.2.0/24", dns.TypeAAAA, "NOERROR aa away AAAA 2001:db8:1::1", 8},
		{"mail", "12.1.2.0/24", dns.TypeA, "NOERROR aa mail A 192.0.2.25", 0},
		{"nothere", "12.1.2.0/24", dns.TypeA, "NXDOMAIN aa | example.org. SOA", 0},
		{"a.b.cust", "12.1.2.0/24", dns.TypeA, "NOERROR aa a.b.cust A 198.51.100.9", 8},
	} {
		m := ask(t, w, c.name+".example.org.", c.typ, edns(1232, subnetOf(c.subnet)))
		if got := brief(m); got != c.want {
			t.Errorf("%s for %s:\n got %s\nwant %s", c.name, c.subnet, got, c.want)
		}
		got, ok := option[*dns.EDNS0_SUBNET](m)
		want := subnetOf(c.subnet)
		if !ok || got.SourceScope != c.scope && c.subnet != "0.0.0.0/0" || got.SourceNetmask != want.SourceNetmask || !got.Address.Equal(want.Address) {
			t.Errorf("%s for %s: option %v, want scope %d", c.name, c.subnet, got, c.scope)
		}
	}
	if m := ask(t, w, "cdn.example.org.", dns.TypeA, edns(1232)); option2[*dns.EDNS0_SUBNET](m) {
		t.Error("a client subnet in an answer to a question without")
	}
}

func option[T dns.EDNS0](m *dns.Msg) (v T, ok bool) {
	if o := m.IsEdns0(); o != nil {
		for _, e := range o.Option {
			if v, ok = e.(T); ok {
				return v, true
			}
		}
	}
	return v, false
}

func option2[T dns.EDNS0](m *dns.Msg) bool { _, ok := option[T](m); return ok }

// Who the server is, and what is wrong, for those who ask with EDNS.
func TestOptions(t *testing.T) {
	w := testWorker(newServer(t, nil), true)
	m := ask(t, w, "mail.example.org.", dns.TypeA, edns(4096, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}))
	if n, ok := option[*dns.EDNS0_NSID](m); !ok || n.Nsid != hex.EncodeToString([]byte("LON-1")) || len(m.IsEdns0().Option) != 1 || m.IsEdns0().UDPSize() != 1232 {
		t.Errorf("%v", m)
	}
	m = ask(t, w, "example.com.", dns.TypeA, edns(4096))
	if e, ok := option[*dns.EDNS0_EDE](m); !ok || e.InfoCode != dns.ExtendedErrorCodeNotAuthoritative {
		t.Errorf("%v", m)
	}
	m = ask(t, w, "cdn.example.org.", dns.TypeA, edns(4096, subnetOf("99.1.0.0/16")))
	if e, ok := option[*dns.EDNS0_EDE](m); !ok || e.ExtraText != "no healthy POP" || m.Rcode != dns.RcodeServerFailure {
		t.Errorf("%v", m)
	}
	m = ask(t, w, "mail.example.org.", dns.TypeA, func(m *dns.Msg) {
		m.SetEdns0(4096, true)
		m.IsEdns0().SetVersion(1)
	})
	if o := m.IsEdns0(); m.Rcode != dns.RcodeBadVers&15 && m.Rcode != dns.RcodeBadVers || o.ExtendedRcode() != dns.RcodeBadVers || o.Version() != 0 || len(m.Answer) != 0 {
		t.Errorf("%v", m)
	}
	for name, want := range map[string]string{"id.server.": "NOERROR aa id.server. TXT", "hostname.bind.": "NOERROR aa hostname.bind. TXT", "version.bind.": "REFUSED"} {
		m := ask(t, w, name, dns.TypeTXT, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })
		if got := brief(m); got != want || len(m.Answer) > 0 && m.Answer[0].(*dns.TXT).Txt[0] != "LON-1" {
			t.Errorf("%s: %v", name, m)
		}
	}
}

// Answers keep to what the client takes, and to our limit; over TCP they are
// whole.
func TestSizes(t *testing.T) {
	s := newServer(t, nil)
	w := testWorker(s, true)
	for _, c := range []struct {
		size uint16
		want bool
	}{{0, true}, {100, true}, {512, true}, {1000, false}, {4096, false}} {
		change := edns(c.size)
		if c.size == 0 {
			change = nil
		}
		if m := ask(t, w, "big.example.org.", dns.TypeTXT, change); m.Truncated != c.want || m.Truncated == (len(m.Answer) > 0) {
			t.Errorf("size %d: %v", c.size, m)
		}
	}
	if m := ask(t, testWorker(s, false), "big.example.org.", dns.TypeTXT, nil); m.Truncated || len(m.Answer) != 5 {
		t.Errorf("over TCP: %v", m)
	}
	q := new(dns.Msg)
	q.SetQuestion("eight.example.org.", dns.TypeA)
	b, _ := q.Pack()
	if out := w.answer(nil, b); len(out) > 12+len("xeightxexamplexorgx")+1+4+8*16 {
		t.Errorf("eight addresses in %d octets", len(out))
	}
}
