package pop

import (
	"net/netip"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/metrics"
)

// meter shows snapshots to the metrics, and takes out of them what is gone.
// Snapshots in quick succession are left out: a scrape sees seconds.
type meter struct {
	m      *metrics.Metrics
	shown  time.Time
	checks map[checkKey]bool
	slices map[policy.SliceID]policy.ServiceID
	peers  map[netip.Addr]bool
	alarms map[string]bool
}

type checkKey struct {
	service policy.ServiceID
	check   policy.CheckID
}

// show takes in a snapshot; changed ones are shown at once.
func (t *meter) show(v *View, changed bool) {
	if t.m == nil || !changed && v.Now.Sub(t.shown) < tick {
		return
	}
	t.shown = v.Now
	t.showSlices(v)
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
	slices := map[policy.SliceID]policy.ServiceID{}
	draining := map[policy.ServiceID]bool{}
	for _, d := range v.Decision.Slices {
		slices[d.Slice] = d.Service
		draining[d.Service] = draining[d.Service] || d.Stance.Action == policy.Drain
		t.m.SetStance(d.Service, d.Slice, d.Stance, d.Reason)
	}
	for id, svc := range t.slices {
		if _, ok := slices[id]; !ok {
			t.m.ForgetSlice(svc, id)
		}
		if _, ok := draining[svc]; !ok {
			t.m.ForgetService(svc)
		}
	}
	t.slices = slices
	for id, h := range v.Input.Health {
		t.m.SetHealth(id, h)
	}
	for id, on := range draining {
		t.m.SetDrain(id, on)
	}
	t.m.SetAnnouncements(v.announced)
}

func (t *meter) showChecks(v *View) {
	checks := map[checkKey]bool{}
	for _, s := range v.Checks {
		checks[checkKey{s.Spec.Service, s.Spec.ID}] = true
		t.m.SetCheck(s.Spec.Service, s.Spec.ID, s.Verdict)
	}
	for k := range t.checks {
		if !checks[k] {
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
