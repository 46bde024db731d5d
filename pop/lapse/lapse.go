// Package lapse lets time go by, for whoever tries again after a while or does
// something every so often: the wait ends with its context. It decides nothing
// and imports nothing of ours.
package lapse

import (
	"context"
	"time"
)

// Of lets d go by, and reports whether it has: false where the context ended
// before. With d not above zero it returns at once.
func Of(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
