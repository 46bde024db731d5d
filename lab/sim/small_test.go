package sim

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the small fleet anew")

const smallFile = "../testdata/sim/six-sites.csv"

// TestSmall: the file in testdata is what the summary figures give.
func TestSmall(t *testing.T) {
	if *update {
		if err := os.WriteFile(smallFile, []byte(Small()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(smallFile)
	if err != nil || string(got) != Small() {
		t.Fatalf("%s is not what Small makes: go test ./lab/sim -run TestSmall -update (%v)", smallFile, err)
	}
}

func small(t *testing.T) *Measured {
	t.Helper()
	m, err := ReadMeasured(strings.NewReader(Small()), "small fleet")
	if err != nil {
		t.Fatal(err)
	}
	return m
}
