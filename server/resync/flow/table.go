package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/catchment/catchment/server/resync/flow/tap"
	"github.com/catchment/catchment/server/sockdiag"
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
	// Tap, if not nil, is where sockets are read from as long as that works, and
	// sock_diag else. It stays its maker's, who closes it after the table.
	Tap *tap.Tap
	// Share is how much of one core the passes may take; where they need more
	// they are made less often.
	Share float64
	// OnPass, if not nil, is called after each pass of Run, by its goroutine.
	OnPass func(Stats)
}

// Stats tell of the passes.
type Stats struct {
	Passes  uint64
	Sockets int           // of any size, those of clients' ports as they were seen last
	Seen    int           // of them, in the last pass
	Looked  int           // flows of the table that the last pass asked for one by one
	Flows   int           // in the table
	Left    uint64        // flows left out for want of room, in all
	Cost    time.Duration // CPU time of the last pass
	Mean    time.Duration // of the last few, where they do not all do the same
	Wait    time.Duration // from the last pass to the next
	At      time.Time     // of the last pass
	Err     error         // of the last pass; nil: it was whole
	Tapped  bool          // the last pass was made by Options.Tap
	Untap   error         // why it is used no more
}

// Table holds flows. Its methods may be called from any goroutine.
type Table struct {
	opt Options
	tap *tap.Tap // nil: none, or none any more; used with passing held

	passing sync.Mutex // held for a pass
	plan    plan       // of the next pass

	mu    sync.Mutex
	vips  map[netip.Addr]bool
	flows map[uint64]*Flow // by uid
	floor uint64           // bytes that a flow must have beaten to come into a table that is full
	stats Stats
}

// New makes an empty table; Run fills it. Zero fields of o mean the defaults.
func New(o Options) *Table {
	o.Least, o.Max = cmp.Or(o.Least, DefaultLeast), cmp.Or(o.Max, DefaultMax)
	o.Every, o.Share = cmp.Or(o.Every, DefaultEvery), cmp.Or(o.Share, DefaultShare)
	return &Table{opt: o, tap: o.Tap, flows: map[uint64]*Flow{}}
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
		t.stats.Wait = max(t.opt.Every, time.Duration(float64(t.stats.Mean)/t.opt.Share))
		s := t.stats
		t.mu.Unlock()
		timer.Reset(s.Wait)
		if t.opt.OnPass != nil {
			t.opt.OnPass(s)
		}
	}
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
	d, err := sockdiag.Open(0)
	if err != nil {
		return 0, fmt.Errorf("flow: destroy: %w", err)
	}
	defer d.Close()
	t.mu.Lock()
	vips := t.vips
	t.mu.Unlock()
	ended := 0
	for i := range flows {
		f := &flows[i]
		if !vips[f.VIP.Addr()] {
			return ended, fmt.Errorf("flow: %v is no VIP of this host", f.VIP.Addr())
		}
		switch err := d.Destroy(f.id()); {
		case err == nil:
			ended++
		case !errors.Is(err, sockdiag.ErrGone):
			return ended, fmt.Errorf("flow: destroy %v to %v: %w", f.VIP, f.Client, err)
		}
	}
	return ended, nil
}
