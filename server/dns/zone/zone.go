package zone

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
)

// Set is the records of one name and type.
type Set struct {
	Type uint16
	RRs  []dns.RR
	sig  atomic.Pointer[dns.RRSIG]
}

// Node is one name of a zone.
type Node struct {
	Wire string // lower case
	ID   int    // dense, from 0: for what a server keeps beside a version
	name string // presentation
	key  string // orders as RFC 4034 §6.1
	sets []*Set // by type
	dyn  Chooser
	def  []*Set // of a dynamic name in a transfer
	cut  bool   // a delegation
	over *Node  // the delegation above, nil if there is none: this is glue
	wild *Node  // the wildcard below
}

// Zone is one version of a zone; it never changes.
type Zone struct {
	Apex   string // canonical
	Serial uint32
	apex   *Node
	soa    *dns.SOA
	negTTL uint32
	nodes  map[string]*Node
	order  []*Node // owners of NSEC, or what a transfer lists, in canonical order
	signer *signer // nil: not signed
}

// Dynamic names a name whose addresses are chosen for each question.
type Dynamic struct {
	Name    string // absolute; may begin with "*."
	Chooser Chooser
}

// Options of [Build].
type Options struct {
	Dynamic []Dynamic
	Key     *Key  // sign; nil: do not
	Epoch   Epoch // of the signatures
}

// Build makes a version of a zone from its file and the dynamic names.
func Build(s *Source, o Options) (*Zone, error) {
	wire, _, err := Wire(s.Apex)
	if err != nil {
		return nil, err
	}
	z := &Zone{Apex: s.Apex, nodes: make(map[string]*Node, len(s.records)), soa: dns.Copy(s.SOA).(*dns.SOA)}
	if o.Key != nil {
		z.soa.Serial += o.Epoch.number()
	}
	z.Serial = z.soa.Serial
	z.negTTL = min(z.soa.Hdr.Ttl, z.soa.Minttl)
	z.apex = z.node(wire)
	for _, e := range s.records {
		rr := e.rr
		if rr.Header().Rrtype == dns.TypeSOA {
			rr = z.soa
		}
		z.node(e.wire).add(rr)
	}
	var errs []error
	for _, d := range o.Dynamic {
		errs = append(errs, z.dynamic(d))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("zone %s: %w", z.Apex, err)
	}
	if o.Key != nil {
		if z.signer, err = newSigner(o.Key, z.Apex, o.Epoch); err != nil {
			return nil, fmt.Errorf("zone %s: %w", z.Apex, err)
		}
		for _, rr := range z.signer.records(z.soa.Hdr.Ttl) {
			z.apex.add(rr)
		}
	}
	z.link()
	return z, nil
}

// node returns the node of a wire name at or below the apex, made with all
// that are missing between (empty non-terminals).
func (z *Zone) node(wire string) *Node {
	if n := z.nodes[wire]; n != nil {
		return n
	}
	name, _, _ := dns.UnpackDomainName([]byte(wire), 0)
	n := &Node{Wire: wire, name: name, ID: len(z.nodes), key: orderKey(wire)}
	z.nodes[wire] = n
	if z.apex != nil {
		z.node(wire[1+wire[0]:])
	}
	return n
}

// add puts a record into its set, once; a set has one TTL, the least (RFC 2181
// §5.2).
func (n *Node) add(rr dns.RR) {
	t := rr.Header().Rrtype
	i, ok := slices.BinarySearchFunc(n.sets, t, func(s *Set, t uint16) int { return int(s.Type) - int(t) })
	if !ok {
		n.sets = slices.Insert(n.sets, i, &Set{Type: t})
	}
	s := n.sets[i]
	ttl := rr.Header().Ttl
	for _, old := range s.RRs {
		if dns.IsDuplicate(old, rr) {
			return
		}
		ttl = min(ttl, old.Header().Ttl)
	}
	s.RRs = append(s.RRs, rr)
	for _, r := range s.RRs {
		if r.Header().Ttl != ttl { // the records may be of a version that is served
			r.Header().Ttl = ttl
		}
	}
	n.cut = n.cut || t == dns.TypeNS
}

// set returns the set of a type, nil if there is none.
func (n *Node) set(t uint16) *Set { return find(n.sets, t) }

func find(sets []*Set, t uint16) *Set {
	for _, s := range sets {
		if s.Type == t {
			return s
		}
	}
	return nil
}

// dynamic takes a dynamic name into the zone.
func (z *Zone) dynamic(d Dynamic) error {
	wire, name, err := Wire(d.Name)
	if err != nil {
		return err
	}
	if !within(wire, z.apex.Wire) {
		return fmt.Errorf("dynamic name %s is outside the zone", name)
	}
	n := z.node(wire)
	switch {
	case n.dyn != nil:
		return fmt.Errorf("dynamic name %s: twice", name)
	case n.set(dns.TypeA) != nil || n.set(dns.TypeAAAA) != nil || n.set(dns.TypeCNAME) != nil:
		return fmt.Errorf("dynamic name %s: the zone file has addresses or a CNAME for it", name)
	case n.cut && n != z.apex:
		return fmt.Errorf("dynamic name %s: it is delegated", name)
	}
	n.dyn = d.Chooser
	if p := d.Chooser.Choose(&Query{}).Pool; p != nil {
		n.def = n.dynamicSets(p)
	}
	return nil
}

// dynamicSets are what a secondary is given of a pool.
func (n *Node) dynamicSets(p *Pool) []*Set {
	if n.AsName(p) {
		return []*Set{n.cname(p)}
	}
	var out []*Set
	for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if rrs := p.records(n.name, t, 0); len(rrs) > 0 {
			out = append(out, &Set{Type: t, RRs: rrs})
		}
	}
	return out
}

func (n *Node) cname(p *Pool) *Set {
	h := dns.RR_Header{Name: n.name, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: p.TTL}
	return &Set{Type: dns.TypeCNAME, RRs: []dns.RR{&dns.CNAME{Hdr: h, Target: p.Name}}}
}

// link finds delegations above names, wildcards, and the order of names.
func (z *Zone) link() {
	z.apex.cut = false
	for _, n := range z.nodes {
		if n == z.apex {
			continue
		}
		up := n
		for up != z.apex {
			up = z.nodes[up.Wire[1+up.Wire[0]:]]
			if up.cut {
				n.over = up // the highest wins: the walk goes on upward
			}
		}
		if strings.HasPrefix(n.Wire, "\x01*") {
			z.nodes[n.Wire[2:]].wild = n
		}
	}
	for _, n := range z.nodes {
		if len(n.sets) > 0 || n.dyn != nil {
			z.order = append(z.order, n)
		}
	}
	slices.SortFunc(z.order, func(a, b *Node) int { return strings.Compare(a.key, b.key) })
	if z.signer != nil {
		z.signer.chain(z)
	}
}

// Len is how many names the zone has; IDs of nodes are below it.
func (z *Zone) Len() int { return len(z.nodes) }

// Signed says whether the zone is signed.
func (z *Zone) Signed() bool { return z.signer != nil }

// Wire is the apex in wire form, lower case.
func (z *Zone) Wire() string { return z.apex.Wire }

// Find returns the node of a wire name in lower case at or below the apex, or
// nil, and the closest node at or above it.
func (z *Zone) Find(wire []byte) (n, closest *Node) {
	if n := z.nodes[string(wire)]; n != nil {
		return n, n
	}
	for {
		wire = wire[1+wire[0]:]
		if n := z.nodes[string(wire)]; n != nil {
			return nil, n
		}
	}
}

// Name is the node's name in canonical form.
func (n *Node) Name() string { return n.name }

// Chooser is what decides for a dynamic name, nil for others.
func (n *Node) Chooser() Chooser { return n.dyn }

// Wildcard is the wildcard right below the node, nil if there is none.
func (n *Node) Wildcard() *Node { return n.wild }

// Delegated says whether the node is a delegation or below one.
func (n *Node) Delegated() bool { return n.cut || n.over != nil }

// Has says whether a question for a type gets an answer from the node's
// records: those of the type, or a CNAME.
func (n *Node) Has(typ uint16) bool {
	return n.set(typ) != nil || n.set(dns.TypeCNAME) != nil
}

// AsName says whether a pool is given as a CNAME at this name: not beside other
// records.
func (n *Node) AsName(p *Pool) bool { return p.Name != "" && len(n.sets) == 0 }

// SOA returns the record of the apex.
func (z *Zone) SOA() *dns.SOA { return dns.Copy(z.soa).(*dns.SOA) }

// NegativeTTL is how long a negative answer may be kept (RFC 2308 §5).
func (z *Zone) NegativeTTL() uint32 { return z.negTTL }

// orderKey turns a wire name into a string that orders as RFC 4034 §6.1 has
// it: labels from the right, each ended by 0; 0 and 1 inside are escaped.
func orderKey(wire string) string {
	var labels []string
	for i := 0; wire[i] != 0; i += 1 + int(wire[i]) {
		labels = append(labels, wire[i+1:i+1+int(wire[i])])
	}
	b := make([]byte, 0, len(wire)+4)
	for _, l := range slices.Backward(labels) {
		for _, c := range []byte(l) {
			if c <= 1 {
				b = append(b, 1)
				c++
			}
			b = append(b, c)
		}
		b = append(b, 0)
	}
	return string(b)
}
