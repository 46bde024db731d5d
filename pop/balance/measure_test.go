package balance

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
)

// carried are two services: web with two slices, dns with one that load does
// not move.
func carried() []Carried {
	return []Carried{
		{ID: "web", Moves: true, VIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.129")},
			Slices: []CarriedSlice{{ID: web, Level: level(0), Keeps: 1}, {ID: web2, Level: level(1), Keeps: 0.25}}},
		{ID: "dns", VIPs: []netip.Addr{netip.MustParseAddr("198.51.100.1")}, Slices: []CarriedSlice{{ID: dns, Level: level(0), Keeps: 1}}},
	}
}

func known(x float64) load.Value { return load.Value{Value: x, Known: true, At: t0} }

func connectionPoints(n ...float64) load.SourceState {
	s := load.SourceState{Name: "host:connections"}
	for i, a := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.129", "198.51.100.1"} {
		s.Points = append(s.Points, load.PointState{Name: a, Unit: load.Connections, Value: known(n[i])})
	}
	return s
}

func TestMeasure(t *testing.T) {
	unknown := connectionPoints(1, 1, 1, 1)
	unknown.Points[2].Value = load.Value{At: t0}
	service := func(name string, x float64) load.Subject {
		s := load.Subject{Name: name}
		s.Load[load.Out] = known(x)
		return s
	}
	for name, c := range map[string]struct {
		unit     load.Unit
		total    float64
		sources  []load.SourceState
		services []load.Subject
		web      [2]float64
		other    float64
		split    string
	}{
		"connections themselves":          {load.Connections, 100, []load.SourceState{connectionPoints(30, 20, 40, 10)}, nil, [2]float64{50, 40}, 10, SplitMeasured},
		"the POP by connections":          {load.Out, 1000, []load.SourceState{connectionPoints(300, 200, 400, 100)}, nil, [2]float64{500, 400}, 100, SplitConnections},
		"too few connections":             {load.Out, 900, []load.SourceState{connectionPoints(30, 20, 40, 10)}, nil, [2]float64{400, 100}, 400, SplitEqually},
		"nothing counted":                 {load.Out, 900, nil, nil, [2]float64{400, 100}, 400, SplitEqually},
		"no connections at all":           {load.Out, 900, []load.SourceState{connectionPoints(0, 0, 0, 0)}, nil, [2]float64{400, 100}, 400, SplitEqually},
		"one count unknown":               {load.Out, 900, []load.SourceState{unknown}, nil, [2]float64{400, 100}, 400, SplitEqually},
		"services, by connections":        {load.Out, 900, []load.SourceState{connectionPoints(0, 100, 300, 50)}, []load.Subject{service("dns", 100), service("web", 800)}, [2]float64{200, 600}, 100, SplitConnections},
		"services, nothing counted":       {load.Out, 900, nil, []load.Subject{service("dns", 100), service("web", 800)}, [2]float64{640, 160}, 100, SplitEqually},
		"one service measured only":       {load.Out, 900, nil, []load.Subject{service("web", 800)}, [2]float64{400, 100}, 400, SplitEqually},
		"services with more than the POP": {load.Out, 700, nil, []load.Subject{service("dns", 100), service("web", 800)}, [2]float64{640, 160}, 0, SplitEqually},
	} {
		s := &load.Snapshot{At: t0, Sources: c.sources, Services: c.services}
		s.POP.Load[c.unit], s.POP.Capacity[c.unit] = known(c.total), 5000
		l, at, err := Measure(c.unit, s, carried())
		if err != nil || !at.Equal(t0) || l.Capacity != 5000 || l.Unit != c.unit.String() || len(l.Slices) != 2 {
			t.Fatalf("%s: %+v, %v, %v", name, l, at, err)
		}
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }
		if !near(l.Slices[0].Load, c.web[0]) || !near(l.Slices[1].Load, c.web[1]) || !near(l.Other, c.other) || l.Split != c.split {
			t.Errorf("%s: %+v, want %v and %v, %s", name, l, c.web, c.other, c.split)
		}
		if *l.Slices[1].Level != 1 {
			t.Errorf("%s: level %d", name, *l.Slices[1].Level)
		}
	}
}

// TestMeasureSlices: what sources say of slices counts before any count of
// connections, and not at all where one of them says nothing.
func TestMeasureSlices(t *testing.T) {
	s := &load.Snapshot{At: t0, Sources: []load.SourceState{connectionPoints(3000, 2000, 4000, 1000)}}
	s.POP.Load[load.Requests] = known(900)
	for _, x := range []struct {
		list *[]load.Subject
		name string
		load float64
	}{{&s.Services, "dns", 100}, {&s.Services, "web", 800}, {&s.Slices, web.String(), 790}, {&s.Slices, web2.String(), 10}} {
		subject := load.Subject{Name: x.name}
		subject.Load[load.Requests] = known(x.load)
		*x.list = append(*x.list, subject)
	}
	l, _, err := Measure(load.Requests, s, carried())
	if err != nil || l.Slices[0].Load != 790 || l.Slices[1].Load != 10 || l.Other != 100 || l.Split != SplitMeasured {
		t.Errorf("%+v, %v", l, err)
	}
	s.Slices[1].Load[load.Requests].Known = false
	if l, _, err = Measure(load.Requests, s, carried()); err != nil || l.Split != SplitConnections || l.Slices[1].Load < 300 {
		t.Errorf("one of the slices is not known: %+v, %v", l, err)
	}
}

// TestMeasureUnknown: what is not known is not said.
func TestMeasureUnknown(t *testing.T) {
	s := &load.Snapshot{At: t0}
	s.POP.Load[load.Out] = load.Value{At: t0.Add(-time.Minute)}
	if l, at, err := Measure(load.Out, s, carried()); err == nil || !at.IsZero() || len(l.Slices) > 0 {
		t.Errorf("%+v, %v, %v", l, at, err)
	}
}

func TestLevel(t *testing.T) {
	announce := policy.Stance{Action: policy.Announce}
	rung := func(n int) policy.Stance { return policy.Stance{Action: policy.Announce, Rung: n} }
	decision := func(s policy.Stance, code policy.Code) policy.SliceDecision {
		return policy.SliceDecision{Stance: s, Want: s, Why: policy.Reason{Code: code}, Reason: policy.Reason{Code: code}}
	}
	guarded := decision(rung(1), policy.Guarded)
	guarded.Want, guarded.Why.Code = policy.Stance{}, policy.Load
	held := decision(announce, policy.Healthy)
	held.Intent = &policy.Intent{Kind: policy.IntentHold}
	for name, c := range map[string]struct {
		d     policy.SliceDecision
		heard bool
		want  *int
	}{
		"normal":               {decision(announce, policy.Healthy), true, level(0)},
		"by load":              {decision(rung(1), policy.Load), true, level(1)},
		"withdrawn by load":    {decision(policy.Stance{}, policy.Load), false, level(2)},
		"no router hears it":   {decision(announce, policy.Healthy), false, nil},
		"degraded":             {decision(rung(1), policy.CheckPart), true, nil},
		"hold-down on a rung":  {decision(rung(1), policy.HoldDown), true, nil},
		"down":                 {decision(policy.Stance{}, policy.CheckDown), false, nil},
		"static":               {decision(announce, policy.Always), true, nil},
		"kept by a guard":      {guarded, true, nil},
		"held by the operator": {held, true, nil},
		"draining":             {decision(policy.Stance{Action: policy.Drain}, policy.Load), true, nil},
	} {
		got := Level(c.d, 2, c.heard)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
