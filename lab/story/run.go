package story

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Options say where a story runs.
type Options struct {
	Make Maker                            // required
	Say  func(format string, args ...any) // gets each step as it is done; testing.T's Logf will do
	Tail int                              // lines of each node's log in a failure; default 40
}

// Failure is a step whose effect was not seen.
type Failure struct {
	File, Step string
	Line       int
	Variant    Variant
	Cause      error
	Logs       string // the end of each node's log
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%s:%d: (%s) %s\n    %v\n%s", f.File, f.Line, f.Variant, f.Step,
		strings.ReplaceAll(f.Cause.Error(), "\n", "\n    "), f.Logs)
}

func (f *Failure) Unwrap() error { return f.Cause }

// runner is one run of a script in one variant.
type runner struct {
	script  *Script
	variant Variant
	opt     Options
	world   World
	fetches map[string]*fetch
}

// Run plays the script in one variant. A *Failure says which step was not
// seen. The lab is down when it returns.
func (s *Script) Run(ctx context.Context, v Variant, opt Options) (err error) {
	if opt.Say == nil {
		opt.Say = func(string, ...any) {}
	}
	if opt.Tail == 0 {
		opt.Tail = 40
	}
	r := &runner{script: s, variant: v, opt: opt, fetches: map[string]*fetch{}}
	defer func() { err = errors.Join(err, r.down(context.WithoutCancel(ctx))) }()
	begin := time.Now()
	for _, st := range s.steps {
		if !st.applies(v) {
			continue
		}
		at := time.Now()
		if err := r.step(ctx, st); err != nil {
			return &Failure{File: s.File, Line: st.line, Step: st.text, Variant: v, Cause: err, Logs: r.logs(ctx)}
		}
		opt.Say("%6.2fs %5.0f ms  %s", time.Since(begin).Seconds(), float64(time.Since(at).Microseconds())/1000, st.text)
	}
	return nil
}

func (r *runner) step(ctx context.Context, st step) error {
	if r.world == nil && st.verb != "up" && st.verb != "say" {
		return errors.New("no lab is up")
	}
	return verbs[st.verb](r, ctx, st, r.variant.expand(st.rest))
}

func (r *runner) down(ctx context.Context) error {
	if r.world == nil {
		return nil
	}
	for _, f := range r.fetches {
		f.stop()
	}
	err := r.world.Down(ctx)
	r.world = nil
	return err
}

func (r *runner) logs(ctx context.Context) string {
	if r.world == nil {
		return ""
	}
	var out strings.Builder
	for _, n := range r.world.Nodes() {
		lines := strings.Split(strings.TrimSpace(r.world.Log(ctx, n)), "\n")
		if lines[0] == "" {
			continue
		}
		fmt.Fprintf(&out, "---- %s (the last %d lines)\n%s\n", n, r.opt.Tail,
			strings.Join(lines[max(0, len(lines)-r.opt.Tail):], "\n"))
	}
	for name, f := range r.fetches {
		fmt.Fprintf(&out, "---- requests %s\n%s", name, f.tail(10))
	}
	return out.String()
}

// poll asks see until it says yes; its words when it does not are the error.
func poll(ctx context.Context, limit time.Duration, see func(context.Context) (bool, string)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last := "nothing was seen"
	for {
		ok, words := see(ctx)
		if ok {
			return nil
		}
		if ctx.Err() == nil || last == "" {
			last = words // what a command says when it is cut off is no news
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v; last seen: %s", limit, clip(last))
		case <-tick.C:
		}
	}
}

// always asks see until the time is over; the first no is the error.
func always(ctx context.Context, span time.Duration, see func(context.Context) (bool, string)) error {
	end := time.NewTimer(span)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	begin := time.Now()
	for {
		if ok, words := see(ctx); !ok {
			return fmt.Errorf("no longer after %v; seen: %s", time.Since(begin).Round(time.Millisecond), clip(words))
		}
		select {
		case <-end.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func clip(s string) string {
	if s = strings.TrimSpace(s); len(s) > 4000 {
		return s[:4000] + " ..."
	}
	return s
}
