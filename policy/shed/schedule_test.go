package shed

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

// world is a fleet whose POPs play rounds with views of any age, lost
// transactions, restarts that forget, and loads that jump.
type world struct {
	r       *rand.Rand
	cfg     Config
	now     time.Time
	v       *View // the truth: loads and levels of this moment
	old     []*View
	core    []Reservation
	claims  []Claim
	memory  []View // what each POP remembers: Shed, Returned, Changed
	careful bool   // false: transactions are made without asking Admit
	steps   int
}

func newWorld(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 5))
	n, k := 3+r.IntN(4), 2+r.IntN(5)
	share := map[policy.POPID]float64{}
	for i := range n {
		share[policy.POPID(fmt.Sprint("P", i))] = 1
	}
	w := &world{r: r, cfg: Defaults(), now: t0, careful: true, v: &View{Matrix: NewMatrix(DefaultModel(), share, 3)}}
	w.cfg.Effort = 2000
	w.cfg.Deepest, w.cfg.Keep, w.cfg.Normal = Level(1+r.IntN(2)), r.IntN(k), 1+r.IntN(n-1)
	for s := range k {
		w.v.Slices = append(w.v.Slices, sliceID(s))
	}
	for i := range n {
		p := POP{ID: policy.POPID(fmt.Sprint("P", i)), Capacity: 50 + 100*r.Float64(), Load: map[policy.SliceID]float64{}, Level: map[policy.SliceID]Level{}}
		for _, s := range w.v.Slices {
			p.Level[s] = 0
		}
		w.v.POPs = append(w.v.POPs, p)
		part := map[policy.POPID]float64{}
		for q := range share {
			part[q] = r.Float64() * r.Float64()
		}
		for l := Level(1); l < 3; l++ {
			w.v.Matrix = w.v.Matrix.Measured(p.ID, l, 0.5+0.5*r.Float64(), part, t0)
		}
	}
	w.memory = make([]View, n)
	return w
}

// play moves time on by one step and returns a broken invariant.
func (w *world) play() error {
	w.now = w.now.Add(time.Duration(5+w.r.IntN(40)) * time.Second)
	for i := range w.v.POPs {
		p := &w.v.POPs[i]
		p.At = w.now
		level := 0.3 + 1.0*w.r.Float64()*w.r.Float64()
		for _, s := range w.v.Slices {
			p.Load[s] = p.Capacity * level / float64(len(w.v.Slices))
			if p.Level[s] > 0 {
				p.Load[s] *= 0.2
			}
		}
	}
	w.old = append(w.old, w.copy())
	if len(w.old) > 6 {
		w.old = w.old[1:]
	}
	if w.r.IntN(10) == 0 {
		w.memory[w.r.IntN(len(w.memory))] = View{} // restarted
	}
	for range 2 {
		if err := w.round(w.r.IntN(len(w.v.POPs))); err != nil {
			return err
		}
	}
	return w.normal()
}

func (w *world) copy() *View {
	v := *w.v
	v.POPs = slices.Clone(v.POPs)
	for i := range v.POPs {
		v.POPs[i].Load, v.POPs[i].Level = copyMap(v.POPs[i].Load), copyMap(v.POPs[i].Level)
	}
	return &v
}

func copyMap[K comparable, V any](m map[K]V) map[K]V {
	out := make(map[K]V, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// round lets a POP decide by what it has heard, some of it old.
func (w *world) round(me int) error {
	v := w.copy()
	for i := range v.POPs {
		if i != me {
			v.POPs[i] = w.old[w.r.IntN(len(w.old))].POPs[i]
		}
	}
	m := &w.memory[me]
	v.Me, v.Reserved, v.Claims, v.Shed, v.Returned, v.Changed = v.POPs[me].ID, w.core, w.claims, m.Shed, m.Returned, m.Changed
	if !w.careful {
		v.Reserved, v.Claims = nil, nil
	}
	d, err := Round(w.cfg, v, w.now)
	if err != nil {
		return err
	}
	w.core = slices.DeleteFunc(slices.Clone(w.core), func(r Reservation) bool { return slices.Contains(d.Free, r.ReservationID) })
	for _, st := range d.Steps {
		v.Reserved, v.Claims = w.core, w.claims
		if w.r.IntN(5) == 0 || w.careful && w.cfg.Admit(v, st, w.now) != nil {
			continue
		}
		if err := w.apply(me, v, st); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) apply(me int, v *View, st Step) error {
	w.steps++
	w.core = slices.DeleteFunc(w.core, func(r Reservation) bool {
		return slices.ContainsFunc(st.Reserve, func(o Reservation) bool { return o.ReservationID == r.ReservationID })
	})
	for _, r := range st.Reserve {
		r.Applied = w.now
		w.core = append(w.core, r)
	}
	w.claims = slices.DeleteFunc(w.claims, func(c Claim) bool { return c.POP == v.Me && c.Slice == st.Slice })
	if st.To > 0 {
		w.claims = append(w.claims, st.Claim(v.Me))
	}
	p, m := &w.v.POPs[me], &w.memory[me]
	p.Level[st.Slice], m.Changed = st.To, w.now
	if st.To > st.From {
		m.Shed = w.now
	} else {
		m.Returned = w.now
	}
	kept := 0
	for _, l := range p.Level {
		if l == 0 {
			kept++
		}
		if l > w.cfg.Deepest {
			return fmt.Errorf("%s at level %d, deepest is %d", p.ID, l, w.cfg.Deepest)
		}
	}
	if kept < w.cfg.Keep {
		return fmt.Errorf("%s keeps %d slices, its floor is %d", p.ID, kept, w.cfg.Keep)
	}
	for _, r := range st.Reserve {
		q := v.POPs[slices.IndexFunc(v.POPs, func(q POP) bool { return q.ID == r.To })]
		if _, over := w.cfg.Expected(&q, w.core, w.now); over {
			continue
		}
		if over := oversubscribed(w.cfg, &q, w.core, w.now); over > 1e-6 {
			return fmt.Errorf("%s is oversubscribed by %.2f", r.To, over)
		}
	}
	return nil
}

// normal checks that enough POPs are normal on every slice.
func (w *world) normal() error {
	for _, s := range w.v.Slices {
		n := 0
		for i := range w.v.POPs {
			if w.v.POPs[i].Level[s] == 0 {
				n++
			}
		}
		if n < w.cfg.Normal {
			return fmt.Errorf("%v: %d POPs normal, want %d", s, n, w.cfg.Normal)
		}
	}
	return nil
}

// TestSchedules: whatever POPs know of each other, reservations are never
// oversubscribed, no POP goes below its floor, and enough POPs stay normal on
// every slice.
func TestSchedules(t *testing.T) {
	steps := 0
	for seed := range uint64(150) {
		w := newWorld(seed)
		for i := range 25 {
			if err := w.play(); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, i, err)
			}
		}
		steps += w.steps
	}
	if steps < 150 {
		t.Errorf("%d steps in all: tries little", steps)
	}
}

// TestSchedulesNeedAdmit shows that the invariants can fail: without asking
// Admit about what stands in the core they do.
func TestSchedulesNeedAdmit(t *testing.T) {
	for seed := range uint64(400) {
		w := newWorld(seed)
		w.careful = false
		for range 30 {
			if w.play() != nil {
				return
			}
		}
	}
	t.Error("nothing breaks without Admit: it is not tested")
}
