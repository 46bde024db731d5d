package host

import (
	"fmt"
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/core"
)

// TestForget: what a POP left goes, what is others' stays, and a POP that is
// heard of is left alone.
func TestForget(t *testing.T) {
	m := core.NewMemory(core.Options{Limits: core.Limits{Rate: 1e6, Burst: 1e6}})
	a := Admin{Host: Over(m.Core, "LON", quiet), Heard: func(pop string) bool { return pop == "FRA" }}
	w := core.Write{Who: "a test", Why: "a test"}
	gone := []string{"turn/NYC", "claim/NYC/192.0.2.0/24", "reservation/FRA/NYC/192.0.2.0/24", "reservation/NYC/LON/192.0.2.0/24", "room/NYC", "report/NYC/config"}
	for i := range 150 {
		gone = append(gone, fmt.Sprintf("claim/NYC/10.0.%d.0/24", i))
	}
	stay := []string{"turn/NYC2", "claim/FRA/192.0.2.0/24", "reservation/FRA/LON/192.0.2.0/24", "reservation/NYC", "intent/NYC"}
	for _, k := range append(gone, stay...) {
		kind, name, _ := strings.Cut(k, "/")
		if _, err := m.Put(t.Context(), w, core.Key{Kind: core.Kind(kind), Name: name}, []byte(`1`), core.Absent); err != nil {
			t.Fatal(k, err)
		}
	}
	change := func(c api.CoreChange) (api.CoreResult, error) {
		c.Why = "it is closed"
		return a.CoreChange(t.Context(), "forget", "ann", c)
	}
	for name, want := range map[string]api.Code{"": api.Invalid, "a/b": api.Invalid, "LON": api.Refused, "FRA": api.Refused} {
		if _, err := change(api.CoreChange{Name: name}); code(err) != want {
			t.Errorf("forget %q: %v, want %v", name, err, want)
		}
	}
	r, err := change(api.CoreChange{Name: "NYC"})
	if want := "NYC is forgotten: 1 turn, 151 claim, 2 reservation, 1 room, 1 report removed"; err != nil || r.Text != want {
		t.Errorf("said %q, %v, want %q", r.Text, err, want)
	}
	there := func(k string) bool {
		kind, name, _ := strings.Cut(k, "/")
		_, err := m.Get(t.Context(), core.Key{Kind: core.Kind(kind), Name: name})
		return err == nil
	}
	for _, k := range gone {
		if there(k) {
			t.Errorf("%s is still there", k)
		}
	}
	for _, k := range stay {
		if !there(k) {
			t.Errorf("%s is gone", k)
		}
	}
	if r, err := change(api.CoreChange{Name: "FRA", Force: true}); err != nil || r.Text != "FRA is forgotten: 1 claim, 1 reservation removed" {
		t.Errorf("by force: %q, %v", r.Text, err)
	}
}
