// Package probe wakes clients whose POP has died. Such a client waits for
// bytes and sends nothing, so nothing tells it that its server is gone. One
// segment of its connection from the POP that now has the route makes its
// kernel answer with an acknowledgement, this host's kernel, which knows no
// such connection, resets it, and the client goes on with a range request:
// about one round trip after the route is here; and in half of that where
// clients are asked before it is, again and again, so that their answers are on
// their way when it comes.
//
// A probe can only end a connection that has no server any more: the client's
// acknowledgement goes where its route leads, and if that is where the
// connection lives, the kernel there takes it for a duplicate. Still nobody is
// woken by mistake: probes go out only from addresses that are ours and announced now, only for
// flows that were told of lately, at most once in a while for each, and no
// more in a second than the ceiling.
//
// There are two kinds. One passes NATs and firewalls, and of those a client
// answers two in a second, even if the answer is lost: they begin when the POP
// is gone. The other, of connections whose time stamps are known, is answered
// each time: it begins as soon as there is doubt, and no longer than Fast.
package probe

import (
	"cmp"
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
	// Rate is the ceiling of segments a second; 25,000 (12 Mbit/s). A tenth of
	// it may go out at once.
	Rate int
	// Queue is how many flows wait at most; 100,000.
	Queue int
	// The route may come here only after a flow's first segment. So for Fast
	// (2 s) a flow gets one each quarter of its round trip and 25 ms, but within Gap
	// (40 ms) and five of that; then the gaps double up to a second, until Until
	// (15 s) after it was given or until Done. A flow that is given again after
	// that is asked seldom, up to once in 8 s, until a route comes (Hurry); and one
	// that was in doubt is not asked in doubt again for 1 s, then 2, up to 64.
	Gap, Fast, Until time.Duration
}

// Flow is a connection that a POP which is gone has had.
type Flow struct {
	Client, VIP netip.AddrPort
	At          time.Time // when it was last told of
	RTT         time.Duration
	Stamp       uint32 // what its time stamps have passed (checkpoint.Flow); 0: none
}

// Counts tell what became of flows and segments.
type Counts struct {
	Asked   uint64 // flows that Wake was given
	Doubted uint64 // flows that Doubt took
	Sent    uint64 // segments
	Foreign uint64 // flows refused: the address is not ours, or is not announced
	Stale   uint64 // flows refused: told of too long ago
	Full    uint64 // flows refused: too many wait
	Repeat  uint64 // flows refused: they are being woken already
	Calm    uint64 // flows refused: they were in doubt not long ago
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
	pasts  pasts
	counts Counts
	hurry  time.Time // the last one
	kick   chan struct{}
}

// New opens the two raw sockets (CAP_NET_RAW, which may be given up then).
// They send only: what arrives is dropped in the kernel.
func New(o Options) (*Prober, error) {
	if o.VIP == nil {
		return nil, errors.New("probe: it must know which addresses are ours")
	}
	o.Age, o.Rate, o.Queue = cmp.Or(o.Age, time.Minute), cmp.Or(o.Rate, 25_000), cmp.Or(o.Queue, 100_000)
	o.Gap, o.Fast, o.Until = cmp.Or(o.Gap, 40*time.Millisecond), cmp.Or(o.Fast, 2*time.Second), cmp.Or(o.Until, 15*time.Second)
	p := &Prober{opt: o, limit: rate.NewLimiter(rate.Limit(o.Rate), max(1, o.Rate/10)), known: map[key]*job{}, kick: make(chan struct{}, 1), pasts: newPasts(o.Queue, o.Age), v4: -1, v6: -1}
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
	for {
		t, wait, ok := p.next(time.Now())
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
		if p.play(ctx, t) != nil {
			p.forget()
			return nil
		}
	}
}

// turn is what a flow is sent now.
type turn struct {
	Flow
	stamped, syn bool
}

// play sends it, no faster than the ceiling lets it; an error is ctx's.
func (p *Prober) play(ctx context.Context, t turn) error {
	var buf [largest]byte
	if t.stamped {
		if err := p.limit.Wait(ctx); err != nil {
			return err
		}
		p.sent(p.send(stamped(buf[:0], t.VIP, t.Client, rand.Uint32(), rand.Uint32(), t.Stamp), t.VIP.Addr(), t.Client.Addr()))
	}
	if t.syn {
		if err := p.limit.Wait(ctx); err != nil {
			return err
		}
		p.sent(p.send(segment(buf[:0], t.VIP, t.Client, rand.Uint32(), rand.Uint32()), t.VIP.Addr(), t.Client.Addr()))
	}
	return nil
}

// sent counts a segment.
func (p *Prober) sent(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.counts.Failed++
	} else {
		p.counts.Sent++
	}
}

// send sends one segment from a VIP.
func (p *Prober) send(b []byte, from, to netip.Addr) error {
	if to.Is4() {
		return unix.Sendmsg(p.v4, b, unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: from.As4()}), &unix.SockaddrInet4{Addr: to.As4()}, unix.MSG_DONTWAIT)
	}
	if p.v6 < 0 {
		return unix.EAFNOSUPPORT
	}
	return unix.Sendmsg(p.v6, b, unix.PktInfo6(&unix.Inet6Pktinfo{Addr: from.As16()}), &unix.SockaddrInet6{Addr: to.As16()}, unix.MSG_DONTWAIT)
}
