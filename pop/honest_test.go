package pop_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/lab/sim"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/matrix"

	"github.com/catchment/catchment/health/load"
)

// truth is a simulated internet that plans are held against: what each POP
// gets of one slice with the POPs at given levels.
type truth struct {
	names []policy.POPID // the first is this POP
	rungs []config.Rung  // the levels but the last, which is the withdraw
	loads func(level []shed.Level) []float64
}

const honestSlices = 4

// honest counts how often what comes of a step lies in the interval that was
// told before.
type honest struct {
	*burdened
	truth
	r       *rand.Rand
	level   [][]shed.Level // [slice][pop]
	in, all int
	width   float64 // of the intervals, as parts of all load, added up
	misses  []string
}

// noise is a sample of a load: it is off by half a percent.
func (h *honest) noise(x float64) float64 { return x * (1 + 0.005*h.r.NormFloat64()) }

// carried is what each POP carries of each slice, [slice][pop].
func (h *honest) carried(level [][]shed.Level) [][]float64 {
	var out [][]float64
	for s := range level {
		loads := h.loads(level[s])
		for i := range loads {
			loads[i] = h.noise(loads[i])
		}
		out = append(out, loads)
	}
	return out
}

// announce makes the world announce and carry what the levels say, and lets
// every POP tell it.
func (h *honest) announce(level [][]shed.Level) {
	by := h.carried(level)
	h.mu.Lock()
	defer h.mu.Unlock()
	now, rungs := time.Now(), len(h.rungs)
	h.fleet.Peers, h.reports = nil, nil
	for i, id := range h.names {
		total := 0.0
		p := policy.Peer{POP: id, Capacity: 1, Source: "status", Heard: now, Asked: now, Slices: map[policy.SliceID]policy.PeerSlice{}}
		told := &fleet.Load{Unit: "out", Capacity: 1e6, Split: "measured"}
		for s, slice := range h.slices {
			total += by[s][i]
			l := int(level[s][i])
			told.Slices = append(told.Slices, fleet.SliceLoad{Slice: slice, Load: by[s][i], Level: &l})
			p.Slices[slice] = policy.PeerSlice{Stance: shed.Stance(level[s][i], rungs), Verdict: policy.Up}
		}
		if i == 0 {
			h.measured.POP.Load[load.Out] = load.Value{Value: total, Known: true, At: now}
			continue
		}
		h.fleet.Peers = append(h.fleet.Peers, p)
		h.reports = append(h.reports, fleet.PeerReport{Peer: p, Load: told, LoadAt: now})
	}
}

// observe lets each POP step back once on one slice, and the book learn of it.
func (h *honest) observe(to shed.Level) {
	h.t.Helper()
	ladder := h.book.Seeds().Ladders["web"]
	for i, id := range h.names {
		before, after := h.carried(h.level)[0], h.clone()
		after[0][i] = to
		then := h.carried(after)[0]
		e := matrix.Event{Service: "web", POP: id, From: "normal", To: ladder.Name(to), At: time.Now(), Before: map[policy.POPID]float64{}, After: map[policy.POPID]float64{}}
		for j, q := range h.names {
			e.Before[q], e.After[q] = before[j], then[j]
		}
		if err := h.book.Observe(e); err != nil && before[i] > 0 {
			h.t.Error(err)
		}
	}
}

func (h *honest) clone() [][]shed.Level {
	var out [][]shed.Level
	for _, l := range h.level {
		out = append(out, append([]shed.Level(nil), l...))
	}
	return out
}

// judge compares a plan with what happens.
func (h *honest) judge(what api.Supposition, then [][]shed.Level) {
	h.t.Helper()
	p := h.plan(what)
	if p.Loads == nil {
		h.t.Fatalf("%+v: no loads", what)
	}
	after := h.carried(then)
	for i, id := range h.names {
		got := 0.0
		for s := range after {
			got += after[s][i]
		}
		l := of(p.Loads, id)
		if l.After == nil {
			h.t.Fatalf("%+v: %s: %+v %v", what, id, l, p.Loads.Notes)
		}
		h.all++
		h.width += (l.After.High - l.After.Low) / h.total()
		if slack := 1e-3 * *l.Before; got >= l.After.Low-slack && got <= l.After.High+slack {
			h.in++
		} else {
			h.misses = append(h.misses, fmt.Sprintf("%v: %s goes from %.4g to %.4g, told was %.4g [%.4g-%.4g]", p.Suppose, id, *l.Before, got, l.After.Mean, l.After.Low, l.After.High))
		}
	}
}

// total is the load of all POPs.
func (h *honest) total() (sum float64) {
	for s := range h.level {
		for _, x := range h.loads(h.level[s]) {
			sum += x
		}
	}
	return sum
}

// act asks what would come of a random step of a random POP.
func (h *honest) act() {
	i, to := h.r.IntN(len(h.names)), shed.Level(1+h.r.IntN(len(h.rungs)))
	what := api.Supposition{Kind: api.SupposeWithdraw, POP: h.names[i]}
	if int(to) < len(h.rungs) {
		what.Kind, what.Rung = api.SupposePin, h.rungs[to].Name
	}
	then := h.clone()
	one := h.r.IntN(2 * honestSlices)
	for s := range then {
		if one >= honestSlices || one == s {
			then[s][i] = to
		}
	}
	if one < honestSlices {
		what.Slice = h.slices[one]
	}
	h.judge(what, then)
}

// play holds plans of one world against it, after one event of each site at a
// level.
func (tr truth) play(t *testing.T, seed uint64, observed shed.Level, acts int) (out honest) {
	synctest.Test(t, func(t *testing.T) {
		h := &honest{burdened: newBurdened(t), truth: tr, r: rand.New(rand.NewPCG(seed, 7))}
		svc := &h.cfg.Services[0]
		svc.Ladder, svc.Rungs = tr.rungs, len(tr.rungs)
		svc.MinPOPs, h.cfg.POP = 0, tr.names[0]
		h.cfg.Matrix.Receivers, h.cfg.Fleet.Peers = nil, nil
		for _, id := range tr.names[1:] {
			h.cfg.Fleet.Peers = append(h.cfg.Fleet.Peers, config.StatusPeer{POP: id, Capacity: 1})
		}
		for range honestSlices {
			h.level = append(h.level, make([]shed.Level, len(tr.names)))
		}
		h.announce(h.level)
		h.begin()
		h.observe(observed)
		for range acts {
			h.announce(h.level)
			h.act()
		}
		h.stop()
		out = *h
	})
	return out
}

func rungsOf(prepends ...int) (out []config.Rung) {
	for i, n := range prepends {
		out = append(out, config.Rung{Name: fmt.Sprintf("rung%d", i), Attributes: bgp.Attributes{Prepend: n}})
	}
	out[0].Name = "normal"
	return out
}

// generated is a world of a generated internet.
func generated(seed uint64, pops int) truth {
	prepends := []int{0, 1, 3, sim.Withdraw}
	g := sim.NewGraph(seed, 600, pops, prepends)
	tr := truth{rungs: rungsOf(0, 1, 3), loads: g.Loads}
	for i := range pops {
		tr.names = append(tr.names, policy.POPID(fmt.Sprintf("P%d", i)))
	}
	return tr
}

// measuredTruth is one of measured catchments, in which one POP steps back.
func measuredTruth(t *testing.T) truth {
	m, err := sim.ReadMeasured(strings.NewReader(sim.Small()), "small")
	if err != nil {
		t.Fatal(err)
	}
	tr := truth{names: m.Sites, rungs: rungsOf(0, 1, 2, 3, 4, 5)}
	tr.loads = func(level []shed.Level) []float64 {
		out := append([]float64(nil), m.Row(0, 0)...)
		for i, l := range level {
			if l > 0 {
				out = append([]float64(nil), m.Row(i, l)...)
			}
		}
		for i := range out {
			out[i] *= 1000
		}
		return out
	}
	return tr
}

// TestPlanIsHonest: after one observed event of each site, what happens lies
// in the 95 % intervals that plans told before, in at least 93 of 100 cases.
func TestPlanIsHonest(t *testing.T) {
	held := map[string]*honest{}
	add := func(name string, h honest) {
		if held[name] == nil {
			held[name] = &honest{}
		}
		r := held[name]
		r.in, r.all, r.width, r.misses = r.in+h.in, r.all+h.all, r.width+h.width, append(r.misses, h.misses...)
	}
	for seed := range uint64(8) {
		tr := generated(seed+1, 4+int(seed)%4)
		for observed := shed.Level(1); observed <= 3; observed++ {
			add(fmt.Sprintf("generated, observed at level %d", observed), tr.play(t, seed, observed, 10))
		}
	}
	for seed := range uint64(6) {
		add("measured", measuredTruth(t).play(t, seed, shed.Level(1+seed), 20))
	}
	for name, r := range held {
		part, width := 100*float64(r.in)/float64(r.all), 100*r.width/float64(r.all)
		t.Logf("%s: %.1f %% of %d, %.1f %% of all load wide", name, part, r.all, width)
		if part < 93 {
			t.Errorf("%s: only %.1f %% of %d intervals hold, such as:\n%s", name, part, r.all, strings.Join(r.misses[:min(20, len(r.misses))], "\n"))
		}
		if width > 8 { // which would hold anything
			t.Errorf("%s: the intervals are %.1f %% of all load wide", name, width)
		}
	}
}
