package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestFleetMetrics: two daemons ask one another, a stranger asks one of them,
// and the metrics count it.
func TestFleetMetrics(t *testing.T) {
	w := newWorld(t)
	fra := netip.AddrFrom4([4]byte{127, 0, byte(w.n), 3})
	w.write("secret", strings.Repeat("0123456789abcdef", 4))
	peers := func(listen netip.Addr, pop string, peer netip.Addr) string {
		return fmt.Sprintf(`{listen: "%s:9799", secret-file: %s, poll: 100ms, peers: [{pop: %s, url: "http://%s:9799/"}]}`, listen, w.file("secret"), pop, peer)
	}
	lon := w.sections
	w.sections = map[string]string{
		"pop": "FRA", "state-dir": w.file("state2"), "metrics": `{listen: ""}`,
		"api":   fmt.Sprintf(`{socket: %s, gobgp-socket: ""}`, w.file("a2.sock")),
		"bgp":   fmt.Sprintf(`{global: {config: {as: 64500, router-id: 10.0.0.2, local-address-list: ["%s"]}}}`, fra),
		"fleet": peers(fra, "LON", w.us4),
	}
	w.configureAs("fra.yaml", w.web())
	w.sections = lon
	w.sections["fleet"] = peers(w.us4, "FRA", fra)
	w.configure(w.web())
	w.start(nil).says("msg=ready")
	w.counts(`catchment_fleet_exchange_failures_total{pop="FRA"} [1-9]`, `catchment_fleet_exchanges_total{pop="FRA"} 0`,
		`catchment_fleet_refused_messages_total{reason="forged"} 0`)
	if strings.Contains(w.scrape(), "catchment_fleet_peer_rtt_seconds{") {
		t.Error("an RTT to one who has never answered")
	}
	w.start(nil, "--config", w.file("fra.yaml")).says("msg=ready")
	w.counts(`catchment_fleet_exchanges_total{pop="FRA"} [1-9]`, `catchment_fleet_peer_rtt_seconds{pop="FRA"} [0-9.e-]*[1-9]`)
	resp, err := http.Post("http://"+w.us4.String()+":9799/v1/exchange", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	w.counts(`catchment_fleet_refused_messages_total{reason="forged"} 1`)
}

// counts waits until the metrics have lines of each pattern.
func (w *world) counts(patterns ...string) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		text, missing := w.scrape(), ""
		for _, p := range patterns {
			if !regexp.MustCompile("(?m)^" + p).MatchString(text) {
				missing = p
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("no line like %q in:\n%s", missing, text)
		}
	}
}
