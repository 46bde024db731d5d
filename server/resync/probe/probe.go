// Package probe wakes clients whose POP has died. Such a client waits for
// bytes and sends nothing, so nothing tells it that its server is gone. One
// segment of its connection from the POP that now has the route makes its
// kernel answer with an acknowledgement, this host's kernel, which knows no
// such connection, resets it, and the client goes on with a range request:
// about one round trip after the route is here.
//
// A probe can only end a connection that has no server any more: the client's
// acknowledgement goes where its route leads, and if that is where the
// connection lives, the kernel there takes it for a duplicate. Still nobody is
// woken by mistake: probes go out only from addresses that are ours and announced now, only for
// flows that were told of lately, at most once in a while for each, and no
// more in a second than the ceiling.
package probe

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// Options bound a Prober. Zero fields mean the defaults.
type Options struct {
	// VIP reports whether an address is ours and this POP announces its prefix
	// now. It is asked when a flow is given, and again before each segment.
	VIP func(netip.Addr) bool
	// Age is how old what is known of a flow may be; 60 s.
	Age time.Duration
	// Rate is the ceiling of segments a second; 25,000 (8 Mbit/s). A tenth of
	// it may go out at once.
	Rate int
	// Queue is how many flows wait at most; 100,000.
	Queue int
	// The route may come here only after a flow's first segment. So for Fast
	// (2 s) a flow gets one each Gap (40 ms), then the gaps double up to a
	// second, until Until (15 s) after it was given or until Done.
	Gap, Fast, Until time.Duration
}

// Flow is a connection that a POP which is gone has had.
type Flow struct {
	Client, VIP netip.AddrPort
	At          time.Time // when it was last told of
}

// Counts tell what became of flows and segments.
type Counts struct {
	Asked   uint64 // flows that Wake was given
	Sent    uint64 // segments
	Foreign uint64 // flows refused: the address is not ours, or is not announced
	Stale   uint64 // flows refused: told of too long ago
	Full    uint64 // flows refused: too many wait
	Repeat  uint64 // flows refused: they are being woken already
	Failed  uint64 // segments that the kernel did not take
	Done    uint64 // flows whose clients have come back while they were woken
}

// Prober sends probes.
type Prober struct {
	opt    Options
	limit  *rate.Limiter
	v4, v6 int // sockets

	mu     sync.Mutex
	fresh  []*job       // nothing was sent of them yet
	again  jobs         // the next that is due in front
	known  map[key]*job // in one of the two, or being sent
	counts Counts
	hurry  time.Time // the last one
	kick   chan struct{}
}

type key struct{ client, vip netip.AddrPort }

type job struct {
	Flow
	began, sent, due time.Time
	slow             time.Time // from when on gaps grow
	gap              time.Duration
	done             bool
}

// New opens the two raw sockets (CAP_NET_RAW, which may be given up then).
// They send only: what arrives is dropped in the kernel.
func New(o Options) (*Prober, error) {
	if o.VIP == nil {
		return nil, errors.New("probe: it must know which addresses are ours")
	}
	o.Age, o.Rate, o.Queue = cmp.Or(o.Age, time.Minute), cmp.Or(o.Rate, 25_000), cmp.Or(o.Queue, 100_000)
	o.Gap, o.Fast, o.Until = cmp.Or(o.Gap, 40*time.Millisecond), cmp.Or(o.Fast, 2*time.Second), cmp.Or(o.Until, 15*time.Second)
	p := &Prober{opt: o, limit: rate.NewLimiter(rate.Limit(o.Rate), max(1, o.Rate/10)), known: map[key]*job{}, kick: make(chan struct{}, 1), v4: -1, v6: -1}
	var err error
	if p.v4, err = open(unix.AF_INET); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	if p.v6, err = open(unix.AF_INET6); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
		p.Close()
		return nil, fmt.Errorf("probe: %w", err)
	}
	return p, nil
}

// open makes a raw TCP socket that may send from any address of the host.
func open(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("raw socket: %w", err)
	}
	none := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}} // of 0 bytes: nothing
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none[0]})
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("raw socket: filter: %w", err)
	}
	return fd, nil
}

// Close closes the sockets. Run must have ended.
func (p *Prober) Close() {
	for _, fd := range []int{p.v4, p.v6} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	p.v4, p.v6 = -1, -1
}

// Wake puts flows into the queue and returns how many it took.
func (p *Prober) Wake(flows []Flow, now time.Time) int {
	taken := 0
	p.mu.Lock()
	for _, f := range flows {
		p.counts.Asked++
		k := key{f.Client, f.VIP}
		switch age := now.Sub(f.At); {
		case !f.Client.IsValid() || f.Client.Port() == 0 || f.VIP.Port() == 0 || f.Client.Addr().Is4() != f.VIP.Addr().Is4() || !p.opt.VIP(f.VIP.Addr()):
			p.counts.Foreign++
		case age > p.opt.Age || age < -time.Second:
			p.counts.Stale++
		case p.known[k] != nil:
			p.counts.Repeat++
		case len(p.fresh)+len(p.again) >= p.opt.Queue:
			p.counts.Full++
		default:
			j := &job{Flow: f, began: now, due: now, slow: now.Add(p.opt.Fast), gap: p.opt.Gap}
			p.known[k] = j
			p.fresh = append(p.fresh, j)
			taken++
		}
	}
	p.mu.Unlock()
	select {
	case p.kick <- struct{}{}:
	default:
	}
	return taken
}

// Counts tells what became of all so far.
func (p *Prober) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Waiting is how many flows are in the queue.
func (p *Prober) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.known)
}

// Run sends what is due until ctx ends, and then lets go of the rest. Flows of
// which nothing was sent yet come first.
func (p *Prober) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var buf [segmentLen]byte
	for {
		f, wait, ok := p.next(time.Now())
		if !ok {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				p.forget()
				return nil
			case <-p.kick:
			case <-timer.C:
			}
			continue
		}
		if p.limit.Wait(ctx) != nil {
			p.forget()
			return nil
		}
		err := p.send(buf[:0], f)
		p.mu.Lock()
		p.counts.Sent++
		if err != nil {
			p.counts.Sent--
			p.counts.Failed++
		}
		p.mu.Unlock()
	}
}

// next takes a flow that is due. wait is the time until there may be one.
func (p *Prober) next(now time.Time) (f Flow, wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var j *job
		switch {
		case len(p.fresh) > 0:
			j, p.fresh = p.fresh[0], p.fresh[1:]
		case len(p.again) == 0:
			return Flow{}, time.Hour, false
		case p.again[0].due.After(now):
			return Flow{}, p.again[0].due.Sub(now), false
		default:
			j = heap.Pop(&p.again).(*job)
		}
		switch {
		case j.done: // and not in known any more
			continue
		case !p.opt.VIP(j.VIP.Addr()): // withdrawn meanwhile
			p.counts.Foreign++
			delete(p.known, j.key())
			continue
		case now.Sub(j.began) >= p.opt.Until:
			delete(p.known, j.key())
			if !j.sent.IsZero() {
				continue
			}
		default:
			p.later(j, now)
		}
		return j.Flow, 0, true
	}
}

// later says when a flow gets its next segment, after one now.
func (p *Prober) later(j *job, now time.Time) {
	if !now.Before(j.slow) {
		j.gap = min(2*j.gap, max(time.Second, p.opt.Gap))
	}
	j.sent, j.due = now, now.Add(j.gap)
	heap.Push(&p.again, j)
}

// Done says that the client of a flow has come back: it is left alone. It
// reports whether it was being woken.
func (p *Prober) Done(client, vip netip.AddrPort) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.known[key{client, vip}]
	if j == nil {
		return false
	}
	j.done = true
	delete(p.known, j.key())
	p.counts.Done++
	return true
}

// Hurry says that a route has just come here: who was not sent anything for
// half a gap is sent something now, and gaps are short again.
func (p *Prober) Hurry(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.hurry) < p.opt.Gap/2 {
		return
	}
	p.hurry = now
	for _, j := range p.again {
		j.gap = p.opt.Gap
		if slow := now.Add(p.opt.Fast / 4); j.slow.Before(slow) {
			j.slow = slow
		}
		if now.Sub(j.sent) >= p.opt.Gap/2 {
			j.due = now
		} else if next := j.sent.Add(j.gap); next.Before(j.due) {
			j.due = next
		}
	}
	heap.Init(&p.again)
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *Prober) forget() {
	p.mu.Lock()
	p.fresh, p.again, p.known = nil, nil, map[key]*job{}
	p.mu.Unlock()
}

func (j *job) key() key { return key{j.Client, j.VIP} }

// jobs is a heap (container/heap).
type jobs []*job

func (h jobs) Len() int           { return len(h) }
func (h jobs) Less(a, b int) bool { return h[a].due.Before(h[b].due) }
func (h jobs) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }
func (h *jobs) Push(j any)        { *h = append(*h, j.(*job)) }
func (h *jobs) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}

// send sends one segment of a flow, from its VIP.
func (p *Prober) send(buf []byte, f Flow) error {
	from, to := f.VIP, f.Client
	b := segment(buf, from, to, rand.Uint32(), rand.Uint32())
	if to.Addr().Is4() {
		return unix.Sendmsg(p.v4, b, unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: from.Addr().As4()}), &unix.SockaddrInet4{Addr: to.Addr().As4()}, unix.MSG_DONTWAIT)
	}
	if p.v6 < 0 {
		return unix.EAFNOSUPPORT
	}
	return unix.Sendmsg(p.v6, b, unix.PktInfo6(&unix.Inet6Pktinfo{Addr: from.Addr().As16()}), &unix.SockaddrInet6{Addr: to.Addr().As16()}, unix.MSG_DONTWAIT)
}
