package load

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
)

// Plan is what is measured and what it is measured against.
type Plan struct {
	Timing  Timing
	Sources []Source
	// POP is the capacity of the whole POP, Host that of each of its hosts,
	// Services those of services at this POP.
	POP, Host Capacity
	Services  map[policy.ServiceID]Capacity
	// Hosts is how many hosts the POP has; less than those that sources name
	// counts as those.
	Hosts int
}

// Snapshot is the load of a POP at one time. Nothing in it changes.
type Snapshot struct {
	At       time.Time
	POP      Subject
	Hosts    []Subject // by name
	Services []Subject // by name
	Slices   []Subject // by prefix; those that sources measure by themselves
	Sources  []SourceState
}

// Subject is somebody whose load is measured, and the capacity it has.
type Subject struct {
	Name     string // of the host or service; empty: the POP
	Load     Load
	Measured [Units]bool // some source is there for it: unknown then is worth a word
	// Capacity is, of a host, by the rule of Limit.PerHost; of the POP by
	// Limit.Total.
	Capacity Capacity
	// Own is, of a host, its own limit alone, for Limit.Excess.
	Own Capacity
}

// sum puts the sources together. The load of a host is the sum of its sources;
// that of a service what its own sources say, else the sum of its slices; that
// of the POP what sources of the whole POP say, else the sum of its hosts, if
// each of them is measured, else that of its services. Of shares
// (CPU, pressure) it is the largest of a host's sources and the mean over
// hosts. A sum with an unknown part is unknown.
func (p *Plan) sum(states []SourceState, now time.Time) Snapshot {
	out := Snapshot{At: now, Sources: states}
	hosts, services := map[string]*Subject{}, map[string]*Subject{}
	parts := map[policy.ServiceID]map[string]*Subject{} // slices of a service
	for id, c := range p.Services {
		services[string(id)] = &Subject{Name: string(id), Capacity: c}
	}
	for _, fallback := range []bool{false, true} {
		var told map[*Subject][Units]bool // what others have said
		if fallback {
			told = measured(&out.POP, hosts, services)
		}
		for i := range p.Sources {
			if p.Sources[i].Fallback == fallback {
				p.Sources[i].count(&states[i], &out.POP, hosts, services, parts, told)
			}
		}
	}
	out.Slices = together(parts, services)
	out.Hosts, out.Services = sorted(hosts), sorted(services)
	p.capacities(&out)
	for u := range Units {
		if !out.POP.Measured[u] {
			out.POP.Load[u], out.POP.Measured[u] = p.whole(u, out.Hosts, out.Services)
		}
	}
	return out
}

// measured tells what is measured of whom.
func measured(pop *Subject, lists ...map[string]*Subject) map[*Subject][Units]bool {
	all := map[*Subject][Units]bool{pop: pop.Measured}
	for _, list := range lists {
		for _, s := range list {
			all[s] = s.Measured
		}
	}
	return all
}

// count adds what a source says to those it is about, but for what others have
// told already.
func (s *Source) count(st *SourceState, pop *Subject, hosts, services map[string]*Subject, parts map[policy.ServiceID]map[string]*Subject, told map[*Subject][Units]bool) {
	at := pop
	switch {
	case s.Scope.POP:
	case s.Scope.Slice.Prefix().IsValid():
		if parts[s.Scope.Service] == nil {
			parts[s.Scope.Service] = map[string]*Subject{}
		}
		at = subject(parts[s.Scope.Service], s.Scope.Slice.String())
	case s.Scope.Service != "":
		at = subject(services, string(s.Scope.Service))
	default:
		at = subject(hosts, s.Scope.host())
	}
	for _, u := range s.Units {
		if told[at][u] || st.Absent && st.Load[u].At.IsZero() { // absent: there is nothing to measure
			continue
		}
		at.add(u, st.Load[u])
		at.limit(st, u)
	}
	for _, p := range st.Points {
		if id, ok := s.Split[p.Name]; ok {
			if to := subject(services, string(id)); !told[to][p.Unit] {
				to.add(p.Unit, p.Value)
			}
		}
	}
}

// together gives the slices, and each service the sum of its slices where no
// source tells of the whole.
func together(parts map[policy.ServiceID]map[string]*Subject, services map[string]*Subject) (all []Subject) {
	for id, m := range parts {
		list, of := sorted(m), subject(services, string(id))
		for u := range Units {
			if v, n := total(u, list); n > 0 && !of.Measured[u] {
				of.Load[u], of.Measured[u] = v, true
			}
		}
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b Subject) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func subject(m map[string]*Subject, name string) *Subject {
	if m[name] == nil {
		m[name] = &Subject{Name: name}
	}
	return m[name]
}

func sorted(m map[string]*Subject) (list []Subject) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		list = append(list, *m[name])
	}
	return list
}

// add puts what one source says to what others have said.
func (s *Subject) add(u Unit, v Value) {
	if s.Measured[u] {
		v = joined(u, s.Load[u], v)
	}
	s.Load[u], s.Measured[u] = v, true
}

// limit adds what a source says it can carry itself to the own limit, which is
// not known as soon as one of them is not: -1 until capacities.
func (s *Subject) limit(st *SourceState, u Unit) {
	limit, known := st.limit(u)
	if !known || s.Own[u] < 0 {
		s.Own[u] = -1
		return
	}
	s.Own[u] += limit
}

// capacities fills in the capacities of hosts and POP.
func (p *Plan) capacities(out *Snapshot) {
	for u := range Units {
		all, limited, measured := 0.0, 0, 0
		for i := range out.Hosts {
			h := &out.Hosts[i]
			if h.Own[u] = max(h.Own[u], 0); p.Host[u] > 0 {
				h.Own[u] = p.Host[u]
			}
			if h.Measured[u] {
				measured++
				all += h.Own[u]
				if h.Own[u] > 0 {
					limited++
				}
			}
		}
		n := p.hosts(measured)
		for i := range out.Hosts {
			h := &out.Hosts[i]
			h.Capacity[u] = perHost(u, p.POP[u], h.Own[u], n)
		}
		switch {
		case u.share():
			out.POP.Capacity[u] = perHost(u, p.POP[u], p.Host[u], 1)
		case limited == n: // each host has a limit, perhaps not the same
			out.POP.Capacity[u] = Limit{Cluster: p.POP[u], Host: all}.Total()
		default:
			out.POP.Capacity[u] = Limit{Cluster: p.POP[u], Host: p.Host[u], Hosts: n}.Total()
		}
	}
}

// hosts is how many hosts the POP has for something of which so many are
// measured.
func (p *Plan) hosts(measured int) int { return max(p.Hosts, measured, 1) }

// perHost is Limit.PerHost; shares are not divided among hosts.
func perHost(u Unit, cluster, host float64, hosts int) float64 {
	if u.share() {
		hosts = 1
	}
	return Limit{Cluster: cluster, Host: host, Hosts: hosts}.PerHost()
}

// whole is the load of the POP by those of its hosts, else of its services.
func (p *Plan) whole(u Unit, hosts, services []Subject) (v Value, measured bool) {
	v, n := total(u, hosts)
	switch {
	case n == 0:
		v, n = total(u, services)
		return v, n > 0
	case n < p.Hosts:
		return Value{At: v.At}, true // the others may carry anything
	case u.share():
		v.Value /= float64(n)
	}
	return v, true
}

// total is the sum over those that are measured, and their number.
func total(u Unit, list []Subject) (v Value, n int) {
	for i := range list {
		switch {
		case !list[i].Measured[u]:
			continue
		case n == 0:
			v = list[i].Load[u]
		default:
			v = v.plus(list[i].Load[u])
		}
		n++
	}
	return v, n
}
