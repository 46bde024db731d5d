package pop_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
)

// claimed is what the POP says to the others that it does with its slices.
func (w *world) claimed() map[policy.SliceID]policy.Action {
	w.t.Helper()
	claims, err := w.c.Claims(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[policy.SliceID]policy.Action{}
	for _, c := range claims {
		out[c.Slice] = c.Stance.Action
	}
	return out
}

// The IPv6 session is down and the IPv4 one up: the others must not count on
// the IPv6 slice.
func TestClaimsOnlyTheSlicesThatAreOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web6 := policy.SliceID(netip.MustParsePrefix("2001:db8:100::/48"))
		w := newWorld(t, t.TempDir())
		w.cfg.Services[0].Slices = append(w.cfg.Services[0].Slices, web6)
		w.deaf = map[netip.Prefix]bool{web6.Prefix(): true}
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		if got := w.claimed(); got[web] != policy.Announce || got[web6] != policy.Withdraw {
			t.Errorf("claims %v", got)
		}
		said := map[policy.SliceID]string{}
		claims, err := w.c.Claims(t.Context())
		for _, c := range claims {
			said[c.Slice] = c.Reason
		}
		if err != nil || said[web] != "healthy" || !strings.HasPrefix(said[web6], "no neighbor hears it") {
			t.Errorf("told the others %q, %v", said, err)
		}
		w.cfg.Location = &config.Location{Latitude: 51.5, Longitude: -0.1}
		w.c.Claims(t.Context()) // a round
		st, err := w.c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.Location == nil || st.Location.Latitude != 51.5 || st.Location.Longitude != -0.1 {
			t.Errorf("is at %v", st.Location)
		}
		for _, s := range st.Services[0].Slices {
			if s.Stance.Action != policy.Announce || (s.Note != "") != (s.Slice == web6) {
				t.Errorf("%v: %v, note %q", s.Slice, s.Stance, s.Note)
			}
		}
		e, err := w.c.Explain(t.Context(), web6)
		if err != nil || !strings.HasPrefix(e.Slice.Note, "no neighbor hears it") {
			t.Errorf("explained with the note %q, %v", e.Slice.Note, err)
		}
		w.mu.Lock()
		w.deaf = nil
		w.mu.Unlock()
		if got := w.claimed(); got[web6] != policy.Announce {
			t.Errorf("on the wire again, and claims are %v", got)
		}
	})
}

// What the speaker refused is not claimed, even where routers still hear how
// it was announced before.
func TestClaimsNothingThatCouldNotBeSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		w.mu.Lock()
		w.failSet = errors.New("busy")
		w.mu.Unlock()
		w.verdict(policy.Degraded)
		w.lines()
		if got := w.claimed(); got[web] != policy.Withdraw {
			t.Errorf("claims %v", got)
		}
	})
}
