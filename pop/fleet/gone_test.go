package fleet

import (
	"testing"
	"time"
)

// TestGone: a POP is gone when our RIB has lost it, or when it has not been
// heard for long; not while anything shows that it announces, and not if it
// was never there.
func TestGone(t *testing.T) {
	route := route4(1*s, web4, nil)
	for name, tc := range map[string]struct {
		status, rib bool
		events      []Event
		at          time.Duration
		want        bool
	}{
		"never heard":                    {true, false, nil, 100 * s, false},
		"heard":                          {true, false, []Event{answer(1*s, 1*s, "a", 1, up(web4))}, 2 * s, false},
		"heard long ago":                 {true, false, []Event{answer(1*s, 1*s, "a", 1, up(web4))}, 100 * s, true},
		"and our RIB shows it":           {true, true, []Event{answer(1*s, 1*s, "a", 1, up(web4)), route}, 100 * s, false},
		"heard, and our RIB lost it":     {true, true, []Event{route, answer(1*s, 1*s, "a", 1, up(web4)), route4(2*s, web4, gone)}, 2 * s, true},
		"our RIB lost it, and it speaks": {true, true, []Event{route, route4(2*s, web4, gone), answer(3*s, 3*s, "a", 1, up(web4))}, 4 * s, false},
		"our RIB alone lost it":          {false, true, []Event{route, route4(2*s, web4, gone)}, 2 * s, true},
		"our RIB has never shown it":     {false, true, nil, 100 * s, false},
		"by graceful restart alone":      {false, true, []Event{route, route4(2*s, web4, stale)}, 3 * s, false},
		"so, and heard long ago":         {true, true, []Event{answer(1*s, 1*s, "a", 1, up(web4)), route, route4(2*s, web4, stale)}, 100 * s, true},
		"its route is back":              {false, true, []Event{route, route4(2*s, web4, gone), route4(3*s, web4, nil)}, 4 * s, false},
	} {
		st := state(tc.status, tc.rib)
		for _, e := range tc.events {
			if _, err := st.Take(e); err != nil {
				t.Fatal(err)
			}
		}
		if got := st.Gone("FRA", at(tc.at)); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
		if st.Gone("XXX", at(tc.at)) {
			t.Errorf("%s: a POP that nobody knows is gone", name)
		}
	}
}
