package pop

import (
	"strconv"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// Measured is what the POP carries, as measured (load.Runner).
type Measured interface{ Snapshot() load.Snapshot }

// measured puts what the POP carries into a status. Nothing is decided by it.
func (c *Controller) measured(st *api.Status) {
	if c.opt.Measured == nil {
		return
	}
	s := c.opt.Measured.Snapshot()
	report := api.LoadReport{POP: loads(&s.POP)}
	for i := range s.Hosts {
		report.Hosts = append(report.Hosts, api.HostLoad{Host: s.Hosts[i].Name, Load: loads(&s.Hosts[i])})
	}
	for i := range s.Sources {
		report.Sources = append(report.Sources, loadSource(&s.Sources[i]))
	}
	if len(report.Sources) > 0 {
		st.Load = &report
	}
	of := make(map[policy.ServiceID]*load.Subject, len(s.Services))
	for i := range s.Services {
		of[policy.ServiceID(s.Services[i].Name)] = &s.Services[i]
	}
	for i := range st.Services {
		if subject := of[st.Services[i].ID]; subject != nil {
			st.Services[i].Measured = loads(subject)
		}
	}
}

// loads are the kinds of load that are measured of somebody.
func loads(s *load.Subject) (out []api.LoadStatus) {
	for u := range load.Units {
		if s.Measured[u] {
			out = append(out, loadStatus(u, s.Load[u], s.Capacity[u]))
		}
	}
	return out
}

func loadSource(s *load.SourceState) api.LoadSource {
	out := api.LoadSource{Name: s.Name, Of: s.Scope.String(), Error: s.Error, Since: s.Since, Absent: s.Absent}
	for _, u := range s.Units {
		out.Load = append(out.Load, loadStatus(u, s.Load[u], s.Limit(u)))
	}
	return out
}

func loadStatus(u load.Unit, v load.Value, capacity float64) api.LoadStatus {
	out := api.LoadStatus{Unit: u.String(), Capacity: capacity, At: v.At}
	if v.Known {
		x := digits(v.Value)
		out.Value = &x
	}
	return out
}

// digits rounds to four significant digits, which is more than a smoothed
// value means: one that hardly moves is no news to a watcher.
func digits(x float64) float64 {
	y, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 4, 64), 64)
	if err != nil {
		return x
	}
	return y
}
