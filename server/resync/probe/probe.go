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
	// Rate is the ceiling of segments a second; 5,000.
	Rate int
	// Queue is how many flows wait at most; 100,000.
	Queue int
	// Times is how many segments a flow gets at most, Again apart: one may be
	// lost, and the client's answer too; 3 and 250 ms.
	Times int
	Again time.Duration
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
}

// Prober sends probes.
type Prober struct {
	opt    Options
	limit  *rate.Limiter
	v4, v6 int // sockets

	mu     sync.Mutex
	fresh  []job        // nothing was sent of them yet
	again  []job        // in the order of being due
	known  map[key]bool // in one of the two
	counts Counts
	kick   chan struct{}
}

type key struct{ client, vip netip.AddrPort }

type job struct {
	Flow
	due  time.Time
	left int
}

// New opens the two raw sockets (CAP_NET_RAW, which may be given up then).
// They send only: what arrives is dropped in the kernel.
func New(o Options) (*Prober, error) {
	if o.VIP == nil {
		return nil, errors.New("probe: it must know which addresses are ours")
	}
	o.Age, o.Rate, o.Queue = cmp.Or(o.Age, time.Minute), cmp.Or(o.Rate, 5000), cmp.Or(o.Queue, 100_000)
	o.Times, o.Again = cmp.Or(o.Times, 3), cmp.Or(o.Again, 250*time.Millisecond)
	p := &Prober{opt: o, limit: rate.NewLimiter(rate.Limit(o.Rate), max(1, o.Rate/20)), known: map[key]bool{}, kick: make(chan struct{}, 1), v4: -1, v6: -1}
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
		case p.known[k]:
			p.counts.Repeat++
		case len(p.known) >= p.opt.Queue:
			p.counts.Full++
		default:
			p.known[k] = true
			p.fresh = append(p.fresh, job{f, now, p.opt.Times})
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
		j, wait, ok := p.next(time.Now())
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
		err := p.send(buf[:0], j.Flow)
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
func (p *Prober) next(now time.Time) (j job, wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		from := &p.fresh
		switch {
		case len(p.fresh) > 0:
		case len(p.again) == 0:
			return job{}, time.Hour, false
		case p.again[0].due.After(now):
			return job{}, p.again[0].due.Sub(now), false
		default:
			from = &p.again
		}
		j, *from = (*from)[0], (*from)[1:]
		k := key{j.Client, j.VIP}
		switch {
		case !p.opt.VIP(j.VIP.Addr()): // withdrawn meanwhile
			p.counts.Foreign++
			delete(p.known, k)
			continue
		case j.left <= 1:
			delete(p.known, k)
		default:
			p.again = append(p.again, job{j.Flow, now.Add(p.opt.Again), j.left - 1})
		}
		return j, 0, true
	}
}

func (p *Prober) forget() {
	p.mu.Lock()
	p.fresh, p.again, p.known = nil, nil, map[key]bool{}
	p.mu.Unlock()
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
