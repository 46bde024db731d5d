package core

import (
	"os"
	"testing"

	"github.com/catchment/catchment/lab/sandbox"
)

// The tests mount small disks and use loopback addresses: in namespaces of
// their own.
func TestMain(m *testing.M) {
	if dir := os.Getenv(memberEnv); dir != "" {
		os.Exit(memberMain(dir))
	}
	sandbox.Main(m)
}
