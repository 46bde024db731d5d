package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// kind is what happened.
type kind uint8

const (
	probed    kind = iota + 1 // a check connected to the service
	verdictUp                 // catchmentd's verdict
	verdictDown
	announced // an UPDATE left the POP
	withdrawn
	installed // the route is in the router's kernel
	gone
	watched // the BFD session with the router is up
)

var kindNames = [...]string{"", "probe", "verdict up", "verdict down", "announcement", "withdrawal",
	"route in the kernel", "route gone from the kernel", "BFD session"}

func (k kind) String() string { return kindNames[k] }

// event is something that happened at or toward a router; where is empty for
// probes and verdicts.
type event struct {
	at    time.Time
	kind  kind
	where string
}

// recorder collects events from all sources. They come in any order: each
// source has its own delay.
type recorder struct {
	mu     sync.Mutex
	events []event
	more   chan struct{} // closed and replaced with each event
}

func newRecorder() *recorder { return &recorder{more: make(chan struct{})} }

func (r *recorder) add(e event) {
	e.at = e.at.Round(0) // the wall clock: what the kernel and the daemons use
	r.mu.Lock()
	r.events = append(r.events, e)
	close(r.more)
	r.more = make(chan struct{})
	r.mu.Unlock()
}

// forget drops everything so far.
func (r *recorder) forget() {
	r.mu.Lock()
	r.events = nil
	r.mu.Unlock()
}

// find returns the first event of that kind and place after since.
func (r *recorder) find(k kind, where string, since time.Time) (event, bool) {
	e, ok, _ := r.look(k, where, since)
	return e, ok
}

func (r *recorder) look(k kind, where string, since time.Time) (first event, ok bool, more chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.kind == k && e.where == where && e.at.After(since) && (!ok || e.at.Before(first.at)) {
			first, ok = e, true
		}
	}
	return first, ok, r.more
}

// wait returns the first event of that kind and place after since, as soon as
// there is one.
func (r *recorder) wait(ctx context.Context, k kind, where string, since time.Time, limit time.Duration) (event, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		e, ok, more := r.look(k, where, since)
		if ok {
			return e, nil
		}
		select {
		case <-more:
		case <-timer.C:
			return event{}, fmt.Errorf("no %v (%s) within %v", k, where, limit)
		case <-ctx.Done():
			return event{}, context.Cause(ctx)
		}
	}
}

// count returns how many events of a kind there are.
func (r *recorder) count(k kind) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.kind == k {
			n++
		}
	}
	return n
}
