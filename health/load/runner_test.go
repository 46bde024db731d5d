package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fake answers what the test says.
type fake struct {
	mu     sync.Mutex
	answer func(ctx context.Context) (Reading, error)
	calls  int
	closed bool
}

func (f *fake) Sample(ctx context.Context) (Reading, error) {
	f.mu.Lock()
	f.calls++
	answer := f.answer
	f.mu.Unlock()
	return answer(ctx)
}

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return nil
}

func (f *fake) set(answer func(context.Context) (Reading, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func says(x float64) func(context.Context) (Reading, error) {
	return func(context.Context) (Reading, error) { return Reading{{Unit: Connections, Value: x}}, nil }
}

func fails(text string) func(context.Context) (Reading, error) {
	return func(context.Context) (Reading, error) { return nil, errors.New(text) }
}

func source(name string, f *fake) Source {
	return Source{Name: name, Units: []Unit{Connections}, Sampler: f, Scope: Scope{Host: name}}
}

// bench runs a Runner in a bubble.
type bench struct {
	*Runner
	t    *testing.T
	log  bytes.Buffer
	stop func()

	timing Timing
}

func newBench(t *testing.T, sources ...Source) *bench {
	b := &bench{t: t, timing: Timing{Interval: time.Second}}
	b.Runner = NewRunner(slog.New(slog.NewTextHandler(&b.log, nil)))
	b.put(sources...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	b.after(100 * time.Millisecond)
	return b
}

func (b *bench) put(sources ...Source) {
	b.t.Helper()
	if err := b.Set(Plan{Sources: sources, Timing: b.timing}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// want compares the state of sources, as "name=value" or "name=unknown".
func (b *bench) want(want string) {
	b.t.Helper()
	var got []string
	for _, s := range b.Snapshot().Sources {
		if v := s.Load[Connections]; v.Known {
			got = append(got, fmt.Sprintf("%s=%.4g", s.Name, v.Value))
		} else {
			got = append(got, s.Name+"=unknown")
		}
	}
	if g := strings.Join(got, " "); g != want {
		b.t.Errorf("got %s, want %s", g, want)
	}
}

func TestRunnerKeepsUntilTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c := &fake{answer: says(10)}, &fake{answer: fails("refused")}
		b := newBench(t, source("a", a), source("c", c))
		b.want("a=10 c=unknown")
		b.after(5 * time.Second)
		a.set(fails("refused"))
		b.after(14 * time.Second)
		b.want("a=10 c=unknown")
		s := b.Snapshot().Sources[0]
		if age := s.Load[Connections].Age(time.Now()); age < 13*time.Second || age > 15*time.Second || s.Error != "refused" {
			t.Errorf("age %v, %+v", age, s)
		}
		b.after(2 * time.Second)
		b.want("a=unknown c=unknown")
		a.set(says(20))
		b.after(time.Second)
		b.want("a=20 c=unknown")
		if s := b.Snapshot().Sources[0]; s.Error != "" || !s.Since.IsZero() {
			t.Errorf("works again: %+v", s)
		}
		b.stop()
		if !a.closed || !c.closed {
			t.Error("a sampler was not closed")
		}
		if n := strings.Count(b.log.String(), "cannot be measured"); n != 2 {
			t.Errorf("said %d times:\n%s", n, &b.log)
		}
		if n := strings.Count(b.log.String(), "measured again"); n != 1 {
			t.Errorf("good news %d times:\n%s", n, &b.log)
		}
	})
}

func TestRunnerHangsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		deaf := &fake{answer: func(context.Context) (Reading, error) { <-free; return nil, nil }}
		slow := &fake{answer: func(ctx context.Context) (Reading, error) { <-ctx.Done(); return nil, ctx.Err() }}
		mad := &fake{answer: func(context.Context) (Reading, error) { panic("oops") }}
		good := &fake{answer: says(1)}
		b := newBench(t, source("deaf", deaf), source("slow", slow), source("mad", mad), source("good", good))
		b.after(10 * time.Second)
		b.want("deaf=unknown slow=unknown mad=unknown good=1")
		for i, want := range []string{"hangs: no answer for 10s", "deadline exceeded", "panicked: oops", ""} {
			if s := b.Snapshot().Sources[i]; !strings.Contains(s.Error, want) || (want == "") != (s.Error == "") {
				t.Errorf("%s: %q, want %q", s.Name, s.Error, want)
			}
		}
		if deaf.calls != 1 || good.calls < 10 || slow.calls < 7 || slow.calls > 9 { // a timeout and a quarter of the interval
			t.Errorf("deaf %d, good %d, slow %d calls", deaf.calls, good.calls, slow.calls)
		}
		begin := time.Now()
		b.stop()
		if took := time.Since(begin); took != maxLinger || !strings.Contains(b.log.String(), "source=deaf") {
			t.Errorf("ended after %v:\n%s", took, &b.log)
		}
		close(free) // or the bubble would not end
	})
}

func TestRunnerSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c, d := &fake{answer: says(1)}, &fake{answer: says(2)}, &fake{answer: says(3)}
		b := newBench(t, source("a", a), source("c", c))
		b.after(3 * time.Second)
		b.want("a=1 c=2")
		a.set(fails("refused"))
		other := source("c", d)
		other.Key = "changed"
		b.put(source("d", d), other, source("a", &fake{answer: says(9)}))
		b.after(2 * time.Second)
		b.want("d=3 c=3 a=1") // a goes on with what it knows and its sampler
		if !c.closed || a.closed {
			t.Error("the wrong ones were closed")
		}
		b.timing.Interval = 10 * time.Second // with another timing all begin anew
		b.put(source("d", d), other, source("a", a))
		b.want("d=unknown c=unknown a=unknown")
		b.after(time.Millisecond)
		b.want("d=3 c=3 a=unknown")
		for _, bad := range []Plan{
			{Sources: []Source{source("a", a), source("a", a)}},
			{Sources: []Source{{Name: "x", Units: []Unit{CPU}}}},
			{Sources: []Source{{Units: []Unit{CPU}, Sampler: a}}},
			{Sources: []Source{{Name: "x", Sampler: a}}},
			{Sources: []Source{{Name: "x", Units: []Unit{CPU}, Sampler: a, Scope: Scope{POP: true, Host: "h"}}}},
			{Sources: []Source{{Name: "x", Units: []Unit{CPU}, Sampler: a, Scope: Scope{Host: "h", Service: "s"}}}},
		} {
			if b.Set(bad) == nil {
				t.Errorf("taken: %+v", bad)
			}
		}
		b.want("d=3 c=3 a=unknown")
		b.stop()
		if !a.closed || !d.closed {
			t.Error("left open")
		}
	})
}

// What this host does not have is said once, and not as a warning.
func TestRunnerAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{answer: func(context.Context) (Reading, error) { return nil, fmt.Errorf("psi: %w", ErrAbsent) }}
		b := newBench(t, source("a", a))
		b.after(time.Minute)
		b.want("a=unknown")
		if s := b.Snapshot().Sources[0]; !s.Absent || s.Error == "" {
			t.Errorf("%+v", s)
		}
		b.stop()
		if n := strings.Count(b.log.String(), "\n"); n != 1 || strings.Contains(b.log.String(), "WARN") {
			t.Errorf("said %d times:\n%s", n, &b.log)
		}
	})
}

// The rate of a counter is smoothed with the time constant.
func TestRunnerRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		f := &fake{answer: func(context.Context) (Reading, error) {
			s := time.Since(start).Seconds()
			return Reading{{Unit: Requests, Kind: Counter, Value: 50*s + 100*max(s-20, 0)}}, nil
		}}
		b := newBench(t, Source{Name: "a", Units: []Unit{Requests}, Sampler: f})
		value := func() Value { return b.Snapshot().Sources[0].Load[Requests] }
		if value().Known {
			t.Errorf("a rate of one reading: %+v", value())
		}
		b.after(20*time.Second - 50*time.Millisecond)
		near(t, "steady", value().Value, 50)
		b.after(10 * time.Second) // 63 % of the step to 150
		near(t, "after the constant", value().Value, 150-100/2.718281828459045)
		b.stop()
	})
}

// What a source itself has measured long ago is old, however fresh its page;
// one whose clock is ahead is believed for now.
func TestOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frozen := time.Now()
		says := func(at func() time.Time) *fake {
			return &fake{answer: func(context.Context) (Reading, error) {
				x := at().Sub(frozen).Seconds()
				return Reading{{Unit: Requests, Kind: Counter, Value: 10 * x, At: at()}, {Unit: Connections, Value: 7, At: at()}}, nil
			}}
		}
		units := []Unit{Requests, Connections}
		b := newBench(t,
			Source{Name: "frozen", Units: units, Sampler: says(func() time.Time { return frozen })},
			Source{Name: "late", Units: units, Sampler: says(func() time.Time { return time.Now().Add(-5 * time.Second).Truncate(10 * time.Second) })},
			Source{Name: "ahead", Units: units, Sampler: says(func() time.Time { return time.Now().Add(time.Hour) })},
			Source{Name: "half", Units: units, Sampler: &fake{answer: func(context.Context) (Reading, error) {
				return Reading{
					{Name: "a", Unit: Requests, Kind: Counter, Value: 10 * time.Since(frozen).Seconds()},
					{Name: "b", Unit: Requests, Kind: Counter, Value: 10, At: frozen}, {Unit: Connections, Value: 7},
				}, nil
			}}},
		)
		want := func(s string) {
			t.Helper()
			var got []string
			for _, s := range b.Snapshot().Sources {
				for _, u := range units {
					word := "?"
					if v := s.Load[u]; v.Known {
						word = fmt.Sprintf("%.3g", v.Value)
					}
					got = append(got, word)
				}
			}
			if g := strings.Join(got, " "); g != s {
				t.Errorf("got %s, want %s", g, s)
			}
		}
		b.after(10 * time.Second)
		want("? 7 ? 7 10 7 10 7")
		b.after(20 * time.Second)
		want("? ? 10 7 10 7 ? 7")
		b.stop()
	})
}

// A part of a source that is gone does not count, one that is new counts from
// its first rate on, and one that lies makes the sum unknown.
func TestPartsOfSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		reading := func(names string) func(context.Context) (Reading, error) {
			return func(context.Context) (Reading, error) {
				var r Reading
				for _, n := range names {
					x := 10 * time.Since(start).Seconds()
					if n == 'X' {
						x = -1
					}
					r = append(r, Point{Name: string(n), Unit: Requests, Kind: Counter, Value: x})
				}
				return r, nil
			}
		}
		f := &fake{answer: reading("ab")}
		b := newBench(t, Source{Name: "a", Units: []Unit{Requests}, Sampler: f})
		for _, step := range []struct {
			names string
			d     time.Duration
			want  Value
		}{
			{"ab", 2 * time.Second, Value{Value: 20, Known: true}},
			{"abc", time.Second, Value{Value: 20, Known: true}},
			{"abc", time.Second, Value{Value: 30, Known: true}},
			{"a", time.Second, Value{Value: 10, Known: true}},
			{"aX", time.Second, Value{}},
			{"a", time.Second, Value{Value: 10, Known: true}},
		} {
			f.set(reading(step.names))
			b.after(step.d)
			got := b.Snapshot().Sources[0].Load[Requests]
			if got.Known != step.want.Known {
				t.Errorf("%s: %+v", step.names, got)
			}
			near(t, step.names, got.Value, step.want.Value)
		}
		f.set(func(context.Context) (Reading, error) { return make(Reading, maxPoints+1), nil })
		b.after(time.Second)
		if e := b.Snapshot().Sources[0].Error; !strings.Contains(e, "4097 numbers") {
			t.Errorf("%q", e)
		}
		b.stop()
	})
}
