package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
)

// TestPlanOfLoads: two daemons that measure what they carry and tell each
// other. A plan at one says where the load would go by a file of measured
// catchments, and a mistake in that file is refused with its line.
func TestPlanOfLoads(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", netip.AddrPortFrom(w.us4, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(out, `{"LON": 8e9, "FRA": 3e9}`)
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
	const observe = "{mode: observe, every: 1s}"
	lon := w.sections
	w.sections = map[string]string{
		"pop": "FRA", "state-dir": w.file("state2"), "metrics": `{listen: ""}`, "web": `{listen: ""}`, "balance": observe, "load": load("FRA"),
		"api":   fmt.Sprintf(`{socket: %s, gobgp-socket: ""}`, w.file("a2.sock")),
		"bgp":   fmt.Sprintf(`{global: {config: {as: 64500, router-id: 10.0.0.2, local-address-list: ["%s"]}}, neighbors: [%s]}`, fra, neighbor(fra, router.addr)),
		"fleet": peers(fra, "LON", w.us4),
	}
	web := w.service("web", web4, web6, `prefixes: [192.0.2.0/25, 192.0.2.128/25]`)
	w.configureAs("fra.yaml", web)
	w.sections = lon
	w.sections["fleet"], w.sections["load"], w.sections["balance"] = peers(w.us4, "FRA", fra), load("LON"), observe
	w.sections["matrix"] = fmt.Sprintf("{file: %s}", w.file("catchments.csv"))
	w.write("catchments.csv", "configuration;LON;FRA\nnormal;70;many\n")
	w.configure(web)
	w.refuses(2, []string{"--config", w.file("c.yaml"), "--check-config"}, "matrix.file", "catchments.csv:2: FRA: \"many\": want a number")
	w.write("catchments.csv", "configuration;LON;FRA\nnormal;70;30\nLON=withdraw;0;100\n")
	w.up("web")
	w.start(nil, "--config", w.file("fra.yaml")).says("msg=ready")
	w.start(nil).says("msg=ready")

	ask := func(kind api.SupposeKind, of string, ok func(api.Plan) bool) {
		t.Helper()
		var p api.Plan
		for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			var err error
			p, err = w.client().Plan(soon(t), api.PlanRequest{Suppose: []api.Supposition{{Kind: kind, Service: "LON"}}})
			if err != nil {
				t.Fatal(err)
			}
			if ok(p) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %+v, loads %+v", of, p, p.Loads)
			}
		}
	}
	ask(api.SupposeWithdraw, "a withdraw of LON moves all of it to FRA, which is too much; half of it is not", func(p api.Plan) bool {
		if p.Loads == nil || len(p.Loads.POPs) != 2 || p.Loads.POPs[0].After == nil || p.Loads.POPs[1].After == nil || p.Alternative == nil {
			return false
		}
		lon, fra := p.Loads.POPs[0], p.Loads.POPs[1]
		return lon.POP == "LON" && *lon.Before == 8e9 && lon.After.Mean < 0.1e9 && *fra.Before == 3e9 && fra.After.Mean > 10.9e9 && fra.After.Mean < 11.1e9 &&
			len(p.Loads.Over) == 1 && p.Loads.Over[0] == "FRA" && strings.Contains(strings.Join(p.Loads.Notes, " "), "catchments.csv") &&
			p.Alternative.Text == "LON: withdraw 1 of 2 slices of web"
	})
	if _, err := os.Stat(w.file("state/matrix.json.bad")); err == nil {
		t.Error("what was learned could not be read")
	}
	w.write("catchments.csv", "nonsense")
	if _, err := w.client().Reload(soon(t)); err == nil || !strings.Contains(err.Error(), "catchments.csv:1: the header has one column") {
		t.Errorf("a reload with a broken file: %v", err)
	}
}
