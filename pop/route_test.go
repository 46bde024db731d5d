package pop_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/journal"
)

// force asks for a change and wants those words in the answer.
func (w *world) force(r pop.RouteChange, words ...string) {
	w.t.Helper()
	r.Slice, r.By = web, "uid 0 (root)"
	note, err := w.c.ForceRoute(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, word := range words {
		if !strings.Contains(note, word) {
			w.t.Errorf("note lacks %q: %s", word, note)
		}
	}
}

func (w *world) explanation() api.Explanation {
	w.t.Helper()
	e, err := w.c.Explain(w.t.Context(), web)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// release ends everything about the slice, as `catchment release --slice` does.
func (w *world) release() {
	w.t.Helper()
	if _, err := w.c.Release(w.t.Context(), api.Released{Slice: web, By: "eng"}); err != nil {
		w.t.Fatal(err)
	}
}

// TestForcedRoute: an added route stays, with its attributes, whatever health
// says and over a restart, until it is deleted or released; a deleted one stays
// away until it is released.
func TestForcedRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := newWorld(t, dir)
		w.cfg.Fleet.Site = &bgp.LargeCommunity{Global: 64500, Local1: 1, Local2: 1}
		w.start()
		w.verdict(policy.Up)
		w.lines()

		med := bgp.Attributes{Prepend: 2, Communities: []bgp.Community{bgp.NoExport}}
		w.force(pop.RouteChange{Attributes: med, Why: "ticket 4711"}, "192.0.2.0/24: announced by force: announce, operator", "catchment release --slice 192.0.2.0/24")
		w.expect("set [192.0.2.0/24 prepend 2 no-export]")
		if got := w.set[0].LargeCommunities; len(got) != 1 || got[0] != *w.cfg.Fleet.Site {
			t.Errorf("the POP's mark is gone: %v", got)
		}
		w.verdict(policy.Down)
		w.pass(time.Minute)
		w.expect("") // nothing takes it away
		e := w.explanation()
		if e.Slice.Rung != "forced" || e.Slice.Reason.String() != "operator: route added by force by uid 0 (root): ticket 4711" ||
			e.Slice.Intent.What() != "route added (forced, prepend 2 community no-export)" || len(e.Intents) != 1 || e.Slice.Announced.Prepend != 2 {
			t.Errorf("explained as %+v, intents %+v", e.Slice, e.Intents)
		}
		if len(e.WouldChange) == 0 || !strings.Contains(e.WouldChange[0], "catchment release --slice 192.0.2.0/24") {
			t.Errorf("would change: %q", e.WouldChange)
		}

		if err := w.c.Leave(t.Context(), w, "signal"); err != nil {
			t.Fatal(err)
		}
		w.stop()
		entries := w.entries
		w = newWorld(t, dir)
		w.start()
		defer w.stop()
		w.expect(vipOn + "; set [192.0.2.0/24 prepend 2 no-export]")
		w.verdict(policy.Down)
		w.pass(time.Second)
		w.expect("")

		w.force(pop.RouteChange{Withdraw: true}, "is released", "withdraw, check-down")
		w.expect(setNone + "; " + vipOff)
		w.verdict(policy.Up)
		w.pass(time.Minute)
		w.lines()
		w.force(pop.RouteChange{Withdraw: true, Why: "line card"}, "withdrawn by force: withdraw, operator: route deleted by force")
		w.expect(setNone + "; " + vipOff)
		w.pass(time.Minute)
		w.expect("") // health says up
		if _, err := w.c.Release(t.Context(), api.Released{Service: "web", By: "eng"}); err == nil ||
			!strings.Contains(err.Error(), "nothing to release for web; there is a route deleted (forced) of 192.0.2.0/24: --slice 192.0.2.0/24") {
			t.Errorf("released the service: %v", err)
		}
		w.release()
		w.expect(vipOn + "; " + setWeb)

		var texts []string
		for _, e := range append(entries, w.entries...) {
			if e.Kind == journal.Intent {
				texts = append(texts, e.By+": "+e.Text)
			}
		}
		for i, want := range []string{
			"uid 0 (root): route added (forced, prepend 2 community no-export) of 192.0.2.0/24 asked for: ticket 4711",
			"uid 0 (root): route added (forced, prepend 2 community no-export) of 192.0.2.0/24 released",
			"uid 0 (root): route deleted (forced) of 192.0.2.0/24 asked for: line card",
			"eng: route deleted (forced) of 192.0.2.0/24 released",
		} {
			if i >= len(texts) || !strings.HasPrefix(texts[i], want) {
				t.Errorf("journal %d: %q, want %q", i, texts, want)
			}
		}
	})
}

// TestForcedRouteAndNeighbors: who is withheld stays so, and keeps its next
// hop; the other attributes are the operator's for everybody.
func TestForcedRouteAndNeighbors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
		next, other := netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("10.9.9.8")
		w := newWorld(t, t.TempDir())
		w.cfg.Services[0].Ladder[0].Neighbors = map[netip.Addr]bgp.Override{
			a: {Withhold: true}, b: {Attributes: bgp.Attributes{Prepend: 3, NextHop: next}}, c: {Attributes: bgp.Attributes{Prepend: 3}},
		}
		w.start()
		defer w.stop()
		w.force(pop.RouteChange{})
		want := bgp.Announcement{Prefix: web.Prefix(), Neighbors: map[netip.Addr]bgp.Override{a: {Withhold: true}, b: {Attributes: bgp.Attributes{NextHop: next}}}}
		if got := w.set; len(got) != 1 || !got[0].Equal(want) {
			t.Errorf("announced as %+v, want %+v", got, want)
		}
		w.force(pop.RouteChange{Attributes: bgp.Attributes{NextHop: other}})
		want = bgp.Announcement{Prefix: web.Prefix(), Attributes: bgp.Attributes{NextHop: other}, Neighbors: map[netip.Addr]bgp.Override{a: {Withhold: true}}}
		if got := w.set; len(got) != 1 || !got[0].Equal(want) {
			t.Errorf("announced as %+v, want %+v", got, want)
		}
		if st, err := w.c.Status(t.Context()); err != nil || len(st.Intents) != 1 {
			t.Errorf("intents %+v, %v", st.Intents, err)
		}
	})
}

func TestForcedRouteOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		other := policy.SliceID(netip.MustParsePrefix("198.51.100.0/24"))
		if note, err := w.c.ForceRoute(t.Context(), pop.RouteChange{Slice: other}); err == nil || !strings.Contains(err.Error(), "no service has the slice 198.51.100.0/24") {
			t.Errorf("%s, %v", note, err)
		}
	})
}

// TestForcedRouteIsTakenBack: what a deletion ends is the route that was added,
// even where a reload has moved its slice to another service, and nothing else:
// a pin to withdraw beside it counts again.
func TestForcedRouteIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.reload = func(old *config.Config) (*config.Config, []string, error) {
			next := *old
			next.Services = slices.Clone(old.Services)
			next.Services[0].ID = "www"
			return &next, nil, nil
		}
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		pin := policy.Intent{Kind: policy.IntentPin, Slice: web, By: "eng", Why: "line card"}
		if _, err := w.c.Intent(t.Context(), pin); err != nil {
			t.Fatal(err)
		}
		w.force(pop.RouteChange{}, "announced by force")
		if _, err := w.c.Reload(t.Context(), "eng"); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Second)
		if e := w.explanation(); !e.Slice.Stance.Announced() || e.Slice.Rung != "forced" {
			t.Errorf("moved to another service: %+v", e.Slice)
		}
		w.force(pop.RouteChange{Withdraw: true}, "is released", "withdraw, operator: pinned by eng: line card")
		if st, err := w.c.Status(t.Context()); err != nil || len(st.Intents) != 1 || st.Intents[0].Route != nil {
			t.Errorf("intents %+v, %v", st.Intents, err)
		}
	})
}

// TestForcedRouteOfARemovedService: what guards still keep on the air goes on
// as it was announced, not as the service would have been.
func TestForcedRouteOfARemovedService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.cfg.Limits.BlastSlices, w.cfg.Limits.BlastInterval = 1, 10*time.Second
		first, last := prefix("2001:db8::/32"), prefix("2001:db9::/32")
		second := w.cfg.Services[0]
		second.ID, second.Slices, second.Always, second.Checks = "dns", []policy.SliceID{first, last}, true, nil
		w.cfg.Services = append(w.cfg.Services, second)
		w.reload = func(old *config.Config) (*config.Config, []string, error) {
			next := *old
			next.Services = old.Services[:1]
			return &next, nil, nil
		}
		w.start()
		defer w.stop()
		quiet := bgp.Attributes{Communities: []bgp.Community{bgp.NoExport}}
		if _, err := w.c.ForceRoute(t.Context(), pop.RouteChange{Slice: last, Attributes: quiet, By: "eng"}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.c.Reload(t.Context(), "eng"); err != nil {
			t.Fatal(err)
		}
		w.pass(2 * time.Second)
		if len(w.set) != 1 || w.set[0].Prefix != last.Prefix() || !w.set[0].Attributes.Equal(quiet) {
			t.Errorf("kept by blast: %+v", w.set)
		}
		w.pass(12 * time.Second)
		if len(w.set) != 0 {
			t.Errorf("then: %+v", w.set)
		}
	})
}
