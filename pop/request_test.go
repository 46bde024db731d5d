package pop_test

import (
	"context"
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
