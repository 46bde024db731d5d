package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/catchment/catchment/policy/shed"
)

// Failure is a POP that is gone for a while: its health withdraws everything.
type Failure struct {
	POP      int
	From, To time.Duration
}

// Fail adds failures of some of the POPs that have no surge, each for twenty
// minutes in the middle of the surges.
func (f *Fleet) Fail(sc *Scenario, n int) {
	r := rand.New(rand.NewPCG(sc.Seed, 43))
	for _, p := range r.Perm(len(f.names)) {
		surging := false
		for _, s := range sc.Surges {
			surging = surging || s.POP == p
		}
		if surging || len(sc.Failures) == n {
			continue
		}
		from := 10*time.Minute + time.Duration(r.IntN(600))*time.Second
		sc.Failures = append(sc.Failures, Failure{POP: p, From: from.Truncate(tick), To: (from + 20*time.Minute).Truncate(tick)})
	}
}

// fail lets POPs fail and come back, and cables break.
func (r *run) fail() {
	was := r.world
	r.world = 0
	for _, c := range r.sc.Cuts {
		if r.at >= c.From && r.at < c.To {
			r.world = c.world
		}
	}
	changed := r.world != was
	for _, x := range r.sc.Failures {
		down := r.at >= x.From && r.at < x.To
		changed = changed || down != r.failed[x.POP]
		r.failed[x.POP] = down
	}
	if !changed {
		return
	}
	r.away = r.f.catchment(r.world, r.announced(make([]shed.Level, len(r.failed))))
	for s := range r.level {
		r.converge(s)
	}
}

// announced is what routers hear: levels, but nothing of POPs that failed.
func (r *run) announced(level []shed.Level) []shed.Level {
	out := slices.Clone(level)
	for p, down := range r.failed {
		if down {
			out[p] = shed.Level(len(ladder) - 1)
		}
	}
	return out
}
