package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/policy"
)

// Scope says whose load a source measures. The zero value is this host.
type Scope struct {
	POP     bool             // the whole POP at once, as the counters of its router do
	Host    string           // another host of the POP
	Service policy.ServiceID // one service, over all hosts
	// Slice is one slice of Service, over all hosts. Either all slices of a
	// service have a source or none has: together they are the service.
	Slice policy.SliceID
}

// ThisHost is the name of the host the daemon runs on.
const ThisHost = "local"

func (s Scope) host() string {
	if s.Host == "" {
		return ThisHost
	}
	return s.Host
}

// String says whose load it is.
func (s Scope) String() string {
	switch {
	case s.POP:
		return "POP"
	case s.Slice.Prefix().IsValid():
		return "slice " + s.Slice.String()
	case s.Service != "":
		return "service " + string(s.Service)
	}
	return "host " + s.host()
}

// Source is one thing that is measured.
type Source struct {
	Name    string // unique
	Scope   Scope
	Units   []Unit // that Sampler gives: until it has, they are unknown
	Sampler Sampler
	// Split names points that are a service's: they count for it too.
	Split map[string]policy.ServiceID
	// Fallback counts only for whom no other source gives the unit: what the
	// kernel says of a server's connections is not added to what the server
	// itself says.
	Fallback bool
	// Key tells two configurations of the sampler apart: Set keeps one with
	// an equal key, name and scope running, with what it knows.
	Key string
}

// maxPoints bounds a Reading.
const maxPoints = 4096

// SourceState is a source as it is now.
type SourceState struct {
	Name   string
	Scope  Scope
	Units  []Unit // that it gives
	Points []PointState
	Load   Load // of its units: the sum over its points, of shares the largest
	// Error says what is wrong with it, empty if nothing, and Since since when.
	Error string
	Since time.Time
	// Absent is true where what is wrong is no fault: this host has no such thing.
	Absent bool
}

// PointState is a number of a source as it is now.
type PointState struct {
	Name  string
	Unit  Unit
	Value Value
	Limit float64 // its own, 0: not known
	Down  bool    // it can carry nothing now
}

// Limit is what the source can carry of a unit by its own word, 0 where that is
// not known of each of its points, and where it is down.
func (s *SourceState) Limit(u Unit) float64 {
	sum, _ := s.limit(u)
	return sum
}

// limit tells nothing from not known.
func (s *SourceState) limit(u Unit) (sum float64, known bool) {
	for _, p := range s.Points {
		switch {
		case p.Unit != u:
			continue
		case p.Down:
		case p.Limit <= 0:
			return 0, false
		default:
			sum += p.Limit
		}
		known = true
	}
	return sum, known
}

// task is a source and what is known of it. Its goroutine writes, the rest
// reads, under mu.
type task struct {
	Source
	Timing
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{} // closed when its goroutine has ended

	mu     sync.Mutex
	series map[pointKey]*series
	busy   time.Time // a sample is being taken since; zero: none is
	err    error
	since  time.Time
	said   string // the kind of trouble that was logged last
}

type pointKey struct {
	unit Unit
	name string
}

func (k pointKey) compare(o pointKey) int {
	return cmp.Or(cmp.Compare(k.unit, o.unit), cmp.Compare(k.name, o.name))
}

// joined is what two parts of one host or source make: their sum, of shares
// the larger.
func joined(u Unit, a, b Value) Value {
	if !u.share() || !a.Known || !b.Known {
		return a.plus(b)
	}
	if b.Value > a.Value {
		return b
	}
	return a
}

// run samples until ctx ends.
func (t *task) run(ctx context.Context) {
	defer close(t.done)
	defer func() {
		if c, ok := t.Sampler.(io.Closer); ok {
			_ = c.Close()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		start := time.Now()
		t.once(ctx, start)
		// A sample that took long does not make the next ones denser.
		timer.Reset(max(t.Interval-time.Since(start), t.Interval/4))
	}
}

// once takes one sample.
func (t *task) once(ctx context.Context, start time.Time) {
	t.mu.Lock()
	t.busy = start
	t.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, t.Timeout)
	r, err := t.sample(limited)
	cancel()
	if ctx.Err() != nil {
		return // told to end: what failed by that is no news
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = time.Time{}
	t.note(errors.Join(err, t.take(r, err == nil, now)), now)
}

// sample calls the sampler; a panic of it is an error.
func (t *task) sample(ctx context.Context) (r Reading, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("the sampler panicked: %v", p)
		}
	}()
	return t.Sampler.Sample(ctx)
}

// take adds a reading to the series. In one that is whole, a point that is
// missing is gone. The caller holds t.mu.
func (t *task) take(r Reading, whole bool, now time.Time) error {
	if len(r) > maxPoints {
		return fmt.Errorf("%d numbers in one sample: want at most %d", len(r), maxPoints)
	}
	var errs []error
	seen := make(map[pointKey]bool, len(r))
	for _, p := range r {
		if !slices.Contains(t.Units, p.Unit) {
			continue
		}
		k := pointKey{p.Unit, p.Name}
		seen[k] = true
		s := t.series[k]
		if s == nil {
			s = &series{since: now, avg: Average{Constant: t.Average}, stale: t.Stale, gap: t.Interval / 4}
			t.series[k] = s
		}
		when := now
		if !p.At.IsZero() && p.At.Before(now) {
			when = p.At
		}
		if s.err = s.add(p, when); s.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", cmp.Or(p.Name, t.Name), s.err))
		}
	}
	if whole && len(seen) > 0 {
		maps.DeleteFunc(t.series, func(k pointKey, _ *series) bool { return !seen[k] })
	}
	return errors.Join(errs...)
}

// note keeps what is wrong and logs when that begins and ends, not each time.
// The caller holds t.mu.
func (t *task) note(err error, now time.Time) {
	was := t.err
	t.err = err
	switch {
	case err == nil && was != nil:
		t.since = time.Time{}
		t.said = ""
		t.log.Info("load: measured again", "source", t.Name)
	case err == nil:
	case was == nil:
		t.since = now
		fallthrough
	case t.said != class(err):
		t.said = class(err)
		level := slog.LevelWarn
		if errors.Is(err, ErrAbsent) {
			level = slog.LevelInfo
		}
		t.log.Log(context.Background(), level, "load: cannot be measured", "source", t.Name, "err", oneLine(err))
	}
}

// class tells kinds of trouble apart that are worth a line of log each.
func class(err error) string {
	if errors.Is(err, ErrAbsent) {
		return "absent"
	}
	return "failed"
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// state is the source as it is now.
func (t *task) state(now time.Time) SourceState {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := SourceState{Name: t.Name, Scope: t.Scope, Units: t.Units, Since: t.since}
	seen := map[Unit]bool{}
	for _, k := range slices.SortedFunc(maps.Keys(t.series), pointKey.compare) {
		s := t.series[k]
		v := s.value(now)
		st.Points = append(st.Points, PointState{Name: k.name, Unit: k.unit, Value: v, Limit: s.limit, Down: s.down})
		if v.At.IsZero() && s.err == nil && now.Sub(s.since) <= t.Stale {
			continue // it has appeared just now: counts from its first rate on
		}
		l := &st.Load[k.unit]
		if seen[k.unit] {
			v = joined(k.unit, *l, v)
		}
		*l, seen[k.unit] = v, true
	}
	switch {
	case !t.busy.IsZero() && now.Sub(t.busy) > 2*t.Timeout:
		st.Error, st.Since = fmt.Sprintf("hangs: no answer for %v", now.Sub(t.busy).Round(time.Second)), t.busy
	case t.err != nil:
		st.Error, st.Absent = oneLine(t.err), errors.Is(t.err, ErrAbsent)
	}
	return st
}
