package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// task is a part of the daemon that runs as long as it does.
type task interface {
	Run(context.Context) error
	String() string
}

// waiter is a task that says when it is ready for those that come after it.
type waiter interface{ Ready() <-chan struct{} }

// joinTime bounds how long the tasks may take to end.
const joinTime = 5 * time.Second

// crew runs tasks and joins them. It ends none because another has failed:
// who waits for failed decides how to end.
type crew struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	once   sync.Once
	failed chan struct{} // closed by the first failure
	err    error         // of it, once failed is closed
}

func newCrew(ctx context.Context) *crew {
	c := &crew{failed: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// start runs a task and waits until it is ready, if it can say so. It returns
// false if a task has failed.
func (c *crew) start(t task) bool {
	ended := make(chan struct{})
	c.wg.Go(func() {
		defer close(ended)
		if err := t.Run(c.ctx); err != nil {
			c.fail(t, err)
		}
	})
	if w, ok := t.(waiter); ok {
		select {
		case <-w.Ready():
		case <-ended:
		case <-c.failed:
		case <-c.ctx.Done():
		}
	}
	select {
	case <-c.failed:
		return false
	default:
		return true
	}
}

func (c *crew) fail(t task, err error) {
	if !strings.HasPrefix(err.Error(), t.String()) {
		err = fmt.Errorf("%s: %w", t, err)
	}
	c.once.Do(func() { c.err = err; close(c.failed) })
}

// join ends every task and returns why the first one failed, if one did.
func (c *crew) join() error {
	c.cancel()
	done := make(chan struct{})
	go func() { c.wg.Wait(); close(done) }()
	var late error
	select {
	case <-done:
	case <-time.After(joinTime):
		late = fmt.Errorf("not every part ended within %v", joinTime)
	}
	select {
	case <-c.failed:
		return errors.Join(c.err, late)
	default:
		return late
	}
}

// named gives a task the name that its errors carry.
type named struct {
	runner interface{ Run(context.Context) error }
	name   string
}

func (n named) Run(ctx context.Context) error { return n.runner.Run(ctx) }
func (n named) String() string                { return n.name }
