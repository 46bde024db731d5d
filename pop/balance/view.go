package balance

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/fleet"
)

// Service is what load may move of a service: its slices, never its covers.
type Service struct {
	ID     policy.ServiceID
	Slices []policy.SliceID
	Rungs  int // of the ladder, at least 1
}

// Facts are what one POP knows at one time: what Facts.View makes a View of.
// The zero value of whatever is not known is right.
type Facts struct {
	Me policy.POPID
	// Services are those that load may move. Their ladders have the same
	// number of rungs: responses are learned by level.
	Services []Service
	// Own is what we say of ourselves, OwnAt the time of its sample; zero:
	// not measured.
	Own   fleet.Load
	OwnAt time.Time
	// Peers are the other POPs as pop/fleet reports them.
	Peers []fleet.PeerReport
	// Matrix are the responses learned and seeded; nil: only that load
	// spreads by size. It is brought to the POPs there are now.
	Matrix *shed.Matrix
	Book   Book
	Memory Memory
	// Isolated: the core is out of reach.
	Isolated bool
	Surprise bool // View.Surprised
	Cost     func(from, to policy.POPID) float64
}

// Book is what stands in the core, of one revision.
type Book struct {
	Revision int64
	Reserved []shed.Reservation
	Claims   []shed.Claim
	Loans    []shed.Loan
}

// Memory is what the POP remembers of itself over restarts; zero: never.
type Memory struct {
	Shed     time.Time `json:"shed,omitzero"`
	Returned time.Time `json:"returned,omitzero"`
	Changed  time.Time `json:"changed,omitzero"`
	Lent     time.Time `json:"lent,omitzero"` // when DNS was given more or fewer clients to lend
}

// otherLoad stands for what a POP carries beside the slices that load may move.
var otherLoad policy.SliceID

// View makes the view for a round, a forecast or a plan. It is pure; the
// result shares the matrix and the book. notes say what of the facts was not
// used and why, in words for people.
func (f *Facts) View(cfg shed.Config) (v *shed.View, notes []string) {
	v = &shed.View{
		Me: f.Me, Reserved: f.Book.Reserved, Claims: f.Book.Claims, Cost: f.Cost,
		Shed: f.Memory.Shed, Returned: f.Memory.Returned, Changed: f.Memory.Changed,
		Isolated: f.Isolated, Surprised: f.Surprise,
	}
	rungs := map[policy.SliceID]int{}
	for _, s := range f.Services {
		for _, id := range s.Slices {
			v.Slices = append(v.Slices, id)
			rungs[id] = s.Rungs
		}
	}
	slices.SortFunc(v.Slices, compare)
	v.POPs = append(v.POPs, f.own(rungs))
	for i := range f.Peers {
		p, note := f.peer(&f.Peers[i], rungs, cfg.Settle)
		v.POPs = append(v.POPs, p)
		if note != "" {
			notes = append(notes, note)
		}
	}
	slices.SortFunc(v.POPs, func(a, b shed.POP) int { return cmp.Compare(a.ID, b.ID) })
	v.Matrix = f.matrix(cfg, v.POPs)
	return v, notes
}

func compare(a, b policy.SliceID) int { return a.Prefix().Compare(b.Prefix()) }

// own is this POP.
func (f *Facts) own(rungs map[policy.SliceID]int) shed.POP {
	return popOf(f.Me, &f.Own, f.OwnAt, rungs)
}

// popOf is a POP by what it says of its load.
func popOf(id policy.POPID, l *fleet.Load, at time.Time, rungs map[policy.SliceID]int) shed.POP {
	p := shed.POP{ID: id, Capacity: l.Capacity, SD: l.SD, At: at, Load: map[policy.SliceID]float64{}, Level: map[policy.SliceID]shed.Level{}}
	other := l.Other
	for _, s := range l.Slices {
		r, ours := rungs[s.Slice]
		if !ours {
			other += s.Load
			continue
		}
		p.Load[s.Slice] = s.Load
		if s.Level != nil {
			p.Level[s.Slice] = shed.Level(min(*s.Level, max(1, r)))
		}
	}
	if other > 0 {
		p.Load[otherLoad] = other
	}
	return p
}

// peer is another POP: loads by its own word, what it announces by that and by
// its claims, of which the weaker counts. The load of one that has come back
// is not known until its own demand is back, settle later: it would look empty
// and be given what others have too much of.
func (f *Facts) peer(r *fleet.PeerReport, rungs map[policy.SliceID]int, settle time.Duration) (p shed.POP, note string) {
	switch {
	case r.Load == nil:
		p = popOf(r.POP, &fleet.Load{}, time.Time{}, rungs)
		note = fmt.Sprintf("%s says nothing of its load: it gets nothing", r.POP)
	case f.Own.Unit != "" && r.Load.Unit != f.Own.Unit:
		p = popOf(r.POP, &fleet.Load{Slices: r.Load.Slices}, time.Time{}, rungs)
		clear(p.Load)
		note = fmt.Sprintf("%s tells its load in %q, we in %q: it gets nothing", r.POP, r.Load.Unit, f.Own.Unit)
	case r.LoadAt.Before(r.Back.Add(settle)):
		p = popOf(r.POP, r.Load, time.Time{}, rungs)
		note = fmt.Sprintf("%s announces again what it did not: it gets nothing until its load shows it", r.POP)
	default:
		p = popOf(r.POP, r.Load, r.LoadAt, rungs)
		if p.Capacity == 0 {
			note = fmt.Sprintf("%s does not say what it can carry: it gets nothing", r.POP)
		}
	}
	for id, n := range rungs {
		said, has := p.Level[id]
		delete(p.Level, id)
		ps, heard := r.Slices[id]
		switch l := shed.LevelOf(ps.Stance, n); {
		case !heard || ps.Verdict == policy.Down || ps.Leaving && !(has && int(said) >= max(1, n)):
		case ps.Stance.Action == policy.Announce && (has || r.Load == nil):
			p.Level[id] = max(said, l)
		case !ps.Stance.Announced() && has && said >= l: // withdrawn for its load
			p.Level[id] = said
		}
	}
	return p, note
}

// matrix is what is known of responses, for the POPs there are.
func (f *Facts) matrix(cfg shed.Config, pops []shed.POP) *shed.Matrix {
	levels := 2
	for _, s := range f.Services {
		levels = max(levels, max(1, s.Rungs)+1)
	}
	levels = max(levels, int(cfg.Deepest)+1)
	share := Shares(pops)
	if f.Matrix == nil {
		return shed.NewMatrix(shed.DefaultModel(), share, levels)
	}
	return f.Matrix.Fleet(share, levels)
}

// Shares are the POPs' shares of demand by what they carry; of a POP that
// carries nothing, or is not heard, by its capacity. They add up to 1.
func Shares(pops []shed.POP) map[policy.POPID]float64 {
	load, capacity := 0.0, 0.0
	for i := range pops {
		if l := pops[i].Total(); l > 0 && pops[i].Capacity > 0 {
			load += l
			capacity += pops[i].Capacity
		}
	}
	use := 1.0
	if capacity > 0 {
		use = load / capacity
	}
	out, sum := map[policy.POPID]float64{}, 0.0
	for i := range pops {
		s := pops[i].Total()
		if s == 0 {
			s = use * pops[i].Capacity
		}
		out[pops[i].ID] = s
		sum += s
	}
	for id := range out {
		if sum > 0 {
			out[id] /= sum
		} else {
			out[id] = 1 / float64(len(out))
		}
	}
	return out
}
