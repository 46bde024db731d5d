package slow

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/catchment/catchment/lab/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// TestClassify: flows of some seconds whose limit is known, one or two of each
// kind, are called what they are. make lab-slow has more of them, and longer ones.
func TestClassify(t *testing.T) {
	if testing.Short() {
		t.Skip("real flows of some seconds; run without -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	table, err := Classify(ctx, Options{Each: 8, Parallel: 40, Seed: 1, Short: true, Progress: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	table.Print(t.Output(), true)
	wrong, judged := table.Wrong()
	if judged < 10 {
		t.Skipf("the machine is too busy for real flows: %d of 40 were what they were made to be", judged)
	}
	if wrong > 1+judged/10 {
		t.Errorf("%d of %d flows are called what they are not", wrong, judged)
	}
}
