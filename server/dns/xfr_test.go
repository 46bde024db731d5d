package dns

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/server/dns/zone"
)

const (
	keyName   = "xfr."
	keySecret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IDMyISE="
)

func keyed(o *Options) {
	o.Keys = []TSIGKey{{Name: "XFR", Secret: keySecret}, {Name: "other", Algorithm: "hmac-sha512", Secret: keySecret}}
	o.Zones[0].Transfer = []Transfer{{Key: keyName}, {From: []netip.Prefix{netip.MustParsePrefix("::1/128")}}}
}

// transferred is what a secondary gets; nil when it is refused.
func transferred(t *testing.T, at string, q *dns.Msg, key string) []dns.RR {
	t.Helper()
	tr := &dns.Transfer{}
	if key != "" {
		tr.TsigSecret = map[string]string{key: keySecret}
		q.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
	}
	ch, err := tr.In(q, at)
	if err != nil {
		t.Fatal(err)
	}
	var out []dns.RR
	for e := range ch {
		if e.Error != nil {
			t.Log(e.Error)
			return nil
		}
		out = append(out, e.RR...)
	}
	return out
}

// The whole zone goes to those with the key or a known address, and to nobody
// else.
func TestTransfer(t *testing.T) {
	s := start(t, keyed)
	axfr := func() *dns.Msg { return new(dns.Msg).SetAxfr("example.org.") }
	if got := transferred(t, s.at[0], axfr(), ""); got != nil {
		t.Errorf("without a key: %d records", len(got))
	}
	if got := transferred(t, s.at[0], axfr(), "other."); got != nil {
		t.Errorf("with another key: %d records", len(got))
	}
	with := transferred(t, s.at[0], axfr(), keyName)
	from := transferred(t, s.at[1], axfr(), "")
	if len(with) < 50 || len(with) != len(from) {
		t.Fatalf("%d records with the key, %d by address", len(with), len(from))
	}
	if with[0].Header().Rrtype != dns.TypeSOA || with[len(with)-1].String() != with[0].String() {
		t.Errorf("%v ... %v", with[0], with[len(with)-1])
	}
	has := func(rr string) bool {
		want, err := dns.NewRR(rr)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(with, func(rr dns.RR) bool { return dns.IsDuplicate(rr, want) && rr.Header().Ttl == want.Header().Ttl })
	}
	for _, rr := range []string{"mail.example.org. 3600 IN A 192.0.2.25", "ns.sub.example.org. 3600 IN A 192.0.2.54", "host.sub.example.org. 3600 IN A 192.0.2.55",
		"cdn.example.org. 30 IN A 198.51.100.1", "*.cust.example.org. 30 IN AAAA 2001:db8:1::1"} {
		if !has(rr) {
			t.Errorf("%s is missing", rr)
		}
	}
	if got := brief(exchange(t, "tcp", s.at[1], new(dns.Msg).SetAxfr("mail.example.org."))); got != "NOTAUTH" {
		t.Errorf("not an apex: %s", got)
	}
}

// Differences, oldest first; the whole zone where there are none; only the SOA
// for one who is up to date.
func TestDifferences(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	zoneFile(t, path, 10, "www 60 IN A 192.0.2.10")
	s := start(t, func(o *Options) {
		keyed(o)
		o.Zones = []Zone{{Name: "example.org", File: path, Transfer: o.Zones[0].Transfer}}
		o.Watch = time.Hour
	})
	for serial := 11; serial <= 13; serial++ {
		zoneFile(t, path, serial, "www 60 IN A 192.0.2."+string(rune('0'+serial-10)))
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
	}
	ixfr := func(serial uint32) []dns.RR {
		return transferred(t, s.at[0], new(dns.Msg).SetIxfr("example.org.", serial, ".", "."), keyName)
	}
	for serial, want := range map[uint32]int{10: 2 + 3*4, 12: 2 + 4, 13: 1, 14: 1, 9: 5} {
		if got := ixfr(serial); len(got) != want {
			t.Errorf("from %d: %d records, want %d: %v", serial, len(got), want, got)
		}
	}
	if got := ixfr(12); got[1].(*dns.SOA).Serial != 12 || got[2].(*dns.A).A.String() != "192.0.2.2" || got[3].(*dns.SOA).Serial != 13 || got[4].(*dns.A).A.String() != "192.0.2.3" {
		t.Errorf("%v", got)
	}
	m := exchange(t, "udp", s.at[1], new(dns.Msg).SetIxfr("example.org.", 10, ".", "."))
	if len(m.Answer) != 1 || m.Answer[0].(*dns.SOA).Serial != 13 {
		t.Errorf("over UDP: %v", m)
	}
}

// TSIG on a plain question: the answer is signed too; what does not verify is
// told so (RFC 8945 §5.2).
func TestSignedQuestions(t *testing.T) {
	s := start(t, keyed)
	for _, network := range []string{"udp", "tcp"} {
		c := &dns.Client{Net: network, Timeout: 5 * time.Second, TsigSecret: map[string]string{keyName: keySecret, "other.": keySecret, "unknown.": keySecret}}
		for _, x := range []struct {
			key  string
			at   int64
			code int
			err  uint16
		}{{keyName, 0, dns.RcodeSuccess, 0}, {"unknown.", 0, dns.RcodeNotAuth, dns.RcodeBadKey}, {"other.", 0, dns.RcodeNotAuth, dns.RcodeBadKey}, {keyName, -1000, dns.RcodeNotAuth, dns.RcodeBadTime}} {
			q := question("mail.example.org.", dns.TypeA)
			q.SetTsig(x.key, dns.HmacSHA256, 300, time.Now().Unix()+x.at)
			m, _, err := c.Exchange(q, s.at[0])
			if m == nil || m.Rcode != x.code || m.IsTsig() == nil || m.IsTsig().Error != x.err || (x.code == 0) != (err == nil) {
				t.Errorf("%s, key %s: %v\n%v", network, x.key, err, m)
			}
		}
		wrong := &dns.Client{Net: network, Timeout: 5 * time.Second, TsigSecret: map[string]string{keyName: "d3Jvbmc="}}
		q := question("mail.example.org.", dns.TypeA)
		q.SetTsig(keyName, dns.HmacSHA256, 300, time.Now().Unix())
		if m, _, _ := wrong.Exchange(q, s.at[0]); m == nil || m.Rcode != dns.RcodeNotAuth || m.IsTsig().Error != dns.RcodeBadSig {
			t.Errorf("%s: a wrong secret: %v", network, m)
		}
	}
}

// Secondaries are told of each new version, again when they do not answer.
func TestNotify(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	path := filepath.Join(t.TempDir(), "zone")
	zoneFile(t, path, 1, "")
	s := start(t, func(o *Options) {
		keyed(o)
		o.Zones = []Zone{{Name: "example.org", File: path, Notify: []NotifyTarget{{Address: netip.MustParseAddrPort(c.LocalAddr().String()), Key: keyName}}}}
		o.Watch = 10 * time.Millisecond
	})
	for serial := 1; serial <= 2; serial++ {
		b := make([]byte, 1500)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, from, err := c.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(b[:n]); err != nil || m.Opcode != dns.OpcodeNotify || m.Answer[0].(*dns.SOA).Serial != uint32(serial) ||
			dns.TsigVerify(b[:n], keySecret, "", false) != nil {
			t.Fatalf("%v, %v", m, err)
		}
		r := new(dns.Msg).SetReply(m)
		r.SetTsig(keyName, dns.HmacSHA256, 300, time.Now().Unix())
		out, _, err := dns.TsigGenerate(r, keySecret, m.IsTsig().MAC, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteTo(out, from); err != nil {
			t.Fatal(err)
		}
		zoneFile(t, path, serial+1, "")
	}
	for s.stats.notified.Load() < 2 {
		select {
		case <-t.Context().Done():
		case <-time.After(time.Millisecond):
		}
	}
}

// A signed zone goes out whole, with all signatures, and with a serial that
// grows when they are made anew.
func TestSignedTransfer(t *testing.T) {
	key, err := zone.NewKey("example.org")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s := start(t, func(o *Options) {
		keyed(o)
		o.Zones[0].Key = key
		o.Now = func() time.Time { return now }
		o.Watch = time.Hour
	})
	serial := func() uint32 {
		all := transferred(t, s.at[1], new(dns.Msg).SetAxfr("example.org."), "")
		sets := map[[2]any][]dns.RR{}
		for _, rr := range all[1:] {
			if rr.Header().Rrtype != dns.TypeRRSIG {
				k := [2]any{rr.Header().Name, rr.Header().Rrtype}
				sets[k] = append(sets[k], rr)
			}
		}
		n := 0
		for _, rr := range all {
			if sig, ok := rr.(*dns.RRSIG); ok {
				n++
				if err := sig.Verify(key.DNSKEY, sets[[2]any{sig.Hdr.Name, sig.TypeCovered}]); err != nil {
					t.Errorf("%v: %v", sig, err)
				}
			}
		}
		if n < 70 {
			t.Errorf("%d signatures", n)
		}
		return all[0].(*dns.SOA).Serial
	}
	was := serial()
	before := transferred(t, s.at[1], new(dns.Msg).SetAxfr("example.org."), "")
	now = now.Add(zone.DefaultLife / 2)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if is := serial(); is != was+1 {
		t.Errorf("serial %d, then %d", was, is)
	}
	carriedOut(t, before, transferred(t, s.at[1], new(dns.Msg).SetIxfr("example.org.", was, ".", "."), ""), transferred(t, s.at[1], new(dns.Msg).SetAxfr("example.org."), ""))
}

// carriedOut carries differences out (RFC 1995 §4) on a zone as it was
// transferred, and compares it with the zone as it is.
func carriedOut(t *testing.T, old, diff, want []dns.RR) {
	t.Helper()
	have := map[string]bool{}
	for _, rr := range old[1 : len(old)-1] {
		have[rr.String()] = true
	}
	if len(diff) < 3 || diff[1].Header().Rrtype != dns.TypeSOA {
		t.Fatalf("no differences: %v", diff)
	}
	removing := false
	for _, rr := range diff[1 : len(diff)-1] {
		switch s := rr.String(); {
		case rr.Header().Rrtype == dns.TypeSOA:
			removing = !removing
		case have[s] != removing:
			t.Errorf("%v: removing %v", rr, removing)
		case removing:
			delete(have, s)
		default:
			have[s] = true
		}
	}
	for _, rr := range want[1 : len(want)-1] {
		if !have[rr.String()] {
			t.Errorf("%v is missing", rr)
		}
		delete(have, rr.String())
	}
	if len(have) > 0 {
		t.Errorf("left over: %v", have)
	}
}

// A serial that has stood for two different zones is none that differences
// begin from: some secondary may have the other one.
func TestMixedSerial(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	zoneFile(t, path, 10, "www 60 IN A 192.0.2.10")
	conf := func() []Zone {
		return []Zone{{Name: "example.org", File: path, Transfer: []Transfer{{From: []netip.Prefix{netip.MustParsePrefix("::1/128")}}}}}
	}
	s := start(t, func(o *Options) { o.Zones, o.Watch = conf(), time.Hour })
	load := func(serial int, more string) {
		zoneFile(t, path, serial, more)
		if err := s.SetZones(conf()); err != nil {
			t.Fatal(err)
		}
	}
	ixfr := func(serial uint32) int {
		return len(transferred(t, s.at[1], new(dns.Msg).SetIxfr("example.org.", serial, ".", "."), ""))
	}
	load(11, "www 60 IN A 192.0.2.11")
	if err := s.SetZones(conf()); err != nil { // the same again
		t.Fatal(err)
	}
	load(12, "www 60 IN A 192.0.2.12")
	if a, b := ixfr(10), ixfr(11); a != 10 || b != 6 {
		t.Errorf("%d and %d records, want 10 and 6", a, b)
	}
	load(12, "www 60 IN A 192.0.2.13\nw2 60 IN A 192.0.2.13")
	load(13, "www 60 IN A 192.0.2.14\nw2 60 IN A 192.0.2.13")
	all := ixfr(0)
	for serial := uint32(10); serial <= 12; serial++ {
		if got := ixfr(serial); got != all {
			t.Errorf("from %d: %d records, want all %d", serial, got, all)
		}
	}
	load(14, "www 60 IN A 192.0.2.15\nw2 60 IN A 192.0.2.13")
	if got := ixfr(13); got != 6 {
		t.Errorf("from 13: %d records, want 6", got)
	}
}
