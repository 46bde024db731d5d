package pop_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
)

// TestRemovedIsShownWhileAnnounced: what a reload has removed and a guard still
// keeps on the air is in the status until it is gone.
func TestRemovedIsShownWhileAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.cfg.Limits.BlastSlices, w.cfg.Limits.BlastInterval = 1, 10*time.Second
		second := w.cfg.Services[0]
		second.ID, second.Slices, second.Always, second.Checks = "dns", []policy.SliceID{prefix("2001:db8::/32"), prefix("2001:db9::/32")}, true, nil
		w.cfg.Services = append(w.cfg.Services, second)
		w.reload = func(old *config.Config) (*config.Config, []string, error) {
			cfg := *old
			cfg.Services = old.Services[:1]
			return &cfg, nil, nil
		}
		w.start()
		defer w.stop()
		if _, err := w.c.Reload(t.Context(), "eng"); err != nil {
			t.Fatal(err)
		}
		shown := func() int {
			st, err := w.c.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range st.Services {
				if s.ID == "dns" {
					n := 0
					for _, sl := range s.Slices {
						if sl.Stance.Announced() {
							n++
						}
					}
					return n
				}
			}
			return 0
		}
		if n := shown(); n != 1 {
			t.Errorf("%d slices of the removed service are shown as announced, want the 1 that blast keeps", n)
		}
		w.pass(12 * time.Second)
		if n := shown(); n != 0 {
			t.Errorf("%d slices are shown after they went", n)
		}
	})
}
