package ingress

import (
	"fmt"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/assign"
)

// visit is a target and a slice.
type visit struct {
	pop   policy.POPID
	slice policy.SliceID
}

// absence is when a target was gone for a slice.
type absence struct {
	seen  bool // it was open before
	gone  bool
	times int       // it went, of late
	went  time.Time // the last time
	back  time.Time
}

const (
	mostDoublings = 5
	forgotten     = 120 // hold-downs after which a former absence counts no longer
)

// holdDown keeps a target that was gone closed for a while: what left it stays
// where it is, and one that comes and goes moves little.
func (c *Controller) holdDown(v visit, w word, down bool, now time.Time) word {
	hold := c.cfg.Ingress.HoldDown
	a, gone := c.away[v], down || w.state == assign.Gone
	switch {
	case gone && !a.gone && a.seen:
		if now.Sub(a.went) > forgotten*hold {
			a.times = 0
		}
		a.gone, a.went, a.times = true, now, min(a.times+1, mostDoublings+1)
	case !gone && a.gone && w.state != assign.Unknown:
		a.gone, a.back = false, now
	}
	a.seen = a.seen || !gone && w.state == assign.Open
	c.away[v] = a
	if gone || w.state != assign.Open || a.times == 0 {
		return w
	}
	if left := a.back.Add(hold << (a.times - 1)).Sub(now); left > 0 {
		return word{assign.Closed, fmt.Sprintf("was gone: takes nothing for %v more", left.Round(time.Second))}
	}
	return w
}
