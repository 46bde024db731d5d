package matrix

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
)

// Ladder are the rungs of a service, the normal announcement first. Other POPs
// are taken to have the same.
type Ladder []Rung

// Rung is what a file of catchments may call a rung by.
type Rung struct {
	Name    string
	Prepend int // more than the normal announcement
}

// levels is how many levels there are, the withdraw included.
func (l Ladder) levels() int { return max(1, len(l)) + 1 }

// level is the level of a setting; false where the ladder has none such.
func (l Ladder) level(s Setting) (shed.Level, bool) {
	if s.Rung == Withdraw {
		return shed.Level(l.levels() - 1), true
	}
	for i := 1; i < len(l); i++ {
		if s.Rung != "" && l[i].Name == s.Rung || s.Rung == "" && l[i].Prepend == s.Prepend {
			return shed.Level(i), true
		}
	}
	return 0, false
}

// Receivers says where the load of a POP goes when it steps back, as the
// operator expects it: parts by POP.
type Receivers struct {
	Of   policy.POPID
	Part map[policy.POPID]float64
}

// Seeds is what a matrix is made of before anything was observed.
type Seeds struct {
	POP policy.POPID // this one
	// Weight is each POP's size, of which its share of the load follows where
	// no file tells it. This POP is among them.
	Weight     map[policy.POPID]float64
	Receivers  []Receivers
	Catchments *Catchments // nil: none
	Ladders    map[policy.ServiceID]Ladder
}

// matrix is that of a service before anything was observed.
func (s *Seeds) matrix(l Ladder) *shed.Matrix {
	c := s.Catchments
	share := shares(s.Weight)
	if c != nil {
		share = c.within(share)
	}
	m := shed.NewMatrix(model(), share, l.levels())
	certain(m)
	for _, r := range s.Receivers {
		if m.Rows[r.Of] != nil {
			m = m.Neighbours(r.Of, r.Part)
		}
	}
	if c != nil {
		m = c.seed(m, l)
	}
	return m
}

// model is the fitted one, with what a rung may do of which nothing is known as
// wide as it was seen to be: of six measured sites one prepend moved 4 to 91 %.
func model() shed.Model {
	m := shed.DefaultModel()
	m.LeaveSD = 0.35
	return m
}

// certain makes the withdraw what it is: all of the load leaves.
func certain(m *shed.Matrix) {
	for _, row := range m.Rows {
		row.Levels[len(row.Levels)-1].Leave = shed.Estimate{Mean: 1, Var: 1e-4, Certain: true}
	}
}

// within are the shares of a fleet's POPs: as measured of those that the file
// has, by size of the others.
func (c *Catchments) within(bySize map[policy.POPID]float64) map[policy.POPID]float64 {
	out := maps.Clone(bySize)
	has, size := map[policy.POPID]float64{}, 0.0
	for p, n := range c.Normal.Clients {
		if _, ours := bySize[p]; ours && n > 0 {
			has[p] = n
		}
	}
	for _, p := range slices.Sorted(maps.Keys(has)) {
		size += bySize[p]
	}
	for p, part := range shares(has) {
		out[p] = part * size
	}
	return out
}

// seed puts what was measured into a matrix, as far as its POPs and the ladder
// have it.
func (c *Catchments) seed(m *shed.Matrix, l Ladder) *shed.Matrix {
	for i := range c.Rows {
		r := &c.Rows[i]
		level, ok := map[policy.POPID]shed.Level{}, true
		for _, s := range r.Settings {
			n, there := l.level(s)
			ok = ok && there && m.Rows[s.POP] != nil
			level[s.POP] = n
		}
		if !ok {
			continue
		}
		if len(level) > 1 {
			m = m.Played(level, c.ours(m, c.Normal.Clients), c.ours(m, r.Clients), c.Measured)
			continue
		}
		leave, to := c.Response(r)
		if to = c.ours(m, to); to == nil {
			continue
		}
		for p, n := range level {
			m = m.Measured(p, n, leave, to, c.Measured)
		}
	}
	return m
}

// ours are the shares of clients that POPs of the matrix have.
func (c *Catchments) ours(m *shed.Matrix, clients map[policy.POPID]float64) map[policy.POPID]float64 {
	if clients == nil {
		return nil
	}
	out := map[policy.POPID]float64{}
	for p, n := range clients {
		if m.Rows[p] != nil {
			out[p] = n
		}
	}
	return shares(out)
}

// Remarks are what of the seeds is not used, a sentence each.
func (s *Seeds) Remarks() []string {
	c := s.Catchments
	if c == nil {
		return nil
	}
	var out, strange, missing []string
	for _, p := range c.POPs {
		if _, ok := s.Weight[p]; !ok {
			strange = append(strange, string(p))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(s.Weight)) {
		if !slices.Contains(c.POPs, p) {
			missing = append(missing, string(p))
		}
	}
	if len(strange) > 0 {
		out = append(out, fmt.Sprintf("%s has POPs that the fleet section does not name; their clients are left out: %s.", c.Source, strings.Join(strange, ", ")))
	}
	if len(missing) > 0 {
		out = append(out, fmt.Sprintf("%s has nothing of %s: load is taken to go there by size.", c.Source, strings.Join(missing, ", ")))
	}
	for i := range c.Rows {
		for _, set := range c.Rows[i].Settings {
			known := false
			for _, l := range s.Ladders {
				_, ok := l.level(set)
				known = known || ok
			}
			if !known && set.Rung != "" && len(s.Ladders) > 0 {
				out = append(out, fmt.Sprintf("%s:%d: no ladder has a rung %q (configuration %q): not used.", c.Source, c.Rows[i].Line, set.Rung, c.Rows[i].Name))
			}
		}
	}
	return out
}
