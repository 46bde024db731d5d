package sim

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
)

// Measured are the catchments of one testbed under many configurations, one
// site changed at a time: each site's share of all clients.
type Measured struct {
	Source string
	Sites  []policy.POPID
	// Rows are the shares by configuration: "baseline", "0xCDG" (withdrawn),
	// "3xCDG" (three prepends) and "-1xCDG" (all others prepended once).
	Rows map[string][]float64
	// Order is the order of the rows in the file.
	Order []string
}

// The levels of a measured site: normal, one to five prepends, withdrawn.
const (
	prepends  = 5
	withdrawn = shed.Level(prepends + 1)
)

// epoch is the beginning of virtual time.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// ReadMeasured reads the format of SIDN's anycast tuner: semicolons, a column
// a site, the configuration in the first. Lines that begin with # are
// comments. Sites that attract nobody in the baseline are left out.
func ReadMeasured(r io.Reader, source string) (*Measured, error) {
	m := &Measured{Source: source, Rows: map[string][]float64{}}
	sc := bufio.NewScanner(r)
	var columns []int
	count := map[string][]float64{}
	for sc.Scan() {
		line := sc.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		cells := strings.Split(line, ";")
		if cells[0] == "bgp" {
			for i, c := range cells[1:] {
				if c != "unknown" {
					columns = append(columns, i+1)
					m.Sites = append(m.Sites, policy.POPID(c))
				}
			}
			continue
		}
		var v []float64
		for _, c := range columns {
			if c >= len(cells) {
				return nil, fmt.Errorf("%s: row %s: %d columns", source, cells[0], len(cells))
			}
			x, err := strconv.ParseFloat(cells[c], 64)
			if err != nil || x < 0 {
				return nil, fmt.Errorf("%s: row %s: %q is not a count", source, cells[0], cells[c])
			}
			v = append(v, x)
		}
		count[cells[0]] = v
		m.Order = append(m.Order, cells[0])
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return m, m.share(count)
}

// share turns counts into shares and drops sites without clients.
func (m *Measured) share(count map[string][]float64) error {
	base := count["baseline"]
	if base == nil {
		return fmt.Errorf("%s: no row baseline", m.Source)
	}
	var keep []int
	var sites []policy.POPID
	for i, b := range base {
		if b > 100 || b > 0 && sum(base) < 1000 {
			keep = append(keep, i)
			sites = append(sites, m.Sites[i])
		}
	}
	m.Sites = sites
	for name, v := range count {
		out := make([]float64, len(keep))
		all := 0.0
		for _, i := range keep {
			all += v[i]
		}
		for o, i := range keep {
			out[o] = v[i] / all
		}
		m.Rows[name] = out
	}
	return nil
}

// Row returns the shares with one site at a level; nil: not measured.
func (m *Measured) Row(site int, l shed.Level) []float64 {
	switch {
	case l == 0:
		return m.Rows["baseline"]
	case l == withdrawn:
		return m.Rows["0x"+string(m.Sites[site])]
	}
	return m.Rows[fmt.Sprintf("%dx%s", l, m.Sites[site])]
}

// response returns what part of a site's clients a level moves, and the split
// of what the others gain.
func (m *Measured) response(site int, l shed.Level) (leave float64, split map[policy.POPID]float64) {
	row, base := m.Row(site, l), m.Row(site, 0)
	if row == nil {
		return 0, nil
	}
	split = map[policy.POPID]float64{}
	for q := range row {
		if q != site {
			split[m.Sites[q]] = max(0, row[q]-base[q])
		}
	}
	return min(1, max(0, 1-row[site]/base[site])), split
}

// Shares returns the baseline by site.
func (m *Measured) Shares() map[policy.POPID]float64 {
	out := map[policy.POPID]float64{}
	for i, p := range m.Sites {
		out[p] = m.Row(i, 0)[i]
	}
	return out
}

// Matrix returns a response matrix that was seeded with every measured level,
// and with every row as a play: what it does to sites that did nothing too.
func (m *Measured) Matrix() *shed.Matrix {
	x := shed.NewMatrix(shed.DefaultModel(), m.Shares(), int(withdrawn)+1)
	for i, p := range m.Sites {
		for l := shed.Level(1); l <= withdrawn; l++ {
			if leave, split := m.response(i, l); split != nil {
				x = x.Measured(p, l, leave, split, epoch)
				x = x.Played(map[policy.POPID]shed.Level{p: l}, m.named(m.Row(i, 0)), m.named(m.Row(i, l)), epoch)
			}
		}
	}
	for i, p := range m.Sites {
		row := m.Rows["-1x"+string(p)]
		if row == nil {
			continue
		}
		level := map[policy.POPID]shed.Level{}
		for q, o := range m.Sites {
			if q != i {
				level[o] = 1
			}
		}
		x = x.Played(level, m.named(m.Row(i, 0)), m.named(row), epoch)
	}
	return x
}

// View is a fleet of the measured sites with every slice normal, where each
// site carries its share of a total of 1, spread evenly over the slices.
func (m *Measured) View(k int, matrix *shed.Matrix) *shed.View {
	v := &shed.View{Slices: Slices(k), Matrix: matrix}
	for i, p := range m.Sites {
		pop := shed.POP{ID: p, At: epoch, Load: map[policy.SliceID]float64{}, Level: map[policy.SliceID]shed.Level{}}
		for _, s := range v.Slices {
			pop.Load[s] = m.Row(i, 0)[i] / float64(k)
			pop.Level[s] = 0
		}
		v.POPs = append(v.POPs, pop)
	}
	return v
}

// Mix returns the shares if the slices, each an equal part of the clients,
// are announced as changed: the truth of a plan in which each slice has a
// configuration that was measured.
func (m *Measured) Mix(k int, changes []shed.Change) ([]float64, error) {
	out := make([]float64, len(m.Sites))
	for _, s := range Slices(k) {
		level := make([]shed.Level, len(m.Sites))
		for _, c := range changes {
			if c.Slice == s {
				level[slices.Index(m.Sites, c.POP)] = c.To
			}
		}
		row := m.lookup(level)
		if row == nil {
			return nil, fmt.Errorf("slice %s: levels %v were not measured", s, level)
		}
		for i := range out {
			out[i] += row[i] / float64(k)
		}
	}
	return out, nil
}

// lookup returns the measured row for levels of all sites, nil if none is.
func (m *Measured) lookup(level []shed.Level) []float64 {
	off, normal, one := 0, -1, -1
	for i, l := range level {
		if l == 0 {
			normal = i
		} else {
			off++
			one = i
		}
	}
	switch {
	case off == 0:
		return m.Row(0, 0)
	case off == 1:
		return m.Row(one, level[one])
	case off == len(level)-1 && level[one] == 1 && slices.Max(level) == 1:
		return m.Rows["-1x"+string(m.Sites[normal])]
	}
	return nil
}

// worst returns the largest growth of a site other than one, as a factor.
func (m *Measured) worst(load []float64, but int) float64 {
	most := 0.0
	for q := range load {
		if q != but {
			most = max(most, load[q]/m.Row(q, 0)[q])
		}
	}
	return most
}

func sum(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x
	}
	return s
}

// distance is half the sum of absolute differences.
func distance(a, b []float64) float64 {
	d := 0.0
	for i := range a {
		d += math.Abs(a[i]-b[i]) / 2
	}
	return d
}
