package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/lab/sandbox"
	"github.com/catchment/catchment/server/resync/flow/tap"
	"github.com/catchment/catchment/server/sockdiag"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

// vip6 is an address of lo beside ::1, from which clients come.
const vip6 = "2001:db8::2"

// pair is a connection from a client to a server on an address of lo.
func pair(t *testing.T, vip string) (client, server *net.TCPConn) {
	t.Helper()
	to := netip.MustParseAddr(vip)
	if err := sandbox.Address(to); err != nil {
		t.Fatal(err)
	}
	c, s, err := sandbox.Pair(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c, s
}

// send writes n bytes, which the client reads.
func send(t *testing.T, client, server *net.TCPConn, n int) {
	t.Helper()
	go server.Write(make([]byte, n))
	if _, err := io.CopyN(io.Discard, client, int64(n)); err != nil {
		t.Fatal(err)
	}
}

// until makes passes until ok, or fails with what.
func until(t *testing.T, tb *Table, what string, ok func([]Flow) bool) []Flow {
	t.Helper()
	for stop := time.Now().Add(20 * time.Second); ; {
		if err := tb.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		flows := tb.Flows()
		if ok(flows) {
			return flows
		}
		if time.Now().After(stop) {
			t.Fatalf("%s: %+v", what, flows)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func port(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// TestFlows: flows of the VIPs above the size are seen in both families with
// what the kernel knows of them; smaller ones and other addresses are not.
func TestFlows(t *testing.T) {
	for _, vip := range []string{"127.0.0.2", vip6} {
		t.Run(vip, func(t *testing.T) {
			tb := New(Options{Least: 1000})
			client, server := pair(t, vip)
			small, smallServer := pair(t, vip)
			other, otherServer := pair(t, "127.0.0.9")
			tb.SetVIPs([]netip.Addr{netip.MustParseAddr(vip)})
			send(t, client, server, 300_000)
			send(t, small, smallServer, 10)
			send(t, other, otherServer, 300_000)
			f := until(t, tb, "all is acknowledged", func(f []Flow) bool { return len(f) == 1 && f[0].Acked >= 300_000 })[0]
			if want := (Key{Client: port(client.LocalAddr()), VIP: port(server.LocalAddr())}); f.Key != want {
				t.Errorf("it is %v, want %v", f.Key, want)
			}
			if f.Acked > 300_001 || f.Rate == 0 || f.RTT <= 0 || f.MinRTT <= 0 || f.Cwnd == 0 || f.MSS == 0 || f.Closing || f.First.IsZero() {
				t.Errorf("%+v", f)
			}
			send(t, client, server, 50_000)
			g := until(t, tb, "more is acknowledged", func(f []Flow) bool { return len(f) == 1 && f[0].Acked >= 350_000 })[0]
			if g.First != f.First || !g.Moved.After(f.Moved) || g.Speed == 0 {
				t.Errorf("then %+v, after %+v", g, f)
			}
			server.CloseWrite()
			until(t, tb, "a FIN is seen", func(f []Flow) bool { return len(f) == 0 || f[0].Closing })
			client.Close()
			until(t, tb, "it has ended", func(f []Flow) bool { return len(f) == 0 })
			if s := tb.Stats(); s.Passes < 4 || s.Cost <= 0 || s.Sockets < 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestReceiverLimited: a client that does not read is known by its window.
func TestReceiverLimited(t *testing.T) {
	tb := New(Options{Least: 1})
	tb.SetVIPs([]netip.Addr{netip.MustParseAddr("127.0.0.3")})
	slow, slowServer := pair(t, "127.0.0.3")
	defer slow.Close()
	go slowServer.Write(make([]byte, 64<<20))
	f := until(t, tb, "it waits for its client", func(f []Flow) bool { return len(f) == 1 && f[0].Limited() > 0.5 })[0]
	if f.Busy < f.Receiver || f.Limited() > 1 {
		t.Errorf("%+v", f)
	}
}

// TestBound: of more flows than there is room for the largest stay.
func TestBound(t *testing.T) {
	tb := New(Options{Least: 1, Max: 4})
	tb.SetVIPs([]netip.Addr{netip.MustParseAddr("127.0.0.4")})
	big, bigServer := pair(t, "127.0.0.4")
	send(t, big, bigServer, 200_000)
	for range 5 {
		c, s := pair(t, "127.0.0.4")
		send(t, c, s, 100)
	}
	until(t, tb, "one too many", func(f []Flow) bool { return len(f) == 4 && tb.Stats().Left >= 2 })
	kept := false
	for _, f := range tb.Flows() {
		kept = kept || f.Client == port(big.LocalAddr())
	}
	if !kept {
		t.Errorf("the largest was pushed out: %+v", tb.Flows())
	}
}

// TestParts: with room for a few sockets a pass, all flows are found in turn,
// each goes on being looked at, and those that end are forgotten.
func TestParts(t *testing.T) {
	const vip, n, dump, look = "127.0.0.6", 40, 3, 7
	tb := New(Options{Least: 1000})
	tb.SetVIPs([]netip.Addr{netip.MustParseAddr(vip)})
	clients, servers := make([]*net.TCPConn, n), make([]*net.TCPConn, n)
	for i := range n {
		clients[i], servers[i] = pair(t, vip)
		send(t, clients[i], servers[i], 2000)
	}
	pass := func() Stats {
		tb.plan.dump, tb.plan.look = dump, look
		if err := tb.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
		return tb.Stats()
	}
	if s := pass(); s.Sockets != n { // what the first learns is how many are where
		t.Fatalf("%+v", s)
	}
	until(t, tb, "all are there", func(f []Flow) bool { return len(f) == n })
	most := int(slices.Max(tb.plan.sockets[:]))
	for range n {
		if s := pass(); s.Seen > max(dump, most) || s.Looked > look || s.Flows != n {
			t.Fatalf("%+v", s)
		}
	}
	for round := range 3 { // one round of asking is enough for all to get on
		for i := range n {
			send(t, clients[i], servers[i], 1000)
		}
		at := tb.Stats().At
		for range 4 * stride * (n/look + 1) {
			pass()
		}
		for _, f := range tb.Flows() {
			if !f.At.After(at) || f.Acked < uint64(2000+1000*(round+1)) {
				t.Errorf("round %d: %+v", round, f)
			}
		}
	}
	for i := range n / 2 {
		servers[i].SetLinger(0)
		servers[i].Close()
	}
	for range 4 * stride * (n/look + 1) {
		pass()
	}
	if f := tb.Flows(); len(f) != n-n/2 {
		t.Errorf("%d flows, want %d", len(f), n-n/2)
	}
}

// TestPlan: what a pass may do follows what the last has cost, and all ports
// have their turn.
func TestPlan(t *testing.T) {
	const budget = 50 * time.Millisecond
	var p plan
	if first, last := p.next(); first != 0 || last != buckets-1 {
		t.Errorf("at first %d to %d", first, last)
	}
	for i := range p.sockets {
		p.sockets[i] = uint32(i * 10)
	}
	cost := func(first, last, look int) (seen int, dumping, looking time.Duration) {
		looking = time.Duration(look) * 2 * time.Microsecond
		if last < first {
			return 0, 0, looking
		}
		for _, n := range p.sockets[first : last+1] {
			seen += int(n)
		}
		return seen, 20*time.Millisecond + time.Duration(seen)*time.Microsecond, looking
	}
	p.learn(0, buckets-1, p.total(), 0, 300*time.Millisecond, 0, budget)
	turn := map[int]int{}
	var spent, passes time.Duration
	for i := range 400 {
		first, last := p.next()
		look := min(p.look, 8000)
		seen, dumping, looking := cost(first, last, look)
		p.learn(first, last, seen, look, dumping, looking, budget)
		for b := first; b <= last; b++ {
			turn[b]++
		}
		if i >= 200 {
			spent, passes = spent+dumping+looking, passes+1
		}
	}
	if mean := spent / passes; mean > budget*11/10 || mean < budget/2 || p.look < 8000 {
		t.Errorf("a pass of %v on average, %d one by one", mean, p.look)
	}
	for b := range buckets {
		if turn[b] < 2 {
			t.Errorf("bucket %d had %d turns", b, turn[b])
		}
	}
}

// TestDestroy: the client of a destroyed flow hears of it at once, others do
// not, and what is not ours is left alone.
func TestDestroy(t *testing.T) {
	for _, vip := range []string{"127.0.0.5", vip6} {
		t.Run(vip, func(t *testing.T) {
			tb := New(Options{Least: 100})
			tb.SetVIPs([]netip.Addr{netip.MustParseAddr(vip)})
			client, server := pair(t, vip)
			bystander, bystanderServer := pair(t, vip)
			send(t, client, server, 1000)
			flows := until(t, tb, "it is seen", func(f []Flow) bool { return len(f) == 1 })
			tb.SetVIPs(nil)
			if n, err := tb.Destroy(flows); err == nil || n != 0 {
				t.Errorf("of another address: %d, %v", n, err)
			}
			tb.SetVIPs([]netip.Addr{netip.MustParseAddr(vip)})
			stale := flows[0]
			stale.uid++
			if n, err := tb.Destroy([]Flow{stale}); n != 0 || err != nil {
				t.Errorf("an earlier flow of the same addresses: %d, %v", n, err)
			}
			if n, err := tb.Destroy(flows); n != 1 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
			client.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client hears %v", err)
			}
			if n, err := tb.Destroy(flows); n != 0 || err != nil {
				t.Errorf("again: %d, %v", n, err)
			}
			send(t, bystander, bystanderServer, 10)
		})
	}
}

// TestRun: passes are made until the end, less often where they cost too much.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	passes := 0
	tb := New(Options{Every: time.Millisecond, Share: 1e-3, OnPass: func(s Stats) {
		if want := time.Duration(float64(s.Cost) / 1e-3); s.Err != nil || s.Wait < want {
			t.Errorf("a pass of %v is followed by a wait of %v, want %v: %v", s.Cost, s.Wait, want, s.Err)
		}
		if passes++; passes == 3 {
			cancel()
		}
	}})
	tb.SetVIPs([]netip.Addr{netip.MustParseAddr("127.0.0.2")})
	if err := tb.Run(ctx); err != nil || passes != 3 {
		t.Errorf("%d passes, %v", passes, err)
	}
}

// FuzzInfo: whatever the kernel's tcp_info is, nothing is read past its end,
// and what a flow says is within bounds.
func FuzzInfo(f *testing.F) {
	f.Add(make([]byte, 248))
	f.Add(make([]byte, 104))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var f Flow
		ok := decode(&sockdiag.Socket{State: sockdiag.Established, Info: b}, &f)
		if f.RTT < 0 || f.Busy < 0 || f.Limited() < 0 || f.Limited() > 1 {
			t.Errorf("%+v", f)
		}
		if ok && len(b) < 176 || !ok && len(b) >= 248 {
			t.Errorf("%d bytes: %v", len(b), ok)
		}
	})
}

func ExampleFlow_Limited() {
	f := Flow{Busy: 4 * time.Second, Receiver: 3 * time.Second}
	fmt.Println(f.Limited())
	// Output: 0.75
}

// TestTapped compares the table that is read by BPF with that by sock_diag, and
// takes BPF away: then it goes on without.
func TestTapped(t *testing.T) {
	const vip, least = "192.0.2.77", 100_000
	bpf, err := tap.Open(tap.Options{Least: least})
	if err != nil {
		t.Skip(err)
	}
	defer bpf.Close()
	tapped, plain := New(Options{Least: least, Tap: bpf}), New(Options{Least: least})
	for _, tb := range []*Table{tapped, plain} {
		tb.SetVIPs([]netip.Addr{netip.MustParseAddr(vip)})
		if err := tb.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	small, smallServer := pair(t, vip)
	large, largeServer := pair(t, vip)
	send(t, small, smallServer, least/2)
	send(t, large, largeServer, 3*least)
	one := func(flows []Flow) bool { return len(flows) == 1 && flows[0].Acked == 3*least && flows[0].Out == 0 }
	want := until(t, plain, "by sock_diag", one)[0]
	until(t, tapped, "by BPF as by sock_diag", func(f []Flow) bool {
		if !one(f) {
			return false
		}
		got := f[0] // all of it, but for when and how it was looked at
		got.Speed, got.First, got.Moved, got.At, got.round, got.asked = want.Speed, want.First, want.Moved, want.At, want.round, want.asked
		return got == want
	})
	if want.Window == 0 || want.RTT == 0 || !tapped.Stats().Tapped || plain.Stats().Tapped {
		t.Fatalf("%+v; %+v", want, tapped.Stats())
	}
	if err := bpf.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, tapped, "without BPF", one)
	if s := tapped.Stats(); s.Tapped || s.Untap == nil || s.Err != nil {
		t.Fatalf("%+v", s)
	}
	largeServer.Close()
	large.Close()
	until(t, tapped, "ended", func(f []Flow) bool { return len(f) == 0 })
}
