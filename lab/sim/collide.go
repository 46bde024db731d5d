package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/lab/goal"
)

// Fleets says which runs an experiment plays: so many, each an hour of
// virtual time with a fleet and a scenario of its own seed.
type Fleets struct {
	Seed uint64 // of the first run
	Runs int
	// Clients are client networks; those of one edge network of the graph
	// (Networks of them) move together.
	Clients, Networks, POPs, Slices int
	// Policies are the names of those to play, nil: all.
	Policies []string
	// Log is told what POPs under our own policy decide; nil: nobody.
	Log func(format string, args ...any)

	absorb bool // with ours under each choice for attacks
}

// title says what the runs are.
func (x Fleets) title() string {
	return fmt.Sprintf("%d runs of an hour from seed %d: %d client networks, %d POPs x %d slices", x.Runs, x.Seed, x.Clients, x.POPs, x.Slices)
}

// scenario draws what happens to a fleet in one run.
type scenario func(f *Fleet, seed uint64) Scenario

// world is what came of all runs of an experiment.
type world struct {
	order []string             // policies
	runs  map[string][]Metrics // in the order of seeds
}

// play plays all runs under all policies, as many at a time as there are
// cores. What comes out does not depend on how many.
func (x Fleets) play(draw scenario) *world {
	w := &world{runs: map[string][]Metrics{}}
	all := make([]map[string]Metrics, x.Runs)
	var lock sync.Mutex // of order
	each(x.Runs, func(i int) {
		var order []string
		order, all[i] = x.one(x.Seed+uint64(i), draw)
		lock.Lock()
		defer lock.Unlock()
		w.order = order
	})
	for _, run := range all {
		for name, m := range run {
			w.runs[name] = append(w.runs[name], m)
		}
	}
	return w
}

// one plays one run under each policy.
func (x Fleets) one(seed uint64, draw scenario) ([]string, map[string]Metrics) {
	f := NewFleet(seed, x.Clients, x.Networks, x.POPs, x.Slices, [2]float64{1.25, 1.6})
	if x.Log != nil {
		f.Log = func(format string, args ...any) { x.Log("seed %d: "+format, append([]any{seed}, args...)...) }
	}
	sc := draw(f, seed)
	matrix := f.Matrix(seed, 0.002)
	var order []string
	out := map[string]Metrics{}
	policies := f.Policies()
	if x.absorb {
		policies = append(policies, absorbing()...)
	}
	for _, p := range policies {
		if x.Policies != nil && !slices.Contains(x.Policies, p.Name) {
			continue
		}
		order = append(order, p.Name)
		out[p.Name] = f.Play(&sc, p, matrix)
	}
	return order, out
}

// total adds up the runs of a policy.
func (w *world) total(name string) Metrics {
	var m Metrics
	for _, o := range w.runs[name] {
		m = m.plus(o)
	}
	return m
}

// count is of how many of a policy's runs something is true.
func (w *world) count(name string, of func(Metrics) bool) int {
	n := 0
	for _, m := range w.runs[name] {
		if of(m) {
			n++
		}
	}
	return n
}

// table fills a report with a row a policy.
func (w *world) table(rep *Report) {
	rep.Head = []string{"policy", "POP-s over", "caused", "runs with caused", "own surge grows", "lost load*s", "moved, of optimum", "rounds", "turns/10 min", "settled s", "changes", "refused", "surprised"}
	rep.Chart = &Chart{Title: "Seconds above capacity, all POPs and runs", Y: "POP-seconds", Series: []string{"all", "caused: at POPs that would be below it if nobody did anything"}, Log: true}
	best := w.total("optimum").Moved
	for _, name := range w.order {
		m := w.total(name)
		rep.Add(name, m.Over, m.Caused, w.count(name, func(m Metrics) bool { return m.Caused > 0 }), m.Growing, m.Lost, ratio(m.Moved, best),
			m.Rounds, m.Turns, m.Settled.Seconds(), m.Changes, m.Refused, m.Surprise)
		rep.Chart.Add(name, m.Over, m.Caused)
	}
	rep.Notes = append(rep.Notes,
		"caused: seconds above capacity of POPs that would be below it if nobody did anything. lost: load above capacity, integrated. moved: load away from home from five minutes into the surges.",
		"rounds: most rounds in which one POP stepped back for one overload of its own, until its load fit for five minutes; turns: most changes of direction of one POP within ten minutes; settled: longest until no surging POP is above its capacity.",
		"optimum: one planner with the true loads and responses of the moment, no margins; it may still be surprised by steps of several POPs on one slice.")
}

// spread says how a number is distributed over the runs of our policy.
func (w *world) spread(of func(Metrics) float64) string {
	count := map[float64]int{}
	var values []float64
	for _, m := range w.runs["ours"] {
		v := of(m)
		if count[v] == 0 {
			values = append(values, v)
		}
		count[v]++
	}
	slices.Sort(values)
	var out []string
	for _, v := range values {
		out = append(out, fmt.Sprintf("%s in %d", short(v), count[v]))
	}
	return strings.Join(out, ", ")
}

// Collide plays runs in which up to five of 50 POPs are overloaded at once,
// with loads that are 10 to 60 s old and a fifth of messages lost, under each
// policy, and adds up.
func Collide(x Fleets) *Report {
	w := x.play(func(f *Fleet, seed uint64) Scenario { return f.NewScenario(seed, 5) })
	rep := &Report{Name: "collide", Title: x.title() + ", up to 5 overloaded at once, loads 10-60 s old, 20 % of messages lost"}
	w.table(rep)
	ours := w.total("ours")
	rep.Notes = append(rep.Notes, fmt.Sprintf("ours, runs by POP-seconds caused: %s; by rounds to settle: %s.",
		w.spread(func(m Metrics) float64 { return m.Caused }), w.spread(func(m Metrics) float64 { return float64(m.Rounds) })))
	rep.Notes = append(rep.Notes,
		"ideal DNS: every user's resolver in the user's catchment, answers used at once, a next layer that takes by size. It moves any amount at once and beats slices in seconds above capacity; layered DNS as it is (a fifth of networks with resolvers elsewhere, answers used for a minute, the next layer's own catchment) does not.",
		"Settings and rules were chosen while looking at seeds 1 to 24, 101 to 119 and 201 to 224. Of 480 further runs (seeds 401 to 460, 501 to 680 and 1001 to 1240) ours caused overload in four, for 15 to 60 POP-seconds, because a surge went elsewhere than the same POP's users had gone before; of the last 240 eight needed four rounds and three five. Where no receiver has room at the bound, a POP may stay a little above its capacity for as long as its surge lasts.")
	rep.Goals = append(rep.Goals,
		goal.AtMost("collide-caused-pop-seconds", ours.Caused, 0),
		goal.AtMost("collide-turns-in-10-min", float64(ours.Turns), 1),
		goal.AtMost("collide-rounds-to-settle", float64(ours.Rounds), 3),
		goal.Goal{Name: "collide-moved-of-optimum", Value: ratio(ours.Moved, w.total("optimum").Moved), Limit: 1.10})
	return rep
}

// Storm is Collide with up to two surges while two other POPs fail: what the
// fleet was not planned for. It has no goals of its own.
func Storm(x Fleets) *Report {
	w := x.play(func(f *Fleet, seed uint64) Scenario {
		sc := f.NewScenario(seed, 2)
		f.Fail(&sc, 2)
		return sc
	})
	rep := &Report{Name: "storm", Title: x.title() + "; two POPs fail for 20 minutes while up to two others are overloaded, telemetry as before"}
	w.table(rep)
	return rep
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// plus adds sums and keeps maxima.
func (m Metrics) plus(o Metrics) Metrics {
	return Metrics{Over: m.Over + o.Over, Caused: m.Caused + o.Caused, Growing: m.Growing + o.Growing, Lost: m.Lost + o.Lost, Denied: m.Denied + o.Denied, Wanted: m.Wanted + o.Wanted, Moved: m.Moved + o.Moved,
		Rounds: max(m.Rounds, o.Rounds), Turns: max(m.Turns, o.Turns), Changes: m.Changes + o.Changes,
		Settled: max(m.Settled, o.Settled, time.Duration(0)), Surprise: m.Surprise + o.Surprise, Refused: m.Refused + o.Refused}
}
