package ingress

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
)

var (
	web4 = netip.MustParsePrefix("192.0.2.0/24")
	web6 = netip.MustParsePrefix("2001:db8:100::/48")
	pe1  = netip.MustParseAddr("10.0.1.2")
	pe2  = netip.MustParseAddr("10.0.2.2")
	lon4 = netip.MustParseAddr("10.255.0.1")
)

func told(hop netip.Addr) bgp.Override {
	return bgp.Override{Whole: true, Attributes: bgp.Attributes{NextHop: hop}}
}

// TestLayers: each layer changes without the other, and nothing is set before
// the POP has spoken.
func TestLayers(t *testing.T) {
	ctx := context.Background()
	var speaker bgptest.Announcer
	kept := Routes{web4: {pe1: told(lon4)}, web6: {}}
	l := NewLayers(&speaker, kept)
	if err := l.SetRouters(ctx, kept); err != nil || len(speaker.Sets()) != 0 {
		t.Fatalf("set before the POP spoke: %v, %v", speaker.Sets(), err)
	}
	med := uint32(10)
	own := bgp.Announcement{Prefix: web4, Attributes: bgp.Attributes{MED: &med},
		Neighbors: map[netip.Addr]bgp.Override{pe1: {Withhold: true}, pe2: {Withhold: true}}}
	if err := l.Set(ctx, []bgp.Announcement{own}); err != nil {
		t.Fatal(err)
	}
	want := bgp.Announcement{Prefix: web4, Attributes: own.Attributes,
		Neighbors: map[netip.Addr]bgp.Override{pe1: told(lon4), pe2: {Withhold: true}}}
	if got := speaker.Announced(); len(got) != 1 || !got[0].Equal(want) {
		t.Errorf("together: %+v", got)
	}
	if o := own.Neighbors[pe1]; !o.Withhold {
		t.Error("the POP's own announcement was changed")
	}
	if got := l.Announced(); len(got) != 1 || !got[0].Equal(own) {
		t.Errorf("the POP's layer: %+v", got)
	}
	// The POP withdraws; the routers keep what they are told, nobody else hears of it.
	if err := l.Set(ctx, nil); err != nil {
		t.Fatal(err)
	}
	want = bgp.Announcement{Prefix: web4, Only: true, Neighbors: map[netip.Addr]bgp.Override{pe1: told(lon4)}}
	if got := speaker.Announced(); len(got) != 1 || !got[0].Equal(want) {
		t.Errorf("routers alone: %+v", got)
	}
	if got := l.Announced(); len(got) != 0 {
		t.Errorf("the POP's layer after its withdraw: %+v", got)
	}
	if err := l.SetRouters(ctx, nil); err != nil || len(speaker.Announced()) != 0 {
		t.Errorf("nobody is told anything: %+v, %v", speaker.Announced(), err)
	}
	if err := l.Set(ctx, []bgp.Announcement{own}); err != nil || !slices.EqualFunc(l.Announced(), []bgp.Announcement{own}, bgp.Announcement.Equal) {
		t.Errorf("the POP alone: %+v, %v", l.Announced(), err)
	}
	n := len(speaker.Sets())
	if l.Close(); l.SetRouters(ctx, kept) == nil || len(speaker.Sets()) != n {
		t.Error("set after the end")
	}
}
