package web

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// now is the clock of the world.
var now = time.Date(2030, 3, 1, 3, 12, 40, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func slice(s string) policy.SliceID { return policy.SliceID(netip.MustParsePrefix(s)) }

var (
	announce = policy.Stance{Action: policy.Announce}
	drain    = policy.Stance{Action: policy.Drain}
	withdraw = policy.Stance{}
)

func because(code policy.Code, detail string) policy.Reason {
	return policy.Reason{Code: code, Detail: detail}
}

// atNight is LON at three in the morning: a service died there, another POP is
// not heard, one drains on purpose, and a session is down.
func atNight() *apitest.Backend {
	return &apitest.Backend{POP: api.Status{
		POP: "LON", Location: place(51.51, -0.13), Version: "v0.3.0", Now: now, Started: ago(12 * 24 * time.Hour),
		Services: services(), Neighbors: neighbors(), Fleet: others(),
		Alarms: []api.Alarm{{Name: "last-pop", Service: "resolver", Slice: slice("2001:db8:5353::/48"), Since: ago(4 * time.Minute),
			Detail: "2 other POPs needed, 1 announces it"}},
		Load: &api.LoadReport{POP: []api.LoadStatus{
			measured("out", 6.4e9, 10e9), measured("in", 310e6, 10e9), measured("requests", 18300, 40000), measured("connections", 19492, 0), measured("cpu", 0.41, 0),
		}},
		Intents: []policy.Intent{held()},
	}, Entries: entries(), More: make(chan api.JournalEntry, 16)}
}

func held() policy.Intent {
	return policy.Intent{Kind: policy.IntentHold, Service: "mail", By: "uid 1000 (ann)", Why: "migration, ticket 4711", At: ago(40 * time.Minute)}
}

func measured(unit string, value, capacity float64) api.LoadStatus {
	return api.LoadStatus{Unit: unit, Value: &value, Capacity: capacity, At: now}
}

func place(lat, lon float64) *api.Location { return &api.Location{Latitude: lat, Longitude: lon} }

func up(id policy.ServiceID, load float64, slices ...api.SliceStatus) api.ServiceStatus {
	for i := range slices {
		slices[i].Service = id
	}
	return api.ServiceStatus{
		ID: id, Load: &load, Health: policy.Health{Verdict: policy.Up, Fraction: 1, Since: ago(31 * time.Hour)}, Slices: slices,
		Checks: []api.CheckStatus{
			check(id, "http-v4", policy.Up, "HTTP 200", 2100*time.Microsecond, 55800), check(id, "http-v6", policy.Up, "HTTP 200", 2300*time.Microsecond, 55800),
		},
	}
}

func check(service policy.ServiceID, id policy.CheckID, v policy.Verdict, detail string, took time.Duration, streak int) api.CheckStatus {
	c := api.CheckStatus{ID: id, Service: service, Verdict: v, Since: ago(31 * time.Hour), Outcome: "pass", Detail: detail, Latency: api.Duration(took), Streak: streak}
	if v == policy.Down {
		c.Outcome, c.Since, c.DetectedBy = "fail", ago(48*time.Second), "socket"
	}
	return c
}

func does(id string, st policy.Stance, r policy.Reason, since time.Duration) api.SliceStatus {
	s := api.SliceStatus{Slice: slice(id), Stance: st, Reason: r, Since: ago(since)}
	if st.Announced() {
		s.Rung = "normal"
		s.Announced = &api.Attributes{LargeCommunities: []string{"64500:1:1"}, NextHop: "self"}
	}
	return s
}

const refused = "http-v6: connect [2001:db8:300::1]:443: connection refused; http-v4: connect 198.51.100.1:443: connection refused"

func services() []api.ServiceStatus {
	healthy := because(policy.Healthy, "")
	web := up("web", 18340, does("192.0.2.0/24", announce, healthy, 31*time.Hour), does("2001:db8:100::/48", announce, healthy, 31*time.Hour),
		does("192.0.2.0/23", announce, because(policy.Always, "cover prefix: health never withdraws it"), 12*24*time.Hour))
	web.Slices[2].Cover = true
	web.Measured = []api.LoadStatus{measured("out", 6.1e9, 8e9), measured("requests", 17100, 0)}
	video := up("video", 0, does("198.51.100.0/24", withdraw, because(policy.CheckDown, refused), 48*time.Second),
		does("2001:db8:300::/48", withdraw, because(policy.CheckDown, refused), 48*time.Second))
	video.Health = policy.Health{Verdict: policy.Down, Since: ago(48 * time.Second), Failing: []policy.Failure{
		{Check: "http-v6", Detail: "connect [2001:db8:300::1]:443: connection refused"}, {Check: "http-v4", Detail: "connect 198.51.100.1:443: connection refused"}}}
	video.Checks = []api.CheckStatus{
		check("video", "http-v4", policy.Down, "connect 198.51.100.1:443: connection refused", 90*time.Microsecond, 240),
		check("video", "http-v6", policy.Down, "connect [2001:db8:300::1]:443: connection refused", 80*time.Microsecond, 240),
	}
	resolver := up("resolver", 940, does("2001:db8:5353::/48", policy.Stance{Action: policy.Announce, Rung: 1},
		policy.Reason{Code: policy.Guarded, Guard: "last-pop", Detail: "2 other POPs needed, 1 announces it"}, 4*time.Minute))
	s := &resolver.Slices[0]
	s.Rung, s.Wanted, s.WantedReason = "backup", &policy.Stance{}, &policy.Reason{Code: policy.CheckDown, Detail: "dns-udp: no answer within 1s"}
	s.Announced.Prepend = 3
	s.Guards = []api.GuardStatus{{Guard: "last-pop", Says: api.Weaken, Detail: "2 other POPs needed, 1 announces it"}, {Guard: "correlated", Says: api.Allow}, {Guard: "blast", Says: api.Allow}}
	resolver.Health = policy.Health{Verdict: policy.Down, Fraction: 0.25, Since: ago(4 * time.Minute), Failing: []policy.Failure{{Check: "dns-udp", Detail: "no answer within 1s"}}}
	resolver.Checks = []api.CheckStatus{check("resolver", "dns-udp", policy.Down, "no answer within 1s", time.Second, 120), check("resolver", "dns-tcp", policy.Up, "NOERROR", 700*time.Microsecond, 900)}
	mail := up("mail", 212, does("203.0.113.0/24", announce, because(policy.Operator, "held for uid 1000 (ann): migration, ticket 4711"), 31*time.Hour))
	mail.Slices[0].Intent = held()
	return []api.ServiceStatus{web, video, resolver, mail}
}

func neighbors() []api.PeerStatus {
	n := func(a, name string, as uint32) api.PeerStatus {
		return api.PeerStatus{Address: netip.MustParseAddr(a), AS: as, Description: name, State: bgp.Established, Since: ago(12 * 24 * time.Hour),
			Advertised: 5, Received: 1, Accepted: 1, BFD: "up", GracefulRestart: true}
	}
	down := n("2001:db8:f1::1", "transit two, IPv6", 64602)
	down.State, down.Since, down.Advertised, down.Received, down.Accepted, down.BFD = bgp.Active, ago(19*time.Minute), 0, 0, 0, "down"
	down.Flaps, down.LastError = 3, "hold timer expired"
	return []api.PeerStatus{n("10.0.1.1", "transit one, IPv4", 64601), n("2001:db8:f0::1", "transit one, IPv6", 64601), n("10.0.2.1", "transit two, IPv4", 64602), down}
}

// others are the other POPs: what each does with the slices of LON.
func others() []api.FleetPeerStatus {
	pop := func(name policy.POPID, n int, lat, lon, capacity float64, rtt time.Duration) api.FleetPeerStatus {
		p := api.FleetPeerStatus{POP: name, URL: fmt.Sprintf("http://10.9.0.%d:9799/", n), Source: "status", Capacity: capacity, Location: place(lat, lon),
			Heard: ago(400 * time.Millisecond), Asked: ago(420 * time.Millisecond), RTT: api.Duration(rtt)}
		for _, svc := range services() {
			for _, s := range svc.Slices {
				p.Slices = append(p.Slices, api.FleetSliceStatus{Slice: s.Slice, Stance: announce, Verdict: policy.Up, Reason: "healthy"})
			}
		}
		return p
	}
	fra := pop("FRA", 2, 50.11, 8.68, 2, 11400*time.Microsecond)
	ams := pop("AMS", 3, 52.37, 4.90, 1, 7*time.Millisecond)
	ams.Stale, ams.Heard, ams.Error = true, ago(95*time.Second), "peer AMS: dial tcp 10.9.0.3:9799: i/o timeout"
	nyc := pop("NYC", 4, 40.71, -74.01, 2, 71200*time.Microsecond)
	sin := pop("SIN", 5, 1.35, 103.82, 1, 164*time.Millisecond)
	for i := range sin.Slices {
		if s := &sin.Slices[i]; i < 2 {
			s.Stance, s.Reason = drain, "operator: draining for uid 1001 (bob): new line cards"
		}
	}
	for _, p := range []*api.FleetPeerStatus{&fra, &nyc, &sin} {
		for i := range p.Slices {
			if s := &p.Slices[i]; s.Slice == slice("2001:db8:5353::/48") && p.POP != "FRA" {
				s.Stance, s.Verdict, s.Reason, s.Failing = withdraw, policy.Down, "check-down: dns-udp: no answer within 1s", []policy.CheckID{"dns-udp"}
			}
			if s := &p.Slices[i]; s.Slice == slice("192.0.2.0/23") {
				s.Reason = "always: cover prefix: health never withdraws it"
			}
		}
	}
	return []api.FleetPeerStatus{fra, ams, nyc, sin}
}

func entries() []api.JournalEntry {
	var all []api.JournalEntry
	note := func(d time.Duration, kind, service, id, text string, data map[string]any) {
		e := api.JournalEntry{Seq: uint64(len(all) + 1), Time: ago(d), Kind: kind, Service: policy.ServiceID(service), Text: text}
		if id != "" {
			e.Slice = slice(id)
		}
		e.Data, _ = json.Marshal(data)
		all = append(all, e)
	}
	decide := func(d time.Duration, service, id string, before, after policy.Stance, r policy.Reason, guards ...map[string]string) {
		note(d, "decision", service, id, fmt.Sprintf("%s: %v -> %v because %v", id, before, after, r),
			map[string]any{"before": before, "after": after, "reason": r, "guards": guards})
	}
	note(12*24*time.Hour, "start", "", "", "catchmentd v0.3.0 started; 7 slices and 0 intents remembered", nil)
	decide(31*time.Hour, "web", "192.0.2.0/24", withdraw, announce, because(policy.Healthy, ""))
	for i, st := range []policy.Stance{withdraw, announce, withdraw, announce} { // flaps, and is damped in the end
		decide(time.Duration(56-2*i)*time.Minute, "video", "198.51.100.0/24", []policy.Stance{announce, withdraw}[i%2], st, []policy.Reason{because(policy.CheckDown, "http-v4: HTTP 503"), because(policy.Healthy, "")}[i%2])
	}
	decide(47*time.Minute, "web", "192.0.2.0/24", announce, drain, because(policy.Operator, "draining for uid 1000 (ann): new disks"))
	decide(44*time.Minute, "web", "192.0.2.0/24", drain, withdraw, because(policy.Operator, "drained for uid 1000 (ann), its 3m0s are over"))
	note(40*time.Minute, "intent", "mail", "", "hold of mail noted: migration, ticket 4711", map[string]any{"by": "uid 1000 (ann)"})
	decide(33*time.Minute, "web", "192.0.2.0/24", withdraw, announce, because(policy.Healthy, ""))
	note(19*time.Minute, "peer", "", "", "neighbor 2001:db8:f1::1 (AS 64602): established -> idle: hold timer expired", nil)
	decide(4*time.Minute, "resolver", "2001:db8:5353::/48", announce, policy.Stance{Action: policy.Announce, Rung: 1},
		policy.Reason{Code: policy.Guarded, Guard: "last-pop", Detail: "2 other POPs needed, 1 announces it"},
		map[string]string{"name": "last-pop", "verdict": "weaken", "detail": "2 other POPs needed, 1 announces it"}, map[string]string{"name": "blast", "verdict": "allow"})
	note(4*time.Minute, "alarm", "resolver", "2001:db8:5353::/48", "last-pop: 2 other POPs needed, 1 announces it", nil)
	decide(48*time.Second, "video", "2001:db8:300::/48", announce, withdraw, because(policy.CheckDown, refused))
	decide(48*time.Second, "video", "198.51.100.0/24", announce, withdraw, because(policy.CheckDown, refused))
	return all
}

// many is a POP with n services of two slices, all fine but for one.
func many(n int) *apitest.Backend {
	b := &apitest.Backend{POP: api.Status{POP: "LON", Version: "v0.3.0", Now: now, Started: ago(time.Hour), Neighbors: neighbors()[:2]}, More: make(chan api.JournalEntry, 16)}
	peer := api.FleetPeerStatus{POP: "FRA", URL: "http://10.9.0.2:9799/", Source: "status", Capacity: 1, Heard: ago(time.Second)}
	for i := range n {
		svc := up(policy.ServiceID(fmt.Sprintf("service-%04d", i)), float64(i), does(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), announce, because(policy.Healthy, ""), time.Hour),
			does(fmt.Sprintf("2001:db8:%x::/48", i+1), announce, because(policy.Healthy, ""), time.Hour))
		for _, s := range svc.Slices {
			peer.Slices = append(peer.Slices, api.FleetSliceStatus{Slice: s.Slice, Stance: announce, Verdict: policy.Up, Reason: "healthy"})
		}
		b.POP.Services = append(b.POP.Services, svc)
	}
	b.POP.Fleet = []api.FleetPeerStatus{peer}
	return b
}
