package warm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/server/resync/checkpoint"
)

func known(url string, offset uint64) checkpoint.Known {
	return checkpoint.Known{Flow: checkpoint.Flow{Object: checkpoint.Object{Link: url}, Offset: offset}}
}

// fetcher notes what is fetched and for how long each takes.
type fetcher struct {
	mu      sync.Mutex
	got     []string
	now     int
	most    int
	takes   time.Duration
	refuses bool
}

func (f *fetcher) warm(ctx context.Context, url string, first, last int64) error {
	f.mu.Lock()
	f.got = append(f.got, fmt.Sprint(url, " ", first, "-", last))
	f.now++
	f.most = max(f.most, f.now)
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.now--; f.mu.Unlock() }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(f.takes):
	}
	if f.refuses {
		return errors.New("refused")
	}
	return nil
}

func start(t *testing.T, f *fetcher, o Options) (w *Warmer, stop func()) {
	o.Log, o.Warm = slog.New(slog.DiscardHandler), f.warm
	w = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	return w, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestWant: what most flows want comes first, each part once, and again only
// after a while; what has no URL is left out.
func TestWant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetcher{}
		w, stop := start(t, f, Options{Ahead: 100, Fills: 1})
		flows := []checkpoint.Known{known("b", 0), known("a", 250), known("a", 299), known("", 7)}
		w.Want(flows, time.Now())
		synctest.Wait()
		time.Sleep(time.Second)
		want := []string{"a 200-299", "a 300-399", "b 0-99", "b 100-199"}
		if !slices.Equal(f.got, want) {
			t.Errorf("fetched %q, want %q", f.got, want)
		}
		w.Want(flows, time.Now())
		time.Sleep(time.Second)
		if len(f.got) != 4 {
			t.Errorf("the same bytes are fetched again: %q", f.got[4:])
		}
		time.Sleep(time.Minute)
		w.Want(flows, time.Now())
		time.Sleep(time.Second)
		if c := w.Counts(); len(f.got) != 8 || c.Wanted != 8 || c.Done != 8 || c.Bytes != 800 {
			t.Errorf("a minute later %q, %+v", f.got[4:], c)
		}
		stop()
	})
}

// TestBounds: no more at once and no more in the queue than allowed; one that
// hangs ends.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fetcher{takes: time.Hour}
		w, stop := start(t, f, Options{Ahead: 100, Fills: 3, Queue: 10, Each: time.Second})
		var flows []checkpoint.Known
		for i := range 100 {
			flows = append(flows, known(fmt.Sprint("u", i), 0))
		}
		w.Want(flows, time.Now())
		time.Sleep(time.Minute)
		if c := w.Counts(); f.most != 3 || c.Wanted != 10 || c.Full != 190 || c.Failed != 10 {
			t.Errorf("%d at once, %+v", f.most, c)
		}
		f.takes, f.refuses = 0, true
		for range 100 { // what was asked for before takes no room for ever
			time.Sleep(time.Minute)
			w.Want(flows, time.Now())
		}
		if len(w.done) > 50 {
			t.Errorf("%d parts are remembered", len(w.done))
		}
		stop()
	})
}
