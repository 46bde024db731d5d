package moves

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

var (
	a4, a6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	t0     = time.Unix(1e9, 0)
)

func stance(a policy.Action, rung int) policy.Stance { return policy.Stance{Action: a, Rung: rung} }

// TestLook: what a day brings, step by step.
func TestLook(t *testing.T) {
	on, drain, off := stance(policy.Announce, 0), stance(policy.Drain, 0), stance(policy.Withdraw, 0)
	m := New(5 * time.Second)
	both := []netip.Addr{a4, a6}
	for _, c := range []struct {
		what                string
		at                  time.Duration
		four, six           policy.Stance
		unheard, held       bool // of a4
		announced, moving   []netip.Addr
		came, moved, kicked bool
		reset               []netip.Addr
		next                time.Duration // 0: none
	}{
		{what: "begins withdrawn", four: off, six: off, moving: both, moved: true},
		{what: "announced, and not heard yet", at: 1, four: on, six: on, unheard: true, announced: both[1:], came: true, moved: true},
		{what: "heard", at: 2, four: on, six: on, announced: both, came: true},
		{what: "nothing new", at: 3, four: on, six: on, announced: both},
		{what: "a rung deeper", at: 4, four: stance(policy.Announce, 1), six: on, announced: both, kicked: true},
		{what: "a rung back", at: 5, four: on, six: on, announced: both},
		{what: "drained", at: 6, four: drain, six: on, announced: both[1:], moving: both[:1], moved: true, kicked: true},
		{what: "withdrawn", at: 10, four: off, six: on, announced: both[1:], moving: both[:1], kicked: true, next: 15},
		{what: "too early", at: 14, four: off, six: on, announced: both[1:], moving: both[:1], next: 15},
		{what: "taken back", at: 14, four: on, six: on, announced: both, came: true, moved: true},
		{what: "withdrawn again", at: 20, four: off, six: off, moving: both, moved: true, kicked: true, next: 25},
		{what: "reset", at: 25, four: off, six: off, moving: both, reset: both},
		{what: "once", at: 40, four: off, six: off, moving: both},
		{what: "back", at: 50, four: on, six: on, announced: both, came: true, moved: true},
		{what: "withdrawn where a cover leads here", at: 60, four: off, six: on, held: true, announced: both[1:], moving: both[:1], moved: true, kicked: true},
		{what: "for as long as that is so", at: 80, four: off, six: on, held: true, announced: both[1:], moving: both[:1]},
		{what: "counted from when it is not", at: 90, four: off, six: on, announced: both[1:], moving: both[:1], next: 95},
	} {
		now := t0.Add(c.at * time.Second)
		s := m.Look([]Address{{Addr: a6, Stance: c.six, Heard: true}, {Addr: a4, Stance: c.four, Heard: !c.unheard, Held: c.held}}, now)
		want := Step{Announced: c.announced, Came: c.came, Moving: c.moving, Moved: c.moved, Kick: c.kicked, Reset: c.reset}
		if c.next > 0 {
			want.Next = t0.Add(c.next * time.Second)
		}
		slices.SortFunc(s.Reset, netip.Addr.Compare)
		if !slices.Equal(s.Announced, want.Announced) || s.Came != want.Came || !slices.Equal(s.Moving, want.Moving) || s.Moved != want.Moved ||
			s.Kick != want.Kick || !slices.Equal(s.Reset, want.Reset) || !s.Next.Equal(want.Next) {
			t.Errorf("%s: %+v, want %+v", c.what, s, want)
		}
	}
	if s := m.Look(nil, t0.Add(time.Hour)); len(s.Announced)+len(s.Moving)+len(s.Reset) > 0 || len(m.of) != 0 {
		t.Errorf("an address that is not there any more: %+v", s)
	}
}

// TestNever: with zero nothing is reset; nor is what was never announced here.
func TestNever(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second} {
		m := New(after)
		for i, a := range []policy.Action{policy.Withdraw, policy.Withdraw, policy.Announce, policy.Withdraw, policy.Withdraw} {
			s := m.Look([]Address{{Addr: a4, Stance: stance(a, 0)}}, t0.Add(time.Duration(i)*time.Minute))
			if len(s.Reset) > 0 != (after > 0 && i == 4) {
				t.Errorf("reset after %v: step %d resets %v", after, i, s.Reset)
			}
		}
	}
}
