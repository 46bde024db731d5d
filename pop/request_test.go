package pop_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
)

// Who asks may go away in the midst of the round that answers: the withdraw
// that the round decided is carried out.
func TestRoundOutlivesTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		request, gone := context.WithCancel(t.Context())
		w.midway = gone
		if _, err := w.c.Intent(request, policy.Intent{Kind: policy.IntentPin, Service: "web", By: "eng", Force: true}); err != nil {
			t.Fatal(err)
		}
		w.expect(setNone + "; " + vipOff)
	})
}

func TestReloadOutlivesTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		request, gone := context.WithCancel(t.Context())
		var during error
		w.reload = func(old *config.Config) (*config.Config, []string, error) {
			gone()
			during = w.asked.Err()
			return old, nil, nil
		}
		w.start()
		defer w.stop()
		if _, err := w.c.Reload(request, "eng"); err != nil || during != nil {
			t.Errorf("%v; its context: %v", err, during)
		}
	})
}

// TestRungByName: where a rung of a name is, and what is said where it is not.
func TestRungByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		for _, c := range []struct {
			name    string
			service policy.ServiceID
			want    int
			says    string
		}{
			{"backup", "web", 1, ""}, {"normal", "", 0, ""}, {"backup", "", 1, ""},
			{"backp", "web", 0, `web has no rung "backp"; there are: normal, backup (prepends 3 more)`},
			{"backup", "dns", 0, `no service "dns"`},
		} {
			n, err := w.c.Rung(t.Context(), c.name, c.service, policy.SliceID{})
			if c.says == "" && (err != nil || n != c.want) || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%s of %q: %d, %v", c.name, c.service, n, err)
			}
		}
	})
}
