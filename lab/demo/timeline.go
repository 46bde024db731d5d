package demo

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"
)

// settle is how long an event waits before it is printed: the events of one
// moment come from several programs, and are put into the order of their
// times meanwhile.
const settle = 200 * time.Millisecond

// together is how far apart the same event of both families may be to be one
// line.
const together = 150 * time.Millisecond

// Event is one line of the timeline.
type Event struct {
	At     time.Time
	Who    string // LON, t1, client, demo
	What   string // one word
	Detail string
	Family string // IPv4 or IPv6 where it concerns one of them only
	// Title makes it the heading of a step, with Detail as its text.
	Title bool
	// Cause marks what the demo does: what follows is measured from here.
	Cause bool
	Alert bool // something is broken for somebody
}

// Timeline prints events as lines, in the order of their times.
type Timeline struct {
	out   io.Writer
	style style
	start time.Time

	mu      sync.Mutex
	pending []Event
	cause   time.Time
}

// NewTimeline makes a timeline whose zero is start.
func NewTimeline(out io.Writer, start time.Time, colour bool) *Timeline {
	return &Timeline{out: out, style: style{colour: colour}, start: start}
}

// Add takes an event, from any goroutine.
func (t *Timeline) Add(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(t.pending, e)
}

// Run prints what has settled until ctx ends, and then the rest.
func (t *Timeline) Run(ctx context.Context) error {
	tick := time.NewTicker(settle / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return t.flush(time.Now().Add(settle))
		case now := <-tick.C:
			if err := t.flush(now.Add(-settle)); err != nil {
				return err
			}
		}
	}
}

// flush prints the events up to a time.
func (t *Timeline) flush(until time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortStableFunc(t.pending, func(a, b Event) int { return a.At.Compare(b.At) })
	for len(t.pending) > 0 && !t.pending[0].At.After(until) {
		e := t.pending[0]
		t.pending = t.pending[1:]
		if i := slices.IndexFunc(t.pending, e.twin); i >= 0 {
			t.pending = slices.Delete(t.pending, i, i+1)
			e.Family = ""
		}
		switch {
		case e.Cause:
			t.cause = e.At
		case e.Title:
			t.cause = time.Time{}
		}
		if _, err := io.WriteString(t.out, t.style.render(e, t.start, t.cause)); err != nil {
			return err
		}
	}
	return nil
}

// twin reports whether o is the same for the other family.
func (e Event) twin(o Event) bool {
	return e.Who == o.Who && e.What == o.What && e.Detail == o.Detail &&
		e.Family != "" && o.Family != "" && e.Family != o.Family && o.At.Sub(e.At) < together
}
