package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/pop/config"
)

// BPF is what this kernel has for BPF programs. They are not tried: to load one
// takes rights that the daemon has and we may not have, and it changes the
// kernel.
type BPF struct {
	Major, Minor int    // of the kernel; zero: not known
	Types        string // why the kernel does not tell its types (BTF), which programs are matched to; empty: it does
	Pin          string // what is wrong with the place of resync.jump.pin; empty: nothing, or none is named
	Pinned       bool   // the congestion control of jumps is pinned there
}

// since reports whether the kernel is of that version or later, or not known.
func (b *BPF) since(major, minor int) bool {
	return b.Major == 0 || b.Major > major || b.Major == major && b.Minor >= minor
}

// The kernels that the programs need.
const (
	tapMajor, tapMinor   = 6, 3 // a walk over marked sockets that reads them without a lock
	jumpMajor, jumpMinor = 6, 4 // a congestion control by a BPF link, which can be pinned
)

// readsFlows reports whether the daemon reads flows of other servers from the kernel.
func readsFlows(c *config.Config) bool {
	return c != nil && (c.Resync.On() || c.Slowness.Rate > 0 && len(c.Slowness.VIPs) > 0)
}

// jumps reports whether flows from other POPs are to skip slow start.
func jumps(c *config.Config) bool {
	return c != nil && c.Resync.On() && len(c.Resync.Jump.Services) > 0
}

// lookAtBPF looks at what the daemon's BPF programs need, where it uses some.
func (h *Host) lookAtBPF() {
	if !readsFlows(h.Config) {
		return
	}
	b := &BPF{}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		h.blind("the kernel's version", err)
	} else if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &b.Major, &b.Minor); err != nil {
		h.blind("the kernel's version", fmt.Errorf("%q: %w", unix.ByteSliceToString(u.Release[:]), err))
		b.Major = 0
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		b.Types = err.Error()
	}
	if dir := h.Config.Resync.Jump.Pin; jumps(h.Config) && dir != "" {
		var err error
		if b.Pinned, b.Pin, err = lookAtPin(dir); err != nil {
			h.blind("resync.jump.pin", err)
		}
	}
	h.BPF = b
}

// lookAtPin looks whether a directory, or the place where it would be made, is
// in a BPF file system, and whether something is pinned there.
func lookAtPin(dir string) (pinned bool, wrong string, err error) {
	there := filepath.Clean(dir)
	var v unix.Statfs_t
	for {
		err = unix.Statfs(there, &v)
		if !errors.Is(err, fs.ErrNotExist) || there == filepath.Dir(there) {
			break
		}
		there = filepath.Dir(there)
	}
	if err != nil {
		return false, "", err
	}
	if v.Type != unix.BPF_FS_MAGIC {
		return false, there + " is in no BPF file system", nil
	}
	switch _, err = os.Stat(filepath.Join(dir, "jump_hints")); {
	case errors.Is(err, fs.ErrNotExist):
		return false, "", nil
	case err != nil:
		return false, "", err
	}
	return true, "", nil
}

// bpfFindings are about what the flow table and jumps lose without BPF. Rights
// that the daemon's process lacks are capabilityFindings.
func bpfFindings(h *Host) []Finding {
	if h.BPF == nil || !readsFlows(h.Config) {
		return nil
	}
	var out []Finding
	add := func(about, what, command, change string) {
		out = append(out, Finding{Severity: Warn, Name: "bpf", About: about, What: what, Why: withoutBPF[about], Command: command, Change: change})
	}
	for _, p := range []struct {
		about        string
		used         bool
		major, minor int
	}{
		{flowTable, true, tapMajor, tapMinor},
		{jump, jumps(h.Config) && !h.BPF.Pinned, jumpMajor, jumpMinor},
	} {
		switch {
		case !p.used:
		case !h.BPF.since(p.major, p.minor):
			add(p.about, fmt.Sprintf("Linux %d.%d is older than %d.%d, which BPF programs for it need", h.BPF.Major, h.BPF.Minor, p.major, p.minor),
				"", fmt.Sprintf("use Linux %d.%d or later", p.major, p.minor))
		case h.BPF.Types != "":
			add(p.about, "the kernel does not tell its types (BTF): "+h.BPF.Types, "", "use a kernel with CONFIG_DEBUG_INFO_BTF, and mount /sys")
		}
	}
	if h.BPF.Pin != "" {
		out = append(out, Finding{
			Severity: Warn, Name: "bpf", About: "resync.jump.pin", What: h.BPF.Pin,
			Why:     "the congestion control of jumps cannot be pinned: a daemon without rights to BPF cannot be given it, " + withoutBPF[jump],
			Command: "mount -t bpf bpf /sys/fs/bpf", Change: "or name a directory of a BPF file system in resync.jump.pin; \"\" pins nothing",
		})
	}
	return out
}

// What BPF is used for.
const (
	flowTable = "flow-table"
	jump      = "jump"
)

// withoutBPF is what is lost.
var withoutBPF = map[string]string{
	flowTable: "sockets are read by sock_diag, within its share of a core: with very many of them not each flow each time, and new ones are seen seconds later",
	jump:      "flows from other POPs begin with slow start, or by resync.jump.initcwnd",
}

// neededForBPF is what the daemon wants the right to load BPF programs for;
// empty: nothing.
func (h *Host) neededForBPF() string {
	switch flows, starts := readsFlows(h.Config), jumps(h.Config) && (h.BPF == nil || !h.BPF.Pinned); {
	case flows && starts:
		return "flows from other POPs that skip slow start (resync.jump), else " + withoutBPF[jump] + "; and for reading flows each second, else " + withoutBPF[flowTable]
	case flows:
		return "reading flows each second; without it " + withoutBPF[flowTable]
	}
	return ""
}
