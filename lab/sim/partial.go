package sim

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/catchment/catchment/lab/goal"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
)

// Partial asks how well a part of a site's load can be let go: 25 % and 50 %
// of each site of the measured catchments with k slices, judged by what the
// worst neighbour then carries of its own base load, beside whole withdraws,
// one prepend, the best single configuration and layered DNS.
func Partial(m *Measured, k int) (*Report, error) {
	r := &Report{Name: "partial", Title: fmt.Sprintf("Part of one site's load let go: the worst neighbour's growth (%s)", m.Source),
		Head: []string{"site", "base %", "withdraw", "1 prepend", "of it left %", "part", "best single", "layered DNS", "no learning", "central optimum", fmt.Sprintf("%d slices", k), "let go %"}}
	matrix := m.Matrix()
	worst := map[float64]float64{}
	chart := &Chart{Title: "Half of a site's load let go: growth of the worst neighbour", Y: "times its own base load",
		Series: []string{"withdraw", "best single", "layered DNS", "central optimum", "slices"}}
	loads, best, err := m.parts(k, matrix)
	if err != nil {
		return nil, err
	}
	for i, p := range m.Sites {
		base := m.Row(i, 0)
		one := m.Row(i, 1)
		for j, part := range parts {
			load := loads[i][j]
			w := m.worst(load, i)
			worst[part] = max(worst[part], w)
			single, dns := m.single(i, part), m.worst(m.layered(i, part), i)
			r.Add(string(p), 100*base[i], m.worst(m.Row(i, withdrawn), i), m.worst(one, i), 100*one[i]/base[i],
				fmt.Sprintf("%.0f %%", 100*part), single, dns, m.worst(m.unlearned(i, part, k), i), best[i][j], w, 100*(1-load[i]/base[i]))
			if part == 0.5 {
				chart.Add(string(p), m.worst(m.Row(i, withdrawn), i), single, dns, best[i][j], w)
			}
		}
	}
	r.Chart = chart
	r.Notes = append(r.Notes,
		"Each slice is announced in a way that was measured (one site changed, or all but one prepended once), so every number is a mean of measured rows.",
		"A part counts as let go within one hundredth of the site's load: rows of uninvolved configurations drift by more.",
		"Layered DNS is given what it cannot have: every user's resolver is in the user's catchment, and the next layer (the larger half of the sites) takes by size. It moves any amount, slices move eighths; where it is better, that is why.",
		"No learning withdraws whole slices, taking the load to spread by size. Central optimum is the best found of all ways to give the slices measured configurations.")
	r.Goals = append(r.Goals, goal.AtMost("shed-quarter-worst-neighbour", worst[0.25], 1.10),
		goal.AtMost("shed-half-worst-neighbour", worst[0.5], 1.25))
	return r, nil
}

// parts are the parts of a site's load that Partial asks for.
var parts = [2]float64{0.25, 0.5}

// parts lets go of each part of each site, by the planner and at best, several
// at a time. They are returned by site and part.
func (m *Measured) parts(k int, matrix *shed.Matrix) (loads [][2][]float64, best [][2]float64, err error) {
	loads, best = make([][2][]float64, len(m.Sites)), make([][2]float64, len(m.Sites))
	fails := make([]error, len(m.Sites)*len(parts))
	each(len(fails), func(n int) {
		i, j := n/len(parts), n%len(parts)
		loads[i][j], fails[n] = m.letGo(i, parts[j], k, 0, matrix)
		best[i][j] = m.central(i, parts[j], k)
	})
	return loads, best, errors.Join(fails...)
}

// each calls do for 0 to n-1, as many at a time as there are cores.
func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	slot := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range n {
		slot <- struct{}{}
		wg.Go(func() {
			defer func() { <-slot }()
			do(i)
		})
	}
	wg.Wait()
}

// unlearned withdraws as many slices as the part is.
func (m *Measured) unlearned(site int, part float64, k int) []float64 {
	out := slices.Clone(m.Row(0, 0))
	n := math.Round(part * float64(k))
	for q, w := range m.Row(site, withdrawn) {
		out[q] += n / float64(k) * (w - out[q])
	}
	return out
}

// letGo lets the planner bring a site down by a part of its load, with the
// others limited to as little growth as it can, and returns the true shares.
func (m *Measured) letGo(site int, part float64, k, effort int, matrix *shed.Matrix) ([]float64, error) {
	cfg := shed.Defaults()
	cfg.Trigger, cfg.Target, cfg.Receive, cfg.Z, cfg.Noise, cfg.Growth, cfg.Tolerance = 1, 1, 1, 0, 0, 0, 1e-4
	cfg.Deepest, cfg.Normal, cfg.Keep, cfg.Knobs = withdrawn, 1, 0, 1
	cfg.Effort = effort
	v := m.View(k, matrix)
	// The least growth of the others for which the planner sees a way: a
	// part let go counts as let go within a hundredth of the site's load, for
	// the responses of uninvolved sites drift by more.
	var best shed.Outcome
	ask := func(limit float64) (bool, error) {
		for i := range v.POPs {
			v.POPs[i].Capacity = limit * m.Row(i, 0)[i]
		}
		v.POPs[site].Capacity = (1 - part + 0.01) * m.Row(site, 0)[site]
		out, err := shed.Plan(cfg, v, epoch)
		if err != nil || out.Overload > 1e-9 {
			return false, err
		}
		best = out
		return true, nil
	}
	low, high := 1.0, 3.0
	for high-low > 0.004 {
		limit := (low + high) / 2
		ok, err := ask(limit)
		if err != nil {
			return nil, err
		}
		if ok {
			high = limit
		} else {
			low = limit
		}
	}
	// A heuristic may find at a lower limit what it missed at a higher one.
	for limit := high - 0.004; limit > high-0.02 && limit > 1; limit -= 0.004 {
		if _, err := ask(limit); err != nil {
			return nil, err
		}
	}
	return m.Mix(k, best.Changes)
}

// single is the best of all measured configurations in which the site lets go
// of the part at least: its worst neighbour's growth.
func (m *Measured) single(site int, part float64) float64 {
	best := 1e9
	for _, row := range m.Rows {
		if row[site] <= (1-part)*m.Row(site, 0)[site] {
			best = min(best, m.worst(row, site))
		}
	}
	return best
}

// layered moves a part of a site's clients by DNS to the next layer, an
// anycast address announced by the larger half of the sites (FastRoute): they
// spread there by size.
func (m *Measured) layered(site int, part float64) []float64 {
	load := slices.Clone(m.Row(0, 0))
	order := slices.Clone(m.Sites)
	slices.SortFunc(order, func(a, b policy.POPID) int {
		if m.Shares()[a] > m.Shares()[b] {
			return -1
		}
		return 1
	})
	all := 0.0
	for _, q := range order[:len(order)/2] {
		if q != m.Sites[site] {
			all += m.Shares()[q]
		}
	}
	moved := part * load[site]
	for _, q := range order[:len(order)/2] {
		if q != m.Sites[site] {
			load[slices.Index(m.Sites, q)] += moved * m.Shares()[q] / all
		}
	}
	load[site] -= moved
	return load
}
