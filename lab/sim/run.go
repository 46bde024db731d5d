package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
)

// tick is the step of virtual time, sampling how often a POP samples its
// load, and every how often a policy decides.
const (
	tick     = 5 * time.Second
	sampling = 10 * time.Second
	every    = 30 * time.Second
	// fits is how long a POP that has stepped back is below its capacity when
	// its overload counts as settled; what follows is another one.
	fits = 5 * time.Minute
)

// run is one scenario under one policy.
type run struct {
	f      *Fleet
	sc     *Scenario
	policy Policy
	r      *rand.Rand
	at     time.Duration
	matrix *shed.Matrix // in the core, shared by all POPs

	level   [][]shed.Level // chosen for load, [slice][pop]
	failed  []bool         // [pop]
	world   int            // of Fleet.worlds: which links there are
	away    []int16        // where each network is served if nobody does anything
	cur     [][]int16      // where each network is served, [slice][network]
	next    [][]int16      // where it will be, from the time in when
	when    [][]time.Duration
	demand  []float64
	hostile [][]float64 // load of attacks, [slice][network]
	load    [][]float64 // now, [pop][slice]
	users   []float64   // of it, not of attacks, [pop]
	home    [][]float64 // what the POP would carry if nobody did anything, [pop][slice]

	samples [][]sample // of each POP, oldest first
	heard   [][]int    // newest sample of [pop] that [viewer] has
	core    []shed.Reservation
	claims  []shed.Claim
	pops    []popState
	dns     *layers // layered DNS, nil before a POP used it
	m       Metrics
}

type sample struct {
	at     time.Duration
	load   []float64
	level  []shed.Level
	failed bool
}

// popState is what a POP remembers of itself.
type popState struct {
	phase                   time.Duration
	shed, returned, changed time.Duration // negative: never
	surprised               bool
	checks                  []check
	turns                   []time.Duration // when it changed direction
	direction               int
	rounds                  int           // that stepped back for its own overload until it fit
	over                    time.Duration // when it was last above its capacity
}

// check is a step that will be compared with its forecast.
type check struct {
	step   shed.Step
	due    time.Duration
	before map[policy.POPID]float64
	demand float64
	own    float64
	levels []shed.Level // of the slice after the step
}

// Metrics are what one run comes to.
type Metrics struct {
	Over     float64 // POP-seconds above capacity
	Caused   float64 // of these, at POPs that would be below it if nobody did anything
	Growing  float64 // the same at POPs whose own surge is growing or fading
	Lost     float64 // load above capacity, integrated, load·s
	Denied   float64 // of it, of users, while there is an attack, load·s
	Wanted   float64 // by users in that time, load·s
	Moved    float64 // load away from home, mean from five minutes into the surges
	Rounds   int     // most rounds in which a POP stepped back before its load fit
	Turns    int     // most changes of direction of a POP within ten minutes
	Changes  int     // of routes
	Settled  time.Duration
	Surprise int
	Refused  int // reservations that the core did not grant
}

// Play runs a scenario under a policy.
func (f *Fleet) Play(sc *Scenario, pol Policy, matrix *shed.Matrix) Metrics {
	n := len(f.names)
	r := &run{f: f, sc: sc, policy: pol, r: rand.New(rand.NewPCG(sc.Seed, 51)), matrix: matrix,
		failed: make([]bool, n), away: f.base, demand: make([]float64, len(f.base)), users: make([]float64, n), samples: make([][]sample, n), heard: make([][]int, n)}
	for range f.k {
		r.level = append(r.level, make([]shed.Level, n))
		r.cur, r.next = append(r.cur, slices.Clone(f.base)), append(r.next, slices.Clone(f.base))
		r.when = append(r.when, make([]time.Duration, len(f.base)))
		r.hostile = append(r.hostile, make([]float64, len(f.base)))
	}
	for p := range n {
		r.load, r.home = append(r.load, make([]float64, f.k)), append(r.home, make([]float64, f.k))
		r.heard[p] = make([]int, n)
		r.pops = append(r.pops, popState{phase: time.Duration(r.r.Int64N(int64(every/tick))) * tick, shed: -1, returned: -1, changed: -1})
	}
	for ; r.at < sc.Length; r.at += tick {
		r.fail()
		r.serve()
		r.measure()
		if r.at%sampling == 0 {
			r.sample()
		}
		if r.at >= 2*time.Minute {
			r.decide()
		}
	}
	r.finish()
	return r.m
}

// log tells what happens to whoever listens.
func (r *run) log(format string, args ...any) {
	if r.f.Log != nil {
		r.f.Log(format, args...)
	}
}

// serve moves networks whose route has changed, and adds up the loads.
func (r *run) serve() {
	r.f.demand(r.sc, r.at, r.demand)
	r.attacked()
	clear(r.users)
	for p := range r.load {
		clear(r.load[p])
		clear(r.home[p])
	}
	for s := range r.cur {
		cur, next, when, hostile := r.cur[s], r.next[s], r.when[s], r.hostile[s]
		for i, d := range r.demand {
			d /= float64(r.f.k)
			if cur[i] != next[i] && r.at >= when[i] {
				cur[i] = next[i]
			}
			if q := cur[i]; q >= 0 {
				r.load[q][s] += d + hostile[i]
				r.users[q] += d
			}
			if q := r.away[i]; q >= 0 {
				r.home[q][s] += d + hostile[i]
			}
		}
	}
	if r.dns != nil {
		r.layer()
	}
}

// measure counts what is above capacity.
func (r *run) measure() {
	away, late, attack := 0.0, r.surging(5*time.Minute), r.underAttack()
	for p := range r.load {
		l, c := sum(r.load[p]), r.f.cap[p]
		if attack {
			r.m.Wanted += r.users[p] * tick.Seconds()
			r.m.Denied += r.users[p] * max(0, 1-c/max(l, c)) * tick.Seconds()
		}
		if l > c*(1+1e-9) && !r.failed[p] {
			r.m.Over += tick.Seconds()
			r.pops[p].over = r.at
			r.m.Lost += (l - c) * tick.Seconds()
			home := sum(r.home[p])
			if home <= c && r.crowded(p) {
				r.m.Growing += tick.Seconds()
			} else if home <= c {
				r.m.Caused += tick.Seconds()
				r.log("%v %s caused: load %.3f of %.3f, at home %.3f", r.at, r.f.names[p], l, c, home)
			}
			for _, s := range r.sc.Surges {
				if s.POP == p && r.at > s.From && r.at < s.To {
					r.m.Settled = max(r.m.Settled, r.at-s.From)
				}
			}
		}
	}
	if !late {
		return
	}
	for s := range r.cur {
		for i, d := range r.demand {
			if r.cur[s][i] != r.away[i] {
				away += d / float64(r.f.k)
			}
		}
	}
	if r.dns != nil {
		away += r.dns.moved
	}
	r.m.Moved += away * tick.Seconds()
}

// underAttack says whether there is an attack.
func (r *run) underAttack() bool {
	for i := range r.sc.Attacks {
		if r.sc.Attacks[i].height(r.at) > 0 {
			return true
		}
	}
	return false
}

// crowded says whether a POP is in a surge of its own.
func (r *run) crowded(p int) bool {
	for _, s := range r.sc.Surges {
		if s.POP == p && r.at >= s.From && r.at < s.To+time.Minute {
			return true
		}
	}
	return false
}

// surging says whether every surge has lasted for a while and none is over.
func (r *run) surging(d time.Duration) bool {
	for _, s := range r.sc.Surges {
		if r.at < s.From+d || r.at >= s.To {
			return false
		}
	}
	return true
}

// sample lets every POP sample its load.
func (r *run) sample() {
	for p := range r.load {
		sm := sample{at: r.at, failed: r.failed[p], load: make([]float64, r.f.k), level: make([]shed.Level, r.f.k)}
		noise := 1 + r.sc.Noise*r.r.NormFloat64()
		for s := range sm.load {
			sm.load[s], sm.level[s] = r.load[p][s]*noise, r.level[s][p]
		}
		r.samples[p] = append(r.samples[p], sm)
	}
}

// hear brings what a POP has heard of the others up to now: the newest sample
// of the age that messages have, unless it was lost.
func (r *run) hear(viewer int) {
	for q := range r.samples {
		last := len(r.samples[q]) - 1
		if q == viewer || r.sc.Age[1] == 0 {
			r.heard[viewer][q] = last
			continue
		}
		age := r.sc.Age[0] + time.Duration(r.r.Int64N(int64(r.sc.Age[1]-r.sc.Age[0])+1))
		for r.r.Float64() < r.sc.Lost {
			age += sampling
		}
		for last > r.heard[viewer][q] && r.samples[q][last].at > r.at-age {
			last--
		}
		r.heard[viewer][q] = last
	}
}

// view is what a POP knows now.
func (r *run) view(viewer int) *shed.View {
	r.hear(viewer)
	st := &r.pops[viewer]
	v := &shed.View{Me: r.f.names[viewer], Slices: r.f.slices, Matrix: r.matrix, Reserved: r.core, Claims: r.claims,
		Shed: r.time(st.shed), Returned: r.time(st.returned), Changed: r.time(st.changed), Surprised: st.surprised}
	for q, id := range r.f.names {
		sm := r.samples[q][r.heard[viewer][q]]
		pop := shed.POP{ID: id, Capacity: r.f.cap[q], At: epoch.Add(sm.at), Load: map[policy.SliceID]float64{}, Level: map[policy.SliceID]shed.Level{}}
		for s, sl := range r.f.slices {
			pop.Load[sl], pop.Level[sl] = sm.load[s], sm.level[s]
			if q == viewer {
				pop.Level[sl] = r.level[s][q]
			}
			if sm.failed {
				delete(pop.Level, sl)
			}
		}
		v.POPs = append(v.POPs, pop)
	}
	return v
}

// time converts a moment of the run; negative is never.
func (r *run) time(t time.Duration) time.Time {
	if t < 0 {
		return time.Time{}
	}
	return epoch.Add(t)
}

// decide lets every POP whose round it is decide.
func (r *run) decide() {
	if r.policy.All != nil && r.at%every == 0 {
		r.policy.All(r)
	}
	for p := range r.pops {
		if r.policy.One != nil && !r.failed[p] && (r.at+r.pops[p].phase)%every == 0 {
			r.policy.One(r, p)
		}
	}
}

// set changes a POP's level on a slice. Each network switches when BGP has
// converged for it: 80 % within ten seconds, the last after fifty.
func (r *run) set(p, s int, l shed.Level) {
	if r.level[s][p] == l {
		return
	}
	r.level[s][p] = l
	r.m.Changes++
	r.converge(s)
}

// converge starts the way to what is announced of a slice now.
func (r *run) converge(s int) {
	for i, q := range r.f.catchment(r.world, r.announced(r.level[s])) {
		if q != r.next[s][i] {
			r.next[s][i] = q
			delay := time.Duration(6 * r.r.ExpFloat64() * float64(time.Second))
			r.when[s][i] = r.at + min(delay, 50*time.Second)
		}
	}
}

// turn notes that a POP steps back (+1) or takes back (-1), for its own load
// or to help others.
func (r *run) turn(p, direction int, own bool) {
	st := &r.pops[p]
	if st.direction == -direction {
		st.turns = append(st.turns, r.at)
	}
	if direction > 0 && (st.direction <= 0 || r.at-max(st.shed, st.over) >= fits) {
		st.rounds = 0
	}
	st.direction, st.changed = direction, r.at
	if direction > 0 {
		st.shed = r.at
		if own {
			st.rounds++
			r.m.Rounds = max(r.m.Rounds, st.rounds)
		}
	} else {
		st.returned = r.at
	}
}

// finish turns integrals into means.
func (r *run) finish() {
	long := 0.0
	for t := time.Duration(0); t < r.sc.Length; t += tick {
		r.at = t
		if r.surging(5 * time.Minute) {
			long += tick.Seconds()
		}
	}
	if long > 0 {
		r.m.Moved /= long
	}
	for _, st := range r.pops {
		for i := range st.turns {
			in := 0
			for _, t := range st.turns[i:] {
				if t-st.turns[i] < 10*time.Minute {
					in++
				}
			}
			r.m.Turns = max(r.m.Turns, in)
		}
	}
}
