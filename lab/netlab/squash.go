package netlab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An ordinary user may map one user into a user namespace, but routing
// daemons insist on dropping to a user of their own. Inside such a node every
// account is therefore user 0, and the calls that change users or owners do
// nothing and succeed. Nothing is lost: root here is the caller's own user.

// users rewrites passwd and group so that all accounts are the one that
// exists.
func (r *rootSpec) users() error {
	if !r.Squash {
		return nil
	}
	for file, columns := range map[string][]int{"/etc/passwd": {2, 3}, "/etc/group": {2}} {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var out strings.Builder
		for line := range strings.Lines(string(raw)) {
			f := strings.Split(strings.TrimRight(line, "\n"), ":")
			for _, c := range columns {
				if c < len(f) {
					f[c] = "0"
				}
			}
			out.WriteString(strings.Join(f, ":") + "\n")
		}
		real := filepath.Join(r.Mount, file)
		if err := os.Remove(real); err != nil {
			return err
		}
		if err := os.WriteFile(real, []byte(out.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

var auditArch = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// squashUsers installs the filter on every thread of init, so that all it
// starts has it too.
func squashUsers() error {
	arch, ok := auditArch[runtime.GOARCH]
	if !ok {
		return errors.New("no filter for this architecture: run as root")
	}
	filter := squashFilter(arch)
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("install the user filter: %w", errno)
	}
	return nil
}

// squashFilter answers the calls with success and lets all others through.
func squashFilter(arch uint32) []unix.SockFilter {
	const (
		load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret   = unix.BPF_RET | unix.BPF_K
	)
	n := len(squashed)
	f := []unix.SockFilter{
		{Code: load, K: 4}, // seccomp_data.arch
		{Code: equal, K: arch, Jf: uint8(n + 1)},
		{Code: load, K: 0}, // seccomp_data.nr
	}
	for i, nr := range squashed {
		f = append(f, unix.SockFilter{Code: equal, K: uint32(nr), Jt: uint8(n - i)})
	}
	return append(f,
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO}) // errno 0: success
}
