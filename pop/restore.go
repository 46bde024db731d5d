package pop

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
)

// RestoreWithin is how long after its last sign of life a daemon's
// announcements are taken up again as they were. It covers the restart time of
// graceful restart (RFC 4724 section 3 bounds it by 4095 s; 120 s is what
// speakers use); later the routes are gone anyway and health begins anew.
const RestoreWithin = 2 * time.Minute

// restore takes up what a former life left. Intents always come back: a drain
// outlives a reboot. Stances come back only where the routers may still hold
// our routes.
func (c *Controller) restore() {
	saved, alive, err := c.opt.Store.Load()
	if err != nil {
		c.log.Error("nothing is restored", "err", err)
		c.alarms.set("state-lost", true, fmt.Sprint(err), time.Now())
	}
	now := time.Now()
	for _, in := range saved.Intents {
		if in.Kind != policy.IntentStop {
			c.intents = append(c.intents, in)
		}
	}
	c.state = Restored(saved, alive, now)
	c.note(entryStart(c.opt.Version, len(c.state.Slices), len(c.intents)))
}

// Restored is the state to begin with at now, when the former life was last
// alive at the given time. Times that lie in the future, because a clock was
// wrong, are taken for now.
func Restored(s Saved, alive, now time.Time) policy.State {
	st := policy.State{Slices: map[policy.SliceID]policy.SliceState{}}
	fresh := !s.Stopped && Recent(alive, now)
	for id, v := range maps.All(s.State.Slices) {
		for _, t := range []*time.Time{&v.Since, &v.UpSince, &v.Leaving, &v.Drain, &v.Penalty.At, &v.Penalty.Suppressed} {
			if t.After(now) {
				*t = now
			}
		}
		v.UpSince = time.Time{} // nothing was seen meanwhile
		if !fresh {
			v.Stance, v.Judged, v.Served, v.Since = policy.Stance{}, false, false, now
			v.Leaving, v.Drain = time.Time{}, time.Time{}
			v.Reason = policy.Reason{Code: policy.Starting}
		}
		st.Slices[id] = v
	}
	return st
}

// Recent reports whether a life that was last alive at the given time may
// still be remembered by the routers.
func Recent(alive, now time.Time) bool {
	age := now.Sub(alive)
	return !alive.IsZero() && age <= RestoreWithin && age > -time.Minute
}

// saved is what the writer takes. It shares nothing that the controller
// changes in place: Decide makes a new state each time, intents are copied.
func (c *Controller) saved() Saved {
	return Saved{State: c.state, Intents: slices.Clone(c.intents), Stopped: c.stopped.Load()}
}
