package lapse

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			d, ends time.Duration // of the context
			whole   bool
			took    time.Duration
		}{
			{time.Minute, time.Hour, true, time.Minute},
			{time.Hour, time.Minute, false, time.Minute},
			{0, time.Hour, true, 0},
			{-time.Second, time.Hour, true, 0},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), c.ends)
			began := time.Now()
			if whole := Of(ctx, c.d); whole != c.whole || time.Since(began) != c.took {
				t.Errorf("%v, the context ends after %v: %v after %v, want %v after %v", c.d, c.ends, whole, time.Since(began), c.whole, c.took)
			}
			cancel()
		}
	})
}
