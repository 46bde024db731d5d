package gobgp

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/osrg/gobgp/v3/pkg/log"

	"github.com/catchment/catchment/bgp"
)

// wire knows what has been written to the neighbors' sockets and what still
// has to be. GoBGP queues one message for each change and neighbor and writes
// them in order, so for each neighbor and prefix there is a queue of writes
// that are awaited, and each UPDATE that has left takes its place off it.
//
// Its methods up, down and wrote run inside GoBGP's locks: they call nothing.
type wire struct {
	reaches func(netip.Addr, bgp.Announcement) bool // may the neighbor get it?
	now     func() time.Time
	done    chan finished // batches that are out

	mu      sync.Mutex
	out     map[netip.Addr]*adjOut // established sessions
	set     map[netip.Prefix]bgp.Announcement
	changed chan struct{} // closed when something was written
	errs    map[netip.Addr]string
	flaps   map[netip.Addr]uint32
	since   map[netip.Addr]time.Time // of the last coming or going
}

// adjOut is one established session.
type adjOut struct {
	sent    map[netip.Prefix]bool // announced on this session
	awaited map[netip.Prefix][]write
}

type write struct {
	announce bool
	since    time.Time
	batch    *batch    // nil: a whole table, after the session came up or a reload
	asked    time.Time // when it was last looked into
}

// batch is the changes of one Set.
type batch struct {
	start  time.Time
	left   int
	sealed bool // all its changes are known
	any    bool // something had to be written
}

type finished struct{ start, end time.Time }

func newWire() *wire {
	return &wire{
		reaches: func(netip.Addr, bgp.Announcement) bool { return true },
		now:     time.Now,
		done:    make(chan finished, 1024),
		out:     make(map[netip.Addr]*adjOut),
		set:     make(map[netip.Prefix]bgp.Announcement),
		changed: make(chan struct{}),
		errs:    make(map[netip.Addr]string),
		flaps:   make(map[netip.Addr]uint32),
		since:   make(map[netip.Addr]time.Time),
	}
}

// begin opens a batch.
func (w *wire) begin() *batch { return &batch{start: w.now()} }

// announce says that a is about to be handed to GoBGP.
func (w *wire) announce(b *batch, a bgp.Announcement) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set[a.Prefix] = a
	for addr, o := range w.out {
		switch {
		case w.reaches(addr, a):
			o.await(a.Prefix, write{announce: true, since: w.now(), batch: b})
		case o.has(a.Prefix):
			o.await(a.Prefix, write{since: w.now(), batch: b})
		}
	}
}

// withdraw says that p is about to be withdrawn.
func (w *wire) withdraw(b *batch, p netip.Prefix) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.set, p)
	for _, o := range w.out {
		if o.has(p) {
			o.await(p, write{since: w.now(), batch: b})
		}
	}
}

// resend says that the whole table is about to go to everyone again.
func (w *wire) resend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for addr, o := range w.out {
		for p, a := range w.set {
			if w.reaches(addr, a) {
				o.await(p, write{announce: true, since: w.now()})
			}
		}
	}
}

// undo takes back what announce or withdraw said: GoBGP refused.
func (w *wire) undo(b *batch, p netip.Prefix) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.out {
		o.drop(w, p, func(x write) bool { return x.batch == b })
	}
}

// seal ends a batch: when its last write is out, it is reported on done.
func (w *wire) seal(b *batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.sealed = true
	w.settle(b)
}

func (w *wire) settle(b *batch) {
	if b == nil || !b.sealed || b.left > 0 || !b.any {
		return
	}
	b.any = false
	select {
	case w.done <- finished{b.start, w.now()}:
	default: // nobody listens
	}
}

func (o *adjOut) await(p netip.Prefix, x write) {
	o.awaited[p] = append(o.awaited[p], x)
	if x.batch != nil {
		x.batch.left++
		x.batch.any = true
	}
}

// has reports whether the neighbor has p, or will once the queue is out.
func (o *adjOut) has(p netip.Prefix) bool {
	if q := o.awaited[p]; len(q) > 0 {
		return q[len(q)-1].announce
	}
	return o.sent[p]
}

func (o *adjOut) drop(w *wire, p netip.Prefix, which func(write) bool) {
	q := o.awaited[p]
	keep := q[:0:0]
	for _, x := range q {
		if !which(x) {
			keep = append(keep, x)
			continue
		}
		if x.batch != nil {
			x.batch.left--
			w.settle(x.batch)
		}
	}
	if len(keep) == 0 {
		delete(o.awaited, p)
		return
	}
	o.awaited[p] = keep
}

func (w *wire) signal() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// up: a session is established; GoBGP now sends it the whole table.
func (w *wire) up(f log.Fields) {
	addr, ok := neighborOf(f)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &adjOut{sent: make(map[netip.Prefix]bool), awaited: make(map[netip.Prefix][]write)}
	for p, a := range w.set {
		if w.reaches(addr, a) {
			o.await(p, write{announce: true, since: w.now()})
		}
	}
	w.out[addr] = o
	w.since[addr] = w.now()
	w.signal()
}

// down: a session is gone and with it all that was still to be written.
func (w *wire) down(f log.Fields) {
	addr, ok := neighborOf(f)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if o := w.out[addr]; o != nil {
		for p := range maps.Clone(o.awaited) {
			o.drop(w, p, func(write) bool { return true })
		}
	}
	delete(w.out, addr)
	w.errs[addr] = fmt.Sprint(f["Reason"])
	w.flaps[addr]++
	w.since[addr] = w.now()
	w.signal()
}

// wrote: an UPDATE has been written to the socket.
func (w *wire) wrote(f log.Fields) {
	addr, ok := neighborOf(f)
	if !ok {
		return
	}
	announced, withdrawn := prefixesOf(f)
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.out[addr]
	if o == nil {
		return
	}
	for _, p := range withdrawn {
		delete(o.sent, p)
		o.resolve(w, p, false)
	}
	for _, p := range announced {
		o.sent[p] = true
		o.resolve(w, p, true)
	}
	w.signal()
}

// resolve takes the write off the queue: the first that fits, and what was
// before it. Where none fits, a policy turned the change into its opposite.
func (o *adjOut) resolve(w *wire, p netip.Prefix, announce bool) {
	q := o.awaited[p]
	if len(q) == 0 {
		return
	}
	n := slices.IndexFunc(q, func(x write) bool { return x.announce == announce }) + 1
	n = max(n, 1)
	seen := 0
	o.drop(w, p, func(write) bool { seen++; return seen <= n })
}

// flush waits until nothing is awaited any more.
func (w *wire) flush(ctx context.Context) error {
	for {
		w.mu.Lock()
		var left []string
		for addr, o := range w.out {
			if len(o.awaited) > 0 {
				left = append(left, fmt.Sprintf("%s (%d prefixes)", addr, len(o.awaited)))
			}
		}
		changed := w.changed
		w.mu.Unlock()
		if len(left) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			slices.Sort(left)
			return fmt.Errorf("not yet written to %s: %w", strings.Join(left, ", "), ctx.Err())
		}
	}
}

// doubtful lists the neighbors that owe a write for longer than age, each
// write again only after the pause.
func (w *wire) doubtful(age, pause time.Duration) map[netip.Addr][]netip.Prefix {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make(map[netip.Addr][]netip.Prefix)
	for addr, o := range w.out {
		for p, q := range o.awaited {
			if now := w.now(); now.Sub(q[0].since) >= age && now.Sub(q[0].asked) >= pause {
				q[0].asked = now
				out[addr] = append(out[addr], p)
			}
		}
	}
	return out
}

// excuse drops the awaited writes that will never come: announcements that
// the neighbor is not to get (exports says so), withdrawals of what it never
// had.
func (w *wire) excuse(addr netip.Addr, prefixes []netip.Prefix, exports map[netip.Prefix]bool, age time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.out[addr]
	if o == nil {
		return
	}
	for _, p := range prefixes {
		o.drop(w, p, func(x write) bool {
			if w.now().Sub(x.since) < age {
				return false
			}
			return x.announce && !exports[p] || !x.announce && !o.sent[p]
		})
	}
	w.signal()
}

// established returns the neighbors with a session.
func (w *wire) established() []netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Keys(w.out), netip.Addr.Compare)
}

// allDown waits until no session is left.
func (w *wire) allDown(ctx context.Context) error {
	for {
		w.mu.Lock()
		n, changed := len(w.out), w.changed
		w.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d sessions not closed: %w", n, ctx.Err())
		}
	}
}

// history is what happened on the sessions with one neighbor.
type history struct {
	sent   int       // prefixes announced on this session
	since  time.Time // it came up or went down; zero if never up
	flaps  uint32
	reason string // of the last loss
}

func (w *wire) told(addr netip.Addr) history {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := history{since: w.since[addr], flaps: w.flaps[addr], reason: w.errs[addr]}
	if o := w.out[addr]; o != nil {
		h.sent = len(o.sent)
	}
	return h
}

// anybody reports whether p is announced on the wire of any session.
func (w *wire) anybody(p netip.Prefix) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.out {
		if o.sent[p] {
			return true
		}
	}
	return false
}

// mayHave reports whether p is announced to addr, or on its way there: the
// neighbor can have an UPDATE before GoBGP says that it is written.
func (w *wire) mayHave(addr netip.Addr, p netip.Prefix) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.out[addr]
	return o != nil && o.has(p)
}
