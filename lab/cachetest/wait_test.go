package cachetest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/lab/await"
)

// TestUntil: a condition is seen at the next look, a limit and a context end
// the wait, and what is true already costs no time.
func TestUntil(t *testing.T) {
	for _, tc := range []struct {
		name        string
		after       time.Duration // when the condition comes true
		limit, ends time.Duration // of the wait, of the context
		want        bool
		took        time.Duration
	}{
		{"at once", 0, time.Minute, time.Minute, true, 0},
		{"at the next look", 14 * time.Second, time.Minute, time.Minute, true, 20 * time.Second},
		{"too late", time.Minute, 25 * time.Second, time.Minute, false, 25 * time.Second},
		{"while the last look waits", 24 * time.Second, 25 * time.Second, time.Minute, true, 25 * time.Second},
		{"the context ends", time.Minute, time.Minute, 3 * time.Second, false, 3 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.ends)
				defer cancel()
				began := time.Now()
				got := await.True(ctx, tc.limit, 10*time.Second, func() bool { return time.Since(began) >= tc.after })
				if took := time.Since(began); got != tc.want || took != tc.took {
					t.Errorf("%v after %v, want %v after %v", got, took, tc.want, tc.took)
				}
			})
		})
	}
}
