package steer

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/catchment/catchment/policy"
)

// asIssue is the choice written down once more, as the operator is told it and
// without any map or table: whom a question goes to, with which shares.
func asIssue(cfg Config, nets []network, slow []network, s State, q *Question) map[policy.POPID]float64 {
	r := cfg.Rules[q.Rule]
	by, loc := q.Resolver, ""
	dest := func(loc string) (string, bool) {
		for _, o := range overridesOf(cfg, r) {
			if o.Location == loc || o.Location == "" {
				return o.Destination, true
			}
		}
		for _, l := range cfg.Locations {
			if l.Name == loc {
				return l.Destination, true
			}
		}
		return "", false
	}
	d, ok := "", false
	if q.ecs() {
		by = q.Client.Addr()
		if loc = slowly(nets, by); loc != "" {
			d, ok = dest(loc)
		}
	}
	if !ok {
		if loc = slowly(nets, q.Resolver); loc != "" {
			d, ok = dest(loc)
		}
	}
	if !ok {
		i := slices.IndexFunc(cfg.POPs, func(p POP) bool { return p.ID == cfg.Self })
		loc = cfg.POPs[i].Location
		d, ok = dest(loc)
	}
	dst := cfg.Asked
	dst.POPs = []Weighted{{POP: cfg.Self}}
	for _, x := range cfg.Destinations {
		if ok && x.Name == d {
			dst = x
		}
	}
	cheap := q.SlowName || slowly(slow, by) != ""
	for _, l := range cfg.Locations {
		cheap = cheap || l.Name == loc && l.Slow
	}
	var tiers [][]Weighted
	if cheap && len(dst.Cheap) > 0 {
		tiers = append(tiers, dst.Cheap)
	}
	tiers = append(tiers, dst.POPs)
	byTier := map[int][]Weighted{}
	for _, w := range dst.Failover {
		byTier[w.Tier] = append(byTier[w.Tier], w)
	}
	for _, t := range slices.Sorted(maps.Keys(byTier)) {
		tiers = append(tiers, byTier[t])
	}
	if !slices.ContainsFunc(slices.Concat(tiers...), func(w Weighted) bool { return w.POP == cfg.Self }) {
		tiers = append(tiers, []Weighted{{POP: cfg.Self}})
	}
	return sharesOf(cfg, s, tiers)
}

// overridesOf lists the overrides that count for a name, the stronger first; of
// one list a named location goes before the empty one, and the name's word for
// all others before the customer's for one.
func overridesOf(cfg Config, r Rule) []Override {
	named := func(a, b Override) int { return cmp.Compare(b.Location, a.Location) }
	own := slices.SortedFunc(slices.Values(r.Overrides), named)
	for _, c := range cfg.Customers {
		if c.Name == r.Customer && c.Name != "" {
			own = append(own, slices.SortedFunc(slices.Values(c.Overrides), named)...)
		}
	}
	return own
}

func sharesOf(cfg Config, s State, tiers [][]Weighted) map[policy.POPID]float64 {
	at := func(id policy.POPID) int {
		return slices.IndexFunc(cfg.POPs, func(p POP) bool { return p.ID == id })
	}
	good := func(id policy.POPID) int {
		i := at(id)
		p := s.POPs[i]
		anyUp := len(p.Caches) == 0
		for _, c := range p.Caches {
			anyUp = anyUp || !c.Down
		}
		switch {
		case p.Health == policy.Down || !anyUp || cfg.POPs[i].Name == "" && len(p.Caches) == 0:
			return 0
		case p.Health == policy.Unknown || p.Stance != policy.Announce:
			return 1
		case p.Room && p.Headroom < cfg.Headroom:
			return 2
		}
		return 3
	}
	for want := 3; want >= 0; want-- {
		for _, t := range tiers {
			out, sum := map[policy.POPID]float64{}, 0.0
			for _, w := range t {
				if good(w.POP) >= want {
					x := cmp.Or(w.Weight, 1) * cmp.Or(s.POPs[at(w.POP)].Scale, 1)
					out[w.POP] += x
					sum += x
				}
			}
			if sum == 0 {
				continue
			}
			given := map[policy.POPID]float64{}
			for id, x := range out {
				left := 1.0
				for _, o := range s.POPs[at(id)].Offers {
					if o.To == id || at(o.To) < 0 || good(o.To) != 3 {
						continue
					}
					part := math.Min(o.Share, left)
					left -= part
					given[o.To] += part * x / sum
				}
				given[id] += left * x / sum
			}
			maps.DeleteFunc(given, func(_ policy.POPID, x float64) bool { return x == 0 })
			return given
		}
	}
	return nil
}

// randomWorld is a small random configuration with its maps and its state.
func randomWorld(r *rand.Rand) (cfg Config, nets, slow []network, s State) {
	pops := 1 + r.IntN(5)
	id := func() policy.POPID { return policy.POPID(fmt.Sprint("P", r.IntN(pops))) }
	locs, dests := 1+r.IntN(4), 1+r.IntN(4)
	list := func(n int) (out []Weighted) {
		for range n {
			w := Weighted{POP: id(), Weight: float64(r.IntN(4)), Tier: r.IntN(2)}
			if !slices.ContainsFunc(out, func(x Weighted) bool { return x.POP == w.POP }) {
				out = append(out, w)
			}
		}
		return out
	}
	d := func() string { return fmt.Sprint("d", r.IntN(dests)) }
	overrides := func() (out []Override) {
		for i := range locs + 1 {
			if r.IntN(3) == 0 {
				loc := fmt.Sprint("l", i)
				if i == 0 {
					loc = ""
				}
				out = append(out, Override{loc, d()})
			}
		}
		return out
	}
	for i := range pops {
		p := POP{ID: policy.POPID(fmt.Sprint("P", i))}
		if r.IntN(2) == 0 {
			p.Location = fmt.Sprint("l", 1+r.IntN(locs))
		}
		if r.IntN(5) > 0 {
			p.Name = fmt.Sprintf("p%d.example.net.", i)
		}
		cfg.POPs = append(cfg.POPs, p)
		s.POPs = append(s.POPs, randomState(r, id))
	}
	cfg.Self, cfg.Headroom = id(), 0.1
	cfg.Asked = Destination{Failover: list(r.IntN(3)), Cheap: list(r.IntN(2))}
	for i := range dests {
		cfg.Destinations = append(cfg.Destinations, Destination{Name: fmt.Sprint("d", i), POPs: list(1 + r.IntN(3)), Failover: list(r.IntN(4)), Cheap: list(r.IntN(2))})
	}
	for i := range locs {
		cfg.Locations = append(cfg.Locations, Location{fmt.Sprint("l", i+1), d(), r.IntN(6) == 0})
	}
	cfg.Customers = []Customer{{"c", overrides()}}
	cfg.Rules = []Rule{{Name: "plain"}, {Name: "of", Customer: "c"}, {Name: "own", Customer: "c", Overrides: overrides(), Max: 1 + r.IntN(8), Direct: true}}
	return cfg, randomNets(r, 1+r.IntN(12), locs), randomNets(r, 1+r.IntN(6), 1), s
}

func randomState(r *rand.Rand, id func() policy.POPID) POPState {
	p := POPState{Health: policy.Verdict(r.IntN(4)), Stance: policy.Announce, Room: r.IntN(2) == 0, Headroom: r.Float64() * 0.4, Scale: float64(r.IntN(3)) / 2}
	if r.IntN(4) == 0 {
		p.Stance = policy.Action(r.IntN(2))
	}
	for range r.IntN(3) {
		p.Offers = append(p.Offers, Offer{id(), r.Float64()})
	}
	for i := range r.IntN(12) {
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		if r.IntN(2) == 0 {
			a = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(i)})
		}
		p.Caches = append(p.Caches, Cache{a, float64(r.IntN(3)), r.IntN(3) == 0})
	}
	return p
}

func TestChoiceIsAsTheIssueSays(t *testing.T) {
	worlds := 1500
	if testing.Short() {
		worlds = 200
	}
	for n := range worlds {
		r := rand.New(rand.NewPCG(uint64(n), 11))
		cfg, nets, slow, s := randomWorld(r)
		c, err := New(cfg, build(t, nets))
		if err != nil {
			t.Fatal(err)
		}
		l := c.With(s, NewSlow(build(t, slow)))
		for _, a := range probes(r, append(nets, slow...), 20) {
			q := Question{Rule: r.IntN(3), SlowName: r.IntN(4) == 0, Unicast: r.IntN(2) == 0, V6: r.IntN(2) == 0, Seed: r.Uint64()}
			q.Resolver = within(r, nets[r.IntN(len(nets))].p)
			if r.IntN(4) > 0 {
				q.Client = netip.PrefixFrom(a, r.IntN(a.BitLen()+1))
			}
			check(t, n, cfg, nets, slow, s, l, &q)
		}
	}
}

// check compares one choice with the oracle, and looks at what must be so of
// every answer.
func check(t *testing.T, n int, cfg Config, nets, slow []network, s State, l *Live, q *Question) {
	t.Helper()
	want := asIssue(cfg, nets, slow, s, q)
	p, scope := l.c.Place(q, l.slow)
	got := map[policy.POPID]float64{}
	for _, x := range l.Shares(p) {
		got[cfg.POPs[x.POP].ID] += x.Share
	}
	if !maps.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
		_, tr := l.Explain(q, build(t, nets))
		t.Fatalf("world %d: %v, want %v\n%v", n, got, want, tr)
	}
	a := l.Choose(q)
	if got[a.POP] == 0 || a.Place != p || a.Scope != scope || cfg.POPs[a.Index].ID != a.POP {
		t.Fatalf("world %d: %+v is no choice of %v", n, a, got)
	}
	checkAnswer(t, cfg, s, q, &a)
	if b := l.Of(q, p, a.Index); b.Target != a.Target || !slices.Equal(a.Addresses(), b.Addresses()) {
		t.Fatalf("world %d: Of gives %v, Choose %v", n, b, a)
	}
	if !q.ecs() {
		if scope != 0 {
			t.Fatalf("world %d: scope %d without a client subnet", n, scope)
		}
		return
	}
	// Nobody within the scope gets another answer.
	within := netip.PrefixFrom(q.Client.Addr(), scope).Masked()
	for _, x := range slices.Concat(nets, slow) {
		for _, edge := range []netip.Addr{x.p.Addr(), last(x.p).Next()} {
			if !edge.IsValid() || !within.Contains(edge) {
				continue
			}
			o := *q
			o.Client = netip.PrefixFrom(edge, edge.BitLen())
			if other := asIssue(cfg, nets, slow, s, &o); !maps.EqualFunc(other, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
				t.Fatalf("world %d: %v covers %v, which gets %v and not %v", n, within, edge, other, want)
			}
		}
	}
}

// checkAnswer: one thing or the other, only caches of that POP and family, none
// that is down while another is up, none twice, no more than the rule allows.
func checkAnswer(t *testing.T, cfg Config, s State, q *Question, a *Answer) {
	t.Helper()
	pop, r := cfg.POPs[a.Index], cfg.Rules[q.Rule]
	addrs := a.Addresses()
	if a.Target != "" {
		own := a.POP == cfg.Self
		if a.Target != pop.Name || len(addrs) > 0 || len(s.POPs[a.Index].Caches) > 0 && (r.Direct || own) && !(own && q.SlowName && q.Unicast) {
			t.Fatalf("%+v: a CNAME of %+v", a, pop)
		}
		return
	}
	up, all := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	for _, c := range s.POPs[a.Index].Caches {
		if c.Addr.Is6() == q.V6 {
			all[c.Addr] = true
			if !c.Down {
				up[c.Addr] = true
			}
		}
	}
	if len(up) == 0 {
		up = all
	}
	seen := map[netip.Addr]bool{}
	for _, x := range addrs {
		if !up[x] || seen[x] {
			t.Fatalf("%v of %v, up are %v", x, a.POP, up)
		}
		seen[x] = true
	}
	if want := min(len(up), cmp.Or(r.Max, MaxAddresses)); len(addrs) != want {
		t.Fatalf("%d addresses, want %d", len(addrs), want)
	}
}
