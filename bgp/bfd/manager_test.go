package bfd

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// air is a network in memory: every packet takes 5 ms, unless it is cut.
type air struct {
	mu    sync.Mutex
	nodes map[netip.Addr]func(datagram)
	cut   map[netip.Addr]bool // what this one sends is lost
	ttl   int
}

// place is one node's end of the air.
type place struct {
	*air
	addr netip.Addr
}

func (p place) listen(_ listener, deliver func(datagram), _ func(error)) (func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nodes[p.addr] = deliver
	return func() { p.mu.Lock(); defer p.mu.Unlock(); delete(p.nodes, p.addr) }, nil
}

func (p place) dial(c SessionConfig) transmitter { return beam{p, c} }

type beam struct {
	place
	c SessionConfig
}

func (b beam) close() {}

func (b beam) send(payload []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cut[b.addr] {
		return nil
	}
	time.AfterFunc(5*ms, func() {
		b.mu.Lock()
		deliver := b.nodes[b.c.Neighbor]
		b.mu.Unlock()
		if deliver != nil {
			deliver(datagram{payload: payload, from: b.addr, to: b.c.Neighbor, device: "eth0", ttl: b.ttl, multihop: b.c.Multihop})
		}
	})
	return nil
}

func (a *air) lose(addr netip.Addr, lose bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cut[addr] = lose
}

var left, right = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

func newAir() *air {
	return &air{nodes: map[netip.Addr]func(datagram){}, cut: map[netip.Addr]bool{}, ttl: 255}
}

// node is a running manager and what it said.
type node struct {
	*Manager
	events chan Event
	stop   func() // ends it and waits
}

func (a *air) node(t *testing.T, addr netip.Addr, sessions ...SessionConfig) *node {
	t.Helper()
	return a.nodeResuming(t, addr, nil, sessions...)
}

func (a *air) nodeResuming(t *testing.T, addr netip.Addr, kept []Handover, sessions ...SessionConfig) *node {
	t.Helper()
	n := &node{events: make(chan Event, 1000)}
	m, err := New(Options{OnChange: func(e Event) { n.events <- e }, Resume: kept})
	if err != nil {
		t.Fatal(err)
	}
	m.net = place{a, addr}
	if err := m.Set(sessions); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	n.Manager = m
	n.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	return n
}

// expect takes the next event and checks where it leads.
func (n *node) expect(t *testing.T, s State, failure bool) Event {
	t.Helper()
	e := <-n.events
	if e.State != s || e.Failure() != failure {
		t.Fatalf("event %+v (failure %v), want %v, failure %v", e, e.Failure(), s, failure)
	}
	return e
}

func (n *node) quiet(t *testing.T, d time.Duration) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	select {
	case e := <-n.events:
		t.Fatalf("unexpected event %+v", e)
	default:
	}
}

func fast(to netip.Addr) SessionConfig {
	return SessionConfig{Neighbor: to, Transmit: 50 * ms, Receive: 50 * ms, Multiplier: 3}
}

// untilUp skips the way up.
func (n *node) untilUp(t *testing.T) {
	t.Helper()
	for e := range n.events {
		if e.State == Up {
			return
		} else if e.Failure() {
			t.Fatalf("on the way up: %+v", e)
		}
	}
}

func TestFreezeAndReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAir()
		l := a.node(t, left, fast(right))
		l.quiet(t, 10*time.Second) // alone: never up, nothing to say
		r := a.node(t, right, fast(left))
		l.untilUp(t)
		r.untilUp(t)
		l.quiet(t, time.Second)
		if s := l.Sessions()[0]; s.Transmit != Interval(50*ms) || s.Detection != Interval(150*ms) || s.Polling || !s.EverUp || s.Downs != 0 {
			t.Errorf("negotiated %+v", s)
		}

		a.lose(right, true)
		start := time.Now()
		e := l.expect(t, Down, true)
		if took := time.Since(start); took > 155*ms || took < 100*ms || e.Diagnostic != DiagDetectionTime {
			t.Errorf("down after %v by %v, want 100 to 155 ms by detection time", took, e.Diagnostic)
		}
		if e := r.expect(t, Down, true); e.Diagnostic != DiagNeighborDown {
			t.Errorf("the other side: %+v", e)
		}
		a.lose(right, false)
		l.untilUp(t)
		r.untilUp(t)
		if s := l.Sessions()[0]; s.Downs != 1 {
			t.Errorf("downs %d", s.Downs)
		}
		l.stop()
		r.stop()
	})
}

func TestPlannedExitIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAir()
		l, r := a.node(t, left, fast(right)), a.node(t, right, fast(left))
		l.untilUp(t)
		r.untilUp(t)
		l.stop()
		l.expect(t, AdminDown, false)
		if e := r.expect(t, Down, false); e.Remote != AdminDown || e.Diagnostic != DiagNeighborDown {
			t.Errorf("the other side: %+v", e)
		}
		r.quiet(t, 10*time.Second)
		l = a.node(t, left, fast(right)) // our restart, with another discriminator
		l.untilUp(t)
		r.untilUp(t)
		l.stop()
		r.stop()
	})
}

func TestSetTouchesOnlyWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAir()
		third := netip.MustParseAddr("192.0.2.3")
		l := a.node(t, left, fast(right), fast(third))
		r, x := a.node(t, right, fast(left)), a.node(t, third, fast(left))
		for _, n := range []*node{l, l, r, x} {
			n.untilUp(t)
		}
		l.quiet(t, time.Second)
		before := l.Sessions()

		slow := fast(right)
		slow.Transmit, slow.Receive = 400*ms, 300*ms
		if err := l.Set([]SessionConfig{slow, fast(third)}); err != nil {
			t.Fatal(err)
		}
		l.quiet(t, 3*time.Second)
		r.quiet(t, 0)
		after := l.Sessions()
		if after[1].LocalDiscriminator != before[1].LocalDiscriminator || after[1].Since != before[1].Since {
			t.Error("an unchanged session was touched")
		}
		if s := after[0]; s.Transmit != Interval(400*ms) || s.Detection != Interval(900*ms) || s.Polling || s.Since != before[0].Since {
			t.Errorf("after the poll sequence: %+v", s)
		}
		if s := r.Sessions()[0]; s.Detection != Interval(1200*ms) || s.Transmit != Interval(300*ms) {
			t.Errorf("the neighbor's view: %+v", s)
		}

		bad := fast(right)
		bad.Multiplier = 256
		if err := l.Set([]SessionConfig{bad}); err == nil || len(l.Sessions()) != 2 {
			t.Errorf("a bad set: error %v, %d sessions left", err, len(l.Sessions()))
		}
		if err := l.Set([]SessionConfig{slow}); err != nil {
			t.Fatal(err)
		}
		x.expect(t, Down, false) // told AdminDown
		l.stop()
		r.stop()
		x.stop()
	})
}

func TestRefusals(t *testing.T) {
	m, err := New(Options{Sessions: []SessionConfig{
		fast(right), {Neighbor: right, Multihop: true, MinTTL: 250}, {Neighbor: left, Device: "eth1"}}})
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[netip.Addr]uint32{}
	for _, s := range m.Sessions() {
		numbers[s.Neighbor] = s.LocalDiscriminator
	}
	good := Packet{State: Down, Multiplier: 3, MyDiscriminator: 7, DesiredTransmit: 1000000, RequiredReceive: 50000}
	with := func(your uint32) Packet { p := good; p.YourDiscriminator = your; return p }
	auth := append(good.AppendTo(nil), 1, 4, 0, 'x')
	auth[1] |= bitAuth
	auth[3] = 28
	tests := []struct {
		name string
		d    datagram
		want Refusal
	}{
		{"garbage", datagram{payload: []byte("hello"), from: right, ttl: 255}, RefusedMalformed},
		{"authenticated", datagram{payload: auth, from: right, ttl: 255}, RefusedAuth},
		{"came through a router", datagram{payload: good.AppendTo(nil), from: right, ttl: 254}, RefusedTTL},
		{"multihop from too far", datagram{payload: good.AppendTo(nil), from: right, ttl: 249, multihop: true}, RefusedTTL},
		{"stranger", datagram{payload: good.AppendTo(nil), from: netip.MustParseAddr("192.0.2.9"), ttl: 255}, RefusedUnknown},
		{"other device", datagram{payload: good.AppendTo(nil), from: left, device: "eth0", ttl: 255}, RefusedUnknown},
		{"old discriminator", datagram{payload: with(numbers[right] + numbers[left]).AppendTo(nil), from: right, ttl: 255}, RefusedUnknown},
		{"another's discriminator", datagram{payload: with(numbers[left]).AppendTo(nil), from: right, ttl: 255}, RefusedSource},
		{"good", datagram{payload: good.AppendTo(nil), from: right, ttl: 255}, ""},
		{"good multihop", datagram{payload: good.AppendTo(nil), from: right, ttl: 250, multihop: true}, ""},
		{"good on device", datagram{payload: good.AppendTo(nil), from: left, device: "eth1", ttl: 255}, ""},
	}
	for _, tt := range tests {
		before := m.Refused()
		m.deliver(tt.d)
		after := m.Refused()
		for _, r := range []Refusal{RefusedMalformed, RefusedAuth, RefusedTTL, RefusedUnknown, RefusedSource} {
			if want := r == tt.want; (after[r] == before[r]+1) != want {
				t.Errorf("%s: %s went from %d to %d", tt.name, r, before[r], after[r])
			}
		}
	}
}

func TestConfigErrors(t *testing.T) {
	v6 := netip.MustParseAddr("fe80::1")
	for _, tt := range []struct {
		want string
		c    []SessionConfig
	}{
		{"bfd session invalid IP: neighbor is not a unicast address", []SessionConfig{{}}},
		{"bfd session 192.0.2.2: local address 2001:db8::1 is of the other family",
			[]SessionConfig{{Neighbor: right, Local: netip.MustParseAddr("2001:db8::1")}}},
		{"bfd session fe80::1: a link-local neighbor needs a device", []SessionConfig{{Neighbor: v6}}},
		{"bfd session fe80::1%eth0: zone eth0 and device eth1 differ", []SessionConfig{{Neighbor: v6.WithZone("eth0"), Device: "eth1"}}},
		{"bfd session fe80::1: a link-local neighbor cannot be multihop", []SessionConfig{{Neighbor: v6, Device: "a", Multihop: true}}},
		{"bfd session 192.0.2.2: transmit interval 1µs: want 1ms to 1h", []SessionConfig{{Neighbor: right, Transmit: 1000}}},
		{"bfd session 192.0.2.2: receive interval -1s: want 1ms to 1h", []SessionConfig{{Neighbor: right, Receive: -time.Second}}},
		{"bfd session 192.0.2.2: multiplier 256: want 1 to 255", []SessionConfig{{Neighbor: right, Multiplier: 256}}},
		{"bfd session 192.0.2.2: minimum TTL is for multihop", []SessionConfig{{Neighbor: right, MinTTL: 254}}},
		{"bfd session 192.0.2.2: configured twice", []SessionConfig{{Neighbor: right}, {Neighbor: right, Transmit: time.Second}}},
	} {
		if _, err := New(Options{Sessions: tt.c}); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("error %q, want %q", err, tt.want)
		}
	}
}
