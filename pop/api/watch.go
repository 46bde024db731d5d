package api

import (
	"context"
	"errors"
	"reflect"
	"time"
)

const (
	// watchPace is the shortest time between two looks at the status for one
	// watcher: a burst of changes becomes one.
	watchPace = 100 * time.Millisecond
	// watchBeat is the longest time between two events, so that a watcher
	// knows a quiet POP from a dead one.
	watchBeat = 5 * time.Second
)

// Watch gives yield a whole status and then what changes, until ctx ends or
// yield fails. A slow watcher misses what was overtaken meanwhile, never the
// last state of anything; journal entries it gets all.
func Watch(ctx context.Context, b Reader, yield func(Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	entries, ended := make(chan JournalEntry), make(chan error, 1)
	since := time.Now()
	go func() { // joined below
		ended <- b.Journal(ctx, JournalFilter{Since: since, Follow: true}, func(e JournalEntry) error {
			select {
			case entries <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	err := watchStatus(ctx, b, entries, ended, yield)
	cancel()
	if !errors.Is(err, errJournalEnded) {
		<-ended
	}
	return err
}

var errJournalEnded = errors.New("the daemon is stopping")

func watchStatus(ctx context.Context, b Reader, entries <-chan JournalEntry, ended <-chan error, yield func(Event) error) error {
	var last Status
	var events []Event
	pace := time.NewTimer(0)
	defer pace.Stop()
	beat := time.NewTimer(watchBeat)
	defer beat.Stop()
	look, changed := pace.C, (<-chan struct{})(nil)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return errors.Join(errJournalEnded, err)
		case e := <-entries:
			events = append(events, Event{Kind: EventJournal, Journal: &e})
		case <-changed: // one look, when the pace allows
			look, changed = pace.C, nil
		case <-beat.C:
			rest := last.rest()
			rest.Now = time.Now()
			events = append(events, Event{Kind: EventPOP, Status: &rest})
		case <-look:
			changed, look = b.Changed(), nil // before the look, so that nothing falls between
			st, err := b.Status(ctx)
			if err != nil {
				return err
			}
			st = settled(last, st)
			events = difference(last, st)
			last = st
			pace.Reset(watchPace)
		}
		for _, e := range events {
			if err := yield(e); err != nil {
				return err
			}
		}
		if len(events) > 0 {
			beat.Reset(watchBeat)
		}
		events = events[:0]
	}
}

// difference is what a watcher who knows old must hear to know new. Where
// services or neighbors came or went, that is all of it.
func difference(old, new Status) []Event {
	if !sameMembers(old, new) {
		return []Event{{Kind: EventStatus, Status: &new}}
	}
	var events []Event
	for i := range new.Services {
		if !reflect.DeepEqual(old.Services[i], new.Services[i]) {
			events = append(events, Event{Kind: EventService, Service: &new.Services[i]})
		}
	}
	for i := range new.Neighbors {
		if old.Neighbors[i] != new.Neighbors[i] {
			events = append(events, Event{Kind: EventNeighbor, Neighbor: &new.Neighbors[i]})
		}
	}
	before, after := old.rest(), new.rest()
	before.Now = after.Now // time passes: that alone is no news
	if !reflect.DeepEqual(before, after) {
		events = append(events, Event{Kind: EventPOP, Status: &after})
	}
	return events
}

// sameMembers reports whether both list the same services and neighbors.
func sameMembers(a, b Status) bool {
	if !a.Started.Equal(b.Started) || a.Started.IsZero() || len(a.Services) != len(b.Services) || len(a.Neighbors) != len(b.Neighbors) {
		return false
	}
	for i := range a.Services {
		if a.Services[i].ID != b.Services[i].ID {
			return false
		}
	}
	for i := range a.Neighbors {
		if a.Neighbors[i].Address != b.Neighbors[i].Address {
			return false
		}
	}
	return true
}

// rest is the status without services and neighbors.
func (s Status) rest() Status {
	s.Services, s.Neighbors = nil, nil
	return s
}

// Apply brings a status up to date with an event of Watch. Slices that s
// shares with others are not written to.
func (s *Status) Apply(e Event) {
	switch e.Kind {
	case EventStatus:
		*s = *e.Status
	case EventPOP:
		services, neighbors := s.Services, s.Neighbors
		*s = *e.Status
		s.Services, s.Neighbors = services, neighbors
	case EventService:
		s.Services = replaced(s.Services, *e.Service, func(o ServiceStatus) bool { return o.ID == e.Service.ID })
	case EventNeighbor:
		s.Neighbors = replaced(s.Neighbors, *e.Neighbor, func(o PeerStatus) bool { return o.Address == e.Neighbor.Address })
	}
}

func replaced[T any](list []T, v T, same func(T) bool) []T {
	out := make([]T, len(list))
	for i, o := range list {
		if out[i] = o; same(o) {
			out[i] = v
		}
	}
	return out
}
