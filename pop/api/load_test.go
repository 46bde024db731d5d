package api

import (
	"testing"
	"time"
)

// TestSteadyLoadIsNoNews: a watcher hears of a load when it is another, or
// when what it knows has become old, not with each sample.
func TestSteadyLoadIsNoNews(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	status := func(pop, service float64, second int) Status {
		at := start.Add(time.Duration(second) * time.Second)
		l := func(x float64) []LoadStatus { return []LoadStatus{{Unit: "out", Value: &x, Capacity: 10, At: at}} }
		return Status{
			Started:  start,
			Services: []ServiceStatus{{ID: "web", Measured: l(service)}, {ID: "dns"}},
			Load: &LoadReport{
				POP: l(pop), Hosts: []HostLoad{{"local", l(pop)}}, Sources: []LoadSource{{Name: "eth0", Of: "host local", Load: l(pop)}},
			},
		}
	}
	unknown := status(1, 2, 6)
	unknown.Load.Sources[0].Load[0].Value = nil
	failing := status(1, 2, 6)
	failing.Load.Sources[0].Error = "hangs"
	last := status(1, 2, 0)
	for _, step := range []struct {
		name     string
		st       Status
		services int
		pop      bool
	}{
		{"two seconds later", status(1, 2, 2), 0, false},
		{"and two more", status(1, 2, 4), 0, false},
		{"more than a watcher should take for new", status(1, 2, 6), 1, true},
		{"the service has more", status(1, 3, 7), 1, false},
		{"the POP has more", status(2, 3, 8), 0, true},
		{"back", status(1, 2, 6), 1, true},
		{"unknown", unknown, 0, true},
		{"known", status(1, 2, 6), 0, true},
		{"in trouble", failing, 0, true},
	} {
		st := settled(last, step.st)
		var services int
		var pop bool
		for _, e := range difference(last, st) {
			switch e.Kind {
			case EventService:
				services++
			case EventPOP:
				pop = true
			default:
				t.Errorf("%s: %v", step.name, e.Kind)
			}
		}
		if services != step.services || pop != step.pop {
			t.Errorf("%s: %d services, POP %v; want %d, %v", step.name, services, pop, step.services, step.pop)
		}
		last = st
	}
	if s := settled(Status{}, last); s.Load != last.Load {
		t.Error("there was nothing before")
	}
}
