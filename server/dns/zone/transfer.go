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
		sets := slices.Concat(n.sets, n.def)
		if z.signer != nil && n.over == nil {
			if i, ok := slices.BinarySearchFunc(z.order, n.key, func(n *Node, k string) int { return strings.Compare(n.key, k) }); ok {
				sets = append(sets, z.signer.nsec[i])
			}
		}
		for _, s := range sets {
			for _, rr := range s.RRs {
				if !yield(rr) {
					return
				}
			}
			if z.signer == nil || n.over != nil || n.cut && s.Type != dns.TypeDS && s.Type != dns.TypeNSEC {
				continue
			}
			if sig := z.signer.sign(s); sig != nil && !yield(sig) {
				return
			}
		}
	}
}

// Diff is what changed from one version to the next (RFC 1995).
type Diff struct {
	From, To       *dns.SOA
	Removed, Added []dns.RR
}

// MaxDiff is how many records a difference may have; larger ones are sent as a
// whole zone.
const MaxDiff = 20_000

// Compare returns what changed between two versions that are not signed.
func Compare(from, to *Zone) (*Diff, error) {
	if from.signer != nil || to.signer != nil {
		return nil, errors.New("no differences of signed zones")
	}
	d := &Diff{From: from.soa, To: to.soa}
	old := map[string]dns.RR{}
	for rr := range from.Records() {
		old[rr.String()] = rr
	}
	for rr := range to.Records() {
		if s := rr.String(); old[s] != nil {
			delete(old, s)
		} else {
			d.Added = append(d.Added, rr)
		}
	}
	for _, rr := range old {
		d.Removed = append(d.Removed, rr)
	}
	if len(d.Removed)+len(d.Added) > MaxDiff {
		return nil, errors.New("too many differences")
	}
	return d, nil
}
