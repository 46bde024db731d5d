package pop

import (
	"fmt"
	"time"

	"github.com/catchment/catchment/policy"
)

// Core is the control core, as far as decisions depend on it.
type Core interface {
	// Reachable reports whether the core answers, and since when that is so.
	// It does not block.
	Reachable() (ok bool, since time.Time)
	// Trouble is what a person should look at; empty: nothing.
	Trouble() string
}

// core says whether the control core is in reach, and has a person told once
// the POP counts as isolated.
func (c *Controller) core(now time.Time) policy.Core {
	if c.opt.Core == nil {
		return policy.Core{}
	}
	// Without a core of its own a POP is cut off from nobody.
	out := policy.Core{Configured: !c.cfg.Core.Alone}
	if ok, since := c.opt.Core.Reachable(); !ok {
		out.Lost = since
		if since.IsZero() { // never reached in this life
			out.Lost = c.started
		}
	}
	trouble := c.opt.Core.Trouble()
	c.alarms.set("core", trouble != "", "the control core: "+trouble, now)
	isolated := out.Isolated(c.cfg.Limits, now)
	detail := fmt.Sprintf("the control core has been out of reach since %s: what can wait for it is held (guard isolated)", out.Lost.UTC().Format(time.RFC3339))
	if c.alarms.set("core-lost", isolated, detail, now) {
		c.log.Warn("alarm", "name", "core-lost", "detail", detail)
	}
	return out
}
