package resync

import (
	"errors"
	"testing"
)

// TestJump: the story jump in short. A flow that comes to FRA jumps over slow
// start, of a daemon that is nobody, and what came of it is learned.
func TestJump(t *testing.T) {
	ctx, w := world(t)
	if err := w.prepareJumps(ctx); errors.Is(err, errNoBPF) {
		t.Skip(err)
	} else if err != nil {
		t.Fatalf("%v\n%s", err, w.logs())
	}
	seen, err := w.earns(ctx, 1)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.logs())
	}
	t.Log(seen)
}
