package dns

import (
	"encoding/binary"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/server/dns/zone"
)

// body is an answer as it stands after the question. It fits any spelling of
// the name: what points into the question means the same in upper case.
type body struct {
	typ    uint16 // noType: for all types that the name lacks
	do     bool
	head   uint16    // flags and code
	counts [3]uint16 // records of the sections
	data   []byte
	slow   bool // nothing can be kept for this type
}

// noType stands for all types that a name does not have.
const noType = 0

// packedNode is what is ready of one name. The list is replaced, never changed.
type packedNode struct{ bodies atomic.Pointer[[]*body] }

// maxBodies bounds what is kept of one name; the rest takes the slow path.
const maxBodies = 12

func (p *packedNode) get(typ uint16, do bool) *body {
	if l := p.bodies.Load(); l != nil {
		for _, b := range *l {
			if b.typ == typ && b.do == do {
				return b
			}
		}
	}
	return nil
}

// put keeps a body, if there is room.
func (p *packedNode) put(b *body) {
	for {
		old := p.bodies.Load()
		var next []*body
		if old != nil {
			next = append(next, *old...)
		}
		if len(next) >= maxBodies {
			return
		}
		next = append(next, b)
		if p.bodies.CompareAndSwap(old, &next) {
			return
		}
	}
}

// prepare makes room for what the fast path keeps, and the authority section of
// negative answers.
func (z *served) prepare() {
	z.packed = make([]packedNode, z.Len())
	z.errorKind = [2]uint64{kindOf(z.Apex, dns.RcodeSuccess), kindOf(z.Apex, dns.RcodeNameError)}
	soa := z.SOA()
	soa.Hdr.Ttl = z.NegativeTTL()
	var b [1024]byte
	n, err := dns.PackRR(soa, b[:], 0, nil, false)
	wire, _, nameErr := zone.Wire(z.Apex)
	if err != nil || nameErr != nil {
		return // without it negative answers take the slow path
	}
	z.apexLen = len(wire)
	z.negative = append([]byte{0xc0, 0}, b[len(wire):n]...) // the owner is in the question
}

// plainType says whether a type has nothing special about it.
func plainType(t uint16) bool {
	switch t {
	case dns.TypeNone, dns.TypeOPT, dns.TypeDS, dns.TypeRRSIG, dns.TypeNSEC:
		return false
	}
	return t < 128 || t > 255
}

// fast answers a plain question for a name without surprises: what is not
// clear at once it leaves to the slow path, which says the same.
func (w *worker) fast(b []byte) ([]byte, bool) {
	r := &w.req
	if r.class != dns.ClassINET || r.signed || r.authority || len(r.question) == 0 || !plainType(r.typ) ||
		w.srv.opt.Require && r.cookie != nil {
		return b, false
	}
	z := w.tab.find(r.name(), false)
	if z == nil || z.negative == nil {
		return b, false
	}
	n, closest := z.Find(r.name())
	if closest.Delegated() {
		return b, false
	}
	do := r.do && z.Signed()
	if n == nil {
		if n = closest.Wildcard(); n == nil {
			if do {
				return b, false
			}
			return w.none(b, z, dns.RcodeNameError, 0)
		}
		if n.Chooser() == nil {
			return b, false
		}
	}
	if n.Chooser() != nil {
		if do {
			return b, false
		}
		return w.fastChoice(b, z, n)
	}
	return w.made(b, z, n, do)
}

// made answers from what is ready for a name, or makes it ready.
func (w *worker) made(b []byte, z *served, n *zone.Node, do bool) ([]byte, bool) {
	typ := w.req.typ
	p := &z.packed[n.ID]
	key := typ
	if !n.Has(typ) {
		key = noType
	}
	got := p.get(key, do)
	if got == nil {
		got = z.fill(n, typ, do)
		got.typ = key
		p.put(got)
	}
	if got.slow {
		return b, false
	}
	b = w.head(b, got.head&^15, int(got.head&15))
	b = append(b, got.data...)
	for i, c := range got.counts {
		binary.BigEndian.PutUint16(b[6+2*i:], c)
	}
	failed := got.counts[0] == 0
	return w.finishFast(b, z, int(got.head&15), 0, failed)
}

// fill makes the answer to a question for a node.
func (z *served) fill(n *zone.Node, typ uint16, do bool) *body {
	name := n.Name()
	a := z.Ask(&zone.Question{Wire: n.Wire, Name: name, Type: typ, DO: do})
	if a.Dynamic || !a.Authoritative {
		return &body{do: do, slow: true}
	}
	full := dns.Msg{Compress: true, Answer: a.Answer, Ns: a.Ns, Extra: a.Extra, Question: []dns.Question{{Name: name, Qtype: typ, Qclass: dns.ClassINET}}}
	packed, err := full.Pack()
	if err != nil {
		return &body{do: do, slow: true}
	}
	return &body{do: do, head: flagAA | uint16(a.Rcode), data: packed[headerLen+len(n.Wire)+4:],
		counts: [3]uint16{uint16(len(a.Answer)), uint16(len(a.Ns)), uint16(len(a.Extra))}}
}

// fastChoice answers for a dynamic name that has no signature.
func (w *worker) fastChoice(b []byte, z *served, n *zone.Node) ([]byte, bool) {
	typ := w.req.typ
	if typ != dns.TypeA && typ != dns.TypeAAAA {
		return b, false
	}
	q := w.ready()
	q.Name = w.req.name()
	c := n.Chooser().Choose(q)
	if c.Pool == nil {
		return b, false
	}
	data, count := c.Pool.Packed(typ, q.Rand)
	if n.AsName(c.Pool) {
		if strings.HasSuffix(c.Pool.Target(), z.apex()) {
			return b, false // to be followed
		}
		data, count = c.Pool.PackedName(), 1
	}
	if count == 0 {
		w.stats.dynamic.Add(1)
		return w.none(b, z, dns.RcodeSuccess, c.Scope)
	}
	w.stats.dynamic.Add(1)
	b = w.head(b, flagAA, 0)
	b = append(b, data...)
	b[7] = byte(count)
	return w.finishFast(b, z, 0, c.Scope, false)
}

// apex is the wire name of the zone.
func (z *served) apex() string { return z.Zone.Wire() }

// none is a negative answer without signatures.
func (w *worker) none(b []byte, z *served, rcode int, scope uint8) ([]byte, bool) {
	b = w.head(b, flagAA, rcode)
	at := len(b)
	b = append(b, z.negative...)
	b[at+1] = byte(headerLen + w.req.nameLen - z.apexLen)
	b[at] = 0xc0 | byte((headerLen+w.req.nameLen-z.apexLen)>>8)
	b[9] = 1
	return w.finishFast(b, z, rcode, scope, true)
}

// finishFast adds OPT and applies limits. An answer that does not fit is left
// to the slow path.
func (w *worker) finishFast(b []byte, z *served, rcode int, scope uint8, failed bool) ([]byte, bool) {
	r := &w.req
	if r.edns {
		b = w.appendOPT(b, r, &extra{rcode: rcode, scope: scope, ede: noEDE})
		b[11]++
	}
	if len(b) > w.limit() {
		return b[:0], false
	}
	w.stats.fast.Add(1)
	w.count(rcode)
	if !w.udp || w.srv.limiter.buckets == nil {
		return b, true
	}
	what := z.errorKind[rcode/dns.RcodeNameError]
	if !failed {
		what = hashName(r.name(), r.typ)
	}
	return w.limited(b, what, failed), true
}
