package pop_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
)

// TestBlastByTraffic: LON carries half of the fleet's traffic on four slices:
// a drain of all moves them one by one where at most a fifth may move.
func TestBlastByTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBurdened(t)
		b.cfg.Limits.BlastTraffic, b.cfg.Limits.BlastInterval = 0.2, 10*time.Second
		b.cfg.Services[0].DrainWait = time.Hour
		b.begin()
		defer b.stop()
		if _, err := b.c.Intent(t.Context(), policy.Intent{Kind: policy.IntentDrain, By: "ann"}); err != nil {
			t.Fatal(err)
		}
		drained := func() (n int, why policy.Reason) {
			for _, s := range b.status().Slices() {
				if s.Stance.Action == policy.Drain {
					n++
				} else {
					why = s.Reason
				}
			}
			return n, why
		}
		n, why := drained()
		if n != 1 || why.Guard != guard.NameBlast || !strings.Contains(why.Detail, "12.5 of at most 20.0 % of the fleet's traffic changed within 10s, 12.5 % are on it") {
			t.Errorf("at once: %d, the others wait because %v", n, why)
		}
		b.pass(11 * time.Second)
		if n, _ = drained(); n != 2 {
			t.Errorf("then: %d", n)
		}
		b.pass(25 * time.Second)
		if n, _ = drained(); n != 4 {
			t.Errorf("in the end: %d", n)
		}
	})
}
