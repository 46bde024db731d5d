package balance

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/core"
)

// part is how much of a change of route has taken effect: 80 % within ten
// seconds, the rest by fifty.
func part(since time.Duration) float64 {
	if since > 50*time.Second {
		return 1
	}
	return 1 - math.Exp(-since.Seconds()/6.2)
}

// gone is the part of a slice's demand that leaves a POP.
func (s *site) gone(slice int, now time.Time) float64 {
	m := part(now.Sub(s.at[slice]))
	return s.leave[s.from[slice]]*(1-m) + s.leave[s.to[slice]]*m
}

// load is what a POP carries of each slice now.
func (w *world) load(now time.Time) [][]float64 {
	out := make([][]float64, len(w.pops))
	for i := range out {
		out[i] = make([]float64, slicesEach)
	}
	for k := range slicesEach {
		for i, p := range w.pops {
			d := p.demand / slicesEach
			for j := range w.pops {
				away := w.lent[[2]int{i, j}] * p.demand / slicesEach
				out[j][k] += away
				d -= away
			}
			gone := p.gone(k, now)
			out[i][k] += d * (1 - gone)
			takers := map[int]float64{}
			all := 0.0
			for j, part := range p.split {
				takers[j] = part * (1 - w.pops[j].gone(k, now))
				all += takers[j]
			}
			for j, part := range takers {
				if all > 0 {
					out[j][k] += d * gone * part / all
				} else {
					out[i][k] += d * gone / float64(len(takers))
				}
			}
		}
	}
	return out
}

// total is what a POP carries now.
func (w *world) total(i int) float64 {
	w.lock()
	defer w.unlock()
	return sum(w.load(time.Now())[i])
}

// below is how many slices of a POP are below normal.
func (s *site) below() (n int) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, l := range s.to {
		if l > 0 {
			n++
		}
	}
	return n
}

// levels are those of the slices.
func (s *site) levels() []int {
	s.w.lock()
	defer s.w.unlock()
	return slices.Clone(s.to)
}

// changed is how many changes of route there were.
func (s *site) changed() int {
	s.w.lock()
	defer s.w.unlock()
	return len(s.changes)
}

func (s *site) alarm(name string) string {
	s.w.lock()
	defer s.w.unlock()
	return s.alarms[name]
}

// words are the journal of a POP from a time on.
func (s *site) words() (out []string) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	for _, e := range s.journal {
		out = append(out, fmt.Sprintf("%s %s: %s", e.Time.Format("15:04:05"), e.Kind, e.Text))
	}
	return out
}

// inCore is what stands in the core.
func (w *world) inCore() (claims []shed.Claim, reserved []core.Held) {
	held, rev, err := w.core.Reservations(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := w.core.List(w.t.Context(), core.All(KindClaim), core.At(rev))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, o := range s.Objects {
		var c shed.Claim
		if err := o.Into(&c); err != nil {
			w.t.Fatal(err)
		}
		claims = append(claims, c)
	}
	return claims, held
}
