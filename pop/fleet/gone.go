package fleet

import (
	"time"

	"github.com/catchment/catchment/policy"
)

// Gone reports whether a POP is to be taken for gone: our RIB has lost all
// routes that it showed of it, and it has said nothing since, or it has not
// been heard for as long as makes its word stale; and nothing shows that it
// announces. A POP that was never heard of is not gone. A route that graceful
// restart keeps is no proof of either, and that a route is not shown says
// nothing of a POP that speaks: a router may tell us of the best one alone.
func (s *State) Gone(pop policy.POPID, now time.Time) bool {
	p := s.peer(pop)
	if p == nil {
		return false
	}
	kept := false
	for _, r := range s.paths {
		if r.pop == pop && !r.stale {
			return false
		}
		kept = kept || r.pop == pop
	}
	for _, at := range p.lost {
		if p.RIB && !kept && at.After(p.Heard) {
			return true
		}
	}
	return (p.Status || p.Tree) && !p.Heard.IsZero() && s.Stale > 0 && now.Sub(p.Heard) > s.Stale
}

// Gone is State's.
func (f *Fleet) Gone(pop policy.POPID, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Gone(pop, now)
}
