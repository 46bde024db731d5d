package dns

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// RFC 9018, appendix A.
func TestCookieVectors(t *testing.T) {
	for _, c := range []struct {
		client, server, secret, from string
		at                           uint32
	}{
		{"2464c4abcf10c957", "010000005cf79f111f8130c3eee29480", "e5e973e5a6b2a43f48e7dc849e37bfcf", "198.51.100.100", 1559731985},
		{"fc93fc62807ddb86", "01abcdef5cf78f71a314227b6679ebf5", "e5e973e5a6b2a43f48e7dc849e37bfcf", "203.0.113.203", 1559727985},
		{"22681ab97d52c298", "010000005cf7c57926556bd0934c72f8", "dd3bdf9344b678b185a6f5cb60fca715", "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741817},
		{"22681ab97d52c298", "010000005cf7c609a6bb79d16625507a", "445536bcd2513298075a5d379663c962", "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961},
	} {
		var key CookieSecret
		raw, _ := hex.DecodeString(c.secret)
		copy(key[:], raw)
		client, _ := hex.DecodeString(c.client)
		server, _ := hex.DecodeString(c.server)
		from := netip.MustParseAddr(c.from)
		if !goodCookie(slices.Concat(client, server), from, c.at, []CookieSecret{{}, key}) {
			t.Errorf("%s%s is not good", c.client, c.server)
		}
		if server[1] == 0 {
			if got := hex.EncodeToString(makeCookie(nil, client, from, c.at, &key)); got != c.client+c.server {
				t.Errorf("%s, want %s%s", got, c.client, c.server)
			}
		}
		for name, bad := range map[string]bool{
			"later":   goodCookie(slices.Concat(client, server), from, c.at+3601, []CookieSecret{key}),
			"before":  goodCookie(slices.Concat(client, server), from, c.at-301, []CookieSecret{key}),
			"other":   goodCookie(slices.Concat(client, server), from.Next(), c.at, []CookieSecret{key}),
			"secret":  goodCookie(slices.Concat(client, server), from, c.at, []CookieSecret{{}}),
			"short":   goodCookie(client, from, c.at, []CookieSecret{key}),
			"version": goodCookie(slices.Concat(client, []byte{2}, server[1:]), from, c.at, []CookieSecret{key}),
		} {
			if bad {
				t.Errorf("%s: %s is good", c.client, name)
			}
		}
	}
}

// A client gets a cookie; with it, no limit holds it back; where cookies are
// required, it must have one.
func TestCookies(t *testing.T) {
	w := testWorker(newServer(t, func(o *Options) { o.Require = true }), true)
	cookie := func(s string) func(*dns.Msg) {
		return edns(1232, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: s})
	}
	m := ask(t, w, "mail.example.org.", dns.TypeA, cookie("0102030405060708"))
	c, ok := option[*dns.EDNS0_COOKIE](m)
	if !ok || len(c.Cookie) != 48 || m.IsEdns0().ExtendedRcode()&^15|m.Rcode&15 != dns.RcodeBadCookie || len(m.Answer) > 0 {
		t.Fatalf("without a good one: %v", m)
	}
	if m = ask(t, w, "mail.example.org.", dns.TypeA, cookie(c.Cookie)); m.Rcode != 0 || len(m.Answer) != 1 {
		t.Fatalf("with it: %v", m)
	}
	if m = ask(t, w, "mail.example.org.", dns.TypeA, nil); m.Rcode != 0 {
		t.Fatalf("one that knows no cookies: %v", m)
	}
}

func TestRates(t *testing.T) {
	s := newServer(t, func(o *Options) { o.Rates = Rates{Answers: 10, Errors: 5, Slip: 3} })
	w := testWorker(s, true)
	count := func(name string, n int, change func(*dns.Msg)) (whole, short int) {
		for range n {
			switch m := ask(t, w, name, dns.TypeA, change); {
			case m == nil:
			case m.Truncated:
				short++
			default:
				whole++
			}
		}
		return whole, short
	}
	if whole, short := count("mail.example.org.", 40, nil); whole != 10 || short != 10 {
		t.Errorf("of 40 the same: %d whole, %d truncated", whole, short)
	}
	if whole, _ := count("www.example.org.", 10, nil); whole != 10 {
		t.Errorf("another name: %d", whole)
	}
	for i, name := range []string{"a.example.org.", "b.example.org.", "c.example.org."} {
		if whole, _ := count(name, 5, nil); whole != max(0, 5-5*i) {
			t.Errorf("%s, which is not there: %d", name, whole)
		}
	}
	w.second++
	if whole, _ := count("mail.example.org.", 1, nil); whole != 1 {
		t.Error("the next second: none")
	}
	m := ask(t, w, "www.example.org.", dns.TypeA, edns(1232, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}))
	c, _ := option[*dns.EDNS0_COOKIE](m)
	if whole, _ := count("mail.example.org.", 50, edns(1232, c)); whole != 50 {
		t.Errorf("with a cookie: %d of 50", whole)
	}
	if whole, _ := count("mail.example.org.", 0, nil); whole != 0 {
		t.Error("none")
	}
}
