package host

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/pop/core"
)

// TestTwins: of two daemons with one name the second is told, writes nothing,
// and has the name when the first is gone; a daemon that is started again is no
// twin of itself.
func TestTwins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		names := func(dir string) (*Host, func()) {
			h := Over(l.core.Core, "LON", quiet)
			h.cfg.Dir = dir
			return h, l.run(h.keepName)
		}
		dir := t.TempDir()
		first, stop := names(dir)
		<-first.Named()
		second, end := names(t.TempDir())
		<-second.Named()
		if err := first.Sole(); err != nil {
			t.Errorf("the first: %v", err)
		}
		if err := second.Sole(); !errors.Is(err, ErrTwin) || second.Trouble() != "" {
			t.Errorf("the second: %v, trouble %q", err, second.Trouble())
		}
		if err := second.carryAll(t.Context(), core.Under(core.KindIntent, "LON"), nil); !errors.Is(err, ErrTwin) {
			t.Errorf("the second is asked: %v", err)
		}
		time.Sleep(10 * nameLife) // the first renews its hold
		if err := first.Sole(); err != nil || !strings.Contains(second.Trouble(), "another daemon runs under this POP's name (LON)") {
			t.Errorf("later: %v, trouble %q", err, second.Trouble())
		}

		// Killed and started again: it may write at once.
		again := Over(l.core.Core, "LON", quiet)
		again.cfg.Dir = dir
		if err := again.claimName(t.Context(), keeper{Instance: again.instance()}); err != nil || again.Sole() != nil {
			t.Errorf("started again: %v, %v", err, again.Sole())
		}
		if err := l.core.Revoke(context.Background(), again.name.lease.ID); err != nil {
			t.Fatal(err)
		}
		stop()
		time.Sleep(nameLife)
		if err := second.Sole(); err != nil || strings.Contains(second.Trouble(), "another daemon") {
			t.Errorf("alone now: %v, %q", err, second.Trouble())
		}
		end()
	})
}
