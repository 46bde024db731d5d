package main

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/catchment/catchment/pop/api"
)

// relayed waits for what a POP says of the relay tree.
func (d *node) relayed(what string, ok func(r api.CoreRelay, s api.CoreStatus) bool) {
	d.w.t.Helper()
	d.core(what, func(s api.CoreStatus) bool { return s.Relay != nil && ok(*s.Relay, s) })
}

// TestRelay: POPs follow a member POP to POP. The last of them has its
// configuration, orders and what others say of themselves by the tree, goes on
// by another way when the one before it dies, and restarts with nobody left.
func TestRelay(t *testing.T) {
	w := newWorld(t)
	lon := w.node("LON", fmt.Sprintf(`{mode: embedded, joins: {listen: "%s"}}`, w.addr(1, 9793)),
		w.plain(1), fmt.Sprintf(`relay: {listen: "%s"}`, w.addr(1, 9796)))
	lon.core("alone", voters(1))
	lon.relayed("at the top", func(r api.CoreRelay, _ api.CoreStatus) bool { return r.Standing == "rooted" })
	for _, name := range []string{"AMS", "FRA"} {
		w.write(name+".token", lon.do("token", api.CoreChange{Name: name}).Token)
	}
	follow := func(name string) string {
		return "{mode: follow, config: true, token-file: " + w.file(name+".token") + "}"
	}
	parents := func(i int, more string) string {
		return fmt.Sprintf(`relay: {listen: "%s", parents: [%s{pop: LON, address: "%s"}]}`, w.addr(i, 9796), more, w.addr(1, 9796))
	}
	lon.do("put", api.CoreChange{Name: "fleet", Text: "services:\n" + w.web()})
	lon.do("put", api.CoreChange{Name: "pop/FRA", Text: "bgp: " + w.sections["bgp"]})
	lon.do("put", api.CoreChange{Name: "pop/AMS", Text: w.plain(2)})
	w.up("web")
	ams := w.node("AMS", follow("AMS"), parents(2, ""))
	ams.relayed("below LON", func(r api.CoreRelay, s api.CoreStatus) bool {
		return slices.Equal(r.Path, []string{"LON", "AMS"}) && s.Reachable
	})
	fra := w.node("FRA", follow("FRA"), parents(3, fmt.Sprintf(`{pop: AMS, address: "%s"}, `, w.addr(2, 9796))))
	w.r4.await(0, "announce "+web4)
	fra.relayed("below AMS", func(r api.CoreRelay, s api.CoreStatus) bool {
		return slices.Equal(r.Path, []string{"LON", "AMS", "FRA"}) && r.Standing == "rooted" && s.Reachable
	})
	lon.relayed("two below", func(r api.CoreRelay, s api.CoreStatus) bool {
		return r.Below == 3 && slices.Equal(r.Followers, []string{"AMS"}) && r.BehindBelow == 0 && r.POPs == 3
	})
	for _, d := range []*node{lon, ams, fra} {
		until(t, d.name+" hears the others", func() (api.Status, error) { return d.c.Status(soon(t)) }, func(s api.Status) bool {
			heard := 0
			for _, p := range s.Fleet {
				if p.Source == "relay" && !p.Stale {
					heard++
				}
			}
			return heard == 2
		})
	}

	// An order from the other end of the tree, and a write from below.
	in := api.Change{POP: "FRA", Service: "web", Why: "new disks"}
	if r, err := lon.c.Drain(soon(t), in); err != nil || r.Text != "FRA: drain of web is in force" {
		t.Errorf("drain at FRA: %+v, %v", r, err)
	}
	if r, err := lon.c.Undrain(soon(t), in); err != nil || r.Text != "FRA: 1 released" {
		t.Errorf("undrain at FRA: %+v, %v", r, err)
	}
	if r := fra.do("put", api.CoreChange{Name: "fleet/stop", Text: "stop: {deadline: 39s}"}); r.Number == 0 {
		t.Errorf("a change from below: %+v", r)
	}
	fra.p.says("stop.deadline: 60s -> 39s")

	ams.kill()
	fra.relayed("below LON", func(r api.CoreRelay, _ api.CoreStatus) bool { return slices.Equal(r.Path, []string{"LON", "FRA"}) })
	until(t, "AMS is silent", func() (api.Status, error) { return fra.c.Status(soon(t)) }, func(s api.Status) bool {
		return slices.ContainsFunc(s.Fleet, func(p api.FleetPeerStatus) bool { return p.POP == "AMS" && p.Stale })
	})
	lon.kill()
	fra.relayed("alone", func(r api.CoreRelay, s api.CoreStatus) bool { return r.Standing == "orphan" && !s.Reachable })
	from := len(w.r4.heard())
	fra.p.signal(syscall.SIGUSR2)
	fra.p.ends(0)
	fra.start()
	fra.p.says("msg=ready")
	w.r4.await(from, "announce "+web4)
	fra.p.says("begins with what is on disk")
	lon.start()
	fra.relayed("below LON", func(r api.CoreRelay, s api.CoreStatus) bool { return r.Standing == "rooted" && s.Reachable })
}
