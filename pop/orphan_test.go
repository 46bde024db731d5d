package pop_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// A service and a slice are taken out of the configuration while they are
// drained: somebody is told, can end it, and it does not come back to life.
func TestIntentsOfWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		for _, in := range []policy.Intent{{Kind: policy.IntentDrain, Service: "web", By: "eng"}, {Kind: policy.IntentHold, Slice: web, By: "ops"}} {
			if _, err := w.c.Intent(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
		full := w.cfg.Services[0]
		dns := full
		dns.ID, dns.Slices = "dns", []policy.SliceID{policy.SliceID(netip.MustParsePrefix("198.51.100.0/24"))}
		w.reload = func(old *config.Config) (*config.Config, []string, error) {
			next := *old
			next.Services = []config.Service{dns}
			return &next, nil, nil
		}
		if _, err := w.c.Reload(t.Context(), "eng"); err != nil {
			t.Fatal(err)
		}
		w.pass(5 * time.Second)
		w.mentions("catchment undrain web ends it")
		w.mentions("catchment release --slice 192.0.2.0/24 ends it")
		if _, err := w.c.Explain(t.Context(), web); err == nil || !strings.Contains(err.Error(), "the hold of 192.0.2.0/24 by ops") {
			t.Errorf("explained: %v", err)
		}
		for _, r := range []api.Released{
			{Kinds: []policy.IntentKind{policy.IntentDrain}, Service: "web"},
			{Kinds: []policy.IntentKind{policy.IntentHold, policy.IntentPin}, Slice: web},
		} {
			if _, err := w.c.Release(t.Context(), r); err != nil {
				t.Errorf("release %+v: %v", r, err)
			}
			var e *api.Error
			if _, err := w.c.Release(t.Context(), r); !errors.As(err, &e) || e.Code != api.NotFound {
				t.Errorf("released what is not there: %v", err)
			}
		}
		if st, err := w.c.Status(t.Context()); err != nil || len(st.Alarms) != 0 || len(st.Intents) != 0 {
			t.Errorf("alarms %v, intents %v, %v", st.Alarms, st.Intents, err)
		}
	})
}

// mentions fails unless an alarm has the words.
func (w *world) mentions(words string) {
	w.t.Helper()
	st, err := w.c.Status(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range st.Alarms {
		if strings.Contains(a.Detail, words) {
			return
		}
	}
	w.t.Errorf("no alarm says %q: %v", words, st.Alarms)
}
