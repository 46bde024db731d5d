package resync

import (
	"os"
	"testing"

	"github.com/catchment/catchment/lab/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m, Tools()...) }

func TestTheirs(t *testing.T) {
	o := Options{Topology: "../resync.clab.yml", Bin: os.Getenv("CATCHMENT_BIN"), Out: os.Stdout, Progress: os.Stderr}
	all, err := benchTheirs(t.Context(), o)
	others(o, all)
	if err != nil {
		t.Fatal(err)
	}
}
func TestOurs(t *testing.T) {
	o := Options{Topology: "../resync.clab.yml", Bin: os.Getenv("CATCHMENT_BIN"), Out: os.Stdout, Progress: os.Stderr}
	all, err := benchOurs(t.Context(), o)
	thousands(o, all)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) > 1 {
		t.Log(goals(all[0], all[1]))
	}
}
