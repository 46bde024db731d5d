package pop

import (
	"encoding/json"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/fleet"
)

// About is what this POP says of itself to the others, as the last round left
// it. It does not block.
func (c *Controller) About() json.RawMessage {
	v := c.view.Load()
	if v.Now.IsZero() {
		return nil
	}
	return v.about(c.opt.Version, time.Now()).Encode()
}

// about sums up the POP.
func (v *View) about(version string, now time.Time) fleet.About {
	a := fleet.About{Version: version, Sessions: len(v.Peers), Core: v.core, Resync: v.resync, CoreLost: !v.Input.Core.Lost.IsZero(), Drains: v.drains(now)}
	for _, n := range v.Peers {
		if n.State == bgp.Established {
			a.SessionsUp++
		}
	}
	for _, w := range v.windows {
		if w.State != api.WindowEnded && !w.Start.IsZero() {
			a.Windows = append(a.Windows, fleet.Window{
				Name: w.Name, Of: scope(w.Service, w.Slice), Why: w.Why, InMS: w.Start.Sub(now).Milliseconds(), LastsMS: w.End.Sub(w.Start).Milliseconds(),
			})
		}
	}
	if v.Input.Limits.Queued() || v.Input.Fleet.Configured {
		t := v.Decision.Turn
		a.Turn = &fleet.Turn{Ticket: t.Ticket, Held: t.Held}
		for _, d := range a.Drains {
			a.Turn.LeftMS = max(a.Turn.LeftMS, d.LeftMS)
		}
	}
	return a
}

// drains are those that operators asked for.
func (v *View) drains(now time.Time) (out []fleet.Drain) {
	for _, in := range v.Input.Intents {
		if in.Kind != policy.IntentDrain {
			continue
		}
		d := fleet.Drain{
			Of: scope(in.Service, in.Slice), By: in.By, Why: in.Why, AgeMS: max(0, now.Sub(in.At).Milliseconds()),
			Waits: v.waits(in) != "",
		}
		if !in.Until.IsZero() {
			d.LeftMS = max(1, in.Until.Sub(now).Milliseconds())
		}
		out = append(out, d)
	}
	return out
}

// waits says which guard a drain waits for that has not begun; empty: none.
func (v *View) waits(in policy.Intent) string {
	for _, d := range v.Decision.Slices {
		if d.Stance.Action != policy.Announce || d.Reason.Code != policy.Guarded || !in.Covers(d.Service, d.Slice) {
			continue
		}
		if d.Intent != nil && d.Intent.Kind == policy.IntentDrain {
			return d.Reason.Guard + ": " + detailOf(d)
		}
	}
	return ""
}

// detailOf is what the guard said that decided.
func detailOf(d policy.SliceDecision) string {
	for _, g := range d.Guards {
		if g.Guard == d.Reason.Guard && g.Answer != policy.Allow {
			return g.Detail
		}
	}
	return d.Reason.Detail
}
