package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/server/resync"
	"github.com/catchment/catchment/server/resync/careful"
)

// TestEarnedOutlives: what pairs of POPs have earned is there after a restart;
// a file that is broken is as none, and a dry run leaves none.
func TestEarnedOutlives(t *testing.T) {
	dir := t.TempDir()
	life := func(dry bool, pairs []careful.LearnedPair) *flows {
		f := &flows{d: &parts{cfg: &config.Config{StateDir: dir}, dry: dry}, log: slog.New(slog.DiscardHandler)}
		f.core = resync.New(resync.Options{POP: "FRA", Pairs: append(pairs, f.earnedBefore()...)})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		f.keepEarned(ctx)
		return f
	}
	want := []careful.LearnedPair{{Pair: careful.Pair{From: "LON", To: "FRA"}, Part: 0.75, At: time.Now().Add(-time.Hour).UTC().Truncate(time.Second)}}
	f := life(true, want)
	if _, err := os.Stat(f.earnedFile()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dry run has written: %v", err)
	}
	life(false, want)
	if got := life(false, nil).core.Pairs(); !slices.Equal(got, want) {
		t.Errorf("after two restarts %+v, want %+v", got, want)
	}
	if err := os.WriteFile(f.earnedFile(), []byte(`[{"From":"LON"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := life(false, nil).core.Pairs(); len(got) != 0 {
		t.Errorf("of a broken file %+v", got)
	}
}
