package ingress

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/journal"
)

const file = `
pop: LON
bgp:
  global: {config: {as: 64500, router-id: 10.0.0.9}}
  neighbors:
    - {config: {neighbor-address: 10.0.1.2, peer-as: 64500}, graceful-restart: {config: {enabled: true}}}
    - {config: {neighbor-address: 10.0.2.2, peer-as: 64500}, graceful-restart: {config: {enabled: true}}}
    - {config: {neighbor-address: "2001:db8:2::2", peer-as: 64500}, graceful-restart: {config: {enabled: true}}}
services:
  - {name: web, prefixes: [192.0.2.0/24, "2001:db8:100::/48"], always: true}
fleet: {secret-file: /x, peers: [{pop: FRA, url: "http://10.9.0.2:1/"}]}
ingress:
  unit: requests
  routers:
    - name: pe1
      neighbors: [10.0.1.2]
      costs: [{pop: LON, cost: 10}, {pop: FRA, cost: 20}, {pop: AMS, cost: 30}]
      sources:
        - {url: "http://10.0.1.9/", format: json, path: .all}
        - {url: "http://10.0.1.9/", format: json, path: .web, prefix: 192.0.2.0/24}
    - name: pe2
      neighbors: [10.0.2.2, "2001:db8:2::2"]
      costs: [{pop: FRA, cost: 10}, {pop: LON, cost: 20}]
      demand: 5
  targets:
    - {pop: LON, next-hops: [10.255.0.1, "2001:db8:ff::1"], capacity: 100}
    - {pop: FRA, next-hops: [10.255.0.2, "2001:db8:ff::2"], capacity: 100}
    - {pop: AMS, next-hops: [10.255.0.3], check: "icmp://10.255.0.3"}
`

var (
	v4 = policy.SliceID(web4)
	v6 = policy.SliceID(web6)
)

// scene is what a controller sees, and what it does.
type scene struct {
	t       *testing.T
	speaker bgptest.Announcer
	opt     Options
	c       *Controller

	mu      sync.Mutex
	changed chan struct{}
	own     policy.Stance
	fra     policy.PeerSlice
	heard   time.Time
	ams     policy.Verdict
	alive   time.Time // of our check of AMS
	all     load.Value
	web     load.Value
	intents []policy.Intent
	entries []journal.Entry
	on      map[string]bool
}

func (s *scene) Status(context.Context) (api.Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return api.Status{Intents: s.intents, Services: []api.ServiceStatus{{ID: "web", Health: policy.Health{Verdict: policy.Up}, Slices: []api.SliceStatus{
		{Slice: v4, Service: "web", Stance: s.own}, {Slice: v6, Service: "web", Stance: s.own},
	}}}}, nil
}

func (s *scene) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *scene) Append(e journal.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, e)
}

// change changes what is seen and says that something did.
func (s *scene) change(f func()) {
	s.mu.Lock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	time.Sleep(2 * lookPause)
	synctest.Wait()
}

var announced = policy.Stance{Action: policy.Announce}

func newScene(t *testing.T, text string) *scene {
	t.Helper()
	cfg, err := config.Parse(strings.NewReader(text), "yaml", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, changed: make(chan struct{}), own: announced, fra: policy.PeerSlice{Stance: announced, Verdict: policy.Up},
		heard: time.Now(), ams: policy.Up, all: load.Value{Value: 40, Known: true}, web: load.Value{Value: 60, Known: true}, on: map[string]bool{}}
	layers := NewLayers(&s.speaker, nil)
	if err := layers.Set(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	ams := &health.Spec{Service: CheckService("AMS")}
	s.opt = Options{
		Config: cfg, Layers: layers, Own: s, Journal: s, Path: filepath.Join(t.TempDir(), "ingress.json"), Logger: slog.New(slog.DiscardHandler),
		OnAlarm: func(name string, on bool) { s.mu.Lock(); s.on[name] = on; s.mu.Unlock() },
		Fleet: func(time.Time) policy.Fleet {
			s.mu.Lock()
			defer s.mu.Unlock()
			return policy.Fleet{Configured: true, Peers: []policy.Peer{{POP: "FRA", Source: "status", Heard: s.heard,
				Slices: map[policy.SliceID]policy.PeerSlice{v4: s.fra, v6: s.fra}}}}
		},
		Checks: func() []health.State {
			s.mu.Lock()
			defer s.mu.Unlock()
			return []health.State{{Spec: ams, Verdict: s.ams, LastAlive: s.alive, Last: health.Result{Detail: "no echo"}}}
		},
		Demand: func() load.Snapshot {
			s.mu.Lock()
			defer s.mu.Unlock()
			all, web := load.SourceState{Name: SourceName("pe1", policy.SliceID{})}, load.SourceState{Name: SourceName("pe1", v4)}
			all.Load[load.Requests], web.Load[load.Requests] = s.all, s.web
			return load.Snapshot{Sources: []load.SourceState{all, web}}
		},
	}
	return s
}

// run starts the controller and lets it decide once.
func (s *scene) run() (stop func()) {
	s.t.Helper()
	var err error
	if s.c, err = New(s.opt); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.c.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
}

// keepHearing lets FRA be heard and time pass: a round at least.
func (s *scene) round() {
	s.mu.Lock()
	s.heard = time.Now().Add(s.opt.Config.Ingress.Interval)
	s.mu.Unlock()
	time.Sleep(s.opt.Config.Ingress.Interval)
	synctest.Wait()
}

// is compares what routers are told: router slice POP reason, in order.
func (s *scene) is(want ...string) {
	s.t.Helper()
	r, ok := s.c.Report()
	if !ok {
		s.t.Fatal("nothing is decided")
	}
	var got []string
	for _, a := range r.Assignments {
		family := "v4"
		if a.Slice == v6 {
			family = "v6"
		}
		got = append(got, a.Router+" "+family+" "+string(a.POP)+" "+a.Reason)
	}
	if !slices.Equal(got, want) {
		text, _ := json.MarshalIndent(r, "", " ")
		s.t.Errorf("got  %q\nwant %q\n%s", got, want, text)
	}
}

// alarmed wants exactly these alarms, in the report and told to the metrics.
func (s *scene) alarmed(names ...string) {
	s.t.Helper()
	r, _ := s.c.Report()
	var got []string
	for _, a := range r.Alarms {
		got = append(got, a.Name)
	}
	if !slices.Equal(got, names) {
		s.t.Errorf("alarms %q, want %q", got, names)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, on := range s.on {
		if on != slices.Contains(names, name) {
			s.t.Errorf("the metrics have %s %t", name, on)
		}
	}
}

// hears is what the speaker tells a router's sessions of a slice, "" nothing.
func (s *scene) hears(addr string, id policy.SliceID) string {
	for _, a := range s.speaker.Announced() {
		for n, o := range a.Neighbors {
			if a.Prefix == id.Prefix() && n.String() == addr && *o.LocalPref == 200 && o.Whole && a.Only {
				return o.NextHop.String()
			}
		}
	}
	return ""
}

const (
	settled4 = "pe1 v4 LON cheapest"
	settled6 = "pe1 v6 LON cheapest"
)

// calm is how the scene is assigned with nothing amiss.
var calm = []string{settled4, settled6, "pe2 v4 FRA cheapest", "pe2 v6 FRA cheapest"}

// settle lets a fresh controller assign everything.
func (s *scene) settle() {
	s.t.Helper()
	for range 8 {
		s.round()
	}
	s.is(calm...)
	s.alarmed()
}

// BenchmarkDecide is a look of a controller of 500 routers, 50 POPs and 8
// slices at what has to leave, with everything planned anew.
func BenchmarkDecide(b *testing.B) {
	c, now := &config.Config{POP: "CTL"}, time.Now()
	c.Ingress = config.Ingress{Shed: 0.95, Fill: 0.85, MoveCost: 1, Interval: time.Second, Unit: load.Requests}
	for s := range 8 {
		c.Ingress.Slices = append(c.Ingress.Slices, policy.SliceID(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(s), 0}), 24)))
	}
	peers := policy.Fleet{Configured: true}
	for t := range 50 {
		pop := policy.POPID(fmt.Sprint("POP", t))
		c.Ingress.Targets = append(c.Ingress.Targets, config.IngressTarget{POP: pop, NextHop4: lon4, Capacity: 100})
		p := policy.Peer{POP: pop, Source: "status", Heard: now, Slices: map[policy.SliceID]policy.PeerSlice{}}
		for _, id := range c.Ingress.Slices {
			p.Slices[id] = policy.PeerSlice{Stance: announced, Verdict: policy.Up}
		}
		peers.Peers = append(peers.Peers, p)
	}
	for r := range 500 {
		costs := map[policy.POPID]float64{}
		for t := range c.Ingress.Targets {
			costs[c.Ingress.Targets[t].POP] = float64((r*7+t*13)%50 + 1)
		}
		c.Ingress.Routers = append(c.Ingress.Routers, config.IngressRouter{Name: fmt.Sprint("pe", r), Neighbors: []netip.Addr{pe1}, Costs: costs, Demand: 1})
	}
	s := &scene{changed: make(chan struct{})}
	ctl, err := New(Options{Config: c, Layers: NewLayers(&s.speaker, nil), Own: s, Journal: s, DryRun: true, Logger: slog.New(slog.DiscardHandler),
		Fleet:  func(time.Time) policy.Fleet { return peers },
		Checks: func() []health.State { return nil }, Demand: func() load.Snapshot { return load.Snapshot{} }})
	if err != nil {
		b.Fatal(err)
	}
	ctl.decide(b.Context(), false)
	for b.Loop() {
		ctl.decide(b.Context(), true)
	}
}
