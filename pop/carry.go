package pop

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/balance"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/matrix"
)

// Matrices are what is known of how load moves (matrix.Book).
type Matrices interface {
	Matrix(policy.ServiceID) *shed.Matrix
	Known(policy.ServiceID, policy.POPID, shed.Level) matrix.Knowledge
	Seeds() matrix.Seeds
}

// Seeds is what the matrices of a configuration begin with; catchments may be
// nil.
func Seeds(cfg *config.Config, catchments *matrix.Catchments) matrix.Seeds {
	s := matrix.Seeds{
		POP: cfg.POP, Weight: map[policy.POPID]float64{cfg.POP: 1}, Catchments: catchments,
		Ladders: make(map[policy.ServiceID]matrix.Ladder, len(cfg.Services)),
	}
	for _, p := range cfg.Fleet.RIB {
		s.Weight[p.POP] = p.Capacity
	}
	for _, p := range cfg.Fleet.Peers {
		s.Weight[p.POP] = p.Capacity
	}
	for i := range cfg.Services {
		s.Ladders[cfg.Services[i].ID] = ladderOf(&cfg.Services[i])
	}
	for _, r := range cfg.Matrix.Receivers {
		i := slices.IndexFunc(s.Receivers, func(o matrix.Receivers) bool { return o.Of == r.Of })
		if i < 0 {
			i = len(s.Receivers)
			s.Receivers = append(s.Receivers, matrix.Receivers{Of: r.Of, Part: map[policy.POPID]float64{}})
		}
		s.Receivers[i].Part[r.POP] = r.Share
	}
	return s
}

func ladderOf(svc *config.Service) matrix.Ladder {
	var l matrix.Ladder
	for _, r := range svc.Ladder {
		l = append(l, matrix.Rung{Name: r.Name, Prepend: r.Prepend - svc.Normal.Prepend})
	}
	return l
}

// carrying is who carries what at one time, in one unit.
type carrying struct {
	unit load.Unit
	pops []carrier // this POP first, then the others by name
	// none says why nothing is known of what this POP carries itself.
	none string
}

// carrier is a POP that carries load.
type carrier struct {
	id       policy.POPID
	capacity float64 // 0: not known
	total    float64
	known    bool
	at       time.Time
	split    string // of balance.Measure
	slice    map[policy.SliceID]float64
	why      string // with !known
}

// told is the age at which what was said of a load says nothing any more.
const told = 3 * time.Minute

// carried is what is known of loads. Capacities are as supposed.
func (s *situation) carried() carrying {
	var c carrying
	unit, ok := s.unit()
	c.unit = unit
	me := carrier{id: s.cfg.POP}
	switch {
	case !ok:
		c.none = "What this POP carries is not measured (load in the configuration), or not known now."
	default:
		l, at, err := balance.Measure(unit, s.measured, s.carriedSlices())
		if err != nil {
			c.none = "What this POP carries is not known: " + err.Error() + "."
			break
		}
		me = carrierOf(s.cfg.POP, &l, at)
	}
	me.capacity *= s.scale(me.id)
	c.pops = append(c.pops, me)
	for i := range s.view.Fleet {
		p := s.peerCarries(&s.view.Fleet[i], unit)
		p.capacity *= s.scale(p.id)
		c.pops = append(c.pops, p)
	}
	slices.SortFunc(c.pops[1:], func(a, b carrier) int { return cmp.Compare(a.id, b.id) })
	return c
}

// scale is by what the capacity of a POP is supposed to be multiplied.
func (s *situation) scale(id policy.POPID) float64 {
	if f, ok := s.capacity[id]; ok {
		return f
	}
	return 1
}

func (s *situation) peerCarries(r *fleet.PeerReport, unit load.Unit) carrier {
	out := carrier{id: r.POP}
	switch {
	case r.Heard.IsZero():
		out.why = "never heard"
	case r.Load == nil:
		out.why = "does not tell its load"
	case r.Load.Unit != unit.String():
		out.why = fmt.Sprintf("tells its load in %s, not in %s", r.Load.Unit, unit)
	case s.now.Sub(r.LoadAt) > told:
		out.why = fmt.Sprintf("its load is %v old", s.now.Sub(r.LoadAt).Round(time.Second))
	default:
		return carrierOf(r.POP, r.Load, r.LoadAt)
	}
	return out
}

func carrierOf(id policy.POPID, l *fleet.Load, at time.Time) carrier {
	out := carrier{id: id, capacity: l.Capacity, total: l.Other, known: true, at: at, split: l.Split, slice: map[policy.SliceID]float64{}}
	for _, s := range l.Slices {
		out.slice[s.Slice] = s.Load
		out.total += s.Load
	}
	return out
}

// countable are the units by which loads add up over POPs, the commonest
// limit first.
var countable = []load.Unit{load.Out, load.Requests, load.Connections, load.In}

// unit is the one in which loads are told: the configured one of balance, else
// that of which this POP has the least left; if it has no limits the first
// that it knows.
func (s *situation) unit() (best load.Unit, ok bool) {
	if s.cfg.Balance.On() {
		return s.cfg.Balance.Unit, s.measured != nil
	}
	if s.measured == nil {
		return load.Out, false
	}
	most := -1.0
	for _, u := range countable {
		v, limit := s.measured.POP.Load[u], s.measured.POP.Capacity[u]
		if !v.Known {
			continue
		}
		use := 0.0
		if limit > 0 {
			use = 1 + v.Value/limit // any limit before none
		}
		if use > most {
			best, most, ok = u, use, true
		}
	}
	return best, ok
}

// carriedSlices are the services with what each slice keeps of its load.
func (s *situation) carriedSlices() []balance.Carried {
	var out []balance.Carried
	now := s.announced()
	for _, svc := range s.view.Input.Services {
		c := balance.Carried{ID: svc.ID, Moves: true}
		if own := s.service(svc.ID); own != nil {
			c.VIPs = own.VIPs.Addresses
		}
		m := s.matrixOf(svc.ID)
		for _, id := range svc.Slices {
			keeps := 0.0
			switch l := shed.LevelOf(now[id], svc.Rungs); {
			case l == 0:
				keeps = 1
			case m != nil:
				keeps = 1 - m.Lookup(s.cfg.POP, l, s.now).Leave.Mean
			}
			c.Slices = append(c.Slices, balance.CarriedSlice{ID: id, Keeps: keeps})
		}
		out = append(out, c)
	}
	return out
}

func (s *situation) matrixOf(svc policy.ServiceID) *shed.Matrix {
	if s.matrices == nil {
		return nil
	}
	return s.matrices.Matrix(svc)
}

// announced is what routers hear of each slice now; what is not in it, or
// heard by none, is withdrawn.
func (s *situation) announced() map[policy.SliceID]policy.Stance {
	out := make(map[policy.SliceID]policy.Stance, len(s.view.Decision.Slices))
	for _, d := range s.view.Decision.Slices {
		if s.view.heard[d.Slice] || s.view.dry {
			out[d.Slice] = d.Stance
		}
	}
	return out
}
