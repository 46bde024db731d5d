package zone

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const start = "@ 3600 IN SOA ns h 1 2 3 4 60\n@ 3600 IN NS ns\nns 60 IN A 192.0.2.1\n"

// A bad file is refused, with the line that is wrong.
func TestBadFiles(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":               {"", "bad.zone: no SOA record"},
		"no SOA":              {"@ 60 IN NS ns.example.net.\n", "bad.zone: no SOA record"},
		"no NS":               {"@ 3600 IN SOA ns h 1 2 3 4 60\n", "bad.zone: no NS record at the apex"},
		"syntax":              {start + "\nwww IN A 192.0.2.999\n", "bad.zone:5: "},
		"unknown type":        {start + "www IN NONSENSE x\n", "bad.zone:4: "},
		"two SOA":             {start + "@ IN SOA ns h 1 2 3 4 60\n", "bad.zone:4: example.org. SOA: one SOA, at the apex"},
		"SOA below":           {start + "x IN SOA ns h 1 2 3 4 60\n", "bad.zone:4: "},
		"outside":             {start + "; here\n\nwww.example.com. IN A 192.0.2.1\n", "bad.zone:6: www.example.com. A is outside the zone"},
		"suffix, not a label": {start + "xexample.org. IN A 192.0.2.1\n", "bad.zone:4: xexample.org. A is outside the zone"},
		"class":               {start + "www CH A 192.0.2.1\n", "bad.zone:4: "},
		"CNAME, then more":    {start + "www IN CNAME ns\nmail IN A 192.0.2.2\nwww IN A 192.0.2.1\n", "bad.zone:6: www.example.org. has a CNAME and other records"},
		"more, then CNAME":    {start + "www IN A 192.0.2.1\nwww IN CNAME ns\n", "bad.zone:5: www.example.org. has a CNAME and other records"},
		"two CNAMEs":          {start + "www IN CNAME ns\nwww IN CNAME other\n", "bad.zone:5: www.example.org. has two CNAME records"},
		"CNAME at the apex":   {start + "@ IN CNAME ns\n", "bad.zone:4: "},
		"no glue":             {start + "sub IN NS ns.sub\n", "bad.zone:4: sub.example.org. NS ns.sub.example.org.: no address of it in the zone"},
		"DNAME":               {start + "d IN DNAME example.net.\n", "bad.zone:4: d.example.org. DNAME is not supported"},
		"signed":              {start + "www IN NSEC x A\n", "bad.zone:4: www.example.org. NSEC is made by the server"},
		"wildcard delegation": {start + "*.w IN NS ns\n", "bad.zone:4: *.w.example.org. NS: no delegation by a wildcard"},
		"several lines":       {start + "www IN TXT ( \"a\"\n \"b\" )\nx IN A bad\n", "bad.zone:6: "},
	} {
		_, err := Read(strings.NewReader(c.text), "bad.zone", "example.org")
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	if _, err := ReadFile("testdata/missing", "example.org"); err == nil || !strings.Contains(err.Error(), "testdata/missing") {
		t.Errorf("%v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(start + "www IN A 192.0.2.1\n")
	f.Add("$TTL 1h\n$ORIGIN x\n" + start + "$GENERATE 1-5 a$ A 192.0.2.$\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(strings.ToUpper(text), "$INCLUDE") || strings.Contains(strings.ToUpper(text), "$GENERATE") {
			return // what it reads or makes is not in the text
		}
		s, err := Read(strings.NewReader(text), "f", "example.org")
		if err != nil {
			return
		}
		z, err := Build(s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for rr := range z.Records() {
			z.Ask(&Question{Wire: mustWire(rr.Header().Name), Name: rr.Header().Name, Type: rr.Header().Rrtype})
		}
	})
}

func mustWire(name string) string {
	w, _, err := Wire(name)
	if err != nil {
		panic(err)
	}
	return w
}

// fixed chooses the same for all.
type fixed struct{ pool *Pool }

func (f fixed) Choose(*Query) Choice { return Choice{Pool: f.pool} }

func example(t testing.TB, key *Key) *Zone {
	s, err := ReadFile("../testdata/example.zone", "example.org")
	if err != nil {
		t.Fatal(err)
	}
	a := [][]netip.Addr{{netip.MustParseAddr("198.51.100.1")}, {netip.MustParseAddr("198.51.100.2")}}
	p, err := NewPool("p", time.Minute, a, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Key: key, Dynamic: []Dynamic{{"cdn.example.org", fixed{p}}, {"*.cust.example.org", fixed{p}}}}
	if key != nil {
		o.Epoch = EpochAt(time.Now(), 0)
	}
	z, err := Build(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// Names order as the example of RFC 4034 §6.1.
func TestOrder(t *testing.T) {
	want := []string{"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`}
	got := slices.Clone(want)
	rand.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
	slices.SortFunc(got, func(a, b string) int { return strings.Compare(orderKey(mustWire(a)), orderKey(mustWire(b))) })
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if orderKey(mustWire(`a\000.x.`)) <= orderKey(mustWire("a.x.")) || orderKey(mustWire(`\000.a.x.`)) <= orderKey(mustWire("a.x.")) ||
		orderKey(mustWire(`\000.a.x.`)) >= orderKey(mustWire(`a\000.x.`)) {
		t.Error("octets 0 and 1")
	}
}

// Signed answers prove what they say: each set has a signature that the key
// made, and what is missing is shown to be missing (RFC 4035 §5.4).
func TestProofs(t *testing.T) {
	key, err := NewKey("example.org")
	if err != nil {
		t.Fatal(err)
	}
	z := example(t, key)
	for name, types := range map[string][]uint16{
		"mail": {dns.TypeA, dns.TypeAAAA, dns.TypeNSEC}, "nothere": {dns.TypeA}, "x.www": {dns.TypeA}, "zzz.zzz": {dns.TypeA}, "000": {dns.TypeA},
		"x.wild": {dns.TypeA, dns.TypeMX}, "wild": {dns.TypeA}, "ent": {dns.TypeA}, "c.ent": {dns.TypeTXT}, "x.ent": {dns.TypeA},
		"cdn": {dns.TypeA, dns.TypeAAAA, dns.TypeTXT}, "x.cust": {dns.TypeA, dns.TypeAAAA}, "cust": {dns.TypeA}, "alias": {dns.TypeA, dns.TypeTXT},
		"secure": {dns.TypeDS}, "sub": {dns.TypeDS}, "chain1": {dns.TypeAAAA}, "gone": {dns.TypeA}, "x.walias": {dns.TypeTXT}, `\000\255`: {dns.TypeA, dns.TypeMX},
	} {
		for _, typ := range types {
			name := name + ".example.org."
			wire, canonical, _ := Wire(name)
			r := z.Ask(&Question{Wire: wire, Name: canonical, Type: typ, DO: true})
			if err := proven(r, canonical, typ, key.DNSKEY); err != nil {
				t.Errorf("%s %s: %v\n%v\n%v", name, dns.TypeToString[typ], err, r.Answer, r.Ns)
			}
		}
	}
	for _, name := range []string{"host.sub.example.org.", "x.secure.example.org."} {
		r := z.Ask(&Question{Wire: mustWire(name), Name: name, Type: dns.TypeA, DO: true})
		signed := slices.ContainsFunc(r.Ns, func(rr dns.RR) bool { s, ok := rr.(*dns.RRSIG); return ok && s.TypeCovered != dns.TypeNS })
		if r.Authoritative || !signed || verifySets(r.Ns, key.DNSKEY, dns.TypeNS) != nil {
			t.Errorf("referral for %s: %v", name, r.Ns)
		}
	}
}

// proven checks an answer as a resolver would that trusts the key.
func proven(r *Reply, name string, typ uint16, key *dns.DNSKEY) error {
	for _, s := range [][]dns.RR{r.Answer, r.Ns} {
		if err := verifySets(s, key); err != nil {
			return err
		}
	}
	last := name
	expanded := ""
	for _, rr := range r.Answer {
		if c, ok := rr.(*dns.CNAME); ok && typ != dns.TypeCNAME {
			last = c.Target
		}
		if s, ok := rr.(*dns.RRSIG); ok && int(s.Labels) < dns.CountLabel(s.Hdr.Name) && !strings.HasPrefix(s.Hdr.Name, "*") {
			expanded = s.Hdr.Name
		}
	}
	if expanded != "" && !anyNSEC(r.Ns, func(n *dns.NSEC) bool { return covers(n, expanded) }) {
		return fmt.Errorf("nothing shows that %s is not there itself", expanded)
	}
	if slices.ContainsFunc(r.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == typ }) {
		return nil
	}
	if r.Rcode == dns.RcodeNameError {
		if !anyNSEC(r.Ns, func(n *dns.NSEC) bool { return covers(n, last) }) {
			return fmt.Errorf("nothing covers %s", last)
		}
		for up := last; up != "example.org."; up = up[dns.Split(up)[1]:] {
			wild := "*." + up[dns.Split(up)[1]:]
			if anyNSEC(r.Ns, func(n *dns.NSEC) bool { return covers(n, wild) }) {
				return nil
			}
		}
		return fmt.Errorf("nothing denies a wildcard for %s", last)
	}
	if !anyNSEC(r.Ns, func(n *dns.NSEC) bool {
		match := strings.EqualFold(n.Hdr.Name, last) || strings.HasPrefix(n.Hdr.Name, "*.") && dns.IsSubDomain(n.Hdr.Name[2:], last)
		lacks := !slices.Contains(n.TypeBitMap, typ) && !slices.Contains(n.TypeBitMap, dns.TypeCNAME)
		return match && lacks || covers(n, last) && dns.IsSubDomain(last, n.NextDomain)
	}) {
		return fmt.Errorf("nothing denies the type at %s", last)
	}
	return nil
}

func anyNSEC(rrs []dns.RR, ok func(*dns.NSEC) bool) bool {
	return slices.ContainsFunc(rrs, func(rr dns.RR) bool { n, is := rr.(*dns.NSEC); return is && ok(n) })
}

func covers(n *dns.NSEC, name string) bool {
	a, b, x := orderKey(mustWire(n.Hdr.Name)), orderKey(mustWire(n.NextDomain)), orderKey(mustWire(name))
	if a < b {
		return a < x && x < b
	}
	return a < x || x < b
}

// verifySets checks that each set of a section has a good signature.
func verifySets(rrs []dns.RR, key *dns.DNSKEY, unsigned ...uint16) error {
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype == dns.TypeRRSIG || slices.Contains(unsigned, h.Rrtype) {
			continue
		}
		var set []dns.RR
		var sig *dns.RRSIG
		for _, o := range rrs {
			if strings.EqualFold(o.Header().Name, h.Name) && o.Header().Rrtype == h.Rrtype {
				set = append(set, o)
			}
			if s, ok := o.(*dns.RRSIG); ok && s.TypeCovered == h.Rrtype && strings.EqualFold(s.Hdr.Name, h.Name) {
				sig = s
			}
		}
		if sig == nil {
			return fmt.Errorf("%s %s is not signed", h.Name, dns.TypeToString[h.Rrtype])
		}
		if err := sig.Verify(key, set); err != nil || !sig.ValidityPeriod(time.Now()) || sig.Hdr.Ttl != h.Ttl {
			return fmt.Errorf("%s %s: %v, %v", h.Name, dns.TypeToString[h.Rrtype], err, sig)
		}
	}
	return nil
}

// Signatures of choices are kept, and there is an end to how many.
func TestSignatureCache(t *testing.T) {
	var c sigCache
	made := 0
	get := func(i int) { c.get(fmt.Sprint(i), func() *dns.RRSIG { made++; return &dns.RRSIG{} }) }
	for i := range 3 * maxSignatures {
		get(i)
		get(0) // asked for all the time: never made twice
		if len(c.young)+len(c.old) > 2*maxSignatures {
			t.Fatal(len(c.young), len(c.old))
		}
	}
	if made != 3*maxSignatures {
		t.Errorf("%d signatures made, want %d", made, 3*maxSignatures)
	}
}

// A key survives being written and read.
func TestKeyFiles(t *testing.T) {
	k, err := NewKey("Example.ORG")
	if err != nil {
		t.Fatal(err)
	}
	base, err := k.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(base + ".private"); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	back, err := ReadKey(base)
	if err != nil || back.DS().String() != k.DS().String() {
		t.Fatalf("%v, %v", back, err)
	}
	z := example(t, back)
	r := z.Ask(&Question{Wire: mustWire("mail.example.org"), Name: "mail.example.org.", Type: dns.TypeA, DO: true})
	if err := verifySets(r.Answer, k.DNSKEY); err != nil {
		t.Error(err)
	}
	if _, err := Build(&Source{Apex: "example.net.", SOA: &dns.SOA{}}, Options{Key: back, Epoch: EpochAt(time.Now(), 0)}); err == nil {
		t.Error("a key of another zone was taken")
	}
}

// Each half of a life there is a new serial, and signatures outlast two halves.
func TestEpochs(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	e := EpochAt(now, 48*time.Hour)
	if e.Start.After(now) || now.Sub(e.Start) >= 24*time.Hour || !e.Next().After(now) {
		t.Errorf("%v", e)
	}
	if n := EpochAt(e.Next(), 48*time.Hour); n.number() != e.number()+1 || n.Start != e.Next() {
		t.Errorf("%v after %v", n, e)
	}
	if EpochAt(e.Next().Add(-1), 48*time.Hour) != e {
		t.Error("an epoch ends early")
	}
}

// What is refused of dynamic names.
func TestBadDynamic(t *testing.T) {
	s, err := ReadFile("../testdata/example.zone", "example.org")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"www.example.org": "has addresses", "alias.example.org": "has addresses or a CNAME", "x.example.net": "outside", "sub.example.org": "delegated"} {
		if _, err := Build(s, Options{Dynamic: []Dynamic{{name, fixed{}}}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a := netip.MustParseAddr("192.0.2.1")
	for name, err := range map[string]error{
		"empty":   second(NewPool("p", 1, nil, nil, "")),
		"twice":   second(NewPool("p", 1, [][]netip.Addr{{a, a}}, nil, "")),
		"family":  second(NewPool("p", 1, nil, [][]netip.Addr{{a}}, "")),
		"name":    second(NewPool("p", 1, nil, nil, strings.Repeat("x", 64))),
		"TTL":     second(NewPool("p", -1, [][]netip.Addr{{a}}, nil, "")),
		"nine":    second(NewPool("p", 1, [][]netip.Addr{nine(a)}, nil, "")),
		"no addr": second(NewPool("p", 1, [][]netip.Addr{{}}, nil, "")),
	} {
		if err == nil {
			t.Errorf("pool: %s was taken", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func nine(a netip.Addr) (out []netip.Addr) {
	for range 9 {
		out = append(out, a)
		a = a.Next()
	}
	return out
}

// Differences lead from one version to the next, signed or not, and another
// server with the key says the same.
func TestCompare(t *testing.T) {
	key, err := NewKey("example.org")
	if err != nil {
		t.Fatal(err)
	}
	first := EpochAt(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), 0)
	second := EpochAt(first.Next(), 0)
	build := func(text string, k *Key, e Epoch) *Zone {
		s, err := Read(strings.NewReader(text), "f", "example.org")
		if err != nil {
			t.Fatal(err)
		}
		z, err := Build(s, Options{Key: k, Epoch: e})
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	one := start + "x IN A 192.0.2.1\ny IN A 192.0.2.2\nsub IN NS a.sub\na.sub IN A 192.0.2.9\n"
	two := strings.Replace(start, "h 1 ", "h 2 ", 1) + "y IN A 192.0.2.3\nz IN A 192.0.2.4\nz IN A 192.0.2.5\nx IN A 192.0.2.1\na.sub IN A 192.0.2.10\nsub IN NS a.sub\n"
	for _, c := range []struct {
		what     string
		key      *Key
		from, to Epoch
		texts    [2]string
		removed  int
	}{
		{"not signed", nil, first, first, [2]string{one, two}, 2},
		// Gone: y A, its signature, y NSEC and its signature (z is the next now), the SOA's, the glue.
		{"signed", key, first, first, [2]string{one, two}, 6},
		{"signed, another epoch, too", key, first, second, [2]string{one, two}, -1},
		{"signed, another epoch alone", key, first, second, [2]string{one, one}, -1},
	} {
		a, b, elsewhere := build(c.texts[0], c.key, c.from), build(c.texts[1], c.key, c.to), build(c.texts[0], c.key, c.from)
		d, err := Compare(a, b)
		if err != nil || d.From.Serial != a.Serial || d.To.Serial != b.Serial || a.Serial == b.Serial {
			t.Fatal(c.what, d, err)
		}
		if c.removed >= 0 && len(d.Removed) != c.removed {
			t.Errorf("%s: %d records are removed, want %d: %v", c.what, len(d.Removed), c.removed, d.Removed)
		}
		have := map[string]bool{}
		for rr := range elsewhere.Records() { // what a secondary has of another server
			have[rr.String()] = true
		}
		for _, rr := range d.Removed {
			if !have[rr.String()] {
				t.Errorf("%s: removes %v, which is not there", c.what, rr)
			}
			delete(have, rr.String())
		}
		for _, rr := range d.Added {
			if have[rr.String()] {
				t.Errorf("%s: adds %v, which is there", c.what, rr)
			}
			have[rr.String()] = true
		}
		for rr := range b.Records() {
			if !have[rr.String()] {
				t.Errorf("%s: %v is missing", c.what, rr)
			}
			delete(have, rr.String())
		}
		if len(have) > 0 {
			t.Errorf("%s: left over: %v", c.what, have)
		}
		if !Same(a, elsewhere) || c.texts[0] != c.texts[1] && Same(a, b) {
			t.Errorf("%s: what is the same is not told from what is not", c.what)
		}
	}
	if _, err := Compare(build(one, nil, first), build(two, key, first)); err == nil {
		t.Error("signed and not signed were compared")
	}
}
