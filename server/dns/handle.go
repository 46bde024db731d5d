package dns

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime/debug"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/server/dns/zone"
)

// worker answers messages one after another; it belongs to one goroutine.
type worker struct {
	srv    *Server
	req    request
	tab    *table
	rnd    *rand.PCG
	from   netip.AddrPort
	local  netip.Addr
	udp    bool
	second uint32 // Unix time
	stats  *counters
	query  zone.Query
}

func newWorker(s *Server, udp bool) *worker {
	return &worker{srv: s, rnd: rand.NewPCG(rand.Uint64(), rand.Uint64()), udp: udp, stats: s.newCounters(udp), tab: s.table.Load()}
}

// answer appends the answer to msg to b, which must be empty; nothing is
// appended when there is none. Transfers are refused here: over TCP the
// connection looks for them first.
func (w *worker) answer(b, msg []byte) (out []byte) {
	defer func() {
		if p := recover(); p != nil {
			w.stats.panics.Add(1)
			w.srv.log.Error("panic while answering", "panic", p, "stack", string(debug.Stack()))
			out = w.plain(b[:0], dns.RcodeServerFailure)
		}
	}()
	w.tab = w.srv.table.Load()
	code := w.req.parse(msg)
	if code == rcodeDrop {
		w.stats.dropped.Add(1)
		return b
	}
	w.stats.queries.Add(1)
	if code != 0 {
		b = w.fail(b, code)
		return w.limited(b, uint64(code), true)
	}
	if !w.srv.opt.Slow {
		if out, ok := w.fast(b); ok {
			return out
		}
	}
	return w.slow(b)
}

// slow answers what parsed well by the library.
func (w *worker) slow(b []byte) []byte {
	r := &w.req
	if r.signed {
		return w.slowSigned(b)
	}
	m, x, what := w.reply()
	b = w.pack(b, m, x, w.limit())
	w.count(m.Rcode | x.rcode)
	return w.limited(b, what, m.Rcode != 0 || len(m.Answer) == 0)
}

// limit is how long an answer may be.
func (w *worker) limit() int {
	switch {
	case !w.udp:
		return dns.MaxMsgSize
	case !w.req.edns:
		return dns.MinMsgSize
	}
	return min(max(int(w.req.size), dns.MinMsgSize), w.srv.opt.Limits.UDPSize)
}

// limited applies the response rate limit to an answer that is ready.
func (w *worker) limited(b []byte, what uint64, failed bool) []byte {
	if !w.udp || len(b) == 0 || w.srv.limiter.buckets == nil {
		return b
	}
	v := w.srv.limiter.judge(w.from.Addr(), what, failed, w.second)
	if v == pass || w.trusted() {
		return b
	}
	w.stats.limited.Add(1)
	if v == drop {
		return b[:0]
	}
	return w.truncated(b[:0])
}

// trusted says whether the client has shown that its address is its own.
func (w *worker) trusted() bool {
	return w.req.cookie != nil && goodCookie(w.req.cookie, w.from.Addr(), w.second, w.srv.secrets)
}

// head appends a header and the question as it came.
func (w *worker) head(b []byte, flags uint16, rcode int) []byte {
	r := &w.req
	b = append(b, r.msg[0], r.msg[1])
	b = binary.BigEndian.AppendUint16(b, flagQR|flags|r.flags&(15<<11|flagRD|flagCD)|uint16(rcode&15))
	qd := byte(0)
	if len(r.question) > 0 {
		qd = 1
	}
	b = append(b, 0, qd, 0, 0, 0, 0, 0, 0)
	return append(b, r.question...)
}

// plain is an answer of a code alone.
func (w *worker) plain(b []byte, rcode int) []byte { return w.head(b, 0, rcode) }

// fail is an answer to a message that is wrong, or that we do not do.
func (w *worker) fail(b []byte, rcode int) []byte {
	w.count(rcode)
	if rcode == dns.RcodeFormatError {
		w.req.subnet, w.req.cookie = false, nil
	}
	b = w.head(b, 0, rcode)
	if w.req.edns {
		b = w.appendOPT(b, &w.req, &extra{rcode: rcode, ede: noEDE})
		b[11]++
	}
	return b
}

// truncated tells the client to ask again by TCP.
func (w *worker) truncated(b []byte) []byte {
	b = w.head(b, flagTC, 0)
	if w.req.edns {
		b = w.appendOPT(b, &w.req, &extra{ede: noEDE})
		b[11]++
	}
	return b
}

// reply makes the answer to a question; what is a hash of its kind for the rate
// limit.
func (w *worker) reply() (m *dns.Msg, x *extra, what uint64) {
	r := &w.req
	m, x = new(dns.Msg), &extra{ede: noEDE}
	refuse := func(code int, ede uint16, text string) (*dns.Msg, *extra, uint64) {
		x.rcode, x.ede, x.edeText = code, ede, text
		m.Rcode = code & 15
		return m, x, uint64(code)
	}
	switch {
	case r.cookie != nil && w.udp && w.srv.opt.Require && !w.trusted():
		return refuse(dns.RcodeBadCookie, noEDE, "")
	case len(r.question) == 0:
		return m, x, 0
	case r.class == dns.ClassCHAOS:
		if rr := w.chaos(); rr != nil {
			m.Authoritative = true
			m.Answer = append(m.Answer, rr)
			return m, x, 1
		}
		return refuse(dns.RcodeRefused, noEDE, "")
	case r.class != dns.ClassINET:
		return refuse(dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported, "")
	case r.typ == dns.TypeAXFR || r.typ == dns.TypeIXFR:
		return w.transferHere(refuse)
	case r.typ == dns.TypeNone || r.typ == dns.TypeOPT || r.typ >= 128 && r.typ <= 254 || r.authority:
		return refuse(dns.RcodeNotImplemented, noEDE, "")
	}
	z := w.tab.find(r.name(), r.typ == dns.TypeDS)
	if z == nil {
		return refuse(dns.RcodeRefused, dns.ExtendedErrorCodeNotAuthoritative, "")
	}
	return w.ask(m, x, z)
}

// ask puts what a zone says into the message.
func (w *worker) ask(m *dns.Msg, x *extra, z *served) (*dns.Msg, *extra, uint64) {
	r := &w.req
	name, _, err := dns.UnpackDomainName(r.question, 0)
	if err != nil {
		m.Rcode, x.rcode = dns.RcodeFormatError, dns.RcodeFormatError
		return m, x, 1
	}
	a := z.Ask(&zone.Question{Wire: string(r.name()), Name: name, Type: r.typ, DO: r.do, Query: w.ready()})
	m.Rcode, x.rcode = a.Rcode, a.Rcode
	m.Authoritative = a.Authoritative
	m.Answer, m.Ns, m.Extra = a.Answer, a.Ns, a.Extra
	if a.Dynamic {
		x.scope = a.Scope
		w.stats.dynamic.Add(1)
	}
	if a.Failed != "" {
		x.ede, x.edeText = dns.ExtendedErrorCodeOther, a.Failed
	}
	if a.Rcode != 0 || len(a.Answer) == 0 {
		return m, x, kindOf(z.Apex, a.Rcode)
	}
	return m, x, hashName(r.name(), r.typ)
}

// kindOf tells answers that give nothing apart, for the rate limit.
func kindOf(apex string, rcode int) uint64 { return hashName([]byte(apex), uint16(rcode)) }

// ready is the query as choosers see it.
func (w *worker) ready() *zone.Query {
	r := &w.req
	q := &w.query
	*q = zone.Query{Resolver: w.from.Addr(), Local: w.local, Rand: w.rnd.Uint64()}
	if r.subnet && r.client.IsValid() && r.source > 0 {
		q.Client, q.Bits, q.Subnet = r.client, r.source, true
	} else {
		q.Client = w.from.Addr()
		q.Bits = uint8(q.Client.BitLen())
	}
	return q
}

// chaos answers who this server is (RFC 4892); the version is nobody's business.
func (w *worker) chaos() dns.RR {
	r := &w.req
	name := string(r.name())
	if w.srv.opt.Identity == "" || r.typ != dns.TypeTXT && r.typ != dns.TypeANY || name != "\x02id\x06server\x00" && name != "\x08hostname\x04bind\x00" {
		return nil
	}
	asked, _, err := dns.UnpackDomainName(r.question, 0)
	if err != nil {
		return nil
	}
	return &dns.TXT{Hdr: dns.RR_Header{Name: asked, Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS}, Txt: []string{txt(w.srv.opt.Identity)}}
}

// txt escapes what has a meaning in presentation form.
func txt(s string) string {
	var b []byte
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c > '~':
			b = fmt.Appendf(b, "\\%03d", c)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// pack appends the message: the question as it came, the sections compressed,
// OPT. What does not fit is left out altogether, with TC set.
func (w *worker) pack(b []byte, m *dns.Msg, x *extra, limit int) []byte {
	r := &w.req
	var flags uint16
	if m.Authoritative {
		flags = flagAA
	}
	sections, err := w.sections(m)
	if err != nil {
		w.srv.log.Error("cannot pack an answer", "error", err)
		m.Answer, m.Ns, m.Extra, m.Rcode, x.rcode = nil, nil, nil, dns.RcodeServerFailure, dns.RcodeServerFailure
		sections, flags = nil, 0
	}
	b = w.head(b, flags, m.Rcode)
	counts := [3]int{len(m.Answer), len(m.Ns), len(m.Extra)}
	b = append(b, sections...)
	if r.edns {
		b = w.appendOPT(b, r, x)
		counts[2]++
	}
	if len(b) > limit {
		w.stats.truncated.Add(1)
		b = w.head(b[:0], flags|flagTC, m.Rcode)
		counts = [3]int{}
		if r.edns {
			b = w.appendOPT(b, r, x)
			counts[2] = 1
		}
	}
	for i, n := range counts {
		binary.BigEndian.PutUint16(b[6+2*i:], uint16(n))
	}
	return b
}

// sections packs the records of a message as they stand after the question.
func (w *worker) sections(m *dns.Msg) ([]byte, error) {
	r := &w.req
	if len(m.Answer)+len(m.Ns)+len(m.Extra) == 0 {
		return nil, nil
	}
	name, _, err := dns.UnpackDomainName(r.question, 0)
	if err != nil {
		return nil, err
	}
	full := dns.Msg{Compress: true, Answer: m.Answer, Ns: m.Ns, Extra: m.Extra,
		Question: []dns.Question{{Name: name, Qtype: r.typ, Qclass: r.class}}}
	packed, err := full.Pack()
	if err != nil {
		return nil, err
	}
	return packed[headerLen+len(r.question):], nil
}
