package balance

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/fleet"
)

// Where the loads of slices come from, in fleet.Load.Split.
const (
	// SplitMeasured: each slice is measured by itself (by a source of its own,
	// connections of its VIPs, or the only slice of a service that is measured).
	SplitMeasured = "measured"
	// SplitConnections: what is measured of the POP, or of a service, is
	// split by the established connections of the VIPs.
	SplitConnections = "connections"
	// SplitEqually: it is split into equal parts, where a slice that steps
	// back counts with the part that is expected to stay. Nothing can be
	// learned from that.
	SplitEqually = "equally"
)

// fewest is how many connections a slice must have, in the mean, for them to
// say how much of the load is its: with 100 the error of one count is a tenth.
const fewest = 100

// Carried is one service at this POP, for Measure.
type Carried struct {
	ID     policy.ServiceID
	Slices []CarriedSlice
	VIPs   []netip.Addr
	Moves  bool // load may move its slices
}

// CarriedSlice is one slice of a Carried.
type CarriedSlice struct {
	ID policy.SliceID
	// Level is how far it steps back for load; nil: not announced, or for
	// other reasons.
	Level *int
	// Keeps is the part of its demand that is expected to be here, 0 to 1.
	Keeps float64
}

// Measure says what the POP carries by slice, of one unit of a snapshot. at is
// the time of the sample. It fails where the POP's load is not known: what is
// not known is not said.
func Measure(u load.Unit, s *load.Snapshot, services []Carried) (l fleet.Load, at time.Time, err error) {
	total := s.POP.Load[u]
	if !total.Known {
		return fleet.Load{}, time.Time{}, fmt.Errorf("the POP's load in %s is not measured, or not known now", u)
	}
	l = fleet.Load{Unit: u.String(), Capacity: s.POP.Capacity[u]}
	m := measuring{u: u, snapshot: s, services: services, connections: connectionsBy(s)}
	parts, split := m.split(total.Value)
	l.Split, l.Other = split, total.Value
	for i := range services {
		for j, c := range services[i].Slices {
			if services[i].Moves {
				l.Slices = append(l.Slices, fleet.SliceLoad{Slice: c.ID, Load: parts[i][j], Level: c.Level})
				l.Other -= parts[i][j]
			}
		}
	}
	if l.Other < 1e-9*total.Value { // rounding, or services that add up to more
		l.Other = 0
	}
	slices.SortFunc(l.Slices, func(a, b fleet.SliceLoad) int { return compare(a.Slice, b.Slice) })
	return l, total.At, nil
}

// measuring is one call of Measure.
type measuring struct {
	u           load.Unit
	snapshot    *load.Snapshot
	services    []Carried
	connections map[netip.Addr]float64 // nil: not counted, or one of them not known
}

// connectionsBy are the connections of each VIP.
func connectionsBy(s *load.Snapshot) map[netip.Addr]float64 {
	var out map[netip.Addr]float64
	for i := range s.Sources {
		for _, p := range s.Sources[i].Points {
			a, err := netip.ParseAddr(p.Name)
			if p.Unit != load.Connections || err != nil {
				continue
			}
			if !p.Value.Known {
				return nil
			}
			if out == nil {
				out = map[netip.Addr]float64{}
			}
			out[a] += p.Value.Value
		}
	}
	return out
}

// split divides the load among the slices, [service][slice].
func (m *measuring) split(total float64) (parts [][]float64, how string) {
	by := make([][]float64, len(m.services)) // connections
	all, counted := 0.0, m.connections != nil
	for i := range m.services {
		by[i] = m.count(&m.services[i])
		all += sum(by[i])
	}
	if m.u == load.Connections && counted {
		return by, SplitMeasured
	}
	if own, ok := m.own(); ok {
		return m.within(own, by, counted)
	}
	if counted && all >= fewest*float64(m.slices()) {
		return scaled(by, total), SplitConnections
	}
	return scaled(m.keeps(), total), SplitEqually
}

// count adds up the connections of each slice of a service.
func (m *measuring) count(c *Carried) []float64 {
	out := make([]float64, len(c.Slices))
	for _, a := range c.VIPs {
		for j := range c.Slices {
			if c.Slices[j].ID.Prefix().Contains(a) {
				out[j] += m.connections[a]
			}
		}
	}
	return out
}

// own is what each service carries by its own measurement, if all have one.
func (m *measuring) own() ([]float64, bool) {
	out := make([]float64, len(m.services))
	for i := range m.services {
		at := slices.IndexFunc(m.snapshot.Services, func(s load.Subject) bool { return s.Name == string(m.services[i].ID) })
		if at < 0 || !m.snapshot.Services[at].Load[m.u].Known {
			return nil, false
		}
		out[i] = m.snapshot.Services[at].Load[m.u].Value
	}
	return out, len(out) > 0
}

// within divides what services carry among their slices.
func (m *measuring) within(own []float64, by [][]float64, counted bool) ([][]float64, string) {
	how := SplitMeasured
	keeps := m.keeps()
	out := make([][]float64, len(own))
	for i := range own {
		switch {
		case len(m.services[i].Slices) == 1:
			out[i] = []float64{own[i]}
		case m.measured(i, out):
		case counted && sum(by[i]) >= fewest*float64(len(by[i])):
			out[i] = scaled(by[i:i+1], own[i])[0]
			if how == SplitMeasured {
				how = SplitConnections
			}
		default:
			out[i], how = scaled(keeps[i:i+1], own[i])[0], SplitEqually
		}
	}
	return out, how
}

// measured fills in what sources say of each slice of a service, if they know.
func (m *measuring) measured(i int, out [][]float64) bool {
	c := &m.services[i]
	for _, s := range c.Slices {
		at := slices.IndexFunc(m.snapshot.Slices, func(t load.Subject) bool { return t.Name == s.ID.String() })
		if at < 0 || !m.snapshot.Slices[at].Load[m.u].Known {
			out[i] = nil
			return false
		}
		out[i] = append(out[i], m.snapshot.Slices[at].Load[m.u].Value)
	}
	return true
}

// slices is how many there are.
func (m *measuring) slices() (n int) {
	for i := range m.services {
		n += len(m.services[i].Slices)
	}
	return n
}

// keeps are the parts by which load is split where nothing is counted.
func (m *measuring) keeps() [][]float64 {
	out := make([][]float64, len(m.services))
	for i := range m.services {
		for _, s := range m.services[i].Slices {
			out[i] = append(out[i], max(0, s.Keeps))
		}
	}
	return out
}

// scaled are parts of a total, as the weights are; nothing of zero weights.
func scaled(weights [][]float64, total float64) [][]float64 {
	all := 0.0
	for _, w := range weights {
		all += sum(w)
	}
	out := make([][]float64, len(weights))
	for i := range weights {
		out[i] = make([]float64, len(weights[i]))
		for j, w := range weights[i] {
			if all > 0 {
				out[i][j] = total * w / all
			}
		}
	}
	return out
}

func sum(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}

// Level is how far the POP steps back on a slice for its load by what was
// decided about it; nil: it is not announced, or what it does has other
// reasons (an operator, health, a guard), and load does not touch it. heard
// says that routers hear what is announced.
func Level(d policy.SliceDecision, rungs int, heard bool) *int {
	switch {
	case d.Stance != d.Want || d.Intent != nil || d.Stance.Action == policy.Drain:
		return nil
	case d.Stance.Announced() && !heard:
		return nil
	case d.Why.Code == policy.Load:
	case d.Why.Code == policy.Healthy && d.Stance.Rung == 0 && d.Stance.Announced():
	default:
		return nil
	}
	l := int(shed.LevelOf(d.Stance, rungs))
	return &l
}
