package gobgp

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/osrg/gobgp/v3/pkg/log"
	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/catchment/catchment/bgp"
)

var (
	n1 = netip.MustParseAddr("10.0.0.1")
	p1 = netip.MustParsePrefix("192.0.2.0/24")
	p6 = netip.MustParsePrefix("2001:db8::/48")
)

func sent(to netip.Addr, announced, withdrawn []netip.Prefix) log.Fields {
	f := log.Fields{"Key": to.String()}
	var nlri, gone []*packet.IPAddrPrefix
	var reach, unreach []packet.AddrPrefixInterface
	for _, p := range announced {
		if p.Addr().Is6() {
			reach = append(reach, toNLRI(p))
		} else {
			nlri = append(nlri, toNLRI(p).(*packet.IPAddrPrefix))
		}
	}
	for _, p := range withdrawn {
		if p.Addr().Is6() {
			unreach = append(unreach, toNLRI(p))
		} else {
			gone = append(gone, toNLRI(p).(*packet.IPAddrPrefix))
		}
	}
	attrs := []packet.PathAttributeInterface{packet.NewPathAttributeOrigin(0)}
	if reach != nil {
		attrs = append(attrs, packet.NewPathAttributeMpReachNLRI("::1", reach))
	}
	if unreach != nil {
		attrs = append(attrs, packet.NewPathAttributeMpUnreachNLRI(unreach))
	}
	f["nlri"], f["withdrawals"], f["attributes"] = nlri, gone, attrs
	return f
}

// flushed reports whether all is out, without waiting.
func flushed(w *wire) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return w.flush(ctx) == nil
}

func TestWireAwaitsEachWrite(t *testing.T) {
	w := newWire()
	l := newLogger(slog.New(slog.DiscardHandler), w)
	l.Info("Peer Up", log.Fields{"Key": "10.0.0.1"})
	b := w.begin()
	w.announce(b, bgp.Announcement{Prefix: p1})
	w.announce(b, bgp.Announcement{Prefix: p6})
	w.seal(b)
	if flushed(w) {
		t.Fatal("flushed before anything was written")
	}
	if !w.mayHave(n1, p1) { // a policy that holds it back now must withdraw it
		t.Error("what is on its way does not count")
	}
	l.Debug("sent update", sent(n1, []netip.Prefix{p1}, nil))
	if flushed(w) || !w.out[n1].sent[p1] || w.out[n1].sent[p6] {
		t.Fatal("one of two is written")
	}
	l.Debug("sent update", sent(n1, []netip.Prefix{p6}, nil))
	if !flushed(w) {
		t.Fatal("both are written")
	}
	select {
	case <-w.done:
	default:
		t.Error("the batch was not reported")
	}
	// Two changes of one prefix are two writes, and a batch of each.
	c, d := w.begin(), w.begin()
	w.announce(c, bgp.Announcement{Prefix: p1, Attributes: bgp.Attributes{Prepend: 1}})
	w.seal(c)
	w.withdraw(d, p1)
	w.seal(d)
	l.Debug("sent update", sent(n1, []netip.Prefix{p1}, nil))
	if flushed(w) || len(w.done) != 1 {
		t.Fatal("the withdrawal is still to come")
	}
	l.Debug("sent update", sent(n1, nil, []netip.Prefix{p1}))
	if !flushed(w) || len(w.done) != 2 || w.mayHave(n1, p1) {
		t.Fatal("the withdrawal is written")
	}
	e := w.begin()
	w.withdraw(e, p1) // it has none
	w.withdraw(e, p6)
	w.seal(e)
	l.Info("Peer Down", log.Fields{"Key": "10.0.0.1", "Reason": "read-failed"})
	if !flushed(w) {
		t.Error("nothing is owed to a session that is gone")
	}
	if h := w.told(n1); h.flaps != 1 || h.reason != "read-failed" || h.sent != 0 || h.since.IsZero() {
		t.Errorf("history %+v", h)
	}
}

func TestWireNewSessionGetsTheTable(t *testing.T) {
	w := newWire()
	b := w.begin()
	w.announce(b, bgp.Announcement{Prefix: p1})
	w.seal(b)
	w.up(log.Fields{"Key": "10.0.0.1"})
	if flushed(w) {
		t.Fatal("the first table is still to be written")
	}
	// A withdrawal behind it is awaited too, though nothing is out yet.
	c := w.begin()
	w.withdraw(c, p1)
	w.seal(c)
	w.wrote(sent(n1, []netip.Prefix{p1}, nil))
	if flushed(w) {
		t.Fatal("the withdrawal is still to be written")
	}
	w.wrote(sent(n1, nil, []netip.Prefix{p1}))
	if !flushed(w) {
		t.Error("all is written")
	}
}

func TestWireExcusesWhatNeverComes(t *testing.T) {
	now := time.Unix(1000, 0)
	w := newWire()
	w.now = func() time.Time { return now }
	w.up(log.Fields{"Key": "10.0.0.1"})
	b := w.begin()
	w.announce(b, bgp.Announcement{Prefix: p1})
	w.announce(b, bgp.Announcement{Prefix: p6})
	w.seal(b)
	if d := w.doubtful(time.Second, time.Minute); len(d) != 0 {
		t.Errorf("doubts at once: %v", d)
	}
	now = now.Add(time.Second)
	if d := w.doubtful(time.Second, time.Minute); len(d[n1]) != 2 {
		t.Errorf("no doubts: %v", d)
	}
	if d := w.doubtful(time.Second, time.Minute); len(d) != 0 {
		t.Errorf("asked again at once: %v", d)
	}
	w.excuse(n1, []netip.Prefix{p1, p6}, map[netip.Prefix]bool{p6: true}, time.Second)
	if flushed(w) {
		t.Error("p6 is exported and has to come")
	}
	w.wrote(sent(n1, []netip.Prefix{p6}, nil))
	if !flushed(w) {
		t.Error("p1 was excused")
	}
}

func TestWireUndo(t *testing.T) {
	w := newWire()
	w.up(log.Fields{"Key": "10.0.0.1"})
	b := w.begin()
	w.announce(b, bgp.Announcement{Prefix: p1})
	w.undo(b, p1)
	w.seal(b)
	if !flushed(w) {
		t.Error("a refused announcement is awaited")
	}
}

func TestFatalIsAnError(t *testing.T) {
	l := newLogger(slog.New(slog.DiscardHandler), newWire())
	l.Fatal("failed to listen grpc port", log.Fields{"Err": context.Canceled})
	l.Panic("code logic bug", nil) // does not block
	if err := <-l.fatal; err.Error() != "gobgp: failed to listen grpc port: context canceled" {
		t.Errorf("error: %v", err)
	}
}

func FuzzNormalize(f *testing.F) {
	f.Add("neighbors", "config", "peer-as", "1")
	f.Fuzz(func(t *testing.T, a, b, c, v string) {
		// It must not panic, whatever the section is.
		_, _ = ParseConfig(map[string]any{a: map[string]any{b: v, c: []any{v}}, "global": v})
		_, _ = ParseConfig(map[string]any{"global": map[string]any{"config": map[string]any{"as": 1, "router-id": "10.0.0.1"}},
			"neighbors": []any{map[string]any{a: map[string]any{b: v, c: v}, b: []any{map[string]any{c: v}}}}})
	})
}
