package pop

import (
	"context"
	"fmt"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/journal"
)

// Speaker is what ends the BGP sessions.
type Speaker interface {
	// Stop withdraws what is still announced, waits until the neighbors have
	// been sent it, and closes the sessions with a Cease.
	Stop(context.Context) error
	// Leave ends the sessions without a Cease: neighbors that are graceful
	// restart helpers keep the routes.
	Leave(context.Context) error
}

// Stop takes the POP out of service in order: every slice is drained and
// withdrawn as the operator's drain would do it, the withdraws are sent, the
// sessions closed. Where a guard keeps a slice announced until ctx ends, the
// sessions are left without a Cease, so that graceful restart keeps what may
// be the last route to the service for its time.
func (c *Controller) Stop(ctx context.Context, sp Speaker, by string) error {
	deadline, _ := ctx.Deadline()
	in := policy.Intent{Kind: policy.IntentStop, By: by, At: time.Now()}
	if wait := time.Until(deadline) - stopReserve; !deadline.IsZero() && wait > 0 {
		in.Wait = wait
	}
	if _, err := c.Intent(ctx, in); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	kept := c.awaitWithdrawn(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopReserve)
	defer cancel()
	if len(kept) > 0 {
		c.log.Warn("leaving with slices that guards keep announced: sessions end without a Cease", "slices", kept)
		c.opt.Journal.Append(journal.Entry{POP: c.opt.Config.POP, Kind: journal.Stop, By: by, Text: fmt.Sprintf("stopped; kept by guards: %v", kept)})
		return sp.Leave(closing)
	}
	c.stopped.Store(true)
	c.opt.Store.Save(c.Saved(closing))
	c.opt.Journal.Append(journal.Entry{POP: c.opt.Config.POP, Kind: journal.Stop, By: by, Text: "stopped; everything is withdrawn"})
	return sp.Stop(closing)
}

// stopReserve is kept of the deadline for sending the withdraws.
const stopReserve = 3 * time.Second

// awaitWithdrawn waits until nothing is announced, or nothing but what guards
// keep, or the time is over. It returns what guards keep.
func (c *Controller) awaitWithdrawn(ctx context.Context) []policy.SliceID {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		var kept []policy.SliceID
		final := true
		for _, d := range c.view.Load().Decision.Slices {
			if !d.Stance.Announced() {
				continue
			}
			if d.Reason.Code == policy.Guarded {
				kept = append(kept, d.Slice)
			}
			final = final && d.Reason.Code == policy.Guarded && !waits(d)
		}
		if final {
			return kept
		}
		select {
		case <-ctx.Done():
			return kept
		case <-c.done:
			return kept
		case <-ticker.C:
		}
	}
}

// waits reports whether a guard waits for an answer or for time to pass.
func waits(d policy.SliceDecision) bool {
	for _, g := range d.Guards {
		if g.Answer == policy.Veto && g.Ask || !g.Wake.IsZero() {
			return true
		}
	}
	return false
}

// Leave ends for a restart: nothing is withdrawn, the sessions end without a
// Cease, and the state on disk lets the next life begin where this one ended.
func (c *Controller) Leave(ctx context.Context, sp Speaker, by string) error {
	c.opt.Journal.Append(journal.Entry{POP: c.opt.Config.POP, Kind: journal.Stop, By: by, Text: "leaving for a restart; routes stay"})
	c.opt.Store.Save(c.Saved(ctx))
	return sp.Leave(ctx)
}

// Saved is what would be needed to go on after a restart.
func (c *Controller) Saved(ctx context.Context) Saved {
	var s Saved
	if c.call(ctx, func() { s = c.saved() }) != nil {
		s = c.saved() // Run has returned: nobody else holds it
	}
	return s
}
