// Package await is how the labs wait: for a condition to hold, for a question
// to be answered without an error, and for time to go by.
package await

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/catchment/catchment/pop/lapse"
)

// Lapse lets so much time go by, where the time itself is what is wanted: a
// person reads, an object grows old. The error is why the context ended before.
func Lapse(ctx context.Context, d time.Duration) error {
	if !lapse.Of(ctx, d) {
		return context.Cause(ctx)
	}
	return nil
}

// True looks at a condition each every, at once for the first time, and says
// whether it came true before the limit and the context's end.
func True(ctx context.Context, limit, every time.Duration, cond func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !cond() {
		if !lapse.Of(ctx, every) {
			return cond()
		}
	}
	return true
}

// ErrOver is in the error of a question that will not be answered any more.
var ErrOver = errors.New("it has ended")

// Answer asks each every, at once for the first time, until there is no error.
// Its own says what was waited for, and wraps the last error that the question
// gave by itself: after the limit, at the context's end, or where it is ErrOver.
func Answer(ctx context.Context, limit, every time.Duration, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrOver) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if ctx.Err() != nil { // who is interrupted has less to say
			err = cmp.Or(last, err)
		}
		last = err
		if !lapse.Of(ctx, every) {
			return fmt.Errorf("not within %v: %s: %w", limit, what, err)
		}
	}
}
