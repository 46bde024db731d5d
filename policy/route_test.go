package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

func TestForcedRoute(t *testing.T) {
	med := uint32(50)
	add := func(at time.Duration) policy.Intent {
		return policy.Intent{Kind: policy.IntentPin, Service: "web", Slice: web, Stance: policy.Stance{Action: policy.Announce},
			By: "eng", Why: "ticket 4711", At: t0.Add(at), Force: true, Route: &policy.Route{MED: &med}}
	}
	del := func(at time.Duration) policy.Intent {
		in := add(at)
		in.Stance, in.Route = policy.Stance{}, &policy.Route{}
		return in
	}
	drain := func(at time.Duration) policy.Intent {
		return policy.Intent{Kind: policy.IntentDrain, By: "eng", At: t0.Add(at)}
	}
	pin := policy.Intent{Kind: policy.IntentPin, Slice: web, By: "other", At: t0.Add(time.Minute)}
	stop := policy.Intent{Kind: policy.IntentStop, By: "SIGTERM", At: t0}
	for name, c := range map[string]struct {
		intents []policy.Intent
		stance  string
		route   bool
		code    string
		said    string
	}{
		"add":             {[]policy.Intent{add(0)}, "announce", true, "operator", "route added by force by eng: ticket 4711"},
		"del":             {[]policy.Intent{del(0)}, "withdraw", false, "operator", "route deleted by force by eng: ticket 4711"},
		"over a hold":     {[]policy.Intent{add(0), {Kind: policy.IntentHold, By: "eng", At: t0.Add(time.Hour)}}, "announce", true, "operator", "route added"},
		"over a pin":      {[]policy.Intent{pin, add(0)}, "announce", true, "operator", "route added"},
		"after a drain":   {[]policy.Intent{drain(0), add(1)}, "announce", true, "operator", "route added"},
		"before a drain":  {[]policy.Intent{add(0), drain(1)}, "drain", false, "operator", "draining"},
		"before the stop": {[]policy.Intent{stop, add(1)}, "drain", false, "stopping", "draining"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.up()
			b.verdict(policy.Up)
			b.in.Intents = c.intents
			got := b.decide()
			b.want(got, c.stance, c.code)
			if !strings.HasPrefix(got.Reason.Detail, c.said) {
				t.Errorf("because %v, want %s", got.Reason, c.said)
			}
			if (got.Route() != nil) != c.route {
				t.Errorf("route %+v, want one: %v", got.Route(), c.route)
			}
			if got.Intent == nil {
				t.Error("the decision does not name its intent")
			}
		})
	}
}

// TestForcedRouteOverGuards: the only POP that announces lets go of a slice,
// which last-pop forbids to anybody else, and a service that is down is
// announced. Nothing announces what is not configured.
func TestForcedRouteOverGuards(t *testing.T) {
	b := newBench(t)
	b.in.Fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{{POP: "FRA"}}}
	b.up()
	pin := policy.Intent{Kind: policy.IntentPin, Service: "web", Slice: web, By: "eng", At: b.now}
	b.in.Intents = []policy.Intent{pin}
	b.want(b.decide(), "announce rung 1", "last-pop")
	pin.Force, pin.Route = true, &policy.Route{}
	b.in.Intents = []policy.Intent{pin}
	b.want(b.decide(), "withdraw", "operator")

	b.verdict(policy.Down, "http")
	pin.Stance = policy.Stance{Action: policy.Announce}
	b.in.Intents = []policy.Intent{pin}
	b.want(b.after(time.Minute), "announce", "operator")

	b.in.Intents = nil // released: down, and last-pop keeps it
	b.want(b.after(time.Second), "announce rung 1", "last-pop")
}

func TestIntentWhat(t *testing.T) {
	n := uint32(50)
	whole := policy.Route{
		MED: &n, LocalPref: &n, Prepend: 2, Communities: []string{"64500:1", "no-export"}, LargeCommunities: []string{"64500:1:2"}, NextHop: "10.0.0.9",
	}
	announce := policy.Stance{Action: policy.Announce}
	for want, in := range map[string]policy.Intent{
		"drain":                {Kind: policy.IntentDrain},
		"drain (forced)":       {Kind: policy.IntentDrain, Force: true},
		"hold":                 {Kind: policy.IntentHold},
		"pin to withdraw":      {Kind: policy.IntentPin},
		"pin to announce":      {Kind: policy.IntentPin, Stance: announce},
		"route added (forced)": {Kind: policy.IntentPin, Stance: announce, Force: true, Route: &policy.Route{}},
		"route added (forced, nexthop 10.0.0.9 med 50 local-pref 50 prepend 2 community 64500:1,no-export large-community 64500:1:2)": {
			Kind: policy.IntentPin, Stance: announce, Force: true, Route: &whole},
		"route deleted (forced)": {Kind: policy.IntentPin, Force: true, Route: &policy.Route{}},
	} {
		if got := in.What(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
