package shed

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
)

// Matrix is the response matrix: for each POP and level, how much of the
// POP's own demand leaves and to which POPs, each with its uncertainty and
// age. It is plain data; Observe returns changed rows, never changes shared
// ones, so that a Matrix may be read while the next one is made.
type Matrix struct {
	Model Model                 `json:"model"`
	Rows  map[policy.POPID]*Row `json:"rows"`
	// Plays are measured combinations of levels. Plan uses them; Round does
	// not: they need several POPs to act as one.
	Plays []Play `json:"plays,omitempty"`
}

// Play is the measured effect of levels of several POPs on one slice.
type Play struct {
	Level map[policy.POPID]Level    `json:"level"` // a POP that is missing is normal
	Leave map[policy.POPID]float64  `json:"leave"` // part of its own demand that goes away
	Gain  map[policy.POPID]Estimate `json:"gain"`  // part of all that goes away that it gets
}

// Row is what is known of one POP.
type Row struct {
	// Levels is how much leaves at each level, and where to; index 0 is the
	// normal announcement and empty.
	Levels []Response `json:"levels"`
	// Split is where load goes at whatever level: what is assumed for levels
	// that were not observed.
	Split Split `json:"split"`
	// Share is the POP's share of all demand while every POP is normal, and
	// the weight of a POP of which nothing else is known.
	Share float64 `json:"share"`
}

// Response is what is known of one level.
type Response struct {
	Leave Estimate `json:"leave"` // part of the POP's own demand that goes away
	Split Split    `json:"split"` // of what goes away; empty: never observed
}

// Estimate is a part 0..1 with its variance.
type Estimate struct {
	Mean float64 `json:"mean"`
	Var  float64 `json:"var"`
	// Events counts the observations behind it; 0: only a prior.
	Events int       `json:"events"`
	At     time.Time `json:"at,omitzero"` // of the last observation
	// Certain is known without any: that all leaves at a withdraw. It is no
	// hint of what leaves at other levels, and they are none of it.
	Certain bool `json:"certain,omitempty"`
}

// SD returns the standard deviation.
func (e Estimate) SD() float64 { return math.Sqrt(e.Var) }

// Split says where load goes: parts that add up to 1.
type Split map[policy.POPID]Estimate

// Model are the constants of learning. The defaults were fitted to public
// measurements of one testbed (six sites, 78 configurations): another level
// of the same site sends up to 0.07 of what it moves elsewhere (Level), and shares
// drift by about 2 points of total traffic between two measurements (Drift).
type Model struct {
	// Level is the variance, per part·(1-part), between the splits of two
	// levels of one POP.
	Level float64 `json:"level"`
	// Drift is the standard deviation of a POP's share between two
	// measurements with nothing changed, per square root of the share.
	Drift float64 `json:"drift"`
	// Age is the variance that an estimate gains in a day, per part·(1-part).
	Age float64 `json:"age"`
	// Weak, Hinted and Measured are how many events a prior is worth: the
	// spread by size, neighbours named by the operator, a measured file.
	Weak     float64 `json:"weak"`
	Hinted   float64 `json:"hinted"`
	Measured float64 `json:"measured"`
	// Leave and LeaveSD are the amount that leaves at a level of which
	// nothing is known.
	Leave   float64 `json:"leave"`
	LeaveSD float64 `json:"leave_sd"`
}

// DefaultModel returns the fitted constants.
func DefaultModel() Model {
	return Model{Level: 0.02, Drift: 0.02, Age: 0.002, Weak: 2, Hinted: 8, Measured: 30, Leave: 0.7, LeaveSD: 0.25}
}

// NewMatrix returns a matrix that knows the POPs' shares of demand and the
// number of levels, and of responses only that load spreads by size.
func NewMatrix(m Model, share map[policy.POPID]float64, levels int) *Matrix {
	out := &Matrix{Model: m, Rows: map[policy.POPID]*Row{}}
	for p, s := range share {
		row := &Row{Levels: make([]Response, levels), Share: s, Split: Split{}}
		for l := 1; l < levels; l++ {
			row.Levels[l].Leave = Estimate{Mean: m.Leave, Var: m.LeaveSD * m.LeaveSD}
		}
		out.Rows[p] = row
	}
	for p, row := range out.Rows {
		rest := total(share) - share[p]
		for q, s := range share {
			if q != p && rest > 0 {
				row.Split[q] = prior(s/rest, m.Weak)
			}
		}
	}
	return out
}

// Fleet returns the matrix for the POPs given, by their shares of demand: what
// was learned of those that stay is kept, those that left are forgotten, and
// a new one gets from each other what it would by size until it is observed.
func (m *Matrix) Fleet(share map[policy.POPID]float64, levels int) *Matrix {
	out := NewMatrix(m.Model, share, levels)
	for p, row := range out.Rows {
		old := m.Rows[p]
		if old == nil {
			continue
		}
		for l := 1; l < levels && l < len(old.Levels); l++ {
			row.Levels[l] = Response{Leave: old.Levels[l].Leave, Split: joined(old.Levels[l].Split, row.Split)}
		}
		row.Split = joined(old.Split, row.Split)
	}
	for _, y := range m.Plays {
		known := true
		for p := range y.Gain {
			known = known && out.Rows[p] != nil
		}
		for p := range y.Leave {
			known = known && out.Rows[p] != nil
		}
		if known {
			out.Plays = append(out.Plays, y)
		}
	}
	return out
}

// joined is a learned split for the POPs of a fleet; nil stays nil.
func joined(learned, size Split) Split {
	if len(learned) == 0 {
		return nil
	}
	out := Split{}
	for q, e := range size {
		if l, ok := learned[q]; ok {
			e = l
		}
		out[q] = e
	}
	return normal(out)
}

// prior is a part known as well as from that many events.
func prior(part, events float64) Estimate {
	return Estimate{Mean: part, Var: spread(part) / (events + 1)}
}

// spread is part·(1-part), never quite zero: what was never seen may happen.
func spread(part float64) float64 {
	part = min(max(part, 0.002), 0.998)
	return part * (1 - part)
}

// Neighbours seeds where a POP's load goes with what the operator configured:
// parts by POP, which are scaled to add up to 1. A tenth stays spread by size.
func (m *Matrix) Neighbours(p policy.POPID, part map[policy.POPID]float64) *Matrix {
	return m.seed(p, part, m.Model.Hinted, 0.1)
}

// Measured seeds a level with a measurement of somebody else's making, such
// as a catchment mapping: what part leaves, and its split.
func (m *Matrix) Measured(p policy.POPID, level Level, leave float64, part map[policy.POPID]float64, at time.Time) *Matrix {
	out := m.seed(p, part, m.Model.Measured, 0)
	row := out.Rows[p]
	if int(level) < len(row.Levels) {
		split := Split{}
		for q, e := range row.Split {
			split[q] = Estimate{Mean: e.Mean, Var: e.Var, Events: 1, At: at}
		}
		row.Levels[level] = Response{Leave: Estimate{Mean: leave, Var: spread(leave) / (m.Model.Measured + 1), Events: 1, At: at, Certain: row.Levels[level].Leave.Certain}, Split: split}
	}
	return out
}

// Played adds a measured combination: each POP's share of the clients before
// and with the levels.
func (m *Matrix) Played(level map[policy.POPID]Level, before, after map[policy.POPID]float64, at time.Time) *Matrix {
	y := Play{Level: level, Leave: map[policy.POPID]float64{}, Gain: map[policy.POPID]Estimate{}}
	gain := map[policy.POPID]float64{}
	for p, b := range before {
		if d := after[p] - b; d > 0 {
			gain[p] = d
		} else if b > 0 {
			y.Leave[p] = -d / b
		}
	}
	for p, d := range gain {
		if part := d / total(gain); part > 0 {
			y.Gain[p] = Estimate{Mean: part, Var: spread(part) / (m.Model.Measured + 1), Events: 1, At: at}
		}
	}
	out := &Matrix{Model: m.Model, Rows: m.Rows, Plays: append(slices.Clone(m.Plays), y)}
	return out
}

func (m *Matrix) seed(p policy.POPID, part map[policy.POPID]float64, events, bySize float64) *Matrix {
	out, row := m.with(p)
	sum := total(part) - part[p]
	if sum <= 0 {
		return out
	}
	for q, e := range row.Split {
		row.Split[q] = prior((1-bySize)*part[q]/sum+bySize*e.Mean, events)
	}
	return out
}

// with returns a copy of the matrix in which one row may be changed.
func (m *Matrix) with(p policy.POPID) (*Matrix, *Row) {
	out := &Matrix{Model: m.Model, Rows: maps.Clone(m.Rows), Plays: m.Plays}
	row := &Row{Split: Split{}}
	if old := m.Rows[p]; old != nil {
		row.Share, row.Split = old.Share, maps.Clone(old.Split)
		for _, r := range old.Levels {
			row.Levels = append(row.Levels, Response{Leave: r.Leave, Split: maps.Clone(r.Split)})
		}
	}
	out.Rows[p] = row
	return out, row
}

// Part is what one POP gets of another's demand at a level.
type Part struct {
	POP policy.POPID
	// Mean is the expected part of the demand, and SD its standard deviation,
	// that of the amount and that of the split together.
	Mean, SD float64
}

// Known is one level of a POP as it is expected to respond now.
type Known struct {
	Leave Estimate
	To    []Part // by POP name; their means add up to Leave.Mean
	// Events counts the observations of this level, 0: never seen.
	Events int
	Age    time.Duration // since the last one
}

// Lookup returns what is known of a level at a time. A level that was never
// observed is taken to leave as the nearest one that was, and to split as the
// POP's other levels do, each with more uncertainty.
func (m *Matrix) Lookup(p policy.POPID, level Level, now time.Time) Known {
	row := m.Rows[p]
	if row == nil || level == 0 || int(level) >= len(row.Levels) {
		return Known{}
	}
	r := row.Levels[level]
	k := Known{Leave: m.leave(row, level, now), Events: r.Leave.Events}
	if k.Events > 0 {
		k.Age = now.Sub(r.Leave.At)
	}
	split, between := r.Split, 0.0
	if len(split) == 0 {
		split, between = row.Split, m.Model.Level
	}
	sum := split.sum()
	for _, q := range slices.Sorted(maps.Keys(split)) {
		e := m.aged(split[q], now)
		part := e.Mean / max(sum, 1e-12)
		v := e.Var + between*spread(part)
		k.To = append(k.To, Part{POP: q, Mean: k.Leave.Mean * part,
			SD: math.Sqrt(k.Leave.Mean*k.Leave.Mean*v + k.Leave.Var*part*part)})
	}
	return k
}

// leave is how much leaves at a level. A level never observed leaves as much
// as the next observed one above or below.
func (m *Matrix) leave(row *Row, level Level, now time.Time) Estimate {
	own := m.aged(row.Levels[level].Leave, now)
	if own.Events > 0 || own.Certain {
		return own
	}
	for d := 1; d < len(row.Levels); d++ {
		for _, l := range []int{int(level) - d, int(level) + d} {
			if l < 1 || l >= len(row.Levels) || row.Levels[l].Leave.Events == 0 || row.Levels[l].Leave.Certain {
				continue
			}
			near := m.aged(row.Levels[l].Leave, now)
			far := m.Model.LeaveSD * m.Model.LeaveSD / 2 * float64(d)
			return Estimate{Mean: near.Mean, Var: near.Var + far}
		}
	}
	return own
}

// aged adds the variance that an observed estimate has gained since.
func (m *Matrix) aged(e Estimate, now time.Time) Estimate {
	if days := now.Sub(e.At).Hours() / 24; e.Events > 0 && days > 0 {
		e.Var += m.Model.Age * days * spread(e.Mean)
	}
	return e
}
