package zone

import (
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Records lists the zone as a secondary gets it, without the SOA that frames
// it: names in canonical order, dynamic ones with their default, and glue.
func (z *Zone) Records() iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		for _, n := range z.listed() {
			for rr := range z.recordsOf(n) {
				if rr != dns.RR(z.soa) && !yield(rr) {
					return
				}
			}
		}
	}
}

// listed are all nodes with records, glue too.
func (z *Zone) listed() []*Node {
	if z.signer == nil {
		return z.order
	}
	out := slices.Clone(z.order)
	for _, n := range z.nodes {
		if n.over != nil && len(n.sets) > 0 {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *Node) int { return strings.Compare(a.key, b.key) })
	return out
}

// recordsOf yields the records of a node and the signatures over them.
func (z *Zone) recordsOf(n *Node) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		for _, s := range z.setsOf(n) {
			for rr := range z.recordsOfSet(place{n, s}) {
				if !yield(rr) {
					return
				}
			}
		}
	}
}

// recordsOfSet yields those of a set, and their signature.
func (z *Zone) recordsOfSet(p place) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		for _, rr := range p.set.RRs {
			if !yield(rr) {
				return
			}
		}
		if z.signs(p) {
			if sig := z.signer.sign(p.set); sig != nil {
				yield(sig)
			}
		}
	}
}

// setsOf are the sets of a node that a secondary gets.
func (z *Zone) setsOf(n *Node) []*Set {
	sets := slices.Concat(n.sets, n.def)
	if z.signer != nil && n.over == nil {
		if i, ok := slices.BinarySearchFunc(z.order, n.key, func(n *Node, k string) int { return strings.Compare(n.key, k) }); ok {
			sets = append(sets, z.signer.nsec[i])
		}
	}
	return sets
}

// signs says whether a set has a signature.
func (z *Zone) signs(p place) bool {
	return z.signer != nil && p.node.over == nil && (!p.node.cut || p.set.Type == dns.TypeDS || p.set.Type == dns.TypeNSEC)
}

// Diff is what changed from one version to the next (RFC 1995).
type Diff struct {
	From, To       *dns.SOA
	Removed, Added []dns.RR
}

// MaxDiff is how many records a difference may have; larger ones are sent as a
// whole zone.
const MaxDiff = 20_000

var errLarge = errors.New("too many differences")

// Compare returns what changed between two versions, both signed or neither.
// A signature is made of the set, the key and the epoch alone (RFC 6979): those
// of sets that stayed are the same, and need not be made to know it.
func Compare(from, to *Zone) (*Diff, error) {
	if from.Signed() != to.Signed() {
		return nil, errors.New("one of them is signed")
	}
	old := from.texts()
	var come, gone []place
	n := 0
	for key, p := range to.texts() {
		if was, ok := old[key]; ok && from.signs(was) == to.signs(p) && (!to.signs(p) || from.signer.like(to.signer)) {
			delete(old, key)
			continue
		}
		come = append(come, p)
		n += len(p.set.RRs)
	}
	for _, p := range old {
		gone = append(gone, p)
		n += len(p.set.RRs)
	}
	if n > 2*MaxDiff { // before anything is signed
		return nil, errLarge
	}
	a, b := from.records(gone), to.records(come)
	d := &Diff{From: from.soa, To: to.soa, Removed: without(a, b), Added: without(b, a)}
	if len(d.Removed)+len(d.Added) > MaxDiff {
		return nil, errLarge
	}
	return d, nil
}

// place is a set with the node that it is of.
type place struct {
	node *Node
	set  *Set
}

// texts are the sets that a secondary gets, by all that they say.
func (z *Zone) texts() map[string]place {
	out := map[string]place{}
	for _, n := range z.listed() {
		for _, s := range z.setsOf(n) {
			var lines []string
			for _, rr := range s.RRs {
				lines = append(lines, rr.String())
			}
			slices.Sort(lines)
			out[strings.Join(lines, "\n")] = place{n, s}
		}
	}
	return out
}

// records are those of sets with their signatures, but for the SOA, by what
// they say.
func (z *Zone) records(places []place) map[string]dns.RR {
	out := map[string]dns.RR{}
	for _, p := range places {
		for rr := range z.recordsOfSet(p) {
			if rr.Header().Rrtype != dns.TypeSOA {
				out[rr.String()] = rr
			}
		}
	}
	return out
}

func without(a, b map[string]dns.RR) (out []dns.RR) {
	for s, rr := range a {
		if b[s] == nil {
			out = append(out, rr)
		}
	}
	return out
}

// Same says whether two versions hold the same for a secondary, but for the
// SOA.
func Same(a, b *Zone) bool {
	d, err := Compare(a, b)
	if err != nil {
		return false
	}
	data := func(rr dns.RR) bool {
		sig, ok := rr.(*dns.RRSIG)
		return !ok || sig.TypeCovered != dns.TypeSOA
	}
	return !slices.ContainsFunc(d.Removed, data) && !slices.ContainsFunc(d.Added, data)
}
