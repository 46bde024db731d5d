package pop_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// following gives what a follower of a real journal is shown.
func following(t *testing.T, o journal.Options) (*journal.Journal, <-chan api.JournalEntry) {
	t.Helper()
	o.Dir = t.TempDir()
	j, err := journal.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, t.TempDir())
	c := pop.New(pop.Options{Config: w.cfg, Announcer: w, Checks: checks{w}, Journal: j, Store: w.store, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	written, shown := make(chan error, 1), make(chan error, 1)
	go func() { written <- j.Run(ctx) }()
	entries := make(chan api.JournalEntry)
	since := time.Now()
	go func() {
		shown <- c.Journal(ctx, api.JournalFilter{Since: since, Follow: true}, func(e api.JournalEntry) error {
			select {
			case entries <- e:
			case <-ctx.Done():
			}
			return ctx.Err()
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-shown
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
	j.Append(journal.Entry{Kind: journal.Peer, Text: "first"})
	if e := <-entries; e.Text != "first" {
		t.Fatalf("first: %+v", e)
	}
	return j, entries
}

func next(t *testing.T, entries <-chan api.JournalEntry) string {
	t.Helper()
	select {
	case e := <-entries:
		return e.Text
	case <-time.After(10 * time.Second):
		t.Fatal("no entry within 10 s")
		return ""
	}
}

// TestFollowSeesEverything: a burst that is longer than what is kept in memory
// reaches a follower whole and in order, although it takes its time.
func TestFollowSeesEverything(t *testing.T) {
	j, entries := following(t, journal.Options{Recent: 16})
	for round := range 3 {
		for i := range 500 {
			j.Append(journal.Entry{Kind: journal.Peer, Text: fmt.Sprint(round, i)})
		}
		for i := range 500 {
			if got, want := next(t, entries), fmt.Sprint(round, i); got != want {
				t.Fatalf("entry %q, want %q", got, want)
			}
		}
	}
}

// TestFollowOutlivesTheClock: entries count by their numbers. A clock that is
// set back does not make a follower wait until it has caught up.
func TestFollowOutlivesTheClock(t *testing.T) {
	j, entries := following(t, journal.Options{})
	j.Append(journal.Entry{Kind: journal.Peer, Text: "an hour ago", Time: time.Now().Add(-time.Hour)})
	if got := next(t, entries); got != "an hour ago" {
		t.Errorf("entry %q", got)
	}
}
