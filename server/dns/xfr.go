package dns

import (
	"fmt"
	"iter"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/server/dns/zone"
)

// transferSize is about how long a message of a transfer is.
const transferSize = 16 << 10

// allowed says whether a client may have a zone.
func (z *served) allowed(from netip.Addr, key string) bool {
	for _, t := range z.conf.Transfer {
		ok := t.Key == "" || dns.CanonicalName(t.Key) == key
		if ok && len(t.From) > 0 {
			ok = false
			for _, p := range t.From {
				ok = ok || p.Contains(from)
			}
		}
		if ok {
			return true
		}
	}
	return false
}

// transferHere answers a question for a transfer outside a stream: IXFR with
// the SOA alone, upon which the secondary comes by TCP (RFC 1995 §2).
func (w *worker) transferHere(refuse func(code int, ede uint16, text string) (*dns.Msg, *extra, uint64)) (*dns.Msg, *extra, uint64) {
	z := w.tab.zones[string(w.req.name())]
	switch {
	case w.req.typ == dns.TypeAXFR || w.req.signed:
		return refuse(dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported, "by TCP")
	case z == nil:
		return refuse(dns.RcodeNotAuth, dns.ExtendedErrorCodeNotAuthoritative, "")
	case !z.allowed(w.from.Addr(), ""):
		return refuse(dns.RcodeRefused, dns.ExtendedErrorCodeProhibited, "")
	}
	return &dns.Msg{MsgHdr: dns.MsgHdr{Authoritative: true}, Answer: []dns.RR{z.SOA()}}, &extra{ede: noEDE}, 1
}

// transfer answers a question for a zone on a connection; done says that msg
// was one.
func (c *conn) transfer(w *worker, msg []byte) (done bool, err error) {
	r := &w.req
	if r.parse(msg) != 0 || r.class != dns.ClassINET || r.typ != dns.TypeAXFR && r.typ != dns.TypeIXFR {
		return false, nil
	}
	s := c.srv
	w.tab = s.table.Load()
	w.stats.queries.Add(1)
	m := new(dns.Msg)
	var g *signature
	key := ""
	if r.signed {
		if g, m, err = s.keys.verify(msg); err != nil {
			return true, c.send(w.fail(nil, dns.RcodeFormatError))
		}
		if g.err != 0 {
			return true, c.send(w.unverified(nil, g))
		}
		key = g.key
	} else if err := m.Unpack(msg); err != nil {
		return true, c.send(w.fail(nil, dns.RcodeFormatError))
	}
	z := w.tab.zones[string(r.name())]
	code := dns.RcodeSuccess
	switch {
	case z == nil:
		code = dns.RcodeNotAuth
	case !z.allowed(c.from.Addr(), key):
		code = dns.RcodeRefused
	case s.sending.Add(1) > int32(s.opt.Limits.Transfers):
		s.sending.Add(-1)
		code = dns.RcodeServerFailure
	}
	w.count(code)
	if code != 0 {
		s.log.Info("transfer refused", "zone", m.Question[0].Name, "client", c.from.Addr(), "key", key, "rcode", dns.RcodeToString[code])
		if g != nil {
			return true, c.sendSigned(w.plain(nil, code), g)
		}
		return true, c.send(w.fail(nil, code))
	}
	defer s.sending.Add(-1)
	return true, c.stream(z, m, g)
}

func (c *conn) sendSigned(plain []byte, g *signature) error {
	m := new(dns.Msg)
	if err := m.Unpack(plain); err != nil {
		return err
	}
	b, err := g.sign(m, time.Now())
	if err != nil {
		return err
	}
	return c.send(b)
}

// stream sends a zone, or what changed in it.
func (c *conn) stream(z *served, q *dns.Msg, g *signature) error {
	began := time.Now()
	records, kind := z.transferOf(q)
	messages, n := 0, 0
	batch, size := []dns.RR(nil), 0
	flush := func() error {
		if time.Since(began) > c.srv.opt.Limits.Transfer {
			return fmt.Errorf("transfer of %s: too slow", z.Apex)
		}
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Authoritative: true}, Compress: true, Answer: batch}
		if messages == 0 {
			m.Question = q.Question
		}
		messages++
		batch, size = nil, 0
		return c.sendMsg(m, g)
	}
	for rr := range records {
		if l := dns.Len(rr); len(batch) > 0 && size+l > transferSize {
			if err := flush(); err != nil {
				return err
			}
		}
		batch = append(batch, rr)
		size += dns.Len(rr)
		n++
	}
	if err := flush(); err != nil {
		return err
	}
	c.srv.stats.transfers.Add(1)
	c.srv.log.Info("zone transferred", "zone", z.Apex, "serial", z.Serial, "client", c.from.Addr(), "kind", kind, "records", n, "messages", messages)
	return nil
}

func (c *conn) sendMsg(m *dns.Msg, g *signature) error {
	var b []byte
	var err error
	if g != nil {
		b, err = g.sign(m, time.Now())
	} else {
		b, err = m.Pack()
	}
	if err != nil {
		return err
	}
	_ = c.SetWriteDeadline(time.Now().Add(2 * c.srv.opt.Limits.QueryTime))
	return c.send(b)
}

// transferOf lists what a question for a transfer is answered with.
func (z *served) transferOf(q *dns.Msg) (records iter.Seq[dns.RR], kind string) {
	soa := z.SOA()
	if q.Question[0].Qtype == dns.TypeIXFR && len(q.Ns) == 1 {
		if have, ok := q.Ns[0].(*dns.SOA); ok {
			if !later(z.Serial, have.Serial) {
				return single(soa), "current"
			}
			for i, d := range z.diffs {
				if d.From.Serial == have.Serial {
					return changes(soa, z.diffs[i:]), "IXFR"
				}
			}
		}
	}
	return func(yield func(dns.RR) bool) {
		if !yield(soa) {
			return
		}
		for rr := range z.Records() {
			if !yield(rr) {
				return
			}
		}
		yield(soa)
	}, "AXFR"
}

func single(rr dns.RR) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) { yield(rr) }
}

// changes lists differences as RFC 1995 §4 has them.
func changes(soa *dns.SOA, diffs []*zone.Diff) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		if !yield(soa) {
			return
		}
		for _, d := range diffs {
			all := append(append([]dns.RR{d.From}, d.Removed...), d.To)
			for _, rr := range append(all, d.Added...) {
				if !yield(rr) {
					return
				}
			}
		}
		yield(soa)
	}
}
