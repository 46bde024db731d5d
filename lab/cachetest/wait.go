package cachetest

import (
	"context"
	"time"
)

// until looks at a condition each every, at once for the first time, and says
// whether it came true before the limit and the context's end.
func until(ctx context.Context, limit, every time.Duration, cond func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !cond() {
		if lapse(ctx, every) != nil {
			return cond()
		}
	}
	return true
}

// lapse lets so much time go by, where the time itself is what is wanted: an
// object's life, a slow origin's pause. The error is the context's.
func lapse(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
