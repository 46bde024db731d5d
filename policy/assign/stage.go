package assign

import (
	"cmp"
	"math"
	"slices"
)

// ranks of moves: what is lost first, then what others wait for.
const (
	rankGone = iota
	rankDrained
	rankLoad
	rankCost
)

// stage chooses the moves of this round: in an order in which none of them
// fills a target above its limit, as many as the bounds allow.
func (r *Result) stage(p *Problem) {
	w := newWorld(p) // as it is now
	var list []int
	for i, to := range r.Plan {
		if to != w.at[i] {
			list = append(list, i)
		}
	}
	rank := make(map[int]int, len(list))
	why := make(map[int]Code, len(list))
	for _, i := range list {
		rank[i], why[i] = w.motive(i, r.Plan[i], r.Load)
	}
	slices.SortStableFunc(list, func(a, b int) int {
		return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(w.gain(a, r.Plan[a]), w.gain(b, r.Plan[b])))
	})
	moves, moved := 0, 0.0
	for again := true; again; {
		again = false
		for k, i := range list {
			if i == None {
				continue
			}
			d, bounded := p.Items[i].Demand, rank[i] != rankGone
			if bounded && (p.Reflex || p.MaxMoves > 0 && moves >= p.MaxMoves || p.MaxShare > 0 && moves > 0 && moved+d > p.MaxShare*w.total+w.eps) {
				continue
			}
			if w.of[i] != forced && !w.fits(i, r.Plan[i]) {
				continue
			}
			r.Moves = append(r.Moves, Move{Item: i, From: p.Items[i].Now, To: r.Plan[i], Code: why[i]})
			w.put(i, r.Plan[i])
			if bounded {
				moves, moved = moves+1, moved+d
			}
			list[k], again = None, true
		}
	}
	r.Next, r.After = slices.Clone(w.at), slices.Clone(w.load)
	r.reasons(w, why)
}

// motive is why an item moves, and how urgent that is.
func (w *world) motive(i, to int, load []float64) (int, Code) {
	it := &w.p.Items[i]
	switch {
	case w.lost(it):
		return rankGone, TargetGone
	case w.of[i] == forced:
		return rankDrained, TargetDrained
	case it.Now != None && load[it.Now] > w.most[it.Now]+w.eps:
		return rankLoad, Overload
	case it.Now != None && w.gain(i, to) > 0:
		return rankLoad, Room
	case to != w.nearest(i):
		return rankCost, Full
	}
	return rankCost, Cheapest
}

// nearest is the open target where an item costs least,
// room or not; None if none is open.
func (w *world) nearest(i int) int {
	it := &w.p.Items[i]
	best, least := None, math.Inf(1)
	for t := range w.limit {
		if c := w.p.Cost[it.Router][t]; w.open(it, t) && c < least {
			best, least = t, c
		}
	}
	return best
}

// reasons says why each item is where it is after the round.
func (r *Result) reasons(w *world, why map[int]Code) {
	r.Why = make([]Code, len(r.Next))
	for i := range r.Next {
		r.Why[i] = w.reason(i, r.Plan[i], why)
	}
}

func (w *world) reason(i, plan int, why map[int]Code) Code {
	it, best := &w.p.Items[i], w.nearest(i)
	switch {
	case w.at[i] != it.Now:
		return why[i]
	case it.Held:
		return Held
	case plan != w.at[i]:
		return Waiting
	case it.Now != None && w.suspect && w.p.Down[it.Now]:
		return Correlated
	case it.Now != None && w.leaves(it):
		return LastTarget
	case it.Now != None && w.state(it.Slice, it.Now) == Unknown, it.Now == None && w.unknownFirst(it) != None:
		return TargetUnknown
	case !it.Known:
		return DemandUnknown
	case it.Now == None:
		return NoRoom
	case best == None || it.Now == best || w.p.Cost[it.Router][it.Now] <= w.p.Cost[it.Router][best]:
		return Cheapest
	case !w.fits(i, best):
		return Full
	}
	return Kept
}
