package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/catchment/catchment/policy/shed"
)

// Attack is a volumetric attack on the service's addresses: load that comes
// from some networks, asks no DNS, and goes wherever routes lead.
type Attack struct {
	From, To time.Duration // it grows and fades in ten seconds
	Slice    int           // attacked; negative: all of them alike
	weight   []float64     // load at its height, by network
}

// Attack adds an attack of twenty minutes to a scenario: one and a half to
// eight times what a POP can carry on average, two thirds of it from one
// region, the rest from everywhere; on one slice or on all.
func (f *Fleet) Attack(sc *Scenario) {
	r := rand.New(rand.NewPCG(sc.Seed, 47))
	x, y := r.Float64(), r.Float64()
	a := Attack{From: 8 * time.Minute, To: 28 * time.Minute, Slice: -1, weight: make([]float64, len(f.weight))}
	if r.IntN(2) == 0 {
		a.Slice = r.IntN(f.k)
	}
	near, far := 0.0, 0.0
	for i, n := range f.graph.nets {
		if n.weight == 0 || r.IntN(10) > 0 && !within(n, x, y) {
			continue
		}
		a.weight[i] = math.Exp(1.5 * r.NormFloat64())
		if within(n, x, y) {
			near += a.weight[i]
		} else {
			far += a.weight[i]
		}
	}
	size := sum(f.cap) / float64(len(f.cap)) * (1.5 + 6.5*r.Float64())
	for i, n := range f.graph.nets {
		if within(n, x, y) {
			a.weight[i] *= size * 2 / 3 / max(near, 1e-12)
		} else {
			a.weight[i] *= size / 3 / max(far, 1e-12)
		}
	}
	sc.Attacks = append(sc.Attacks, a)
}

// within says whether a network is in the region around a place.
func within(n network, x, y float64) bool { return math.Hypot(n.x-x, n.y-y) < 0.15 }

// height is how much of an attack there is at a time, 0..1.
func (a *Attack) height(t time.Duration) float64 {
	up := min(1, max(0, (t-a.From).Seconds()/10))
	down := min(1, max(0, (t-a.To).Seconds()/10))
	return up - down
}

// attacked fills r.hostile with the load of attacks, [slice][network].
func (r *run) attacked() {
	for s := range r.hostile {
		clear(r.hostile[s])
	}
	for j := range r.sc.Attacks {
		a := &r.sc.Attacks[j]
		h := a.height(r.at)
		if h == 0 {
			continue
		}
		for s := range r.hostile {
			part := h / float64(r.f.k)
			if a.Slice >= 0 {
				part = 0
				if s == a.Slice {
					part = h
				}
			}
			for i, w := range a.weight {
				r.hostile[s][i] += part * w
			}
		}
	}
}

// absorbing are our policy's choices for attacks, beside AbsorbRest, which is
// the one of "ours".
func absorbing() []Policy {
	cascade, all := fleetConfig(), fleetConfig()
	cascade.Absorb, all.Absorb = shed.AbsorbCascade, shed.AbsorbAll
	return []Policy{
		{Name: "ours, absorb cascade", One: func(r *run, p int) { r.ours(p, cascade) }},
		{Name: "ours, absorb all", One: func(r *run, p int) { r.ours(p, all) }},
	}
}

// UnderAttack plays attacks: what each policy makes of them, and ours with
// each choice of absorb. It has no goals of its own.
func UnderAttack(x Fleets) *Report {
	x.absorb = true
	w := x.play(func(f *Fleet, seed uint64) Scenario {
		sc := f.NewScenario(seed, 1)
		sc.Surges = nil
		f.Attack(&sc)
		f.effort = 5000 // most of it cannot be solved, and they would try for long
		return sc
	})
	rep := &Report{Name: "attack", Title: x.title() + "; a volumetric attack of 20 minutes, 1.5 to 8 times what a POP carries, telemetry as before",
		Head: []string{"policy", "POP-s over", "caused", "runs with caused", "users' load lost %", "worst run %", "turns/10 min", "changes", "refused", "surprised"}}
	rep.Chart = &Chart{Title: "Part of the users' load that is lost during an attack", Y: "percent", Series: []string{"mean of runs", "worst run"}}
	for _, name := range w.order {
		m, worst := w.total(name), 0.0
		for _, o := range w.runs[name] {
			worst = max(worst, 100*o.Denied/o.Wanted)
		}
		denied := 100 * m.Denied / m.Wanted
		rep.Add(name, m.Over, m.Caused, w.count(name, func(m Metrics) bool { return m.Caused > 0 }), denied, worst, m.Turns, m.Changes, m.Refused, m.Surprise)
		rep.Chart.Add(name, denied, worst)
	}
	rep.Notes = append(rep.Notes,
		"caused: seconds above capacity of POPs that would be below it if nobody did anything. users' load lost: what users do not get of POPs that carry more than they can, of all that they ask for during the attack.",
		"Attackers send to addresses and ask no DNS, so layered DNS moves users only. On one slice or on all, as the seed has it.",
		"Responses were learned from users. An attack on one slice comes from elsewhere, so ours may be wrong about what goes where, and may take the slice back while the attack lasts: see caused and turns.",
		fmt.Sprintf("ours sheds what is safe and keeps the rest (absorb: rest); absorb cascade sheds only where that ends the overload; absorb all never sheds. Overload is not ill health: nobody withdraws below its floor of %d slice.", fleetConfig().Keep))
	return rep
}
