package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

var (
	normal = policy.Stance{Action: policy.Announce}
	backup = policy.Stance{Action: policy.Announce, Rung: 1}
)

// roomy is a wish of load with room that others have promised.
func roomy(to policy.Stance) policy.Shed {
	return policy.Shed{Stance: to, Detail: "102 % of capacity", Since: t0, Room: []policy.Room{{POP: "FRA", Load: 5, Until: t0.Add(time.Hour)}}}
}

// heard is another POP that announces the slice and was heard at that time.
func heard(at time.Time) policy.Peer {
	return policy.Peer{POP: "FRA", Heard: at, Asked: at, Source: "status", Slices: map[policy.SliceID]policy.PeerSlice{
		web: {Stance: normal, Verdict: policy.Up},
	}}
}

// TestWish: what would come of a wish of load is what Decide would do with it,
// and asking changes nothing.
func TestWish(t *testing.T) {
	fleet := policy.Fleet{Configured: true, Peers: []policy.Peer{heard(t0.Add(time.Hour))}}
	for name, c := range map[string]struct {
		change  func(*bench)
		wish    policy.Shed
		id      policy.SliceID
		outcome policy.Outcome
		why     string
	}{
		"reserved":               {func(*bench) {}, roomy(backup), web, policy.Reached, "102 %"},
		"nothing reserved":       {func(*bench) {}, policy.Shed{Stance: backup, Since: t0}, web, policy.Refused, "reserved"},
		"a rung beyond the last": {func(*bench) {}, roomy(policy.Stance{Action: policy.Announce, Rung: 7}), web, policy.Refused, ""},
		"an operator's pin": {func(b *bench) {
			b.in.Intents = []policy.Intent{{Kind: policy.IntentPin, Stance: normal, By: "eng", At: t0}}
		}, roomy(backup), web, policy.Refused, "pinned"},
		"a drain is no wish of load":       {func(*bench) {}, roomy(policy.Stance{Action: policy.Drain}), web, policy.Refused, ""},
		"a static prefix":                  {func(b *bench) { b.in.Services[0].Always = true }, roomy(backup), web, policy.Refused, "static"},
		"no such slice":                    {func(*bench) {}, roomy(backup), web6, policy.Refused, "there is no such slice"},
		"withdraw, and others announce it": {func(b *bench) { b.in.Fleet = fleet }, roomy(policy.Stance{}), web, policy.Reached, "102 %"},
		"withdraw, others not asked since": {func(b *bench) {
			b.in.Fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{heard(t0.Add(time.Minute))}}
			b.in.Fleet.Peers[0].POP, b.in.Fleet.Peers[0].Asked = "ZRH", t0.Add(-time.Hour) // LON is the slice's keeper
		}, roomy(policy.Stance{}), web, policy.Waits, ""},
		"withdraw, and nobody else announces it": {func(b *bench) {
			b.in.Fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{{POP: "FRA", Heard: t0.Add(time.Hour), Asked: t0.Add(time.Hour)}}}
		}, roomy(policy.Stance{}), web, policy.Refused, ""},
	} {
		b := newBench(t)
		b.in.Limits.StaleAfter = 2 * time.Hour
		b.up()
		b.now = b.now.Add(time.Minute)
		c.change(b)
		got, outcome := b.d.Wish(b.state, b.in, c.id, c.wish, b.now)
		if outcome != c.outcome || !strings.Contains(got.Reason.String(), c.why) {
			t.Errorf("%s: outcome %d, %v because %v, guards %+v; want %d, %q", name, outcome, got.Stance, got.Reason, got.Guards, c.outcome, c.why)
		}
		if len(b.in.Shed) > 0 || b.decide().Reason.Code == policy.Load {
			t.Errorf("%s: asking made the wish real", name)
		}
		b.in.Shed = policy.With(b.in.Shed, c.id, c.wish)
		if d := b.decide(); outcome == policy.Reached && d.Stance != c.wish.Stance || outcome != policy.Reached && d.Stance == c.wish.Stance {
			t.Errorf("%s: outcome %d, and Decide makes it %v because %v", name, outcome, d.Stance, d.Reason)
		}
	}
}

// TestWith: one wish takes the place of the former; one for the normal
// announcement, or of no time, is none. What is given is not changed.
func TestWith(t *testing.T) {
	all := policy.With(policy.With(nil, web, roomy(backup)), web6, roomy(policy.Stance{}))
	for _, c := range []struct {
		id   policy.SliceID
		wish policy.Shed
		want int
	}{
		{web, roomy(policy.Stance{}), 2}, {web, roomy(normal), 1}, {web, policy.Shed{Stance: backup}, 1}, {slice("10.0.0.0/8"), roomy(backup), 3},
	} {
		got := policy.With(all, c.id, c.wish)
		if len(got) != c.want || len(all) != 2 || all[web].Stance != backup {
			t.Errorf("%v of %+v: %+v, from %+v", c.id, c.wish, got, all)
		}
	}
}

// TestLoadNeverRaises: load lowers what health wants and never lifts it.
func TestLoadNeverRaises(t *testing.T) {
	b := newBench(t)
	b.up()
	b.in.Shed = policy.With(nil, web, roomy(backup))
	b.want(b.after(time.Minute), "announce rung 1", "load")
	b.verdict(policy.Down, "http")
	b.want(b.after(time.Minute), "withdraw", "check-down")
	b.verdict(policy.Degraded, "http")
	b.want(b.after(time.Second), "withdraw", "hold-down")
	b.want(b.after(time.Hour), "announce rung 1", "degraded") // where health is already: its own reason
}
