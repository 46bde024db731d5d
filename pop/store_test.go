package pop_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// fill makes the state directory take no new state, as a full disk does;
// the function returned makes room again.
func fill(t *testing.T, dir string) (room func()) {
	t.Helper()
	side := filepath.Join(dir, "state.json.new")
	if err := os.Mkdir(side, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(side, "x"), nil, 0o600); err != nil { // it cannot be removed
		t.Fatal(err)
	}
	return func() {
		if err := os.RemoveAll(side); err != nil {
			t.Fatal(err)
		}
	}
}

// With a full disk a drain is in force, and whoever asked for it is told that
// a restart forgets it. The old state on disk does not pass for a fresh one:
// the next life does not announce what was drained long ago.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := newWorld(t, dir)
		w.cfg.Services[0].DrainWait = time.Second
		w.start()
		w.verdict(policy.Up)
		w.pass(5 * time.Second)
		fill(t, dir)
		drain := policy.Intent{Kind: policy.IntentDrain, Service: "web", By: "eng"}
		res, err := w.c.Intent(t.Context(), drain)
		if err != nil || !strings.Contains(res.Text, "in force, but a restart would forget it") {
			t.Errorf("answer %q, %v", res.Text, err)
		}
		w.pass(time.Hour)
		w.mentions("a restart would begin from an older one")
		w.stop() // as good as kill -9: nothing more could be written
		w = newWorld(t, dir)
		w.start()
		defer w.stop()
		w.expect(vipOff + "; " + setNone)
	})
}

func TestDiskWithRoomAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := newWorld(t, dir)
		w.start()
		room := fill(t, dir)
		if res, err := w.c.Intent(t.Context(), policy.Intent{Kind: policy.IntentHold, Service: "web", By: "eng"}); err != nil || !strings.Contains(res.Text, "forget") {
			t.Errorf("answer %q, %v", res.Text, err)
		}
		room()
		w.pass(3 * time.Second)
		st, err := w.c.Status(t.Context())
		if err != nil || len(st.Alarms) != 0 {
			t.Errorf("alarms %v, %v", st.Alarms, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "state.json")); err != nil || !strings.Contains(string(b), `"hold"`) {
			t.Errorf("on disk: %s, %v", b, err)
		}
		if res, err := w.c.Release(t.Context(), api.Released{Service: "web"}); err != nil || res.Text != "1 released" {
			t.Errorf("answer %q, %v", res.Text, err)
		}
		w.stop()
	})
}
