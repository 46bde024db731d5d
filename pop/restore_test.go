package pop_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// What was handed to the writer stays as it was while the controller goes on:
// the writer encodes it at its own pace.
func TestSavedIntentsAreTheWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		for _, k := range []policy.IntentKind{policy.IntentHold, policy.IntentDrain} {
			if _, err := w.c.Intent(t.Context(), policy.Intent{Kind: k, Service: "web", By: "eng"}); err != nil {
				t.Fatal(err)
			}
		}
		saved := w.c.Saved(t.Context())
		before := slices.Clone(saved.Intents)
		if _, err := w.c.Release(t.Context(), api.Released{Kinds: []policy.IntentKind{policy.IntentHold}, Service: "web"}); err != nil {
			t.Fatal(err)
		}
		if len(before) != 2 || !slices.Equal(saved.Intents, before) {
			t.Errorf("saved were %v, and are now %v", before, saved.Intents)
		}
	})
}
