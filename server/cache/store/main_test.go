package store

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/catchment/catchment/lab/sandbox"
)

// TestMain gives the tests a file system in RAM of their own, so that they
// neither wait for a disk nor wear it. A child of the kill test needs none.
func TestMain(m *testing.M) {
	if os.Getenv(killDir) != "" {
		os.Exit(m.Run())
	}
	sandbox.Main(inRAM{m})
}

type inRAM struct{ m *testing.M }

func (r inRAM) Run() int {
	dir, err := os.MkdirTemp("", "store")
	if err == nil {
		defer os.Remove(dir)
		if err = tmpfs(dir, "size=2g"); err == nil {
			defer syscall.Unmount(dir, syscall.MNT_DETACH)
			os.Setenv("TMPDIR", dir)
			return r.m.Run()
		}
	}
	fmt.Fprintln(os.Stderr, "tmpfs:", err)
	return 1
}

// tmpfs mounts a file system in RAM that only this mount namespace sees.
func tmpfs(dir, options string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, options)
}
