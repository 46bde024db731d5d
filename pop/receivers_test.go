package pop_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
	"github.com/catchment/catchment/pop/api"
)

// TestDrainThatOverloads: it is refused with its forecast, --force goes over
// it and is journaled, and one that comes by another way waits until there is
// room.
func TestDrainThatOverloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBurdened(t)
		b.cfg.Limits.DrainHeadroom = 1
		b.begin()
		defer b.stop()
		ann := policy.Intent{Kind: policy.IntentDrain, Service: "web", By: "ann", Why: "disks"}
		_, err := b.c.Intent(t.Context(), ann)
		if err == nil || !strings.Contains(err.Error(), "would put FRA at 1.18") || !strings.Contains(err.Error(), "of capacity; --force goes over it") {
			t.Fatalf("refused with %v", err)
		}
		if st := b.status(); len(st.Intents) != 0 {
			t.Fatalf("intents %v", st.Intents)
		}
		if _, err := b.c.Intent(t.Context(), policy.Intent{Kind: policy.IntentDrain, Slice: b.slices[0], By: "ann"}); err != nil {
			t.Fatalf("a quarter of it: %v", err)
		}
		if _, err := b.c.Release(t.Context(), api.Released{Slice: b.slices[0], By: "ann"}); err != nil {
			t.Fatal(err)
		}
		forced := ann
		forced.Force = true
		if _, err := b.c.Intent(t.Context(), forced); err != nil {
			t.Fatal(err)
		}
		if s := b.status().Slices()[0]; s.Stance.Action != policy.Drain {
			t.Errorf("forced: %v because %v", s.Stance, s.Reason)
		}
		var said string
		for _, e := range b.entries {
			if strings.Contains(e.Text, "over headroom: it would put FRA at 1.18") && e.By == "ann" {
				said = e.Text
			}
		}
		if !strings.Contains(said, "forced") || !strings.Contains(said, "disks") {
			t.Errorf("the journal says %q", said)
		}
	})
}

// TestDrainThatWaitsForRoom: a maintenance check is not asked first: the drain
// waits while it would overload others, and begins by itself.
func TestDrainThatWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBurdened(t)
		b.cfg.Limits.DrainHeadroom = 1
		b.begin()
		defer b.stop()
		b.mu.Lock()
		file := b.states[0]
		spec := *file.Spec
		spec.ID, spec.Maintenance = "file", true
		file.Spec, file.Verdict = &spec, policy.Down
		b.states = append(b.states, file)
		b.mu.Unlock()
		b.pass(time.Minute)
		if s := b.status().Slices()[0]; s.Stance.Action != policy.Announce || s.Reason.Guard != guard.NameHeadroom || !strings.Contains(s.Reason.Detail, "would put FRA at 1.18") {
			t.Fatalf("%v because %v", s.Stance, s.Reason)
		}
		b.peer("FRA", 1*gbit, 10*gbit)
		b.pass(5 * time.Second)
		if s := b.status().Slices()[0]; s.Stance.Action != policy.Drain {
			t.Errorf("%v because %v", s.Stance, s.Reason)
		}
	})
}
