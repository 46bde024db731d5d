package dns

import (
	"testing"

	"github.com/miekg/dns"
)

// What one message costs without the kernel, by the fast path and by the slow.
func BenchmarkAnswer(b *testing.B) {
	for _, c := range []struct {
		name, ask string
		typ       uint16
		change    func(*dns.Msg)
	}{
		{"address", "mail.example.org.", dns.TypeA, nil},
		{"edns", "mail.example.org.", dns.TypeA, edns(1232)},
		{"eight", "eight.example.org.", dns.TypeA, nil},
		{"cname", "alias.example.org.", dns.TypeA, nil},
		{"nxdomain", "nothere.example.org.", dns.TypeA, nil},
		{"choice", "cdn.example.org.", dns.TypeA, edns(1232, subnetOf("12.1.2.0/24"))},
		{"cookie", "mail.example.org.", dns.TypeA, edns(1232, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"})},
		{"rated", "mail.example.org.", dns.TypeA, nil},
	} {
		for _, path := range []string{"fast", "slow"} {
			b.Run(c.name+"/"+path, func(b *testing.B) {
				s := newServer(b, func(o *Options) {
					o.Slow = path == "slow"
					if c.name == "rated" {
						o.Rates = Rates{Answers: 1 << 30}
					}
				})
				w := testWorker(s, true)
				q := new(dns.Msg).SetQuestion(c.ask, c.typ)
				if c.change != nil {
					c.change(q)
				}
				msg, err := q.Pack()
				if err != nil {
					b.Fatal(err)
				}
				buf := make([]byte, 0, outputSize)
				b.ReportAllocs()
				for b.Loop() {
					if len(w.answer(buf, msg)) == 0 {
						b.Fatal("no answer")
					}
				}
			})
		}
	}
}
