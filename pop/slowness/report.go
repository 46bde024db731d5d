package slowness

import (
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

// Network is what is known of a client network: of one /24 or /48, or of a
// wider one of which each part is sparse or all parts are alike.
type Network struct {
	Prefix  netip.Prefix   `json:"network"`
	Class   Class          `json:"class"` // of most of its samples
	Slow    bool           `json:"slow"`
	Sure    float64        `json:"confidence"` // lower bound of the share of that class, or of slow samples, with 90 % confidence
	Samples int            `json:"samples"`    // that count still
	ByClass [classes]int32 `json:"-"`
	Clients int            `json:"clients"` // at least so many have sent what says something
	// Outvoted: most samples are slow, but of clients that have sent more than others.
	Outvoted bool `json:"outvoted,omitempty"`
	// Rates that 10, 50 and 90 % of the samples do not exceed, in bytes a second.
	P10, P50, P90 float64
	Limited       float64       `json:"receiver_limited"` // share of busy time
	RTT, MinRTT   time.Duration // mean of the smoothed ones, and the least
	Loss          float64       `json:"loss"`
	Seen          time.Time     `json:"seen"` // last sample, to the minute
}

// Report is a judgement of all networks at one time, in order of address.
type Report struct {
	At       time.Time
	Networks []Network
	// Unsure is how many networks have too few samples to be judged, even
	// together with their neighbours.
	Unsure int
}

// widest is how far networks are merged upward: to /16 and /32.
const (
	widest4 = 24 - 16
	widest6 = 48 - 32
)

// report judges sorted records.
func report(o *Options, recs []record, now time.Time) *Report {
	r := &reporter{o: o, out: Report{At: now}, rates: newSketches()}
	for len(recs) > 0 {
		cut := widest6
		if recs[0].key&isV4 != 0 {
			cut = widest4
		}
		n := group(recs, cut)
		r.out.Networks = append(r.out.Networks, r.node(recs[:n], cut).parts...)
		recs = recs[n:]
	}
	r.out.Networks = slices.DeleteFunc(r.out.Networks, func(n Network) bool {
		few := n.Class == Unclear
		if few {
			r.out.Unsure++
		}
		return few
	})
	return &r.out
}

// group is how many of the first records are of the same network with n bits cut off.
func group(recs []record, cut int) int {
	for i := range recs {
		if recs[i].key>>cut != recs[0].key>>cut {
			return i
		}
	}
	return len(recs)
}

type reporter struct {
	o     *Options
	out   Report
	rates *sketches
}

// node is a network with its records added up, and what it is to be told as.
type node struct {
	all   sum
	parts []Network
}

// node judges the network of some records that are alike but for the last bits.
// Halves that are told as one network each, and of which one is sparse or both
// are alike, are told as one; others stay apart.
func (r *reporter) node(recs []record, cut int) node {
	if len(recs) == 1 { // a wider network would say no more than this one
		cut = 0
	} else if top := bits.Len64(uint64(recs[0].key ^ recs[len(recs)-1].key)); top < cut {
		cut = top
	}
	if cut == 0 {
		var n node
		n.all.network(recs)
		n.parts = []Network{r.judge(recs[0].key.prefix(0), &n.all)}
		return n
	}
	at := group(recs, cut-1)
	a, b := r.node(recs[:at], cut-1), r.node(recs[at:], cut-1)
	n := node{all: a.all}
	n.all.add(&b.all, r.rates)
	if len(a.parts) == 1 && len(b.parts) == 1 {
		x, y := a.parts[0], b.parts[0]
		whole := r.judge(recs[0].key.prefix(cut), &n.all)
		sparse := x.Class == Unclear || y.Class == Unclear
		alike := whole.Class == x.Class && whole.Class == y.Class && x.Slow == y.Slow && whole.Slow == x.Slow
		if (sparse && agrees(&whole, &x) && agrees(&whole, &y)) || alike {
			n.parts = []Network{whole}
			return n
		}
	}
	n.parts = append(a.parts, b.parts...)
	return n
}

// agrees reports whether a part is told rightly by the whole: what is sparse
// has no opinion.
func agrees(whole, part *Network) bool {
	return part.Class == Unclear || whole.Class == part.Class && whole.Slow == part.Slow
}

// judge says what a network is. Without enough samples it is Unclear.
func (r *reporter) judge(p netip.Prefix, s *sum) Network {
	at := func(share float64) float64 { return r.rates.quantile(&s.rate, share) }
	n := Network{Prefix: p, P10: at(0.1), P50: at(0.5), P90: at(0.9), Seen: time.Unix(int64(s.seen)*60, 0).UTC()}
	total := 0.0
	for _, x := range s.class {
		total += x
	}
	n.Samples, n.Clients = int(total), s.votes.clients
	for i, x := range s.class {
		n.ByClass[i] = int32(x)
	}
	n.RTT = time.Duration(s.rtt / max(total, 1) * float64(time.Millisecond))
	n.MinRTT = time.Duration(s.minRTT * float64(time.Millisecond))
	n.Limited, n.Loss = share(s.receiver, s.busy), share(s.again, s.sent)
	clear := total - s.class[Unclear]
	if clear < float64(r.o.Samples) {
		return n
	}
	slow := s.class[PathSlow] + s.class[ReceiverSlow]
	all := wilson(slow, clear)
	least := all
	if s.votes.clients > 1 {
		least = wilson(s.votes.slow, s.votes.clear)
	}
	wide := p.Bits() < 24 || p.Addr().Is6() && p.Bits() < 48
	if least >= r.o.Sure && wide && n.Clients < several {
		return n
	}
	if least >= r.o.Sure {
		n.Slow, n.Sure = true, least
		n.Class = PathSlow
		if s.class[ReceiverSlow] > s.class[PathSlow] {
			n.Class = ReceiverSlow
		}
		return n
	}
	n.Class, n.Outvoted = Fast, all >= r.o.Sure
	for c := Fast; c < classes; c++ {
		if s.class[c] > s.class[n.Class] {
			n.Class = c
		}
	}
	n.Sure = wilson(s.class[n.Class], clear)
	return n
}

// Why says in words what the judgement stands on.
func (n *Network) Why() string {
	of := n.Samples - int(n.ByClass[Unclear])
	others := ""
	if n.Slow && 2*int(n.ByClass[PathSlow]+n.ByClass[ReceiverSlow]) < of {
		others = fmt.Sprintf("; the others are of few clients, of whom none counts for more than %d", weight)
	}
	count := func(c Class) string { return fmt.Sprintf("%d of %d", n.ByClass[c], of) }
	switch {
	case n.Outvoted:
		return fmt.Sprintf("%d of %d transfers were slow, but of few of its clients, of whom none counts for more than %d", n.ByClass[PathSlow]+n.ByClass[ReceiverSlow], of, weight)
	case n.Class == Unclear:
		return fmt.Sprintf("%d of %d transfers say something: too few to tell", of, n.Samples)
	case n.Slow && n.ByClass[PathSlow] > 0 && n.ByClass[ReceiverSlow] > 0:
		return fmt.Sprintf("%s transfers were limited by the path, %s by clients that read slowly", count(PathSlow), count(ReceiverSlow)) + others
	case n.Class == PathSlow:
		return count(PathSlow) + " transfers were limited by the path" + others
	case n.Class == ReceiverSlow:
		return count(ReceiverSlow) + " transfers were limited by clients that read slowly" + others
	case n.Class == BufferFull:
		return count(BufferFull) + " transfers waited for clients with full buffers"
	case n.Class == Lossy:
		return count(Lossy) + " transfers were limited by losses"
	}
	return count(Fast) + " transfers took what we could send"
}

func share(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return min(1, a/b)
}

// wilson is the lower end of the interval that holds a share with 90 %
// confidence, of which n of total were seen.
func wilson(n, total float64) float64 {
	const z = 1.2816 // one-sided
	p := n / total
	z2 := z * z / total
	return max(0, (p+z2/2-z*math.Sqrt(p*(1-p)/total+z2/total/4))/(1+z2))
}

// Find gives the network of an address.
func (r *Report) Find(a netip.Addr) (Network, bool) {
	a = a.Unmap()
	i, found := slices.BinarySearchFunc(r.Networks, a, func(n Network, a netip.Addr) int {
		if n.Prefix.Contains(a) {
			return 0
		}
		return order(n.Prefix.Addr(), a)
	})
	if !found {
		return Network{}, false
	}
	return r.Networks[i], true
}

// order is that of keys: IPv6 first.
func order(a, b netip.Addr) int {
	if a.Is4() != b.Is4() {
		if a.Is4() {
			return 1
		}
		return -1
	}
	return a.Compare(b)
}
