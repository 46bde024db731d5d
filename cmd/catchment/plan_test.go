package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// TestPlansArrive: the words on the command line are what the daemon is asked.
func TestPlansArrive(t *testing.T) {
	b := apitest.World()
	socket := start(t, b)
	file := filepath.Join(t.TempDir(), "new.toml")
	if err := os.WriteFile(file, []byte("pop = 'LON'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	v6 := policy.SliceID(netip.MustParsePrefix("2001:db8:100::/48"))
	minute := api.Duration(time.Minute)
	for args, want := range map[string][]api.Supposition{
		"plan drain":                                 {{Kind: api.SupposeDrain}},
		"plan drain web --within 1m --force":         {{Kind: api.SupposeDrain, Service: "web", Wait: minute, Force: true}},
		"plan drain 2001:db8:100::/48 --for 1m":      {{Kind: api.SupposeDrain, Slice: v6, For: minute}},
		"plan undrain web":                           {{Kind: api.SupposeUndrain, Service: "web"}},
		"plan withdraw web --for 1m":                 {{Kind: api.SupposeWithdraw, Service: "web", For: minute}},
		"plan hold --for 1m":                         {{Kind: api.SupposeHold, For: minute}},
		"plan pin web 2":                             {{Kind: api.SupposePin, Service: "web", Stance: &policy.Stance{Action: policy.Announce, Rung: 2}}},
		"plan pin withdraw":                          {{Kind: api.SupposePin, Stance: &policy.Stance{}}},
		"plan pin 2001:db8:100::/48 announce":        {{Kind: api.SupposePin, Slice: v6, Stance: &policy.Stance{Action: policy.Announce}}},
		"plan pin web backup":                        {{Kind: api.SupposePin, Service: "web", Rung: "backup"}},
		"plan prepend 3":                             {{Kind: api.SupposePrepend, Rung: "3"}},
		"plan prepend web backup --for 1m":           {{Kind: api.SupposePrepend, Service: "web", Rung: "backup", For: minute}},
		"plan prepend 2001:db8:100::/48 2":           {{Kind: api.SupposePrepend, Slice: v6, Rung: "2"}},
		"plan withdraw LON":                          {{Kind: api.SupposeWithdraw, Service: "LON"}}, // the daemon knows which are POPs
		"plan capacity LON=0.7":                      {{Kind: api.SupposeCapacity, POP: "LON", Capacity: 0.7}},
		"plan capacity FRA=120%":                     {{Kind: api.SupposeCapacity, POP: "FRA", Capacity: 1.2}},
		"plan release web":                           {{Kind: api.SupposeRelease, Service: "web"}},
		"plan stop":                                  {{Kind: api.SupposeStop}},
		"plan check web/http=down":                   {{Kind: api.SupposeCheck, Service: "web", Check: "http", Verdict: policy.Down}},
		"plan check web=degraded":                    {{Kind: api.SupposeCheck, Service: "web", Verdict: policy.Degraded}},
		"plan pop FRA=silent":                        {{Kind: api.SupposePOP, POP: "FRA", Is: api.IsSilent}},
		"plan neighbor 2001:db8::2=down":             {{Kind: api.SupposeNeighbor, Neighbor: netip.MustParseAddr("2001:db8::2"), Is: api.IsDown}},
		"plan config " + file:                        {{Kind: api.SupposeConfig, Config: "pop = 'LON'\n", Format: "toml"}},
		"plan drain web --pop FRA=gone --pop AMS=up": {{Kind: api.SupposeDrain, Service: "web"}, {Kind: api.SupposePOP, POP: "FRA", Is: api.IsGone}, {Kind: api.SupposePOP, POP: "AMS", Is: api.IsUp}},
		"plan hold --check web/http=down --neighbor 10.0.0.2=up": {{Kind: api.SupposeHold}, {Kind: api.SupposeCheck, Service: "web", Check: "http", Verdict: policy.Down},
			{Kind: api.SupposeNeighbor, Neighbor: netip.MustParseAddr("10.0.0.2"), Is: api.IsUp}},
	} {
		b.Plans = nil
		status, _, errs := catchment(t.Context(), socket, strings.Fields(args)...)
		if status != exitOK || len(b.Plans) != 1 || !reflect.DeepEqual(b.Plans[0].Suppose, want) || b.Plans[0].For != api.Duration(api.PlanHorizon) {
			t.Errorf("%s: status %d %q, asked %+v, want %+v", args, status, errs, b.Plans, want)
		}
	}
	if len(b.Intents)+len(b.Released) > 0 {
		t.Errorf("a plan asked for changes: %+v %+v", b.Intents, b.Released)
	}
}

// TestPlanWords: what a plan looks like that is none of a drain.
func TestPlanWords(t *testing.T) {
	announce := policy.Stance{Action: policy.Announce}
	heard := []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	med := func(n uint32) *api.Attributes { return &api.Attributes{MED: &n} }
	at := func(p string, steps ...api.PlanStep) api.PlanSlice {
		return api.PlanSlice{
			Slice: policy.SliceID(netip.MustParsePrefix(p)), Service: "web", Steps: steps,
			Before: api.PlanStance{Stance: announce, Rung: "normal", Announced: med(10), HeardBy: heard},
		}
	}
	step := func(ps api.PlanStance) api.PlanStep { return api.PlanStep{When: "at once", PlanStance: ps} }
	objecting := func(n int) []api.PlanSlice {
		var out []api.PlanSlice
		for i := range n {
			s := at(fmt.Sprintf("10.0.%d.0/24", i))
			s.Objections = []api.PlanObjection{{GuardStatus: api.GuardStatus{Guard: "blast", Says: api.Wait, Detail: "1 of at most 1"}, Ends: api.Duration(1500 * time.Millisecond), Instead: announce, Rung: "normal"}}
			out = append(out, s)
		}
		return out
	}
	for _, tc := range []struct {
		name string
		plan api.Plan
		want []string
		not  []string
	}{
		{"refused", api.Plan{Refused: "a: b\nc: d", Settled: true}, []string{"A reload would be refused:\n  a: b\n  c: d\n"}, []string{"Nothing"}},
		{"nothing", api.Plan{Settled: true, Slices: []api.PlanSlice{at("10.0.0.0/24")}}, []string{"Nothing that is announced would change."}, []string{"SLICE", "No change"}},
		{"a session", api.Plan{Settled: true, Slices: []api.PlanSlice{at("10.0.0.0/24", step(api.PlanStance{Stance: announce, Rung: "normal", Announced: med(10)}))}},
			[]string{"HEARD BY", "announce normal still", "nobody"}, nil},
		{"attributes", api.Plan{Settled: true, Changes: []string{"services[web].attributes.med: 10 -> 20"},
			Slices: []api.PlanSlice{at("10.0.0.0/24", step(api.PlanStance{Stance: announce, Rung: "normal", Announced: med(20), HeardBy: heard}))}},
			[]string{"The configuration\n  - services[web].attributes.med: 10 -> 20", "announce normal -> announce normal, MED 20"}, []string{"HEARD BY"}},
		{"not settled", api.Plan{Until: api.Duration(time.Hour), Slices: []api.PlanSlice{at("10.0.0.0/24")}}, []string{"after the 1h0m0s that were looked ahead"}, nil},
		{"many guards", api.Plan{Settled: true, Slices: objecting(10)},
			[]string{"10.0.0.0/24: blast says wait from 0s to 1.5s, announce normal instead of withdraw: 1 of at most 1", "and 2 more like these"}, []string{"10.0.9.0/24"}},
	} {
		b := apitest.World()
		b.Planned = &tc.plan
		_, out, _ := catchment(t.Context(), start(t, b), "plan", "drain")
		for _, want := range tc.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s lacks %q:\n%s", tc.name, want, out)
			}
		}
		for _, not := range tc.not {
			if strings.Contains(out, not) {
				t.Errorf("%s has %q:\n%s", tc.name, not, out)
			}
		}
	}
}
