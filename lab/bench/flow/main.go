// Program flow measures what following flows costs a POP: the passes of the
// flow table over 100,000 real sockets, 10,000 of them downloads that get on,
// in a network namespace of its own, and what the checkpoints of as many flows
// cost on the wire. It prints a table and a line for each goal.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/catchment/catchment/lab/cmdline"
	"github.com/catchment/catchment/lab/goal"
	"github.com/catchment/catchment/lab/sandbox"
	"github.com/catchment/catchment/server/resync/checkpoint"
	"github.com/catchment/catchment/server/resync/flow"
	"github.com/catchment/catchment/server/resync/flow/tap"
)

func main() {
	var o options
	sandbox.Main(cmdline.Program{Name: "bench flow", Flags: o.flags,
		Do: func(ctx context.Context, _ []string) error { return o.run(ctx) }})
}

type options struct {
	small, large, passes int
	holder               int // the number of a holder of sockets; 0: this is the bench
}

func (o *options) flags(f *flag.FlagSet) {
	f.IntVar(&o.small, "small", 90_000, "sockets that wait")
	f.IntVar(&o.large, "large", 10_000, "sockets of downloads that get on")
	f.IntVar(&o.passes, "passes", 30, "passes that are measured")
	f.IntVar(&o.holder, "holder", 0, "hold the sockets of this part of the world, for the bench that has started this process")
}

// run is the bench, or a process that it has started.
func (o *options) run(ctx context.Context) error {
	if o.holder > 0 {
		return hold(ctx, o.holder, o.small, o.large)
	}
	w, err := build(ctx, o.small, o.large)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return err
	}
	fmt.Printf("%d sockets of a VIP wait, %d are downloads that get on\n", o.small, o.large)
	if err := measure(ctx, w, o.passes); err != nil {
		return err
	}
	return checkpoints(o.large)
}

// world is all sockets, in processes of which each may have some thousands.
type world struct{ parts []*part }

type part struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// perPart is how many descriptors a process holds.
const perPart = 16_000

func build(ctx context.Context, small, large int) (*world, error) {
	w := &world{}
	for small > 0 || large > 0 {
		s := min(small, perPart)
		l := 0
		if s == 0 {
			l = min(large, perPart/2)
		}
		small, large = small-s, large-l
		p, err := w.part(ctx, s, l)
		if err != nil {
			return w, err
		}
		w.parts = append(w.parts, p)
	}
	for _, p := range w.parts {
		if err := p.said("ready\n"); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *world) part(ctx context.Context, small, large int) (*part, error) {
	c := exec.CommandContext(ctx, "/proc/self/exe", fmt.Sprintf("-small=%d", small), fmt.Sprintf("-large=%d", large), fmt.Sprintf("-holder=%d", len(w.parts)+1))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &part{c, in, bufio.NewReader(out)}, c.Start()
}

func (p *part) said(want string) error {
	got, err := p.out.ReadString('\n')
	if got != want {
		return fmt.Errorf("a holder of sockets said %q: %w", got, err)
	}
	return nil
}

// move lets all downloads get on.
func (w *world) move() error {
	for _, p := range w.parts {
		if _, err := io.WriteString(p.in, "move\n"); err != nil {
			return err
		}
	}
	for _, p := range w.parts {
		if err := p.said("moved\n"); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) close() {
	for _, p := range w.parts {
		p.in.Close()
		_ = p.cmd.Wait()
	}
}

// hold is a process with sockets, until its input ends.
func hold(ctx context.Context, number, small, large int) error {
	s, err := open(ctx, number, small, large)
	defer s.close()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if err := s.move(); err != nil {
			return err
		}
		fmt.Println("moved")
	}
	return nil
}

// way is how sockets are read.
type way struct {
	name  string
	tap   *tap.Tap
	share float64 // of a core
	goal  string  // of its CPU; empty: none
}

// measure makes passes: by BPF, and by sock_diag over all sockets each time and
// over as many as the share of a core allows.
func measure(ctx context.Context, w *world, passes int) error {
	ways := []way{
		{name: "sock_diag, all each time", share: 1},
		{name: "sock_diag within 5 %", share: 0.9 * flow.DefaultShare, goal: "flow-table-100k-sock-diag-core-percent"},
	}
	bpf, err := tap.Open(tap.Options{Least: flow.DefaultLeast})
	if err != nil {
		fmt.Println("without BPF:", err)
	} else {
		defer bpf.Close()
		ways = slices.Insert(ways, 0, way{name: "BPF, all each time", tap: bpf, share: flow.DefaultShare, goal: "flow-table-100k-core-percent"})
	}
	for i := range ways {
		if err := ways[i].measure(ctx, w, passes); err != nil {
			return err
		}
	}
	return nil
}

func (y *way) measure(ctx context.Context, w *world, passes int) error {
	t := flow.New(flow.Options{Share: y.share, Tap: y.tap})
	t.SetVIPs([]netip.Addr{vip})
	for range passes { // what a pass may do is learned
		if err := t.Pass(ctx); err != nil {
			return err
		}
	}
	var cost []time.Duration
	var fresh, looked, seen []int
	for range passes {
		if err := w.move(); err != nil {
			return err
		}
		if err := t.Pass(ctx); err != nil {
			return err
		}
		s := t.Stats()
		if y.tap != nil && !s.Tapped {
			return fmt.Errorf("BPF: %w", s.Untap)
		}
		cost, fresh = append(cost, s.Cost), append(fresh, freshOf(t.Flows()))
		looked, seen = append(looked, s.Looked), append(seen, s.Seen)
	}
	s := t.Stats()
	all := (s.Sockets*passes + sum(seen) - 1) / max(1, sum(seen)) // passes until each was told of once
	mean := ms(sum(cost) / time.Duration(passes))
	fmt.Printf("%-24s %6.1f ms of CPU a pass (largest %.1f), %6d told of, %6d one by one, %6d of %d flows fresh, a new one is found within %d s\n",
		y.name, mean, ms(slices.Max(cost)), sum(seen)/passes, sum(looked)/passes, sum(fresh)/passes, s.Flows, all)
	if y.goal != "" {
		fmt.Println(goal.AtMost(y.goal, mean/10, 5))
	}
	return nil
}

// freshOf is how many flows the last pass has seen.
func freshOf(flows []flow.Flow) (n int) {
	var last time.Time
	for _, f := range flows {
		if f.At.After(last) {
			last, n = f.At, 0
		}
		if f.At.Equal(last) {
			n++
		}
	}
	return n
}

// checkpoints measures what two POPs are told of flows that get on.
func checkpoints(n int) error {
	if n == 0 {
		return nil
	}
	flows := make([]checkpoint.Flow, n)
	for i := range flows {
		flows[i] = checkpoint.Flow{
			Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 14), byte(i >> 6), byte(i)}), uint16(1024+i)),
			VIP:    netip.AddrPortFrom(vip, 443), Offset: uint64(i) << 18, Rate: uint64(1e6 + i), RTT: 20 * time.Millisecond,
			Object: checkpoint.Object{URL: [16]byte{byte(i), byte(i >> 8)}, ETag: fmt.Sprintf("\"%040x\"", i), Size: 1 << 30,
				Link: fmt.Sprintf("https://cdn.example.net/films/%d/1080p/segment-%05d.m4s", i, i)},
			Stamp: uint32(i + 1),
		}
	}
	total, first := 0, 0
	const seconds = 20
	for range 2 {
		e := checkpoint.NewEncoder()
		first += len(e.Append(nil, flows))
		for second := range seconds {
			for i := range flows {
				flows[i].Offset += flows[i].Rate
				flows[i].Stamp += 1e6   // a clock of microseconds, the fastest that there is
				if (i+second)%60 == 0 { // a minute each: some end and others begin
					flows[i].Client = netip.AddrPortFrom(flows[i].Client.Addr().Next(), flows[i].Client.Port())
				}
			}
			total += len(e.Beat(e.Append(nil, flows)))
		}
	}
	if total == 0 {
		return errors.New("checkpoints: nothing was said")
	}
	mb := float64(total) / seconds / 1e6
	fmt.Printf("checkpoints of %d flows, each a minute long, to two POPs: %.2f MB at first, then %.2f MB/s\n", n, float64(first)/1e6, mb)
	fmt.Println(goal.AtMost("checkpoints-10k-two-pops-MB-per-s", mb, 2))
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func sum[T time.Duration | int](s []T) (all T) {
	for _, v := range s {
		all += v
	}
	return all
}
