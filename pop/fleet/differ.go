package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
)

// Difference is a slice of which a POP says another thing than BGP shows, and
// what follows for the guards.
type Difference struct {
	POP   policy.POPID
	Slice policy.SliceID
	Says  policy.Stance
	Shown bool      // BGP shows a route of that POP
	Since time.Time // when the later of the two came to differ
	// Follows is what is believed, a few words.
	Follows string
}

func (d Difference) String() string {
	shows := "shows no route of it"
	if d.Shown {
		shows = "still shows its route"
	}
	return fmt.Sprintf("%s says %v of %v, BGP %s: %s", d.POP, d.Says, d.Slice, shows, d.Follows)
}

// Differences lists what POPs say against what our RIB shows, by peer. It is
// a pure function of the state. One that is younger than BGP takes to converge
// means nothing yet.
//
// Of two that differ the weaker counts. A POP that says it announces what the
// RIB has lost is absent; one that says it does not announce what the RIB
// shows is absent as well, although routers may still send it traffic.
func (s *State) Differences(now time.Time) []Difference {
	var out []Difference
	seen := s.routes()
	for i := range s.Peers {
		p := &s.Peers[i]
		if !p.RIB || !p.Status || p.Heard.IsZero() || s.Stale > 0 && now.Sub(p.Heard) > s.Stale {
			continue // there are no two words to compare
		}
		for id, c := range p.claims {
			route, there := seen[p.POP][id]
			d := Difference{POP: p.POP, Slice: id, Says: c.last.Stance, Shown: there}
			switch {
			case p.disagrees(c, seen[p.POP]):
				d.Since, d.Follows = latest(p.lost[id], c.stanceAt), "counted as absent"
			case there && !route.stale && !c.last.Stance.Announced():
				d.Since, d.Follows = latest(route.since, c.stanceAt), "counted as absent, but routers may still send it traffic"
			default:
				continue
			}
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.POP, b.POP), a.Slice.Prefix().Compare(b.Slice.Prefix()))
	})
	return out
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// Differences lists what POPs say against what our RIB shows. See
// State.Differences.
func (f *Fleet) Differences(now time.Time) []Difference {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Differences(now)
}
