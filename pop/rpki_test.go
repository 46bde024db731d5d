package pop_test

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/journal"
)

func (w *world) Invalid() map[netip.Prefix]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.invalid)
}

func (w *world) Caches() (synchronized, all int) { return 1, 2 }

func (w *world) rpki(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.invalid = nil
	if why != "" {
		w.invalid = map[netip.Prefix]string{web.Prefix(): why}
	}
}

func (w *world) alarmed() []string {
	st, err := w.c.Status(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, a := range st.Alarms {
		names = append(names, a.Name)
	}
	return names
}

// TestRPKI: an invalid slice is not begun to be announced, with a reason and an
// alarm, until it is no longer invalid; then nothing the RPKI says takes it
// away.
func TestRPKI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const why = "its ROA is not for AS 64500: 192.0.2.0/24 AS 64999"
		w := newWorld(t, t.TempDir())
		w.rpki(why)
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.pass(time.Minute)
		w.expect(vipOff + "; " + setNone)
		e := w.explanation()
		if e.Slice.Reason.Guard != "own-prefix" || !strings.Contains(e.Slice.Reason.Detail, "RPKI-invalid: "+why) || len(e.WouldChange) == 0 || !slices.Equal(w.alarmed(), []string{"own-prefix"}) {
			t.Errorf("%+v, alarms %q", e, w.alarmed())
		}
		last := w.entries[slices.IndexFunc(w.entries, func(e journal.Entry) bool { return e.Reason != nil && e.Reason.Guard == "own-prefix" })]
		var inputs policy.Input
		if err := json.Unmarshal(last.Inputs, &inputs); err != nil || inputs.Invalid[web] != why {
			t.Errorf("journaled inputs %s, %v", last.Inputs, err)
		}

		w.rpki("")
		w.pass(2 * time.Second)
		w.expect(vipOn + "; " + setWeb)
		w.rpki(why)
		w.pass(time.Minute)
		w.expect("")
		if e := w.explanation(); e.Slice.Reason.Code != policy.Healthy || !slices.Equal(w.alarmed(), []string{"rpki-invalid"}) {
			t.Errorf("%v, alarms %q", e.Slice.Reason, w.alarmed())
		}
		st, err := w.c.Status(t.Context())
		if err != nil || st.Guards[0].Guard != "own-prefix" || !slices.Equal(st.Guards[0].Limits, []string{"RPKI: 1 of 2 caches synchronized"}) {
			t.Errorf("%+v, %v", st.Guards, err)
		}
		w.rpki("")
		w.pass(2 * time.Second)
		if got := w.alarmed(); len(got) > 0 {
			t.Errorf("alarms %q", got)
		}
	})
}
