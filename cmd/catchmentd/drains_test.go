package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// TestDrainsOfAFleet: two daemons that tell each other what they carry and
// what they drain. A drain that would overload the other is refused with its
// forecast; while one drains the other waits, and begins by itself.
func TestDrainsOfAFleet(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", netip.AddrPortFrom(w.us4, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	var carries atomic.Int64
	carries.Store(16e9) // one of two slices is heard at FRA, too; the other perhaps, for a moment
	server := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(out, `{"LON": %d, "FRA": 3e9}`, carries.Load())
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	load := func(pop string) string {
		return fmt.Sprintf(`{interval: 100ms, average: 100ms, stale: 60s, capacity: {out: 10Gbit}, sources: [{name: page, url: "http://%s/", format: json, path: .%s, unit: out, of: pop}]}`, l.Addr(), pop)
	}
	fra := netip.AddrFrom4([4]byte{127, 0, byte(w.n), 3})
	router := startRouter(t, fra.Next())
	w.write("secret", strings.Repeat("0123456789abcdef", 4))
	peers := func(listen netip.Addr, pop string, peer netip.Addr) string {
		return fmt.Sprintf(`{listen: "%s:9799", secret-file: %s, poll: 100ms, peers: [{pop: %s, url: "http://%s:9799/"}]}`, listen, w.file("secret"), pop, peer)
	}
	const observe, guards = "{mode: observe, every: 1s}", "{drains: {pops: 1}}"
	lon := w.sections
	w.sections = map[string]string{
		"pop": "FRA", "state-dir": w.file("state2"), "metrics": `{listen: ""}`, "web": `{listen: ""}`, "balance": observe, "guards": guards, "load": load("FRA"),
		"api":   fmt.Sprintf(`{socket: %s, gobgp-socket: ""}`, w.file("a2.sock")),
		"bgp":   fmt.Sprintf(`{global: {config: {as: 64500, router-id: 10.0.0.2, local-address-list: ["%s"]}}, neighbors: [%s]}`, fra, neighbor(fra, router.addr)),
		"fleet": peers(fra, "LON", w.us4),
	}
	web := w.service("web", web4, web6)
	w.configureAs("fra.yaml", web)
	w.sections = lon
	w.sections["fleet"], w.sections["load"], w.sections["balance"], w.sections["guards"] = peers(w.us4, "FRA", fra), load("LON"), observe, guards
	w.configure(web)
	w.up("web")
	w.start(nil, "--config", w.file("fra.yaml")).says("msg=ready")
	w.start(nil).says("msg=ready")
	here, there := w.client(), api.NewClient(w.file("a2.sock"))
	t.Cleanup(there.Close)

	member := func(pop policy.POPID, ok func(api.FleetMember) bool) {
		t.Helper()
		var f api.Fleet
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if f, err = here.Fleet(soon(t)); err != nil {
				t.Fatal(err)
			}
			for _, m := range f.All {
				if m.POP == pop && ok(m) {
					return
				}
			}
		}
		t.Fatalf("%+v", f)
	}
	carried := func(x float64) func(api.FleetMember) bool {
		return func(m api.FleetMember) bool {
			return m.Version != "" && m.Slices.Announced > 0 && m.Load != nil && *m.Load.Value == x
		}
	}
	drain := api.Change{Service: "web", Why: "disks"}
	member("FRA", carried(3e9))
	member("LON", carried(16e9))
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) { // a forecast needs both
		plan, err := here.Plan(soon(t), api.PlanRequest{Suppose: []api.Supposition{{Kind: api.SupposeDrain, Service: "web"}}})
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(plan.Slices[0].Objections, func(o api.PlanObjection) bool { return o.Guard == "headroom" }) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a plan of a drain: %+v", plan.Slices)
		}
	}
	if _, err := here.Drain(soon(t), drain); err == nil || !strings.Contains(err.Error(), "would put FRA at 1.") || !strings.Contains(err.Error(), "--force") {
		t.Fatalf("a drain that overloads FRA: %v", err)
	}
	carries.Store(1e9)
	member("LON", carried(1e9))
	if _, err := there.Drain(soon(t), drain); err != nil {
		t.Fatal(err)
	}
	member("FRA", func(m api.FleetMember) bool { return len(m.Drains) == 1 && !m.Drains[0].Waits })
	if _, err := here.Drain(soon(t), drain); err != nil {
		t.Fatal(err)
	}
	member("LON", func(m api.FleetMember) bool {
		return len(m.Drains) == 1 && m.Drains[0].Waits && strings.Contains(m.Drains[0].Detail, "waiting: FRA drains")
	})
	w.sees(func(st api.Status) bool { return st.Slices()[0].Stance.Action == policy.Announce })
	if _, err := there.Undrain(soon(t), api.Change{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	w.sees(func(st api.Status) bool { return st.Slices()[0].Stance.Action != policy.Announce })
}
