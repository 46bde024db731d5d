package flow

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/server/resync/flow/tap"
	"github.com/catchment/catchment/server/sockdiag"
)

// A pass costs about a microsecond for each socket that the kernel tells of
// and a sixth of that for each that it passes over, so that with many sockets
// not all can be told of in each. Then each pass asks for the flows of the
// table one by one, and every few passes there is a dump by the client's port:
// some of the ports each time, all of them in turn.

// buckets are of 256 ports each.
const buckets = 256

// plan is how the next pass is made. What fits into its share of a core is
// learned by what the last ones have cost.
type plan struct {
	sockets [buckets]uint32 // of the ports of a bucket, when they were dumped last
	at      int             // bucket that the next dump begins with
	dump    int             // sockets that a dump may be of; 0: not known, all
	look    int             // flows that may be asked for one by one
	round   uint64          // of asking: within one none is asked for twice
	passes  int
	recent  [stride]time.Duration // what the last passes have cost
}

// Of passes that cannot be of all sockets each stride-th has a dump, so that
// passing over the others is not paid for each time; and asking for flows one
// by one may take lookShare of what there is.
const (
	stride    = 4
	lookShare = 0.6
)

func bucketOf(port uint16) int { return int(port) / (65536 / buckets) }

func (p *plan) total() (n int) {
	for _, s := range p.sockets {
		n += int(s)
	}
	return n
}

// whole reports whether a pass is of all sockets.
func (p *plan) whole() bool { return p.dump == 0 || p.total() <= p.dump }

// next are the buckets of the next pass's dump, first to last; last before
// first: it has none.
func (p *plan) next() (first, last int) {
	if p.whole() {
		return 0, buckets - 1
	}
	if p.passes%stride != 0 {
		return 0, -1
	}
	first = p.at
	room := p.dump - int(p.sockets[first])
	for last = first; last+1 < buckets && int(p.sockets[last+1]) <= room; last++ {
		room -= int(p.sockets[last+1])
	}
	return first, last
}

// Least of what a pass does, whatever it costs, and what asking for one flow
// is thought to cost before it is known.
const (
	leastDump = 1000
	leastLook = 100
	lookCost  = 4 * time.Microsecond
)

// learn is told what a pass did and what that cost, of what one may on average.
func (p *plan) learn(first, last, seen, looked int, dumping, looking, budget time.Duration) {
	p.recent[p.passes%stride] = dumping + looking
	p.passes++
	may := time.Duration(lookShare * float64(budget))
	if looked > 0 {
		p.look = max(leastLook, fit(looked, looking, may))
	}
	whole := first == 0 && last == buckets-1
	switch {
	case last < first:
	case whole && dumping <= budget:
		p.dump = 0
	case whole:
		p.dump, p.at = max(leastDump, fit(seen, dumping, budget)), 0
		p.look = cmp.Or(p.look, max(leastLook, int(may/lookCost)))
	default:
		p.dump, p.at = max(leastDump, fit(max(seen, leastDump), dumping, stride*max(budget-looking, budget-may))), (last+1)%buckets
	}
}

// cost is what a pass costs on average.
func (p *plan) cost(last time.Duration) time.Duration {
	if p.whole() {
		return last
	}
	var sum time.Duration
	for _, d := range p.recent {
		sum += d
	}
	return sum / stride
}

// fit is how much may be done next time, if n has cost so much of what it may.
func fit(n int, cost, may time.Duration) int {
	ratio := float64(may) / float64(max(cost, time.Microsecond))
	return int(float64(n) * min(max(ratio, 0.25), 1.25))
}

// Pass reads the sockets of the network namespace of the calling thread once:
// all of them, or what fits into the share of a core.
func (t *Table) Pass(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.passing.Lock()
	defer t.passing.Unlock()
	runtime.LockOSThread() // its CPU time is counted
	defer runtime.UnlockOSThread()
	began := cpu()
	t.mu.Lock()
	vips := t.vips
	t.mu.Unlock()
	if len(vips) == 0 {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.flows, t.plan = map[uint64]*Flow{}, plan{}
		t.count(0, 0, cpu()-began)
		t.stats.Sockets = 0
		return nil
	}
	if t.tapped(vips, began) {
		return nil
	}
	d, err := sockdiag.Open(0)
	if err != nil {
		return fmt.Errorf("flow: pass: %w", err)
	}
	defer d.Close()
	r := &reading{table: t, diag: d, vips: vips}
	r.first, r.last = t.plan.next()
	if err := r.lookup(ctx); err != nil {
		return fmt.Errorf("flow: pass: %w", err)
	}
	looked := cpu()
	if err := r.dump(ctx, t.plan.sockets[:]); err != nil {
		return fmt.Errorf("flow: pass: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.merge(r, time.Now())
	now := cpu()
	t.plan.learn(r.first, r.last, r.seen, len(r.asked), now-looked, looked-began, time.Duration(float64(t.opt.Every)*t.opt.Share))
	t.count(r.seen, len(r.asked), now-began)
	return nil
}

// tapped makes a pass by the tap; false where there is none, or it fails: then
// it is not asked again.
func (t *Table) tapped(vips map[netip.Addr]bool, began time.Duration) bool {
	if t.tap == nil {
		return false
	}
	r := &reading{table: t, vips: vips, last: buckets - 1}
	err := t.tap.SetVIPs(slices.Collect(maps.Keys(vips)))
	if err == nil {
		r.seen, err = t.tap.Read(func(f *tap.Flow) { r.add(fromTap(f)) })
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stats.Tapped = err == nil; err != nil {
		t.tap, t.stats.Untap = nil, err
		return false
	}
	t.merge(r, time.Now())
	t.count(r.seen, 0, cpu()-began)
	t.stats.Sockets = r.seen
	return true
}

// fromTap makes a Flow of what the tap tells.
func fromTap(f *tap.Flow) Flow {
	return Flow{
		Key: Key{Client: f.Client, VIP: f.VIP}, Acked: f.Acked, Rate: f.Rate, RTT: f.RTT, MinRTT: f.MinRTT,
		Cwnd: f.Cwnd, MSS: f.MSS, Out: f.Out, Retrans: f.Retrans, Busy: f.Busy, Receiver: f.Receiver,
		Window: f.Window, AppLimited: f.AppLimited, Pace: f.Pace,
		Closing: f.State != sockdiag.Established, uid: f.Cookie,
	}
}

// count notes what a pass has done. The caller holds t.mu.
func (t *Table) count(seen, looked int, cost time.Duration) {
	s := &t.stats
	s.Passes++
	s.Seen, s.Looked, s.Cost, s.Mean = seen, looked, cost, t.plan.cost(cost)
	s.Sockets, s.Flows, s.At = t.plan.total(), len(t.flows), time.Now()
}

// reading is what one pass reads.
type reading struct {
	table       *Table
	diag        *sockdiag.Conn
	vips        map[netip.Addr]bool
	first, last int           // buckets of the dump
	asked       []sockdiag.ID // one by one
	flows       []Flow
	seen        int // in the dump
	left        uint64
}

func (r *reading) dumps(f *Flow) bool {
	b := bucketOf(f.Client.Port())
	return r.first <= b && b <= r.last
}

// lookup asks for flows of the table that the dump will not have, those first
// that were not asked for in this round.
func (r *reading) lookup(ctx context.Context) error {
	if r.first == 0 && r.last == buckets-1 {
		return nil
	}
	t := r.table
	t.mu.Lock()
	pass := t.stats.Passes + 1
	for range 2 {
		for _, f := range t.flows {
			if len(r.asked) < t.plan.look && f.round != t.plan.round && f.asked != pass && !r.dumps(f) {
				f.round, f.asked = t.plan.round, pass
				r.asked = append(r.asked, f.id())
			}
		}
		if len(r.asked) == t.plan.look {
			break
		}
		t.plan.round++ // all have had their turn
	}
	t.mu.Unlock()
	var f Flow
	return r.diag.Lookup(ctx, r.asked, func(s *sockdiag.Socket) {
		if decode(s, &f) && r.vips[f.VIP.Addr()] {
			r.flows = append(r.flows, f)
		}
	})
}

// dump reads the sockets of the buckets.
func (r *reading) dump(ctx context.Context, sockets []uint32) error {
	if r.last < r.first {
		return nil
	}
	filter := sockdiag.Local(slices.Collect(maps.Keys(r.vips)))
	if r.first > 0 || r.last < buckets-1 {
		filter = sockdiag.RemotePorts(uint16(r.first*65536/buckets), uint16((r.last+1)*65536/buckets-1), filter)
	}
	clear(sockets[r.first : r.last+1])
	var f Flow
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		q := sockdiag.Query{Family: family, States: sending, Info: true, Filter: filter}
		err := r.diag.Dump(ctx, q, func(s *sockdiag.Socket) {
			r.seen++
			sockets[bucketOf(s.Remote.Port())]++
			if decode(s, &f) {
				r.add(f)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// add takes a flow into what is read, as far as there is room: somewhat more
// than in the table, so that the largest of them come into it.
func (r *reading) add(f Flow) {
	switch most := r.table.opt.Max + r.table.opt.Max/4 + 16; {
	case f.Acked < r.table.opt.Least || !r.vips[f.VIP.Addr()]:
	case len(r.flows) >= len(r.asked)+most:
		r.left++
	default:
		r.flows = append(r.flows, f)
	}
}

// merge brings what was read into the table: what was asked for and is not
// there is gone. The caller holds t.mu.
func (t *Table) merge(r *reading, now time.Time) {
	for i := range r.flows {
		f := &r.flows[i]
		old := t.flows[f.uid]
		if old == nil {
			if len(t.flows) >= t.opt.Max && f.Acked <= t.floor {
				r.left++
				continue
			}
			f.First, f.Moved, f.At, f.round = now, now, now, t.plan.round
			own := *f // and not all of r.flows
			t.flows[f.uid] = &own
			continue
		}
		f.First, f.Moved, f.Speed, f.At = old.First, old.Moved, old.Speed, now
		f.round, f.asked = old.round, old.asked
		if d := now.Sub(old.Moved); f.Acked > old.Acked && d > 0 {
			f.Speed = uint64(float64(f.Acked-old.Acked) / d.Seconds())
			f.Moved = now
		}
		*old = *f
	}
	for _, id := range r.asked {
		if f := t.flows[id.Cookie]; f != nil && f.At != now {
			delete(t.flows, id.Cookie)
		}
	}
	for uid, f := range t.flows {
		if f.At != now && (r.dumps(f) || !r.vips[f.VIP.Addr()]) {
			delete(t.flows, uid)
		}
	}
	r.left += uint64(t.bound())
	t.stats.Left += r.left
}

// bound takes the smallest out of a table that has too many, and says how many.
func (t *Table) bound() int {
	over := len(t.flows) - t.opt.Max
	if over <= 0 {
		return 0
	}
	type size struct{ acked, uid uint64 }
	all := make([]size, 0, len(t.flows))
	for uid, f := range t.flows {
		all = append(all, size{f.Acked, uid})
	}
	slices.SortFunc(all, func(a, b size) int { return cmp.Compare(a.acked, b.acked) })
	for _, s := range all[:over] {
		delete(t.flows, s.uid)
	}
	t.floor = all[over].acked
	return over
}

// cpu is the time that the calling thread has used.
func cpu() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
