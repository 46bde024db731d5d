package core

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/lapse"
)

// TestRunJoins: after Run nothing of the engine runs on. It is not parallel:
// it looks at all goroutines of the process.
func TestRunJoins(t *testing.T) {
	c := alone(t, t.TempDir(), Options{})
	stop := start(t, c)
	waitReady(t, c)
	h := listen(t, c, All(KindIntent), 0)
	h.next(t)
	if n := len(engineGoroutines()); n < 10 {
		t.Fatalf("%d goroutines of the engine are seen: the test looks in the wrong place", n)
	}
	stop()
	h.stop()
	var left []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); lapse.Of(t.Context(), 20*time.Millisecond) {
		if left = engineGoroutines(); len(left) == 0 {
			return
		}
	}
	t.Errorf("%d goroutines run on:\n%s", len(left), strings.Join(left, "\n\n"))
}

func engineGoroutines() []string {
	buf := make([]byte, 4<<20)
	var out []string
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if (strings.Contains(g, "go.etcd.io/") || strings.Contains(g, "core.(*")) && !strings.Contains(g, "testing.tRunner(") {
			out = append(out, g)
		}
	}
	return out
}
