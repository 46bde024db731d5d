package core

import (
	"flag"
	"os"
	"testing"

	"github.com/catchment/catchment/lab/sandbox"
)

// The tests mount small disks and use loopback addresses: in namespaces of
// their own. They wait more than they work, so more of them run at once than
// there are processors.
func TestMain(m *testing.M) {
	if dir := os.Getenv(memberEnv); dir != "" {
		os.Exit(memberMain(dir))
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	sandbox.Main(m)
}
