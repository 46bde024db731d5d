package load

import (
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

func known(x, s float64) Value { return Value{Value: x, Known: true, At: at(s)} }

// state is a source in a plan and what it says.
type said struct {
	scope Scope
	unit  Unit
	value Value
	limit float64
}

func summed(p Plan, list ...said) Snapshot {
	var states []SourceState
	for _, s := range list {
		p.Sources = append(p.Sources, Source{Scope: s.scope, Units: []Unit{s.unit}})
		st := SourceState{Points: []PointState{{Unit: s.unit, Value: s.value, Limit: s.limit}}}
		st.Load[s.unit] = s.value
		states = append(states, st)
	}
	return p.sum(states, at(100))
}

func TestSum(t *testing.T) {
	h := func(name string) Scope { return Scope{Host: name} }
	svc := func(name string) Scope { return Scope{Service: policy.ServiceID(name)} }
	for _, c := range []struct {
		name string
		plan Plan
		said []said
		unit Unit
		want Value
	}{
		{"links of a host add up, as old as the older", Plan{}, []said{{Scope{}, Out, known(3, 9), 0}, {Scope{}, Out, known(4, 8), 0}}, Out, known(7, 8)},
		{"hosts add up", Plan{}, []said{{h("a"), Requests, known(3, 9), 0}, {h("b"), Requests, known(4, 8), 0}}, Requests, known(7, 8)},
		{"an unknown part", Plan{}, []said{{h("a"), Requests, known(3, 9), 0}, {h("b"), Requests, Value{At: at(2)}, 0}}, Requests, Value{At: at(2)}},
		{"a host that is not measured", Plan{Hosts: 3}, []said{{h("a"), Out, known(3, 9), 0}, {h("b"), Out, known(4, 8), 0}}, Out, Value{At: at(8)}},
		{"the POP's own word", Plan{Hosts: 3}, []said{{h("a"), Out, known(3, 9), 0}, {Scope{POP: true}, Out, known(40, 8), 0}}, Out, known(40, 8)},
		{"services where no host says", Plan{}, []said{{svc("a"), Connections, known(3, 9), 0}, {svc("b"), Connections, known(4, 8), 0}}, Connections, known(7, 8)},
		{"hosts before services", Plan{}, []said{{svc("a"), Requests, known(3, 9), 0}, {Scope{}, Requests, known(4, 8), 0}}, Requests, known(4, 8)},
		{"CPU: mean of hosts", Plan{}, []said{{h("a"), CPU, known(.3, 9), 0}, {h("b"), CPU, known(.7, 8), 0}}, CPU, known(.5, 8)},
		{"CPU: largest of a host", Plan{}, []said{{Scope{}, CPU, known(.3, 9), 0}, {Scope{}, CPU, known(.7, 8), 0}}, CPU, known(.7, 8)},
		{"CPU: one unknown", Plan{}, []said{{Scope{}, CPU, known(.3, 9), 0}, {Scope{}, CPU, Value{}, 0}}, CPU, Value{}},
	} {
		s := summed(c.plan, c.said...)
		if got := s.POP.Load[c.unit]; got != c.want || !s.POP.Measured[c.unit] {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
		for u := range Units {
			if u != c.unit && (s.POP.Measured[u] || s.POP.Load[u] != Value{}) {
				t.Errorf("%s: %v is not measured at all", c.name, u)
			}
		}
	}
}

// TestLinkIsDown: what has no carrier carries nothing, and that is known.
func TestLinkIsDown(t *testing.T) {
	plan := Plan{Sources: []Source{{Name: "a", Units: []Unit{Out}}, {Name: "b", Units: []Unit{Out}}}}
	for _, c := range []struct {
		a, b PointState
		want float64
	}{
		{PointState{Limit: 10}, PointState{Limit: 40}, 50},
		{PointState{Limit: 10}, PointState{Limit: 40, Down: true}, 10}, // as configured
		{PointState{Limit: 10}, PointState{Down: true}, 10},            // a driver tells no speed then
		{PointState{Limit: 10}, PointState{}, 0},
		{PointState{Down: true}, PointState{Down: true}, 0},
	} {
		var states []SourceState
		for _, p := range []PointState{c.a, c.b} {
			p.Unit, p.Value = Out, known(3, 9)
			st := SourceState{Points: []PointState{p}}
			st.Load[Out] = p.Value
			states = append(states, st)
		}
		if got := plan.sum(states, at(10)).POP.Capacity[Out]; got != c.want {
			t.Errorf("%+v and %+v: %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestCapacities(t *testing.T) {
	two := func(a, b float64) []said {
		return []said{{Scope{Host: "a"}, Out, known(1, 1), a}, {Scope{Host: "b"}, Out, known(2, 2), b}}
	}
	for _, c := range []struct {
		name           string
		cluster, host  float64
		hosts          int
		said           []said
		a, own, b, pop float64
	}{
		{"nothing is known", 0, 0, 0, two(0, 0), 0, 0, 0, 0},
		{"speeds of links", 0, 0, 0, two(10, 40), 10, 10, 40, 50},
		{"one speed is not known", 0, 0, 0, two(10, 0), 10, 10, 0, 0},
		{"cluster's only", 30, 0, 0, two(0, 0), 15, 0, 15, 30},
		{"cluster's of four", 32, 0, 4, two(0, 0), 8, 0, 8, 32},
		{"cluster's and speeds", 30, 0, 0, two(10, 40), 10, 10, 15, 30},
		{"host's before speeds", 0, 20, 0, two(10, 40), 20, 20, 20, 40},
		{"host's of four", 0, 20, 4, two(0, 0), 20, 20, 20, 80},
		{"both", 30, 20, 0, two(0, 0), 15, 20, 15, 30},
	} {
		p := Plan{Hosts: c.hosts}
		p.POP[Out], p.Host[Out] = c.cluster, c.host
		s := summed(p, c.said...)
		got := [4]float64{s.Hosts[0].Capacity[Out], s.Hosts[0].Own[Out], s.Hosts[1].Capacity[Out], s.POP.Capacity[Out]}
		if want := [4]float64{c.a, c.own, c.b, c.pop}; got != want {
			t.Errorf("%s: a, own, b, POP are %v, want %v", c.name, got, want)
		}
	}
	p := Plan{Hosts: 4}
	p.POP[CPU] = 0.8
	if s := summed(p, said{Scope{}, CPU, known(.5, 1), 0}); s.Hosts[0].Capacity[CPU] != 0.8 || s.POP.Capacity[CPU] != 0.8 {
		t.Errorf("a share is not divided among hosts: %+v", s)
	}
	// Two links of a host, one of unknown speed.
	s := summed(Plan{}, said{Scope{}, In, known(1, 1), 10}, said{Scope{}, In, known(1, 1), 0}, said{Scope{}, In, known(1, 1), 10})
	if s.Hosts[0].Own[In] != 0 {
		t.Errorf("half of what it can: %v", s.Hosts[0].Own[In])
	}
}

func TestServicesAreThere(t *testing.T) {
	s := summed(Plan{Services: map[policy.ServiceID]Capacity{"web": {Requests: 100}, "dns": {}}}, said{Scope{Service: "web"}, Requests, known(80, 1), 0})
	if len(s.Services) != 2 || s.Services[1].Name != "web" || s.Services[0].Measured[Requests] {
		t.Fatalf("%+v", s.Services)
	}
	web := &s.Services[1]
	if h := web.Load.Headroom(&web.Capacity); h[Requests] != known(20, 1) || h[Out].Known {
		t.Errorf("%+v", h)
	}
}

// TestSlices: the slices of a service are the service, where nothing tells of
// the whole.
func TestSlices(t *testing.T) {
	part := func(name string) Scope {
		var id policy.SliceID
		if err := id.UnmarshalText([]byte(name)); err != nil {
			t.Fatal(err)
		}
		return Scope{Service: "web", Slice: id}
	}
	a, b := part("192.0.2.0/24"), part("2001:db8::/48")
	list := []said{{a, Requests, known(3, 9), 0}, {b, Requests, known(4, 8), 0}, {a, Requests, known(1, 9), 0}}
	s := summed(Plan{}, list...)
	if len(s.Slices) != 2 || s.Slices[0].Name != "192.0.2.0/24" || s.Slices[0].Load[Requests] != known(4, 9) || s.Services[0].Load[Requests] != known(8, 8) || s.POP.Load[Requests] != known(8, 8) {
		t.Errorf("%+v", s)
	}
	s = summed(Plan{}, append(list, said{Scope{Service: "web"}, Requests, known(10, 7), 0})...)
	if s.Services[0].Load[Requests] != known(10, 7) {
		t.Errorf("the service's own source does not count: %+v", s)
	}
	list[1].value.Known = false
	if s = summed(Plan{}, list...); s.Services[0].Load[Requests].Known {
		t.Errorf("a part is unknown, the whole is not: %+v", s)
	}
}

func TestSplit(t *testing.T) {
	p := Plan{Sources: []Source{{Units: []Unit{Connections}, Split: map[string]policy.ServiceID{"a": "web", "b": "web", "c": "dns"}}}}
	st := SourceState{Points: []PointState{
		{Name: "a", Unit: Connections, Value: known(1, 1)}, {Name: "b", Unit: Connections, Value: known(2, 2)},
		{Name: "c", Unit: Connections, Value: known(4, 3)}, {Name: "d", Unit: Connections, Value: known(8, 4)},
	}}
	st.Load[Connections] = known(15, 1)
	s := p.sum([]SourceState{st}, at(5))
	if len(s.Services) != 2 || s.Services[0].Load[Connections] != known(4, 3) || s.Services[1].Load[Connections] != known(3, 1) ||
		s.POP.Load[Connections] != known(15, 1) || s.Hosts[0].Load[Connections] != known(15, 1) {
		t.Errorf("%+v", s)
	}
}

// What a server says of its connections is not added to what the kernel says.
func TestFallback(t *testing.T) {
	kernel := Source{Units: []Unit{Connections}, Fallback: true, Split: map[string]policy.ServiceID{"a": "web", "b": "dns"}}
	web := Source{Units: []Unit{Connections}, Scope: Scope{Service: "web"}}
	host := Source{Units: []Unit{Connections, Requests}}
	state := func(values ...float64) (st SourceState) {
		total := 0.0
		for i, x := range values {
			st.Points = append(st.Points, PointState{Name: string(rune('a' + i)), Unit: Connections, Value: known(x, 1)})
			total += x
		}
		st.Load[Connections] = known(total, 1)
		return st
	}
	for _, c := range []struct {
		name          string
		sources       []Source
		states        []SourceState
		pop, web, dns float64
	}{
		{"alone", []Source{kernel}, []SourceState{state(5, 7)}, 12, 5, 7},
		{"the service says", []Source{kernel, web}, []SourceState{state(5, 7), state(4)}, 12, 4, 7},
		{"the host says", []Source{host, kernel}, []SourceState{state(20), state(5, 7)}, 20, 5, 7},
	} {
		s := (&Plan{Sources: c.sources}).sum(c.states, at(5))
		got := [3]float64{s.POP.Load[Connections].Value, s.Services[1].Load[Connections].Value, s.Services[0].Load[Connections].Value}
		if got != [3]float64{c.pop, c.web, c.dns} {
			t.Errorf("%s: POP, web, dns are %v", c.name, got)
		}
	}
	// A server that has stopped saying it leaves it unknown.
	s := (&Plan{Sources: []Source{kernel, web}}).sum([]SourceState{state(5, 7), {}}, at(5))
	if s.Services[1].Load[Connections].Known || !s.Services[0].Load[Connections].Known {
		t.Errorf("%+v", s.Services)
	}
}

// What this host does not have is not measured, rather than unknown.
func TestAbsent(t *testing.T) {
	p := Plan{Sources: []Source{{Units: []Unit{PressureCPU, PressureIO}}}}
	st := SourceState{Absent: true}
	st.Load[PressureIO] = known(.5, 1)
	s := p.sum([]SourceState{st}, at(5))
	if s.POP.Measured[PressureCPU] || !s.POP.Measured[PressureIO] || s.POP.Load[PressureIO] != known(.5, 1) {
		t.Errorf("%+v", s.POP)
	}
}

func TestUse(t *testing.T) {
	full := Capacity{Out: 100, Requests: 1000}
	for _, c := range []struct {
		name string
		load Load
		cap  Capacity
		want Use
	}{
		{"the scarcer", Load{Out: known(50, 1), Requests: known(900, 1), CPU: known(1, 1)}, full, Use{0.9, Requests, true}},
		{"one is unknown", Load{Out: known(120, 1)}, full, Use{1.2, Out, false}},
		{"all are unknown", Load{}, full, Use{0, 0, false}},
		{"no capacity", Load{Out: known(120, 1)}, Capacity{}, Use{0, 0, false}},
	} {
		if got := c.load.Use(&c.cap); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestUnits(t *testing.T) {
	for u := range Units {
		text, _ := u.MarshalText()
		var back Unit
		if err := back.UnmarshalText(text); err != nil || back != u || u.Per() == "" {
			t.Errorf("%v: %v, %v", u, back, err)
		}
	}
	if _, err := ParseUnit("bytes"); err == nil {
		t.Error("bytes is no unit")
	}
	if (Value{At: at(1)}).Age(at(3)) != 2*time.Second {
		t.Error("age")
	}
}
