package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// TestCost: what DNS moved for slowness is in the books of both POPs, by what
// links carried and with what would have been; harm above the ceiling stops it
// by itself until it has been calm, and a restart forgets nothing.
func TestCost(t *testing.T) {
	w := newWorld(t)
	w.write("z.zone", fmt.Sprintf(theZone, 1, "one"))
	w.write("nets.csv", "203.0.113.0/24,eu\n198.51.100.0/24,us\n")
	w.write("slow.csv", "203.0.113.0/25,measured\n")
	w.write("secret", strings.Repeat("s", 32))
	lon, nyc := w.addr(0, 9799), w.addr(1, 9799)
	fleet := func(at, pop, peer string) string {
		return fmt.Sprintf(`{listen: "%s", secret-file: %s, poll: 100ms, peers: [{pop: %s, url: "http://%s/"}]}`, at, w.file("secret"), pop, peer)
	}
	const prices = `{currency: EUR, slot: 1s,
  pops: [{pop: LON, links: [{link: lo, per-gb: 2}], distance: [{pop: NYC, latency: 100ms}]}, {pop: NYC, per-gb: 0.5, distance: [{pop: LON, latency: 100ms}]}],
  ceiling: {latency: 1ms, window: 2s, calm: 1s, least: 1}}`
	const links = `{interval: 100ms, average: 100ms, links: [{device: lo}]}`
	at := netip.MustParseAddrPort(nyc).Addr()
	other := startRouter(t, at.Next())
	w.node("NYC", "{mode: none}", "fleet: "+fleet(nyc, "LON", lon), "cost: "+prices, "load: "+links, fmt.Sprintf(`bgp:
  global: {config: {as: 64500, router-id: 10.0.0.2, local-address-list: ["%s"]}}
  neighbors: [%s]
services: [{name: web, prefixes: [%s], always: true}]`, at, neighbor(at, other.addr), web4))
	w.sections["fleet"], w.sections["load"] = fleet(lon, "NYC", nyc), links
	w.sections["dns"] = strings.Replace(strings.Replace(w.dnsSection("{name: www.example.net}"),
		"failover: [{pop: NYC}]}", "failover: [{pop: NYC}], cheap: [{pop: NYC}]}", 1), "pops: [{pop: LON, name", fmt.Sprintf("slow: [%s], pops: [{pop: LON, name", w.file("slow.csv")), 1)
	w.configure(w.web())
	w.up("web")
	p := w.start(nil)
	w.r4.await(0, "announce "+web4)
	if _, err := w.client().CostStatus(soon(t), 1); err == nil || !strings.Contains(err.Error(), "cost.pops is not set") {
		t.Errorf("without prices: %v", err)
	}
	const www, slow = "www.example.net.", "203.0.113.0/25"
	w.answersAs(www, dns.TypeA, slow, "nyc.pop.example.org.")
	w.sections["cost"] = prices // by a reload
	w.configure(w.web())
	p.signal(syscall.SIGHUP)

	// Each answer is asked for while we wait: who is moved is moved by them.
	cost := func(what string, ok func(api.CostStatus) bool) api.CostStatus {
		return until(t, what, func() (api.CostStatus, error) {
			w.resolves(www, dns.TypeA, slow)
			return w.client().CostStatus(soon(t), 1)
		}, ok)
	}
	near := []string{"192.0.2.1", "192.0.2.2"}
	s := cost("the ceiling stops", func(s api.CostStatus) bool { return s.Steering.Stopped })
	if s.Steering.Why != "latency" || !slices.Equal(s.Steering.Means, []string{"dns"}) || !strings.Contains(s.Steering.Detail, "cost.ceiling.latency is 1ms") {
		t.Errorf("%+v", s.Steering)
	}
	w.answersAs(www, dns.TypeA, slow, near...)
	w.answersAs(www, dns.TypeA, slow, "nyc.pop.example.org.") // calm
	said := w.journaled(2, func(e journal.Entry) bool { return e.Kind == journal.Cost })
	if !strings.Contains(said[0].Text, "is stopped: answers come ") || !strings.Contains(said[1].Text, "goes on: harm was below half") {
		t.Errorf("%+v", said)
	}
	moved := func(s api.CostStatus) bool {
		return len(s.Month.POPs) == 2 && s.Month.POPs[0].Moved > 0 && s.Month.POPs[1].Moved < 0 && s.Month.POPs[0].Saved > 0 && s.Month.POPs[1].Saved < 0 &&
			s.Month.POPs[1].Known > 2 && s.Month.POPs[0].Harm.Latency > 0 && len(s.Days) == 1 && s.Month.All.Saved > 0
	}
	s = cost("the books of both", moved)
	if !strings.Contains(strings.Join(s.Notes, " "), "stalls are not measured") {
		t.Errorf("%q", s.Notes)
	}
	if text := w.scrape(); !strings.Contains(text, `catchment_cost_bill{pop="LON"} `) || !strings.Contains(text, "catchment_cost_steering_stopped ") {
		t.Error("no metrics of it")
	}
	n := api.NewClient(w.file("NYC.sock"))
	defer n.Close()
	until(t, "the same books at NYC", func() (api.CostStatus, error) { return n.CostStatus(soon(t), 1) }, moved)

	p.signal(syscall.SIGKILL)
	<-p.done
	p = w.start(nil)
	again := until(t, "the books after a restart", func() (api.CostStatus, error) { return w.client().CostStatus(soon(t), 1) },
		func(s api.CostStatus) bool { return !s.Now.IsZero() })
	if was, is := s.Month.POPs[0].Moved, again.Month.POPs[0].Moved; is < 0.9*was || again.Now.Sub(s.Now) > 24*time.Hour {
		t.Errorf("moved %v before, %v after", was, is)
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}
