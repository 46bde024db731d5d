package await

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestLapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("a process has ended")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, why)
		defer cancel()
		if err := Lapse(ctx, time.Second); err != nil {
			t.Errorf("a second: %v", err)
		}
		if err := Lapse(ctx, time.Hour); err != why {
			t.Errorf("beyond the context's end: %v, want %v", err, why)
		}
	})
}

func TestTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			after, limit time.Duration
			want         bool
			took         time.Duration
		}{
			{0, time.Minute, true, 0},
			{2500 * time.Millisecond, time.Minute, true, 3 * time.Second},
			{time.Minute, 30500 * time.Millisecond, false, 30500 * time.Millisecond},
		} {
			began := time.Now()
			got := True(t.Context(), c.limit, time.Second, func() bool { return time.Since(began) >= c.after })
			if got != c.want || time.Since(began) != c.took {
				t.Errorf("true after %v, limit %v: %v after %v, want %v after %v", c.after, c.limit, got, time.Since(began), c.want, c.took)
			}
		}
	})
}

func TestAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		answers := func(errs ...error) func(context.Context) error {
			n := 0
			return func(ctx context.Context) error {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				n++
				return errs[min(n, len(errs))-1]
			}
		}
		for _, c := range []struct {
			name string
			ask  func(context.Context) error
			is   error
			took time.Duration
		}{
			{"at once", answers(nil), nil, 0},
			{"at the third time", answers(refused, refused, nil), nil, 2 * time.Second},
			{"never", answers(refused), refused, 10 * time.Second},
			{"not any more", answers(refused, fmt.Errorf("curl: %w", ErrOver)), ErrOver, time.Second},
		} {
			began := time.Now()
			err := Answer(t.Context(), 10*time.Second, time.Second, c.name, c.ask)
			if !errors.Is(err, c.is) || time.Since(began) != c.took {
				t.Errorf("%s: %v after %v, want %v after %v", c.name, err, time.Since(began), c.is, c.took)
			}
		}
		// The limit comes while a question is under way: its own error is that of
		// the context, the one before says more.
		slow := func(ctx context.Context) error {
			if Lapse(ctx, 1500*time.Millisecond) == nil {
				return refused
			}
			return ctx.Err()
		}
		if err := Answer(t.Context(), 4*time.Second, time.Second, "slow", slow); !errors.Is(err, refused) {
			t.Errorf("interrupted: %v, want %v", err, refused)
		}
	})
}
