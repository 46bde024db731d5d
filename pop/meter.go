package pop

import (
	"net/netip"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/metrics"
)

// meter shows snapshots to the metrics, and takes out of them what is gone.
// What a decision changed is shown at once, the rest once a tick: a scrape sees
// seconds. What is shown already is not shown again: with thousands of checks
// that would take longer than all decisions.
type meter struct {
	m       *metrics.Metrics
	shown   time.Time
	checks  map[checkKey]policy.Verdict
	health  map[policy.ServiceID]healthShown
	slices  map[policy.SliceID]sliceShown
	drained map[policy.ServiceID]bool
	peers   map[netip.Addr]bool
	alarms  map[string]bool
}

type healthShown struct {
	verdict  policy.Verdict
	fraction float64
}

type sliceShown struct {
	service policy.ServiceID
	stance  policy.Stance
	code    policy.Code
	guard   string
}

type checkKey struct {
	service policy.ServiceID
	check   policy.CheckID
}

// show takes in a snapshot, of a decision that changed something or not.
func (t *meter) show(v *View, changed bool) {
	due := v.Now.Sub(t.shown) >= tick
	if t.m == nil || !changed && !due {
		return
	}
	t.showSlices(v)
	if !due {
		return
	}
	t.shown = v.Now
	t.showChecks(v)
	t.showPeers(v)
	alarms := map[string]bool{}
	for _, a := range v.Alarms {
		alarms[a.Name] = true
		t.m.SetAlarm(a.Name, true)
	}
	for name := range t.alarms {
		if !alarms[name] {
			t.m.SetAlarm(name, false)
		}
	}
	t.alarms = alarms
}

func (t *meter) showSlices(v *View) {
	slices := make(map[policy.SliceID]sliceShown, len(v.Decision.Slices))
	draining := map[policy.ServiceID]bool{}
	for _, d := range v.Decision.Slices {
		draining[d.Service] = draining[d.Service] || d.Stance.Action == policy.Drain
		is := sliceShown{d.Service, d.Stance, d.Reason.Code, d.Reason.Guard}
		slices[d.Slice] = is
		if was, ok := t.slices[d.Slice]; !ok || was != is {
			t.m.SetStance(d.Service, d.Slice, d.Stance, d.Reason)
		}
	}
	health := make(map[policy.ServiceID]healthShown, len(v.Input.Health))
	for id, h := range v.Input.Health {
		is := healthShown{h.Verdict, h.Fraction}
		health[id] = is
		if was, ok := t.health[id]; !ok || was != is {
			t.m.SetHealth(id, h)
		}
	}
	for id, on := range draining {
		if was, ok := t.drained[id]; !ok || was != on {
			t.m.SetDrain(id, on)
		}
	}
	for id, was := range t.slices {
		if is, ok := slices[id]; !ok || is.service != was.service {
			t.m.ForgetSlice(was.service, id)
		}
		if _, ok := draining[was.service]; !ok {
			t.m.ForgetService(was.service)
		}
	}
	t.slices, t.health, t.drained = slices, health, draining
	t.m.SetAnnouncements(v.announced)
}

func (t *meter) showChecks(v *View) {
	checks := make(map[checkKey]policy.Verdict, len(t.checks))
	for _, states := range v.Checks {
		for i := range states {
			s := &states[i]
			k := checkKey{s.Spec.Service, s.Spec.ID}
			checks[k] = s.Verdict
			if was, ok := t.checks[k]; !ok || was != s.Verdict {
				t.m.SetCheck(k.service, k.check, s.Verdict)
			}
		}
	}
	for k := range t.checks {
		if _, ok := checks[k]; !ok {
			t.m.ForgetCheck(k.service, k.check)
		}
	}
	t.checks = checks
}

func (t *meter) showPeers(v *View) {
	peers := map[netip.Addr]bool{}
	for _, p := range v.Peers {
		peers[p.Address] = true
		t.m.SetSession(p)
	}
	for a := range t.peers {
		if !peers[a] {
			t.m.ForgetNeighbor(a)
		}
	}
	t.peers = peers
	for _, p := range v.Input.Fleet.Peers {
		t.m.SetPeerHeard(p.POP, p.Source, p.Heard)
	}
}

// count notes what a decision changed and what guards said about it.
func (t *meter) count(d policy.SliceDecision) {
	if t.m == nil {
		return
	}
	if d.Changed {
		t.m.CountChange(d.Service, d.Reason)
	}
	for _, g := range d.Guards {
		if g.Answer != policy.Allow {
			t.m.CountGuard(g.Guard, g.Answer.String())
		}
	}
}
