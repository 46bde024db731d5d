package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
)

// TestPinLooks looks at real file systems: one of BPF, one that is none, and
// directories that are still to be made.
func TestPinLooks(t *testing.T) {
	plain, bpf := t.TempDir(), t.TempDir()
	if err := unix.Mount("bpf", bpf, "bpf", 0, ""); err != nil {
		t.Fatalf("mount a BPF file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(bpf, unix.MNT_DETACH) })
	pinned := filepath.Join(bpf, "pinned")
	if err := os.MkdirAll(filepath.Join(pinned, "jump_hints"), 0o700); err != nil { // a directory is enough to be there
		t.Fatal(err)
	}
	for _, tc := range []struct {
		dir    string
		pinned bool
		wrong  string
	}{
		{bpf, false, ""},
		{filepath.Join(bpf, "to/be/made"), false, ""},
		{pinned, true, ""},
		{plain, false, plain + " is in no BPF file system"},
		{filepath.Join(plain, "to/be/made"), false, plain + " is in no BPF file system"},
	} {
		got, wrong, err := lookAtPin(tc.dir)
		if err != nil || got != tc.pinned || wrong != tc.wrong {
			t.Errorf("%s: %v %q %v, want %v %q", tc.dir, got, wrong, err, tc.pinned, tc.wrong)
		}
	}
}

// TestBPFLooks: this machine's kernel is looked at where the configuration has
// a use for it, and not else.
func TestBPFLooks(t *testing.T) {
	h := &Host{Config: &config.Config{}}
	if h.lookAtBPF(); h.BPF != nil {
		t.Errorf("looked at without a reason: %+v", h.BPF)
	}
	h.Config.Resync.Listen, h.Config.Resync.Jump.Services, h.Config.Resync.Jump.Pin = "[::]:9792", []policy.ServiceID{"web"}, t.TempDir()
	h.lookAtBPF()
	if h.BPF == nil || h.BPF.Major < 5 || h.BPF.Pinned || !strings.HasPrefix(h.BPF.Pin, h.Config.Resync.Jump.Pin) || len(h.Blind) > 0 {
		t.Errorf("%+v, blind %q", h.BPF, h.Blind)
	}
}
