package main

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// TestBalance: two daemons that tell each other what they carry. The one above
// its limit first says what it would do, then does it: a router hears the
// rung, a restart moves nothing, and when the load is gone it is taken back.
func TestBalance(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", netip.AddrPortFrom(w.us4, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	var lonCarries, fraCarries atomic.Int64
	lonCarries.Store(112)
	fraCarries.Store(30)
	server := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(out, `{"LON": %d, "FRA": %d}`, lonCarries.Load(), fraCarries.Load())
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	load := func(pop string) string {
		return fmt.Sprintf(`{interval: 100ms, average: 100ms, stale: 60s, capacity: {requests: 100}, sources: [{name: page, url: "http://%s/", format: json, path: .%s, unit: requests, kind: gauge, of: pop}]}`, l.Addr(), pop)
	}
	balance := func(mode string) string {
		return "{mode: " + mode + ", every: 1s, unit: requests, settle: 2s, turn: 3s, stale: 60s, hold: 60s, normal: 1, surprise: 1}"
	}
	fra := netip.AddrFrom4([4]byte{127, 0, byte(w.n), 3})
	router := startRouter(t, fra.Next())
	w.write("secret", strings.Repeat("0123456789abcdef", 4))
	peers := func(listen netip.Addr, pop string, peer netip.Addr) string {
		return fmt.Sprintf(`{listen: "%s:9799", secret-file: %s, poll: 100ms, peers: [{pop: %s, url: "http://%s:9799/"}]}`, listen, w.file("secret"), pop, peer)
	}
	web := w.web("ladder: [{name: backup, communities: [graceful-shutdown]}]")
	lon := w.sections
	w.sections = map[string]string{
		"pop": "FRA", "state-dir": w.file("state2"), "metrics": `{listen: ""}`, "web": `{listen: ""}`, "balance": balance("observe"), "load": load("FRA"),
		"api":   fmt.Sprintf(`{socket: %s, gobgp-socket: ""}`, w.file("a2.sock")),
		"bgp":   fmt.Sprintf(`{global: {config: {as: 64500, router-id: 10.0.0.2, local-address-list: ["%s"]}}, neighbors: [%s]}`, fra, neighbor(fra, router.addr)),
		"fleet": peers(fra, "LON", w.us4),
	}
	w.configureAs("fra.yaml", w.web("ladder: [{name: backup, communities: [graceful-shutdown]}]", `prefixes: [`+web4+`]`))
	w.sections = lon
	w.sections["fleet"], w.sections["load"], w.sections["balance"], w.sections["core"] = peers(w.us4, "FRA", fra), load("LON"), balance("observe"), fmt.Sprintf(`{mode: embedded, joins: {listen: "%s"}}`, w.addr(1, 9793))
	w.configure(web)
	w.up("web")
	w.start(nil, "--config", w.file("fra.yaml")).says("msg=ready")
	p := w.start(nil)
	p.says("msg=ready")
	w.journaled(1, func(e journal.Entry) bool {
		return e.Kind == journal.Load && strings.Contains(e.Text, "would move "+web4+" from level 0 to 1")
	})

	c := w.client()
	status := func(what string, ok func(api.Status) bool) (st api.Status) {
		t.Helper()
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if st, err = c.Status(soon(t)); err == nil && st.Balance != nil && ok(st) {
				return st
			}
		}
		t.Fatalf("%s: %+v, %v", what, st.Balance, err)
		return st
	}
	moved := func(st api.Status) bool {
		return slices.ContainsFunc(st.Slices(), func(s api.SliceStatus) bool { return s.Rung == "backup" && s.Reason.Code == "load" })
	}
	if moved(status("observes", func(st api.Status) bool { return st.Balance.Mode == "observe" })) {
		t.Error("observe has moved something")
	}
	w.sections["balance"] = balance("act")
	w.configure(web)
	if _, err := c.Reload(soon(t)); err != nil {
		t.Fatal(err)
	}
	st := status("moves", moved)
	i := slices.IndexFunc(st.Slices(), func(s api.SliceStatus) bool { return s.Rung == "backup" })
	if text := st.Slices()[i].Reason.String(); st.Slices()[i].Slice.String() != web4 || !strings.Contains(text, "load: 1.12 of capacity, of it moved ") || !strings.Contains(text, "at FRA until ") {
		t.Errorf("%v because %s", st.Slices()[i].Slice, text)
	}
	w.r4.await(0, "announce "+web4, "announce "+web4+" gshut")
	lonCarries.Store(70)
	fraCarries.Store(70)
	status("is checked", func(st api.Status) bool {
		return slices.ContainsFunc(st.Balance.Steps, func(s api.BalanceStep) bool { return strings.Contains(s.Outcome, "of capacity moved") })
	})
	w.counts(`catchment_balance_steps_total{state="made"} 1`, `catchment_slice_reason_info{.*reason="load"`)

	heard := len(w.r4.heard())
	p.signal(syscall.SIGUSR2) // leaves the routes
	p.ends(0)
	p = w.start(nil)
	p.says("msg=ready")
	status("after a restart", moved)
	for _, line := range w.r4.heard()[heard:] {
		if strings.Contains(line, web4) && line != "announce "+web4+" gshut" {
			t.Errorf("a restart has moved it: %s", line)
		}
	}
	lonCarries.Store(20)
	fraCarries.Store(20)
	status("comes back", func(st api.Status) bool { return !moved(st) && len(st.Balance.Reserved) == 0 })
}
