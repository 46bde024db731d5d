package pop

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/journal"
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
	f, now := c.opt.Store.Load(), time.Now()
	if f.Damaged != nil {
		c.blind = f.Fresh(now)
		c.log.Error("the state of the life before is damaged: its stances and intents, drains too, are lost", "err", f.Damaged, "routers-may-hold-routes", c.blind)
		c.alarms.set("state-lost", true, fmt.Sprintf("stances and intents, drains too, are lost: %v (kept as state.json.bad)", f.Damaged), now)
		c.note(journal.Entry{Kind: journal.Alarm, Text: fmt.Sprintf("state-lost: %v", f.Damaged)})
	}
	for _, in := range f.Intents {
		if in.Kind != policy.IntentStop {
			c.intents = append(c.intents, in)
		}
	}
	if f.WindowsEnded != nil {
		c.windows.ended = f.WindowsEnded
	}
	c.takeWindows(f.Windows)
	c.state = Restored(f, now)
	c.shed = c.sheddable(f.Shed, c.cfg)
	c.note(entryStart(c.opt.Version, len(c.state.Slices), len(c.intents)))
}

// Restored is the state to begin with at now. Times that lie in the future,
// because a clock was wrong, are taken for now.
func Restored(f Former, now time.Time) policy.State {
	st := policy.State{Slices: map[policy.SliceID]policy.SliceState{}}
	past := func(t time.Time) time.Time {
		if t.After(now) {
			return now
		}
		return t
	}
	fresh := f.Fresh(now)
	for id, v := range f.State.Slices {
		for _, t := range []*time.Time{&v.Since, &v.Better, &v.Leaving, &v.Drain, &v.Penalty.At, &v.Penalty.Suppressed} {
			*t = past(*t)
		}
		v.UpSince = time.Time{} // nothing was seen meanwhile
		if !fresh {
			v.Stance, v.Judged, v.Served, v.Since = policy.Stance{}, false, false, now
			v.Leaving, v.Drain = time.Time{}, time.Time{}
			v.Reason = policy.Reason{Code: policy.Starting}
		}
		st.Slices[id] = v
	}
	if st.Turn = f.State.Turn; st.Turn.Ticket > 0 { // the others are asked anew
		st.Turn.Since = now
	}
	for _, t := range f.State.Reductions { // a restart gives blast no new allowance
		st.Reductions = append(st.Reductions, past(t))
	}
	for _, m := range f.State.Moved {
		st.Moved = append(st.Moved, policy.Moved{At: past(m.At), Share: m.Share})
	}
	return st
}

// Recent reports whether a life that was last alive at the given time may
// still be remembered by the routers.
func Recent(alive, now time.Time) bool {
	return !alive.IsZero() && now.Sub(alive) <= RestoreWithin
}

// blindTime bounds how long the first announcements wait for the checks when
// the state is lost. It is well within the time for which routers keep routes
// of a speaker that restarts (RFC 4724; 120 s by default).
const blindTime = 30 * time.Second

// waits reports whether nothing may be announced or withdrawn yet: the state
// is lost, and routers may hold routes of ours that an End-of-RIB before the
// first verdicts would drop.
func (c *Controller) waits(d policy.Decision) bool {
	if !c.blind {
		return false
	}
	open := slices.ContainsFunc(d.Slices, func(s policy.SliceDecision) bool {
		return !s.Stance.Announced() && (s.Reason.Code == policy.Starting || s.Reason.Code == policy.NoVerdict)
	})
	c.blind = open && time.Since(c.started) < blindTime
	return c.blind
}

// saved is what the writer takes. It shares nothing that the controller
// changes in place: Decide makes a new state each time, intents are copied.
func (c *Controller) saved() Saved {
	return Saved{State: c.state, Intents: slices.Clone(c.intents), Announced: c.kept(), Shed: c.shed, Stopped: c.stopped.Load(), Windows: c.windows.added(), WindowsEnded: maps.Clone(c.windows.ended)}
}
