package bgptest_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
)

func TestAnnouncer(t *testing.T) {
	var a bgptest.Announcer
	ctx := t.Context()
	p, q := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.0.0.0/8")
	if a.Announced() != nil {
		t.Error("a set before the first")
	}
	if err := a.Set(ctx, []bgp.Announcement{{Prefix: p}, {Prefix: q}}); err != nil {
		t.Fatal(err)
	}
	if got := a.Announced(); len(got) != 2 || got[0].Prefix != q {
		t.Errorf("announced %v", got)
	}
	broken := errors.New("broken")
	a.Fail(broken)
	if err := a.Set(ctx, nil); !errors.Is(err, broken) || len(a.Sets()) != 1 {
		t.Errorf("Set: %v, %d sets", err, len(a.Sets()))
	}
	a.Fail(nil)
	release := a.Block()
	short, cancel := context.WithCancel(ctx)
	cancel()
	if err := a.Set(short, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("blocked Set: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- a.Stop(ctx) }()
	release()
	if err := <-done; err != nil || !a.Stopped() || len(a.Announced()) != 0 || a.Left() {
		t.Errorf("Stop: %v, stopped %t", err, a.Stopped())
	}
	if err := a.Flush(ctx); err != nil || a.Flushes() != 1 {
		t.Errorf("Flush: %v", err)
	}
	a.SetPeers(bgp.PeerState{AS: 1})
	if a.Peers()[0].AS != 1 || a.Leave(ctx) != nil || !a.Left() {
		t.Error("peers or Leave")
	}
}
