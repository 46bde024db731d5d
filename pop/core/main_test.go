package core

import (
	"testing"

	"github.com/catchment/catchment/lab/sandbox"
)

// The tests mount small disks and use loopback addresses: in namespaces of
// their own.
func TestMain(m *testing.M) { sandbox.Main(m) }
