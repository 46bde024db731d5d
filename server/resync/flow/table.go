package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Defaults of Options.
const (
	DefaultLeast = 256 << 10
	DefaultMax   = 100_000
	DefaultEvery = time.Second
	DefaultShare = 0.05
)

// Options say what a Table holds and what it may cost.
type Options struct {
	// Least is how many bytes a client must have got for its flow to count.
	Least uint64
	// Max is how many flows the table holds.
	Max int
	// Every is the time from one pass to the next.
	Every time.Duration
	// Share is how much of one core the passes may take; where they need more
	// they are made less often.
	Share float64
	// OnPass, if not nil, is called after each pass of Run, by its goroutine.
	OnPass func(Stats)
}

// Stats tell of the passes.
type Stats struct {
	Passes  uint64
	Sockets int           // seen in the last pass, of any address and size
	Flows   int           // in the table
	Left    uint64        // flows left out for want of room, in all
	Cost    time.Duration // CPU time of the last pass
	Wait    time.Duration // from the last pass to the next
	At      time.Time     // of the last pass
	Err     error         // of the last pass; nil: it was whole
}

// Table holds flows. Its methods may be called from any goroutine.
type Table struct {
	opt Options

	mu    sync.Mutex
	vips  map[netip.Addr]bool
	flows map[uint64]*Flow // by uid
	stats Stats
}

// New makes an empty table; Run fills it. Zero fields of o mean the defaults.
func New(o Options) *Table {
	o.Least, o.Max = cmp.Or(o.Least, DefaultLeast), cmp.Or(o.Max, DefaultMax)
	o.Every, o.Share = cmp.Or(o.Every, DefaultEvery), cmp.Or(o.Share, DefaultShare)
	return &Table{opt: o, flows: map[uint64]*Flow{}}
}

// SetVIPs says whose flows count from the next pass on.
func (t *Table) SetVIPs(vips []netip.Addr) {
	set := make(map[netip.Addr]bool, len(vips))
	for _, a := range vips {
		set[a.Unmap().WithZone("")] = true
	}
	t.mu.Lock()
	t.vips = set
	t.mu.Unlock()
}

// Run makes passes until ctx ends. A pass that fails is told of by Stats and
// made again: the table then is that of the pass before.
func (t *Table) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		err := t.Pass(ctx)
		if ctx.Err() != nil {
			return nil
		}
		t.mu.Lock()
		t.stats.Err = err
		t.stats.Wait = max(t.opt.Every, time.Duration(float64(t.stats.Cost)/t.opt.Share))
		s := t.stats
		t.mu.Unlock()
		timer.Reset(s.Wait)
		if t.opt.OnPass != nil {
			t.opt.OnPass(s)
		}
	}
}

// Pass reads all sockets of the network namespace of the calling thread once.
func (t *Table) Pass(ctx context.Context) error {
	runtime.LockOSThread() // its CPU time is counted
	defer runtime.UnlockOSThread()
	began := cpu()
	t.mu.Lock()
	vips := t.vips
	t.mu.Unlock()
	seen, sockets, err := t.read(ctx, vips)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.merge(seen, time.Now())
	t.stats.Passes++
	t.stats.Sockets, t.stats.Cost = sockets, cpu()-began
	return nil
}

// read returns the flows that count. A little more than may stay are read, so
// that the largest of them can be chosen.
func (t *Table) read(ctx context.Context, vips map[netip.Addr]bool) (seen []Flow, sockets int, err error) {
	if len(vips) == 0 {
		return nil, 0, nil
	}
	d, err := openDiag()
	if err != nil {
		return nil, 0, err
	}
	defer d.close()
	left := uint64(0)
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		err := d.dump(ctx, family, func(f *Flow) {
			sockets++
			if f.Acked < t.opt.Least || !vips[f.VIP.Addr()] {
				return
			}
			if len(seen) >= t.opt.Max+t.opt.Max/4+16 {
				left++
				return
			}
			seen = append(seen, *f)
		})
		if errors.Is(err, syscall.ENOENT) && family == unix.AF_INET6 {
			break // a kernel without IPv6
		}
		if err != nil {
			return nil, 0, fmt.Errorf("flow: pass: %w", err)
		}
	}
	if over := len(seen) - t.opt.Max; over > 0 {
		slices.SortFunc(seen, func(a, b Flow) int { return cmp.Compare(b.Acked, a.Acked) })
		seen = seen[:t.opt.Max]
		left += uint64(over)
	}
	if left > 0 {
		t.mu.Lock()
		t.stats.Left += left
		t.mu.Unlock()
	}
	return seen, sockets, nil
}

// merge makes seen the table, with what is known of its flows from before.
func (t *Table) merge(seen []Flow, now time.Time) {
	flows := make(map[uint64]*Flow, len(seen))
	for i := range seen {
		f := &seen[i]
		f.First, f.Moved = now, now
		if old := t.flows[f.uid]; old != nil {
			f.First, f.Moved, f.Speed = old.First, old.Moved, old.Speed
			if d := now.Sub(old.Moved); f.Acked > old.Acked && d > 0 {
				f.Speed = uint64(float64(f.Acked-old.Acked) / d.Seconds())
				f.Moved = now
			}
		}
		flows[f.uid] = f
	}
	t.flows = flows
	t.stats.Flows, t.stats.At = len(flows), now
}

// Flows are those of the last pass, in no order.
func (t *Table) Flows() []Flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Flow, 0, len(t.flows))
	for _, f := range t.flows {
		out = append(out, *f)
	}
	return out
}

// Stats tells how the passes go.
func (t *Table) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}

// Destroy ends flows of this host's VIPs at once, whatever server they belong
// to: each client gets a RST and its server an error. CAP_NET_ADMIN; flows of
// other addresses are refused, those that have ended meanwhile are no error.
// It returns how many it ended.
func (t *Table) Destroy(flows []Flow) (int, error) {
	d, err := openDiag()
	if err != nil {
		return 0, err
	}
	defer d.close()
	t.mu.Lock()
	vips := t.vips
	t.mu.Unlock()
	ended := 0
	for i := range flows {
		f := &flows[i]
		if !vips[f.VIP.Addr()] {
			return ended, fmt.Errorf("flow: %v is no VIP of this host", f.VIP.Addr())
		}
		switch err := d.destroy(f); {
		case err == nil:
			ended++
		case !errors.Is(err, ErrGone):
			return ended, fmt.Errorf("flow: destroy %v to %v: %w", f.VIP, f.Client, err)
		}
	}
	return ended, nil
}

// cpu is the time that the calling thread has used.
func cpu() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
