// Package steered joins the four-step choice of policy/steer to the DNS server:
// each steered name gets a [zone.Chooser], and for each state of the POPs the
// answers are made in advance, so that a question costs a look-up and a throw
// of the dice.
//
// A [Names] follows the state by [Names.Set]; questions go on meanwhile with
// what was before. It decides nothing itself and starts nothing.
package steered

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/server/dns/zone"
)

// Options of [New]. Zero values mean the default.
type Options struct {
	TTL      time.Duration // of answers; default 30 s
	Variants int           // answers made in advance for each POP and family; default 16
	Unicast  []netip.Addr  // addresses of this server that are not anycast
}

// Names are the steered names of one configuration. They may be used by any
// number of goroutines.
type Names struct {
	opt     Options
	rules   []steer.Rule
	label   string // slow label in wire form
	class   []int  // by rule: rules of a class have the same answers of a POP
	classes []int  // a rule of each class
	pops    int
	now     atomic.Pointer[state]
	counts  [shards][]atomic.Uint64 // by why, the nearest POP and the one given
}

// state is a state of the POPs with its answers.
type state struct {
	live  *steer.Live
	slow  *steer.Slow
	pools []*zone.Pool // by class, kind and POP
}

// kinds of a question that an answer of a POP depends on.
const (
	usual   = iota
	slow    // under the slow label, at an anycast address
	unicast // under the slow label, at a unicast address
	kinds
)

// New makes the names of a configuration, in a first state. The state must be
// of a Chooser that was made of the configuration.
func New(c *steer.Config, live *steer.Live, slow *steer.Slow, o Options) (*Names, error) {
	if o.TTL == 0 {
		o.TTL = 30 * time.Second
	}
	if o.Variants == 0 {
		o.Variants = 16
	}
	if o.Variants < 0 || o.Variants > zone.MaxVariants || o.TTL < 0 {
		return nil, fmt.Errorf("steered names: %d variants, TTL %v", o.Variants, o.TTL)
	}
	n := &Names{opt: o, rules: c.Rules, pops: len(c.POPs)}
	if c.SlowLabel != "" {
		n.label = string(rune(len(c.SlowLabel))) + strings.ToLower(c.SlowLabel)
	}
	type sort struct {
		max    int
		direct bool
	}
	var sorts []sort
	for i, r := range c.Rules {
		s := sort{r.Max, r.Direct}
		at := slices.Index(sorts, s)
		if at < 0 {
			at = len(sorts)
			sorts = append(sorts, s)
			n.classes = append(n.classes, i)
		}
		n.class = append(n.class, at)
	}
	for i := range n.counts {
		n.counts[i] = make([]atomic.Uint64, int(whys)*n.pops*n.pops)
	}
	if err := n.Set(live, slow); err != nil {
		return nil, err
	}
	return n, nil
}

// Set puts a state in force. It makes all answers anew; on an error the old
// state stays. Slow is what the state was made with; it may be nil.
func (n *Names) Set(live *steer.Live, slow *steer.Slow) error {
	if live.Chooser().Rules() != len(n.rules) {
		return errors.New("steered names: the state is of another configuration")
	}
	s := &state{live: live, slow: slow, pools: make([]*zone.Pool, len(n.classes)*kinds*n.pops)}
	for i := range s.pools {
		var err error
		if s.pools[i], err = n.pool(live, i); err != nil {
			return fmt.Errorf("steered names: %w", err)
		}
	}
	n.now.Store(s)
	return nil
}

func (n *Names) index(class, kind, pop int) int { return (class*kinds+kind)*n.pops + pop }

// pool makes the answers of a POP; nil: it has none.
func (n *Names) pool(live *steer.Live, i int) (*zone.Pool, error) {
	pop, kind := i%n.pops, i/n.pops%kinds
	q := steer.Question{Rule: n.classes[i/n.pops/kinds], SlowName: kind != usual, Unicast: kind == unicast, Resolver: netip.IPv4Unspecified()}
	var sets [2][][]netip.Addr
	id := ""
	random := rand.NewPCG(uint64(i), 1) // the same state gives the same answers everywhere
	for family := range sets {
		for range n.opt.Variants {
			q.V6, q.Seed = family == 1, random.Uint64()
			a := live.Of(&q, 1, pop)
			id = string(a.POP)
			if a.Target != "" {
				return zone.NewPool(id, n.opt.TTL, nil, nil, a.Target)
			}
			if set := a.Addresses(); len(set) > 0 {
				sets[family] = append(sets[family], slices.Clone(set))
			}
		}
	}
	if len(sets[0])+len(sets[1]) == 0 {
		return nil, nil // neither addresses nor a name: nobody is sent there
	}
	return zone.NewPool(id, n.opt.TTL, sets[0], sets[1], "")
}

// Dynamic gives the names of the rules that are at or below an apex, as a zone
// needs them: each, and under the slow label.
func (n *Names) Dynamic(apex string) ([]zone.Dynamic, error) {
	_, apex, err := zone.Wire(apex)
	if err != nil {
		return nil, err
	}
	var out []zone.Dynamic
	for i, r := range n.rules {
		_, name, err := zone.Wire(r.Name)
		if err != nil {
			return nil, fmt.Errorf("steered name: %w", err)
		}
		if name != apex && !strings.HasSuffix(name, "."+apex) {
			continue
		}
		wild := strings.HasPrefix(name, "*.")
		out = append(out, zone.Dynamic{Name: name, Chooser: &chooser{names: n, rule: i, wild: wild}})
		if n.label != "" && !wild {
			out = append(out, zone.Dynamic{Name: n.label[1:] + "." + name, Chooser: &chooser{names: n, rule: i, slow: true}})
		}
	}
	return out, nil
}

// chooser is one name.
type chooser struct {
	names *Names
	rule  int
	wild  bool // the name asked says whether it is under the slow label
	slow  bool
}

// Choose makes the choice. It allocates nothing.
func (c *chooser) Choose(q *zone.Query) zone.Choice {
	n := c.names
	s := n.now.Load()
	sq := steer.Question{Rule: c.rule, SlowName: c.slow || c.wild && c.labelled(q.Name), Resolver: q.Resolver}
	if q.Subnet {
		sq.Client = netip.PrefixFrom(q.Client, int(q.Bits))
	}
	if !q.Resolver.IsValid() {
		sq.Resolver = netip.IPv4Unspecified()
	}
	kind := usual
	if sq.SlowName {
		kind = slow
		if slices.Contains(n.opt.Unicast, q.Local) {
			kind, sq.Unicast = unicast, true
		}
	}
	place, scope := s.live.Chooser().Place(&sq, s.slow)
	share := draw(s.live.Shares(place), q.Rand)
	pop := share.POP
	n.count(s.live, place, share, sq.SlowName, q.Rand)
	p := s.pools[n.index(n.class[c.rule], kind, pop)]
	if p == nil {
		return zone.Choice{Scope: uint8(scope), Why: "no POP can serve the client"}
	}
	return zone.Choice{Pool: p, Scope: uint8(scope)}
}

// labelled says whether a name is under the slow label.
func (c *chooser) labelled(name []byte) bool {
	l := c.names.label
	return l != "" && len(name) > len(l) && string(name[:len(l)]) == l
}

// draw takes a POP by its share. The low bits of the random number choose
// among the variants of its answers, the high ones here.
func draw(shares []steer.Share, random uint64) *steer.Share {
	u := float64(random>>11) / (1 << 53)
	for i := range shares {
		if u -= shares[i].Share; u < 0 {
			return &shares[i]
		}
	}
	return &shares[len(shares)-1]
}
