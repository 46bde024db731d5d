package zone

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Question is what is asked of a zone.
type Question struct {
	Wire  string // the name in wire form, lower case
	Name  string // as it was asked
	Type  uint16
	DO    bool   // with signatures
	Query *Query // for dynamic names; nil: as in a transfer
}

// Reply is what a zone says to a question.
type Reply struct {
	Rcode             int
	Authoritative     bool
	Answer, Ns, Extra []dns.RR
	Dynamic           bool   // a chooser was asked: good for this client only
	Scope             uint8  // then, for whom else
	Failed            string // why a chooser gave nothing; Rcode is SERVFAIL
	Node              *Node  // the node of exactly the name asked, nil if there is none
}

// maxChain is how many CNAMEs are followed.
const maxChain = 8

// answer is a reply being built.
type answer struct {
	Reply
	z *Zone
	q *Question
}

// Ask answers a question for a name at or below the apex.
func (z *Zone) Ask(q *Question) *Reply {
	a := &answer{z: z, q: q, Reply: Reply{Authoritative: true}}
	a.Node = z.nodes[q.Wire]
	wire, name := q.Wire, q.Name
	seen := []string{wire}
	for range maxChain {
		target := a.step(wire, name)
		if target == "" {
			break
		}
		var err error
		if wire, name, err = Wire(target); err != nil || !within(wire, z.apex.Wire) || slices.Contains(seen, wire) {
			break
		}
		seen = append(seen, wire)
	}
	return &a.Reply
}

// step answers for one name and returns the target of a CNAME to go on with.
func (a *answer) step(wire, name string) (target string) {
	n, closest := a.z.Find([]byte(wire))
	if cut := delegation(n, closest, a.q.Type); cut != nil {
		a.refer(cut)
		return ""
	}
	if n != nil {
		return a.at(n, name, nil)
	}
	if closest.wild == nil {
		a.Rcode = dns.RcodeNameError
		a.negative()
		a.deny(wire)
		a.deny("\x01*" + closest.Wire)
		return ""
	}
	return a.at(closest.wild, name, &wire)
}

// delegation is the cut that a name is at or below; the parent answers for DS
// at the cut itself (RFC 4035 §3.1.4.1).
func delegation(n, closest *Node, typ uint16) *Node {
	switch {
	case closest.over != nil:
		return closest.over
	case closest.cut && !(n != nil && typ == dns.TypeDS):
		return closest
	}
	return nil
}

// at answers from a node under a name; expanded is that name where the node is
// a wildcard.
func (a *answer) at(n *Node, name string, expanded *string) (target string) {
	sets := n.sets
	if n.dyn != nil {
		more, ok := a.choose(n, name)
		if !ok {
			return ""
		}
		sets = slices.Concat(more, sets)
	}
	typ := a.q.Type
	if expanded != nil && a.q.DO {
		defer func() { a.deny(*expanded) }() // RFC 4035 §3.1.3.3
	}
	if s := find(sets, dns.TypeCNAME); s != nil && typ != dns.TypeCNAME && typ != dns.TypeNSEC && typ != dns.TypeANY && typ != dns.TypeRRSIG {
		a.put(s, n, name)
		return s.RRs[0].(*dns.CNAME).Target
	}
	switch s := find(sets, typ); {
	case s != nil:
		a.put(s, n, name)
	case typ == dns.TypeANY && len(sets) > 0:
		a.put(least(sets), n, name) // RFC 8482 §4.1
	case typ == dns.TypeRRSIG && len(sets) > 0 && a.z.signer != nil:
		a.put(least(sets), n, name)
		a.Answer = slices.DeleteFunc(a.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype != typ })
	case typ == dns.TypeNSEC && a.z.signer != nil && a.nsec(n, sets) != nil:
		a.put(a.nsec(n, sets), n, name)
	default:
		a.negative()
		if a.signing() {
			a.denyType(n, sets)
		}
	}
	return ""
}

// least is the set with the fewest records.
func least(sets []*Set) *Set {
	return slices.MinFunc(sets, func(a, b *Set) int { return len(a.RRs) - len(b.RRs) })
}

// choose asks a dynamic name's chooser.
func (a *answer) choose(n *Node, name string) (sets []*Set, ok bool) {
	q := a.q.Query
	if q == nil {
		q = &Query{}
	}
	wire, _, _ := Wire(name)
	q.Name = []byte(wire)
	c := n.dyn.Choose(q)
	a.Dynamic = true
	a.Scope = max(a.Scope, c.Scope)
	if c.Pool == nil {
		a.Rcode, a.Failed, a.Authoritative = dns.RcodeServerFailure, c.Why, false
		a.Answer, a.Ns = nil, nil
		return nil, false
	}
	if n.AsName(c.Pool) {
		return []*Set{n.cname(c.Pool)}, true
	}
	for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if rrs := c.Pool.records(n.name, t, q.Rand); len(rrs) > 0 {
			sets = append(sets, &Set{Type: t, RRs: rrs})
		}
	}
	return sets, true
}

func (a *answer) signing() bool { return a.q.DO && a.z.signer != nil }

// put adds a set to the answer, owned by name.
func (a *answer) put(s *Set, n *Node, name string) {
	for _, rr := range s.RRs {
		a.Answer = append(a.Answer, owned(rr, name))
	}
	if a.signing() || a.q.Type == dns.TypeRRSIG && a.z.signer != nil {
		if sig := a.z.signature(s, n); sig != nil {
			a.Answer = append(a.Answer, owned(sig, name))
		}
	}
}

// signature signs a set of the version, or one made for this answer.
func (z *Zone) signature(s *Set, n *Node) *dns.RRSIG {
	if n.dyn != nil && !slices.Contains(n.sets, s) {
		return z.signer.signFresh(s)
	}
	return z.signer.sign(s)
}

// owned is a record under another spelling of its owner.
func owned(rr dns.RR, name string) dns.RR {
	if rr.Header().Name == name {
		return rr
	}
	rr = dns.Copy(rr)
	rr.Header().Name = name
	return rr
}

// negative adds the SOA of a negative answer (RFC 2308 §3).
func (a *answer) negative() {
	soa := a.z.SOA()
	soa.Hdr.Ttl = a.z.negTTL
	a.Ns = append(a.Ns, soa)
	if a.signing() {
		if sig := a.z.signer.sign(a.z.apex.set(dns.TypeSOA)); sig != nil {
			sig = dns.Copy(sig).(*dns.RRSIG)
			sig.Hdr.Ttl = a.z.negTTL
			a.Ns = append(a.Ns, sig)
		}
	}
}

// refer hands on to a delegated zone, with what addresses of its servers are
// in this one (RFC 9471: all of them).
func (a *answer) refer(cut *Node) {
	if len(a.Answer) > 0 {
		return // the end of a chain of CNAMEs: the resolver asks itself
	}
	a.Authoritative = false
	ns := cut.set(dns.TypeNS)
	a.Ns = append(a.Ns, ns.RRs...)
	if a.signing() {
		a.referSigned(cut)
	}
	for _, rr := range ns.RRs {
		wire, _, err := Wire(rr.(*dns.NS).Ns)
		if err != nil || !within(wire, a.z.apex.Wire) {
			continue
		}
		if n := a.z.nodes[wire]; n != nil {
			for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
				if s := n.set(t); s != nil {
					a.Extra = append(a.Extra, s.RRs...)
				}
			}
		}
	}
}

func (a *answer) referSigned(cut *Node) {
	if ds := cut.set(dns.TypeDS); ds != nil {
		a.Ns = append(a.Ns, ds.RRs...)
		if sig := a.z.signer.sign(ds); sig != nil {
			a.Ns = append(a.Ns, sig)
		}
		return
	}
	a.denyType(cut, cut.sets)
}

// deny adds the NSEC record whose gap a name is in.
func (a *answer) deny(wire string) {
	if !a.signing() {
		return
	}
	key := orderKey(wire)
	i, ok := slices.BinarySearchFunc(a.z.order, key, func(n *Node, k string) int { return strings.Compare(n.key, k) })
	if !ok {
		i = (i - 1 + len(a.z.order)) % len(a.z.order)
	}
	a.prove(a.z.order[i], a.z.signer.nsec[i])
}

// denyType adds the NSEC record of a node that lacks the type; for an empty
// non-terminal it is the one before.
func (a *answer) denyType(n *Node, sets []*Set) {
	if s := a.nsec(n, sets); s != nil {
		a.prove(n, s)
		return
	}
	a.deny(n.Wire)
}

// nsec returns the NSEC record of a node as it is for this client.
func (a *answer) nsec(n *Node, sets []*Set) *Set {
	i, ok := slices.BinarySearchFunc(a.z.order, n.key, func(n *Node, k string) int { return strings.Compare(n.key, k) })
	if !ok {
		return nil
	}
	s := a.z.signer.nsec[i]
	if n.dyn == nil {
		return s
	}
	old := s.RRs[0].(*dns.NSEC)
	now := a.z.nsecOf(n, old.NextDomain, sets)
	if slices.Equal(old.TypeBitMap, now.TypeBitMap) {
		return s
	}
	return &Set{Type: dns.TypeNSEC, RRs: []dns.RR{now}}
}

// prove adds an NSEC record with its signature to the authority section, once.
func (a *answer) prove(n *Node, s *Set) {
	if slices.Contains(a.Ns, s.RRs[0]) {
		return
	}
	sign := a.z.signer.sign
	if n.dyn != nil {
		sign = a.z.signer.signFresh
	}
	if sig := sign(s); sig != nil {
		a.Ns = append(a.Ns, s.RRs[0], sig)
	}
}
