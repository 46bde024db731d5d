package pop

import (
	"reflect"
	"testing"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/pop/api"
)

type snapshot load.Snapshot

func (s snapshot) Snapshot() load.Snapshot { return load.Snapshot(s) }

func TestMeasured(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	var s load.Snapshot
	s.POP.Load[load.Out] = load.Value{Value: 1.23456e9, Known: true, At: at}
	s.POP.Load[load.CPU] = load.Value{At: at} // known no more
	s.POP.Measured[load.Out], s.POP.Measured[load.CPU] = true, true
	s.POP.Capacity = load.Capacity{load.Out: 10e9, load.In: 10e9}
	s.Hosts = []load.Subject{s.POP}
	s.Hosts[0].Name = "local"
	web := load.Subject{Name: "web", Capacity: load.Capacity{load.Connections: 100}}
	web.Load[load.Connections], web.Measured[load.Connections] = load.Value{Value: 0, Known: true, At: at}, true
	s.Services = []load.Subject{{Name: "gone"}, web}
	s.Sources = []load.SourceState{{
		Name: "eth0", Units: []load.Unit{load.Out}, Error: "link eth0: not there", Since: at,
		Points: []load.PointState{{Name: "out", Unit: load.Out, Limit: 5e9}},
	}}
	st := api.Status{Services: []api.ServiceStatus{{ID: "dns"}, {ID: "web"}}}
	c := &Controller{opt: Options{Measured: snapshot(s)}}
	c.measured(&st)
	rate, none := 1.235e9, 0.0
	pop := []api.LoadStatus{{Unit: "out", Value: &rate, Capacity: 10e9, At: at}, {Unit: "cpu", At: at}}
	want := api.Status{
		Services: []api.ServiceStatus{{ID: "dns"}, {ID: "web", Measured: []api.LoadStatus{{Unit: "connections", Value: &none, Capacity: 100, At: at}}}},
		Load: &api.LoadReport{
			POP: pop, Hosts: []api.HostLoad{{Host: "local", Load: pop}},
			Sources: []api.LoadSource{{
				Name: "eth0", Of: "host local", Error: "link eth0: not there", Since: at, Load: []api.LoadStatus{{Unit: "out", Capacity: 5e9}},
			}},
		},
	}
	if !reflect.DeepEqual(st, want) {
		t.Errorf("got %+v\nwant %+v", st, want)
	}
	if st := (api.Status{}); func() bool { (&Controller{}).measured(&st); return st.Load != nil }() {
		t.Error("nobody measures")
	}
}

func TestDigits(t *testing.T) {
	for x, want := range map[float64]float64{0: 0, 0.123456: 0.1235, 12345678: 12350000, 3: 3, 99999: 100000, 1e-7: 1e-7} {
		if got := digits(x); got != want {
			t.Errorf("%v: got %v, want %v", x, got, want)
		}
	}
}
