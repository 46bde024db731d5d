package slow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/lab/wire"
	"github.com/catchment/catchment/pop/slowness"
	"github.com/catchment/catchment/server/resync/flow"
)

// Options of Classify.
type Options struct {
	Each     int // flows of each class
	Parallel int // flows at once
	Seed     uint64
	Short    bool // flows of some seconds, looked at more often
	Out      io.Writer
	Progress io.Writer // a line now and then
}

// least is how much a flow must have taken to be followed.
const least = 64 << 10

// judged is a flow with what was said of it.
type judged struct {
	*plan
	taken   taken
	late    time.Duration // frames on its line, on average
	samples []slowness.Sample
	classes []slowness.Class
	ends    []time.Time
}

// Classify sends flows whose limit is known over lines between namespaces, has
// them followed and judged as the daemon does, and returns how that went.
func Classify(ctx context.Context, o Options) (*Table, error) {
	all := plans(o.Seed, o.Each)
	by := make(map[netip.Addr]*plan, len(all))
	flows := make(map[netip.Addr]*judged, len(all))
	for _, p := range all {
		if o.Short {
			p.shorten()
		}
		by[p.client], flows[p.client] = p, &judged{plan: p}
	}
	hurry()
	w, err := raise(ctx, func(a netip.Addr) wire.Config { return by[a].line })
	if err != nil {
		return nil, err
	}
	defer w.down()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	for _, vip := range []netip.Addr{vip4, vip6} {
		l, err := w.listen(ctx, vip)
		if err != nil {
			return nil, err
		}
		g.Go(func() error { return serve(ctx, l, by) })
	}
	store := slowness.New(slowness.Options{})
	g.Go(func() error { return w.follow(ctx, o, store, flows) })
	g.Go(func() error {
		defer stop()
		return w.takeAll(ctx, o, all, flows)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return nil, err
	}
	return judge(all, flows), nil
}

// hurry has this process's threads come before others of the machine, where
// that is allowed: what is late on a line is not what the line is.
func hurry() {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, -15)
		}
	}
}

// follow keeps the table of the POP's flows, as the daemon does, and notes what
// is made of them.
func (w *world) follow(ctx context.Context, o Options, store *slowness.Store, flows map[netip.Addr]*judged) error {
	f := slowness.Follow{Store: store, OnSample: func(s *slowness.Sample, c slowness.Class) {
		j := flows[s.Client]
		j.samples, j.classes, j.ends = append(j.samples, *s), append(j.classes, c), append(j.ends, time.Now())
	}}
	every := flow.DefaultEvery
	if o.Short {
		every /= 4
	}
	var table *flow.Table
	table = flow.New(flow.Options{Least: least, Every: every, Share: 0.5, OnPass: func(flow.Stats) { f.Pass(table.Flows(), time.Now()) }})
	table.SetVIPs([]netip.Addr{vip4, vip6})
	return w.pop.do(func() error {
		runtime.LockOSThread()
		err := table.Run(ctx)
		f.Pass(nil, time.Now()) // those that are under way give what they have
		return err
	})
}

// takeAll has all clients take what they are sent, some at once.
func (w *world) takeAll(ctx context.Context, o Options, all []*plan, flows map[netip.Addr]*judged) error {
	g, taking := errgroup.WithContext(ctx) // taking ends with the last one
	g.SetLimit(o.Parallel)
	var mu sync.Mutex
	done := 0
	for i, p := range all {
		if i < o.Parallel && await.Lapse(taking, 2*time.Second/time.Duration(o.Parallel)) != nil { // not all at once
			break
		}
		g.Go(func() error {
			t, err := p.take(taking, w)
			mu.Lock()
			defer mu.Unlock()
			flows[p.client].taken = t
			flows[p.client].late, _ = w.lines.Late(p.client)
			if done++; done%50 == 0 {
				fmt.Fprintf(o.Progress, "%d of %d flows\n", done, len(all))
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return await.Lapse(ctx, 2*flow.DefaultEvery) // the last ones are seen to have ended
}
