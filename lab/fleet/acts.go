package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
)

// act is a part of the story, and what was seen in it.
type act struct {
	name, what string
	do         func(context.Context) (seen string, err error)
	receivers  []string // which may not be over their capacity in it; as the clients' answers call them
}

// played is an act that is over.
type played struct {
	act
	took    time.Duration
	seen    string
	seconds []second
}

// lab is a fleet that is up.
type lab struct {
	world   world
	traffic traffic

	mu      sync.Mutex
	seconds []second // of the act that runs
	broken  error    // the clients could not be looked at
}

// play brings the world up and plays the acts, one after the other; what was
// seen so far is returned with the error that ended it.
func play(ctx context.Context, topology string, opt netlab.Options, progress func(string)) (done []played, err error) {
	t, err := netlab.Load(topology, nil)
	if err != nil {
		return nil, err
	}
	up, err := netlab.Up(ctx, t, opt)
	if err != nil {
		return nil, err
	}
	defer up.Down()
	defer func() {
		if err != nil {
			for _, p := range pops {
				progress("---- " + p + "\n" + up.Log(p))
			}
		}
	}()
	f := &lab{world: up, traffic: traffic{world: up, last: map[string]serve.LoadReport{}}}
	if err := f.crowds(ctx, baseRate); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { f.watch(ctx) })
	for _, a := range f.acts() {
		progress(fmt.Sprintf("%s: %s", a.name, a.what))
		began := time.Now()
		seen, err := a.do(ctx)
		p := played{act: a, took: time.Since(began), seen: seen, seconds: f.taken()}
		if done = append(done, p); err == nil {
			err = f.watched()
		}
		if err != nil {
			return done, fmt.Errorf("%s: %w", a.name, err)
		}
		progress(fmt.Sprintf("%s: %s (%.1f s)", a.name, seen, p.took.Seconds()))
	}
	return done, nil
}

// watch looks at the clients once a second until ctx ends.
func (f *lab) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s, err := f.traffic.look(ctx)
		f.mu.Lock()
		if err != nil && ctx.Err() == nil {
			f.broken = err
		}
		if len(s.rate) > 0 {
			f.seconds = append(f.seconds, s)
		}
		f.mu.Unlock()
	}
}

func (f *lab) watched() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken
}

// seen are the seconds of the act so far.
func (f *lab) seen() []second {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seconds)
}

// taken are the seconds of an act that is over; those of the next begin.
func (f *lab) taken() []second {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.seconds
	f.seconds = nil
	return s
}

// lasts waits for n more looks at the clients and gives the mean of them.
func (f *lab) lasts(ctx context.Context, n int) (map[string]float64, error) {
	from := len(f.seen())
	err := f.eventually(ctx, fmt.Sprintf("%d s of traffic", n), func(context.Context) error {
		if got := len(f.seen()) - from; got < n {
			return fmt.Errorf("%d so far", got)
		}
		return f.watched()
	})
	return mean(f.seen(), n), err
}

// words writes rates for people: "AMS 20/s, FRA 20/s".
func words(rate map[string]float64) string {
	out := ""
	for i, pop := range slices.Sorted(maps.Keys(rate)) {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%s %.0f/s", pop, rate[pop])
	}
	return out
}
