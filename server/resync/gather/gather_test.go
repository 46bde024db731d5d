package gather

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache"
	"github.com/catchment/catchment/server/resync/checkpoint"
	"github.com/catchment/catchment/server/resync/flow"
)

var vip = netip.MustParseAddrPort("192.0.2.1:443")

func client(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), uint16(n))
}

// conns are a cache server's connections; its flows need real sockets, which
// the tests of the daemon have.
type conns map[netip.AddrPort]bool // whether a request is at work

func (c conns) Flows(int64, func(cache.Flow) bool) {}

func (c conns) ClientConnections(yield func(client, local netip.AddrPort, busy bool) bool) {
	for a, busy := range c {
		if !yield(a, vip, busy) {
			return
		}
	}
}

type table []flow.Flow

func (t table) Flows() []flow.Flow { return t }

func kernel(n int, acked uint64) flow.Flow {
	return flow.Flow{Key: flow.Key{Client: client(n), VIP: vip}, Acked: acked, Rate: 1000, Speed: 2000, RTT: time.Millisecond, Busy: 10, Receiver: 6}
}

// TestKernel: what the kernel says of other servers' flows, and of what passes
// through our own; not of connections that wait, that end, or that are not ours
// to speak of; the largest where there are too many, and looked at seldom.
func TestKernel(t *testing.T) {
	closing, foreign := kernel(4, 1<<20), kernel(5, 1<<20)
	closing.Closing = true
	foreign.VIP = netip.MustParseAddrPort("198.51.100.1:80")
	looked := 0
	g := New(Options{
		Cache: func() Cache { looked++; return conns{client(2): false, client(3): true} }, VIP: func(a netip.Addr) bool { return a == vip.Addr() }, Max: 2,
		Table: table{kernel(1, 1<<20), kernel(2, 9<<20), kernel(3, 3<<20), kernel(6, 2<<20), closing, foreign}, Every: time.Hour,
	})
	all, out := g.All()
	if len(all) != 2 || out != 1 || all[0].Client != client(3) || all[1].Client != client(6) {
		t.Errorf("%+v, %d left out", all, out)
	}
	if f := all[0]; f.Own || f.Left != -1 || f.Offset != 3<<20 || f.Rate != 2000 || f.RTT != time.Millisecond || !f.ClientLimited {
		t.Errorf("%+v", f)
	}
	if g.Flows(); looked != 1 {
		t.Errorf("looked %d times", looked)
	}
	g.Forget()
	if n := len(g.Flows()); n != 2 || looked != 2 {
		t.Errorf("%d flows, looked %d times", n, looked)
	}
	none := New(Options{Cache: func() Cache { return nil }, VIP: func(netip.Addr) bool { return true }})
	if n := len(none.Flows()); n != 0 {
		t.Error(fmt.Sprint(n, " flows of nothing"))
	}
}

// TestShare: flows of one connection share its rate; of too many those are told
// that have most left; others are as they are.
func TestShare(t *testing.T) {
	at := func(n int, stream uint32, left int64) Flow {
		return Flow{Left: left, Own: true, Flow: checkpoint.Flow{Client: client(n), VIP: vip, Rate: 800, Stream: stream}}
	}
	all := []Flow{at(1, 0, 5), at(2, 1, 5), at(3, 1, 5), at(3, 2, 6)}
	for i := range uint32(20) {
		all = append(all, at(4, i+1, int64(100+i)))
	}
	all = append(all, at(5, 0, 1), at(6, 0, 1))
	by := map[netip.AddrPort][]Flow{}
	for _, f := range share(all) {
		by[f.Client] = append(by[f.Client], f)
	}
	for n, want := range map[int]struct{ flows, streams, rate int }{1: {1, 0, 800}, 2: {1, 0, 800}, 3: {2, 2, 400}, 4: {8, 8, 100}, 5: {1, 0, 800}, 6: {1, 0, 800}} {
		got := by[client(n)]
		if len(got) != want.flows {
			t.Fatalf("connection %d: %+v", n, got)
		}
		for _, f := range got {
			if f.Streams != want.streams || f.Rate != uint64(want.rate) || n == 4 && f.Left < 112 {
				t.Errorf("connection %d: %+v, want %+v", n, f, want)
			}
		}
	}
}
