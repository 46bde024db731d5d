package pop

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/balance"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/journal"
)

// Balance is the load loop, as far as it is shown (balance.Loop).
type Balance interface{ Report() balance.Report }

// Shed makes a wish of load a slice's, if the guards let what it wants happen:
// see balance.Controller.
func (c *Controller) Shed(ctx context.Context, id policy.SliceID, want policy.Shed) (d policy.SliceDecision, reached bool, err error) {
	called := c.call(ctx, func() {
		if c.cfg == nil || !c.cfg.Balance.Acts() || c.opt.DryRun {
			err = fmt.Errorf("load moves nothing here (balance.mode %s)", c.cfg.Balance.Mode)
			return
		}
		now := time.Now()
		var out policy.Outcome
		if d, out = c.decider.Wish(c.state, c.input(now), id, want, now); out == policy.Refused {
			err = fmt.Errorf("%v: %v stays, because %v", id, d.Stance, d.Reason)
			return
		}
		c.wish(ctx, id, want)
		reached = out == policy.Reached && c.view.Load().heardAs(id, want.Stance)
	})
	if called != nil {
		return d, false, called
	}
	return d, reached, err
}

// Unshed puts a wish that there was before in the place of one that could not
// be had, whatever comes of it.
func (c *Controller) Unshed(ctx context.Context, id policy.SliceID, back policy.Shed) error {
	return c.call(ctx, func() { c.wish(ctx, id, back) })
}

// wish takes a wish over, decides by it and keeps it.
func (c *Controller) wish(ctx context.Context, id policy.SliceID, want policy.Shed) {
	c.shed = c.sheddable(policy.With(c.shed, id, want), c.cfg)
	c.round(ctx)
	c.opt.Store.Save(c.saved())
}

// sheddable are the wishes that a configuration has room for: of slices that
// load may move, and of rungs that there are. Where load moves nothing any more
// they stay until the load loop has let go of them, one after another.
func (c *Controller) sheddable(all map[policy.SliceID]policy.Shed, cfg *config.Config) map[policy.SliceID]policy.Shed {
	out := maps.Clone(all)
	maps.DeleteFunc(out, func(id policy.SliceID, w policy.Shed) bool {
		return !slices.ContainsFunc(cfg.Services, func(s config.Service) bool {
			return cfg.Balance.Moves(s.ID) && slices.Contains(s.Slices, id) && w.Stance.Rung < max(1, len(s.Ladder))
		})
	})
	if len(out) == 0 {
		return nil
	}
	return out
}

// dropped journals wishes that a reload has no room for any more.
func (c *Controller) dropped(before map[policy.SliceID]policy.Shed) {
	for id := range before {
		if _, kept := c.shed[id]; !kept {
			c.note(journal.Entry{Kind: journal.Load, Slice: id, Text: fmt.Sprintf("%v: load may no longer move it: back to what health wants", id)})
		}
	}
}

// heardAs reports whether a slice is announced with a stance, and a router
// hears it.
func (v *View) heardAs(id policy.SliceID, s policy.Stance) bool {
	for _, d := range v.Decision.Slices {
		if d.Slice == id {
			return d.Stance == s && (v.heard[id] || !s.Announced())
		}
	}
	return false
}

// Situation is what was decided last, and what load wants.
func (c *Controller) Situation() balance.Situation {
	v := c.view.Load()
	return balance.Situation{Decision: v.Decision.Slices, Heard: v.heard, Shed: v.Input.Shed}
}

// Alarm raises or clears an alarm of the load loop.
func (c *Controller) Alarm(ctx context.Context, name string, on bool, detail string) {
	err := c.call(ctx, func() {
		if c.alarms.set(name, on, detail, time.Now()) {
			c.log.Warn("alarm", "name", name, "detail", detail)
		}
	})
	if err != nil {
		c.log.Warn("an alarm is not shown", "name", name, "err", err)
	}
}
