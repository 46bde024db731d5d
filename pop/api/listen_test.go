package api

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestListen(t *testing.T) {
	dead := func(t *testing.T, path string) {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
	}
	for _, tc := range []struct {
		name   string
		before func(*testing.T, string)
		want   string
	}{
		{"nothing there", func(*testing.T, string) {}, ""},
		{"a dead socket", dead, ""},
		{"a daemon that answers", func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "another daemon answers on "},
		{"a file", func(t *testing.T, path string) { os.WriteFile(path, []byte("precious"), 0o600) }, "is no socket"},
		{"a directory", func(t *testing.T, path string) { os.Mkdir(path, 0o700) }, "is no socket"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			tc.before(t, path)
			was, _ := os.Lstat(path)
			l, err := listen(t.Context(), path, 0o660, "")
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("%v, want %q", err, tc.want)
				}
				if is, err := os.Lstat(path); err != nil || !os.SameFile(is, was) {
					t.Errorf("what was there is gone: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}
	l, err := listen(t.Context(), filepath.Join(t.TempDir(), "run", "catchment", "s"), 0o660, "")
	if err != nil {
		t.Errorf("a directory that is missing is made: %v", err)
	} else {
		l.Close()
	}
	if _, err := listen(t.Context(), filepath.Join(t.TempDir(), "s"), 0o660, "no-such-group-here"); err == nil {
		t.Error("a group that does not exist must be an error")
	}
}

// TestModeBeforeBind: the file is never open to more than the mode, even
// with an umask that hides nothing. This test alone sets the umask.
func TestModeBeforeBind(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "s")
	l, err := bind(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestNew(t *testing.T) {
	for want, o := range map[string]Options{
		"no path for the socket": {},
		"no-such-group-here":     {Socket: "s", Group: "no-such-group-here"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
