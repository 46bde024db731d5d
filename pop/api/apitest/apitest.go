// Package apitest is a backend of the control API for tests: a POP that is
// what the test says it is, and that remembers what it was asked to do.
package apitest

import (
	"context"
	"encoding/json"
	"net/netip"
	"sync"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// Backend is the fake. Set its fields before it is used; Lock them after.
type Backend struct {
	sync.Mutex
	POP      api.Status
	Entries  []api.JournalEntry
	Intents  []policy.Intent // as asked, oldest first
	Released []api.Released
	Changes  []string          // what a reload says
	Err      error             // of every change, if not nil
	Planned  *api.Plan         // the answer to every plan; nil: World's
	Plans    []api.PlanRequest // as asked
	Members  []api.FleetMember // of Fleet; nil: World's
	// OnIntent, if not nil, is called with the lock held.
	OnIntent func(*Backend, policy.Intent)
	// More is what a followed journal goes on with.
	More chan api.JournalEntry

	newer chan struct{} // closed by Touch
}

// Changed is closed by the next Touch.
func (b *Backend) Changed() <-chan struct{} {
	b.Lock()
	defer b.Unlock()
	if b.newer == nil {
		b.newer = make(chan struct{})
	}
	return b.newer
}

// Touch changes the backend under its lock, and tells who watches.
func (b *Backend) Touch(change func(*Backend)) {
	b.Lock()
	defer b.Unlock()
	change(b)
	if b.newer != nil {
		close(b.newer)
	}
	b.newer = make(chan struct{})
}

// Status returns POP.
func (b *Backend) Status(context.Context) (api.Status, error) {
	b.Lock()
	defer b.Unlock()
	return apart(b.POP)
}

// apart is a copy that later changes do not reach.
func apart[T any](x T) (out T, err error) {
	text, err := json.Marshal(x)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	return out, err
}

// Explain puts together what POP and Entries say of a slice.
func (b *Backend) Explain(_ context.Context, id policy.SliceID) (api.Explanation, error) {
	b.Lock()
	defer b.Unlock()
	for _, svc := range b.POP.Services {
		for _, sl := range svc.Slices {
			if sl.Slice != id {
				continue
			}
			e := api.Explanation{
				POP: b.POP.POP, Now: b.POP.Now, Slice: sl, Health: svc.Health, Always: svc.Always,
				Checks: svc.Checks, Load: svc.Load, Intents: b.POP.Intents,
			}
			for _, p := range b.POP.Fleet {
				for _, ps := range p.Slices {
					if ps.Slice == id {
						e.Fleet = append(e.Fleet, api.FleetView{
							POP: p.POP, Source: p.Source, Heard: p.Heard, Age: api.Duration(b.POP.Now.Sub(p.Heard)),
							Counts: ps.Stance.Action == policy.Announce && !p.Stale, Stale: p.Stale, Slice: ps,
						})
					}
				}
			}
			for _, j := range b.Entries {
				if j.Slice == id {
					e.Journal = append(e.Journal, j)
				}
			}
			e.WouldChange = []string{"The checks say down: withdrawn, if the guards agree."}
			return apart(e)
		}
	}
	return api.Explanation{}, api.Errorf(api.NotFound, "%v is not a slice of any service", id)
}

// Journal gives Entries, then More.
func (b *Backend) Journal(ctx context.Context, f api.JournalFilter, yield func(api.JournalEntry) error) error {
	b.Lock()
	var match []api.JournalEntry
	for _, e := range b.Entries {
		if (f.Service == "" || f.Service == e.Service) && (!f.Slice.Prefix().IsValid() || f.Slice == e.Slice) && !e.Time.Before(f.Since) {
			match = append(match, e)
		}
	}
	b.Unlock()
	if f.Limit > 0 && len(match) > f.Limit {
		match = match[len(match)-f.Limit:]
	}
	for _, e := range match {
		if err := yield(e); err != nil {
			return err
		}
	}
	for f.Follow {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-b.More:
			if !ok {
				return nil
			}
			if err := yield(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// Intent remembers it.
func (b *Backend) Intent(_ context.Context, in policy.Intent) (api.Result, error) {
	b.Lock()
	defer b.Unlock()
	if b.Err != nil {
		return api.Result{}, b.Err
	}
	b.Intents = append(b.Intents, in)
	if b.OnIntent != nil {
		b.OnIntent(b, in)
	}
	return api.Result{Text: string(in.Kind) + ": noted for " + in.By, Slices: b.concerned(in.Service, in.Slice)}, nil
}

// Release remembers it.
func (b *Backend) Release(_ context.Context, r api.Released) (api.Result, error) {
	b.Lock()
	defer b.Unlock()
	if b.Err != nil {
		return api.Result{}, b.Err
	}
	b.Released = append(b.Released, r)
	return api.Result{Text: "released for " + r.By, Slices: b.concerned(r.Service, r.Slice)}, nil
}

// Reload returns Changes.
func (b *Backend) Reload(context.Context, string) ([]string, error) {
	b.Lock()
	defer b.Unlock()
	return b.Changes, b.Err
}

func (b *Backend) concerned(service policy.ServiceID, id policy.SliceID) []api.SliceStatus {
	var out []api.SliceStatus
	for _, s := range b.POP.Slices() {
		if (service == "" || s.Service == service) && (!id.Prefix().IsValid() || s.Slice == id) {
			out = append(out, s)
		}
	}
	return out
}

// Set changes the slices that the service and slice name.
func (b *Backend) Set(service policy.ServiceID, change func(*api.SliceStatus)) {
	for i := range b.POP.Services {
		if service == "" || b.POP.Services[i].ID == service {
			for k := range b.POP.Services[i].Slices {
				change(&b.POP.Services[i].Slices[k])
			}
		}
	}
}

// Now is the clock of World.
var Now = time.Date(2030, 3, 1, 12, 0, 0, 0, time.UTC)

func slice(s string) policy.SliceID { return policy.SliceID(netip.MustParsePrefix(s)) }

func ago(d time.Duration) time.Time { return Now.Add(-d) }

// World is a POP with an IPv4 and an IPv6 slice that are fine, one that a
// guard keeps, a cover, two neighbors and two other POPs.
func World() *Backend {
	return &Backend{POP: api.Status{
		POP: "LON", Version: "v0.1.0", Now: Now, Started: ago(50 * time.Hour),
		Services: []api.ServiceStatus{web(), resolver()}, Neighbors: neighbors(), Fleet: fleet(), Guards: guards(),
		Alarms: []api.Alarm{{
			Name: "last-pop", Service: "resolver-with-a-long-name", Slice: slice("2001:db8:5353:5353::/64"), Since: ago(90 * time.Second),
			Detail: "no other POP announces it, 1 needed",
		}},
	}, Entries: entries(), Changes: []string{"services.web.hold-down: 10s -> 20s"}, More: make(chan api.JournalEntry)}
}

func web() api.ServiceStatus {
	med := uint32(10)
	load := 1234.0
	heard := &api.Attributes{MED: &med, Communities: []string{"64500:100"}, LargeCommunities: []string{"64500:1:1"}, NextHop: "self",
		Neighbors: []api.Neighbor{{Neighbor: "10.0.1.2", Withhold: true}}}
	return api.ServiceStatus{
		ID: "web", Load: &load,
		Health: policy.Health{Verdict: policy.Up, Fraction: 1, Since: ago(3 * time.Hour)},
		Checks: []api.CheckStatus{{
			ID: "http", Service: "web", Verdict: policy.Up, Since: ago(3 * time.Hour), Outcome: "pass", Detail: "200 OK",
			Latency: api.Duration(3200 * time.Microsecond), Streak: 5400,
		}},
		Slices: []api.SliceStatus{
			{Slice: slice("192.0.2.0/24"), Service: "web", Stance: policy.Stance{Action: policy.Announce}, Rung: "normal",
				Since: ago(3 * time.Hour), Reason: policy.Reason{Code: policy.Healthy}, Announced: heard},
			{Slice: slice("2001:db8:100::/48"), Service: "web", Stance: policy.Stance{Action: policy.Announce}, Rung: "normal",
				Since: ago(3 * time.Hour), Reason: policy.Reason{Code: policy.Healthy}, Announced: heard},
			{Slice: slice("192.0.2.0/23"), Service: "web", Cover: true, Stance: policy.Stance{Action: policy.Announce}, Rung: "normal",
				Since: ago(50 * time.Hour), Reason: policy.Reason{Code: policy.Always, Detail: "cover prefix: health never withdraws it"},
				Announced: heard},
		},
	}
}

func resolver() api.ServiceStatus {
	const detail = "dns @2001:db8:5353:5353::53 example.net A: read udp: connection refused"
	fails := []policy.Failure{{Check: "dns-udp", Detail: detail}}
	return api.ServiceStatus{
		ID:     "resolver-with-a-long-name",
		Health: policy.Health{Verdict: policy.Down, Since: ago(90 * time.Second), Failing: fails},
		Checks: []api.CheckStatus{{
			ID: "dns-udp", Service: "resolver-with-a-long-name", Verdict: policy.Down, Since: ago(90 * time.Second), Outcome: "fail",
			Detail: detail, Latency: api.Duration(410 * time.Microsecond), Streak: 45, DetectedBy: "socket",
		}},
		Slices: []api.SliceStatus{{
			Slice: slice("2001:db8:5353:5353::/64"), Service: "resolver-with-a-long-name",
			Stance: policy.Stance{Action: policy.Announce, Rung: 2}, Rung: "backup", Since: ago(90 * time.Second),
			Reason:       policy.Reason{Code: policy.Guarded, Guard: "last-pop", Detail: "no other POP announces it, 1 needed"},
			Announced:    &api.Attributes{Prepend: 3, Communities: []string{"64500:100"}, NextHop: "2001:db8::1"},
			Wanted:       &policy.Stance{},
			WantedReason: &policy.Reason{Code: policy.CheckDown, Detail: "dns-udp: " + detail},
			Guards: []api.GuardStatus{
				{Guard: "last-pop", Says: api.Weaken, Detail: "no other POP announces it, 1 needed"},
				{Guard: "correlated", Says: api.Allow},
			},
		}},
	}
}

func neighbors() []api.PeerStatus {
	return []api.PeerStatus{
		{Address: netip.MustParseAddr("10.0.0.2"), AS: 64501, Description: "transit one", State: bgp.Established, Since: ago(50 * time.Hour),
			Advertised: 2, Received: 3, Accepted: 3, BFD: "up", GracefulRestart: true},
		{Address: netip.MustParseAddr("2001:db8:ffff:ffff:ffff:ffff:ffff:2"), AS: 4200000001, State: bgp.Active, Since: ago(10 * time.Second),
			Flaps: 2, LastError: "hold timer expired"},
	}
}

func fleet() []api.FleetPeerStatus {
	return []api.FleetPeerStatus{
		{POP: "FRA", URL: "http://10.9.0.2:9799/", Source: "status", Capacity: 1, Heard: ago(400 * time.Millisecond), Asked: ago(410 * time.Millisecond),
			RTT: api.Duration(10 * time.Millisecond), Slices: []api.FleetSliceStatus{
				{Slice: slice("192.0.2.0/24"), Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up},
				{Slice: slice("2001:db8:5353:5353::/64"), Verdict: policy.Down, Failing: []policy.CheckID{"dns-udp"}},
			}},
		{POP: "AMS", URL: "http://10.9.0.3:9799/", Source: "status", Capacity: 2, Stale: true, Error: "peer AMS: dial tcp 10.9.0.3:9799: connect: connection refused"},
	}
}

func entries() []api.JournalEntry {
	e := func(seq uint64, d time.Duration, kind, service, id, text string) api.JournalEntry {
		j := api.JournalEntry{Seq: seq, Time: ago(d), Kind: kind, Service: policy.ServiceID(service), Text: text, Data: json.RawMessage(`{"seq":1}`)}
		if id != "" {
			j.Slice = slice(id)
		}
		return j
	}
	return []api.JournalEntry{
		e(1, 50*time.Hour, "start", "", "", "catchmentd v0.1.0 started"),
		e(2, 3*time.Hour, "decision", "web", "192.0.2.0/24", "announce: healthy"),
		e(3, 3*time.Hour, "decision", "web", "2001:db8:100::/48", "announce: healthy"),
		e(4, 90*time.Second, "decision", "resolver-with-a-long-name", "2001:db8:5353:5353::/64",
			"announce rung 2: guarded (last-pop): no other POP announces it, 1 needed"),
	}
}
