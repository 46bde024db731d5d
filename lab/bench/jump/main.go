// Program jump measures what a client gains where its flow goes on at another
// POP without slow start (server/resync: checkpoint, careful, jump) beside a
// cold start: the first megabyte, the rest of an object, a path that has less
// than before, and a flow beside it. It runs in network namespaces of its own
// with a wire that delays and limits packets (lab/wire). It prints medians and
// a line for each goal.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/cmdline"
	"github.com/catchment/catchment/lab/goal"
	"github.com/catchment/catchment/lab/sandbox"
	"github.com/catchment/catchment/server/resync"
	"github.com/catchment/catchment/server/resync/careful"
	"github.com/catchment/catchment/server/resync/jump"
)

func main() {
	var o options
	ahead()
	sandbox.Main(cmdline.Program{
		Name: "bench jump", Cores: 2,
		Flags: func(f *flag.FlagSet) {
			f.IntVar(&o.runs, "runs", 5, "runs of each row; medians are shown")
			f.StringVar(&o.parts, "parts", "first,rest,less,beside,near", "what is measured")
			f.BoolVar(&o.verbose, "v", false, "show each run")
		},
		Do: func(ctx context.Context, _ []string) error { return o.run(ctx) },
	})
}

// ahead puts this thread, and all that comes of it, before the other programs
// of the machine where that is allowed: a wire that waits for its turn is a
// longer wire.
func ahead() {
	runtime.LockOSThread()
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 5}, 0)
}

type options struct {
	runs    int
	parts   string
	verbose bool
}

// run measures, and prints tables and goals.
func (o *options) run(ctx context.Context) error {
	j, err := jump.Load()
	if err != nil {
		return err
	}
	defer j.Close()
	w, err := build(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	b := &bench{world: w, jumper: j, runs: o.runs, verbose: o.verbose}
	for _, p := range []struct {
		name string
		run  func(context.Context) error
	}{{"first", b.first}, {"rest", b.rest}, {"less", b.less}, {"beside", b.beside}, {"near", b.near}} {
		if slices.Contains(strings.Split(o.parts, ","), p.name) {
			if err := p.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	fmt.Println()
	for _, g := range b.goals {
		fmt.Println(g)
	}
	return nil
}

type bench struct {
	world   *world
	jumper  *jump.Jumper
	pair    *resumer // of the way paired, of the trial at work
	runs    int
	verbose bool
	goals   []goal.Goal
}

// A way to begin.
type way int

const (
	cold    way = iota
	first       // a jump between POPs that have none behind them
	paired      // the same of a client network that has none, between POPs that have
	earned      // a jump after some that were right
	route       // initcwnd 100 on the route
	metrics     // what the kernel keeps of a destination (tcp_metrics)
)

// word is what a way is called in goals.
func (w way) word() string {
	return [...]string{"cold", "first-jump", "first-of-network", "earned-jump", "route", "metrics"}[w]
}

func (w way) String() string {
	return [...]string{"cold start", "first jump", "first of a network", "earned jump", "route initcwnd 100", "tcp_metrics"}[w]
}

// row is one way measured.
type row struct {
	at      map[int]time.Duration // medians
	retrans int
	ended   outcome
}

const (
	large = 4 << 20 // the client's receive buffer, as `catchment get` asks for it
	stock = 0
)

// ticket is what a warm flow on a path has: its rate and round trip; of three
// such flows the fastest.
func (b *bench) ticket(ctx context.Context, p path) (rate uint64, rtt time.Duration, err error) {
	for range 3 {
		r, err := b.warm(ctx, p)
		if err != nil {
			return 0, 0, err
		}
		rate = max(rate, r)
	}
	return rate, p.rtt, nil
}

// warm is the rate of a flow that has been going on for a while.
func (b *bench) warm(ctx context.Context, p path) (rate uint64, err error) {
	b.world.set(p)
	o, err := b.world.listen(ctx, "cubic")
	if err != nil {
		return 0, err
	}
	defer o.listener.Close()
	n := 2 * int(p.rate) / 8
	d, err := b.world.fetch(ctx, o, n, large, n/2, n)
	if err != nil {
		return 0, err
	}
	// As a flow table has it: what was acknowledged in the last while.
	return uint64(float64(n-n/2) / (d.at[n] - d.at[n/2]).Seconds()), nil
}

// trial is what is measured.
type trial struct {
	before, now path // when the ticket was made, and when it is used
	control     string
	buffer      int
	bytes       int
	marks       []int
}

// measure runs a trial in several ways, one after another in each run, so that
// what the machine does meanwhile is the same for all.
func (b *bench) measure(ctx context.Context, t trial, ways ...way) (map[way]row, error) {
	rate, rtt, err := b.ticket(ctx, t.before)
	if err != nil {
		return nil, err
	}
	b.world.set(t.now)
	o, err := b.world.listen(ctx, t.control)
	if err != nil {
		return nil, err
	}
	defer o.listener.Close()
	if slices.Contains(ways, paired) {
		b.pair = newResumer(ctx, b.jumper)
		defer b.pair.close()
		if err := b.trainPair(ctx, o, b.pair, t, rate, rtt); err != nil {
			return nil, err
		}
	}
	all := map[way][]sample{}
	for range b.runs {
		for _, how := range ways {
			s, err := b.once(ctx, o, t, how, rate, rtt)
			if err != nil {
				return nil, fmt.Errorf("%v: %w", how, err)
			}
			if b.verbose {
				fmt.Printf("    %v: %v, %d again, %v\n", how, s.at, s.retrans, s.ended)
			}
			all[how] = append(all[how], s)
		}
	}
	rows := map[way]row{}
	for how, s := range all {
		rows[how] = summary(s, t.marks)
	}
	return rows, nil
}

// sample is one download.
type sample struct {
	download
	ended outcome
}

// training is how many jumps make a part grow to all of the rate, about.
const training = 4

// once makes one download.
func (b *bench) once(ctx context.Context, o *origin, t trial, how way, rate uint64, rtt time.Duration) (s sample, err error) {
	o.before = func(*net.TCPConn) {}
	w := b.world
	undo, err := b.kernels(ctx, o, t, how)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	switch how {
	case paired:
		b.pair.moveOn()
		return b.jump(ctx, o, b.pair, t, rate, rtt)
	case first, earned:
		r := newResumer(ctx, b.jumper)
		defer r.close()
		if how == earned {
			if err := b.train(ctx, o, r, t, rate, rtt); err != nil {
				return s, err
			}
		}
		return b.jump(ctx, o, r, t, rate, rtt)
	}
	s.download, err = w.fetch(ctx, o, t.bytes, t.buffer, t.marks...)
	return s, err
}

// jump makes a download that jumps, and waits for the end of the jump.
func (b *bench) jump(ctx context.Context, o *origin, r *resumer, t trial, rate uint64, rtt time.Duration) (s sample, err error) {
	jumps := r.made()
	if err := r.told(rate, rtt); err != nil {
		return s, err
	}
	o.before = r.resume
	if s.download, err = b.world.fetch(ctx, o, t.bytes, t.buffer, t.marks...); err != nil {
		return s, err
	}
	j, err := r.last(ctx, jumps+1)
	if b.verbose {
		fmt.Printf("    part %.2f, %v, path %v of %d, refused %q, %v after %v\n", j.Part, j.Jump, j.Path.RTT, rate, j.Refused, j.Ended, j.Took)
	}
	s.ended = outcome{j.Ended: 1}
	return s, err
}

// kernels sets up the ways that are the kernel's own, before a download; undo
// takes that back.
func (b *bench) kernels(ctx context.Context, o *origin, t trial, how way) (undo func() error, err error) {
	w := b.world
	switch how {
	case route:
		return func() error { return w.initcwnd(0) }, w.initcwnd(100)
	case metrics:
		undo = func() error { return w.pop.sysctl("tcp_no_metrics_save", "1") }
		if err := w.pop.sysctl("tcp_no_metrics_save", "0"); err != nil {
			return undo, err
		}
		if _, err := w.fetch(ctx, o, t.bytes, t.buffer); err != nil {
			return undo, errors.Join(err, undo())
		}
		return undo, nil
	}
	return func() error { return nil }, nil
}

// train makes jumps on the path as it was until all of its rate is earned.
func (b *bench) train(ctx context.Context, o *origin, r *resumer, t trial, rate uint64, rtt time.Duration) error {
	b.world.set(t.before)
	defer b.world.set(t.now)
	for range 10 * training {
		j, err := b.trained(ctx, o, r, t, rate, rtt)
		if err != nil || j.Part > 0.99 && j.Ended != careful.Retreated {
			return err
		}
	}
	return errors.New("jumps on an empty path are not right")
}

// trainPair makes jumps on the path as it was, each of another client network,
// until the pair of POPs has earned all that it may.
func (b *bench) trainPair(ctx context.Context, o *origin, r *resumer, t trial, rate uint64, rtt time.Duration) error {
	b.world.set(t.before)
	defer b.world.set(t.now)
	for range 40 * training {
		r.moveOn()
		j, err := b.trained(ctx, o, r, t, rate, rtt)
		if err != nil || j.Part > 0.74 && j.Ended != careful.Retreated {
			return err
		}
	}
	return fmt.Errorf("jumps on an empty path are not right: %+v", r.resync.Pairs())
}

// trained makes one jump to learn from.
func (b *bench) trained(ctx context.Context, o *origin, r *resumer, t trial, rate uint64, rtt time.Duration) (resync.Jump, error) {
	jumps := r.made()
	if err := r.told(rate*4/5, rtt); err != nil {
		return resync.Jump{}, err
	}
	o.before = r.resume
	if _, err := b.world.fetch(ctx, o, 3*t.before.bdp()/2, large); err != nil {
		return resync.Jump{}, err
	}
	return r.last(ctx, jumps+1)
}

func summary(all []sample, marks []int) row {
	r := row{at: map[int]time.Duration{}, ended: outcome{}}
	for _, m := range marks {
		r.at[m] = median(all, func(s sample) time.Duration { return s.at[m] })
	}
	r.retrans = int(median(all, func(s sample) time.Duration { return time.Duration(s.retrans) }))
	for _, s := range all {
		for p, n := range s.ended {
			r.ended[p] += n
		}
	}
	return r
}

func median[S any](all []S, of func(S) time.Duration) time.Duration {
	var v []time.Duration
	for _, s := range all {
		v = append(v, of(s))
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
