package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// TestPlanOfAReload: what a plan says of a configuration is what the routers
// hear when it is loaded, in the same order, and until then they hear nothing.
func TestPlanOfAReload(t *testing.T) {
	w := newWorld(t)
	w.sections["guards"] = "{blast: {slices: 1, share: 0, interval: 1s}}"
	web, one := w.web(), w.service("one", "198.51.100.0/24", "2001:db8:101::/48")
	w.configure(web, one)
	w.up("web")
	w.up("one")
	p := w.start(nil)
	for i, r := range w.routers() {
		for _, heard := range [][]string{{"announce " + web4, "announce 198.51.100.0/24"}, {"announce " + web6, "announce 2001:db8:101::/48"}}[i] {
			r.await(0, heard)
		}
	}
	ask := func(file string) api.Plan {
		t.Helper()
		text, err := os.ReadFile(w.file(file))
		if err != nil {
			t.Fatal(err)
		}
		plan, err := w.client().Plan(soon(t), api.PlanRequest{Suppose: []api.Supposition{{Kind: api.SupposeConfig, Config: string(text)}}})
		if err != nil {
			t.Fatal(err)
		}
		return plan
	}
	w.write("bad.yaml", "pop: [")
	if plan := ask("bad.yaml"); plan.Refused == "" || len(plan.Slices) > 0 {
		t.Errorf("a configuration with a mistake: %+v", plan)
	}
	w.up("two")
	w.configure(web, w.service("two", "203.0.113.0/24", "2001:db8:102::/48"))
	plan := ask("c.yaml")
	type move struct {
		at   time.Duration
		what string
	}
	var planned []move
	for _, s := range plan.Slices {
		for _, st := range s.Steps {
			planned = append(planned, move{time.Duration(st.At), fmt.Sprintf("%v %v", s.Slice, st.Stance)})
		}
		if len(s.Steps) > 0 && s.Service == "two" && s.Steps[0].When != "once checks pass" {
			t.Errorf("%v: %+v", s.Slice, s.Steps)
		}
	}
	slices.SortStableFunc(planned, func(a, b move) int { return cmp.Compare(a.at, b.at) })
	if len(planned) != 4 || !plan.Settled || !slices.ContainsFunc(plan.Notes, func(n string) bool {
		return strings.Contains(n, "two/file") && !strings.Contains(n, "web/file")
	}) {
		t.Fatalf("planned %+v, notes %q", planned, plan.Notes)
	}
	for i, r := range w.routers() {
		if got := r.routes(0); len(got) != 2 {
			t.Errorf("router %d heard %q of a plan", i, got)
		}
	}
	if _, err := w.client().Reload(soon(t)); err != nil {
		t.Fatal(err)
	}
	for i, r := range w.routers() {
		for _, heard := range [][]string{{"withdraw 198.51.100.0/24", "announce 203.0.113.0/24"}, {"withdraw 2001:db8:101::/48", "announce 2001:db8:102::/48"}}[i] {
			r.await(0, heard)
		}
	}
	// Two services do not wait for one another: the order is compared of each.
	reloaded := w.journaled(1, func(e journal.Entry) bool { return strings.HasPrefix(e.Text, "reloaded: ") })[0]
	for _, stance := range []string{"announce", "withdraw"} {
		var want, got []string
		for _, m := range planned {
			if strings.HasSuffix(m.what, stance) {
				want = append(want, m.what)
			}
		}
		for _, e := range w.journaled(len(want), func(e journal.Entry) bool {
			return e.Time.After(reloaded.Time) && e.Kind == journal.Decision && *e.Before != *e.After && e.After.String() == stance
		}) {
			got = append(got, fmt.Sprintf("%v %v", e.Slice, *e.After))
		}
		if !slices.Equal(got, want) {
			t.Errorf("happened %q, planned %q", got, want)
		}
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
}
