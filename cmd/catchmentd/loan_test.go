package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// TestLoans: two daemons; the one above its trigger lends a share of its new
// clients to the other by DNS, with room reserved there and before BGP moves
// anything, and takes them back when its load is gone.
func TestLoans(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", netip.AddrPortFrom(w.us4, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	var lonCarries atomic.Int64
	lonCarries.Store(98)
	server := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(out, `{"LON": %d, "FRA": 20}`, lonCarries.Load())
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	load := func(pop string) string {
		return fmt.Sprintf(`{interval: 100ms, average: 100ms, stale: 60s, capacity: {requests: 100}, sources: [{name: page, url: "http://%s/", format: json, path: .%s, unit: requests, kind: gauge, of: pop}]}`, l.Addr(), pop)
	}
	balance := func(mode string) string {
		return "{mode: " + mode + ", every: 1s, unit: requests, settle: 1s, turn: 1s, stale: 60s, hold: 60s, normal: 1, surprise: 1, dns: {most: 0.3, settle: 1s}}"
	}
	fra := netip.AddrFrom4([4]byte{127, 0, byte(w.n), 3})
	router := startRouter(t, fra.Next())
	w.write("secret", strings.Repeat("0123456789abcdef", 4))
	peers := func(listen netip.Addr, pop string, peer netip.Addr) string {
		return fmt.Sprintf(`{listen: "%s:9799", secret-file: %s, poll: 100ms, peers: [{pop: %s, url: "http://%s:9799/"}]}`, listen, w.file("secret"), pop, peer)
	}
	w.write("z.zone", fmt.Sprintf(theZone, 1, "one"))
	w.write("nets.csv", "198.51.100.0/24,eu\n")
	lon := w.sections
	w.sections = map[string]string{
		"pop": "FRA", "state-dir": w.file("state2"), "metrics": `{listen: ""}`, "web": `{listen: ""}`, "load": load("FRA"),
		"balance": strings.Replace(balance("observe"), ", dns: {most: 0.3, settle: 1s}", "", 1),
		"api":     fmt.Sprintf(`{socket: %s, gobgp-socket: ""}`, w.file("a2.sock")),
		"bgp":     fmt.Sprintf(`{global: {config: {as: 64500, router-id: 10.0.0.2, local-address-list: ["%s"]}}, neighbors: [%s]}`, fra, neighbor(fra, router.addr)),
		"fleet":   peers(fra, "LON", w.us4),
	}
	w.configureAs("fra.yaml", w.web(`prefixes: [`+web4+`]`))
	w.sections = lon
	w.sections["fleet"], w.sections["load"], w.sections["balance"] = peers(w.us4, "FRA", fra), load("LON"), balance("act")
	w.sections["core"] = fmt.Sprintf(`{mode: embedded, joins: {listen: "%s"}}`, w.addr(1, 9793))
	w.sections["dns"] = fmt.Sprintf(`{listen: ["%s"], zones: [{name: example.net, file: %s}],
  steer: {ttl: 1s, nets: [%s], pops: [{pop: LON, name: lon.pop.example.org}, {pop: FRA, name: fra.pop.example.org}],
    locations: [{name: eu, destination: europe}], destinations: [{name: europe, pops: [{pop: LON}], failover: [{pop: FRA}]}],
    names: [{name: www.example.net}]}}`, w.dnsAt(), w.file("z.zone"), w.file("nets.csv"))
	w.configure(w.web("ladder: [{name: backup, communities: [graceful-shutdown]}]"))
	w.up("web")
	w.start(nil, "--config", w.file("fra.yaml")).says("msg=ready")
	w.start(nil).says("msg=ready")

	w.journaled(1, func(e journal.Entry) bool {
		return e.Kind == journal.Load && strings.Contains(e.Text, "DNS send 10.0 % of new clients to FRA (was 0.0 %)") && strings.Contains(e.Text, "reserved at FRA")
	})
	w.counts(`catchment_balance_lent_ratio{pop="LON"} 0.[123]`, `catchment_balance_lent_ratio{pop="FRA"} 0$`)
	lends := func(what string, ok func([]api.DNSLoan) bool) {
		t.Helper()
		until(t, what, func() ([]api.DNSLoan, error) {
			s, err := w.client().DNSStatus(soon(t))
			for _, p := range s.POPs {
				if p.POP == "LON" {
					return p.Lends, err
				}
			}
			return nil, err
		}, ok)
	}
	lends("the DNS server lends", func(all []api.DNSLoan) bool { return len(all) == 1 && all[0].To == "FRA" && all[0].Share >= 0.1 })
	if heard := fmt.Sprint(w.r4.heard()); strings.Contains(heard, web4+" gshut") {
		t.Errorf("BGP has moved, too: %s", heard)
	}
	lonCarries.Store(20)
	lends("it takes them back", func(all []api.DNSLoan) bool { return len(all) == 0 })
	w.counts(`catchment_balance_lent_ratio{pop="LON"} 0$`)
}
