package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// findDaemon finds the process behind the control socket, by its credentials.
func (h *Host) findDaemon(socket string) {
	c, err := net.DialTimeout("unix", socket, patience)
	if err != nil {
		return // ask and lookAtSockets say so
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return
	}
	var cred *unix.Ucred
	var sysErr error
	if err := raw.Control(func(fd uintptr) {
		cred, sysErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || sysErr != nil {
		h.blind("the daemon's process", errors.Join(err, sysErr))
		return
	}
	if cred.Pid <= 0 {
		h.blind("the daemon's process", errors.New("it lives in another process namespace (a container?)"))
		return
	}
	h.Daemon, err = process(int(cred.Pid))
	if err != nil {
		h.blind("the daemon's process", err)
	}
}

// process reads what the kernel says of a process. Where not all of it may be
// read, the rest is returned with the error.
func process(pid int) (*Daemon, error) {
	d := &Daemon{PID: pid}
	dir := "/proc/" + strconv.Itoa(pid)
	text, err := os.ReadFile(dir + "/status")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		f := strings.Fields(value)
		switch {
		case key == "Uid" && len(f) == 4:
			d.UID = number(f[1]) // effective
		case key == "Gid" && len(f) == 4:
			d.GID = number(f[1])
		case key == "Groups":
			for _, g := range f {
				d.Groups = append(d.Groups, number(g))
			}
		case key == "CapEff" && len(f) == 1:
			d.Capabilities, _ = strconv.ParseUint(f[0], 16, 64)
		}
	}
	exe, err1 := os.Readlink(dir + "/exe")
	d.Exe = strings.TrimSuffix(exe, " (deleted)")
	theirs, err2 := os.Readlink(dir + "/ns/net")
	ours, err3 := os.Readlink("/proc/self/ns/net")
	d.OtherNetNS = err2 == nil && err3 == nil && theirs != ours
	return d, errors.Join(err1, err2, err3)
}

func number(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32) // the kernel wrote it
	return uint32(n)
}

// environment is what the daemon was started with, of what is ours.
func (h *Host) environment() []string {
	if h.Daemon == nil {
		return nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", h.Daemon.PID))
	if err != nil {
		return nil // who may not read it has been told about the process
	}
	var out []string
	for kv := range strings.SplitSeq(string(text), "\x00") {
		if strings.HasPrefix(kv, "CATCHMENT_") && !strings.HasPrefix(kv, "CATCHMENT_SOCKET=") {
			out = append(out, kv)
		}
	}
	return out
}

// lookAtState looks at the state directory.
func (h *Host) lookAtState() {
	if h.Config == nil {
		return
	}
	s := &State{Dir: h.Config.StateDir}
	info, err := os.Stat(s.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.Missing = true
		h.State = s
		return
	case err != nil:
		h.blind("state-dir", err)
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Owner, s.Group = st.Uid, st.Gid
	}
	s.Mode = uint32(info.Mode().Perm())
	var v unix.Statfs_t
	if err := unix.Statfs(s.Dir, &v); err != nil {
		h.blind("state-dir", err)
		return
	}
	s.ReadOnly = v.Flags&unix.ST_RDONLY != 0
	s.Free = int64(v.Bavail) * int64(v.Bsize)
	s.Inodes, s.NoInodes = v.Ffree, v.Files == 0
	files, err := os.ReadDir(filepath.Join(s.Dir, "journal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.blind("the journal", err)
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil { // else it was rotated away
			s.Journal += info.Size()
		}
	}
	h.State = s
}

// clock asks the kernel whether the clock is kept in step.
func clock() *Clock {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return nil // reading needs no right; a sandbox forbids the call
	}
	return &Clock{
		Synchronized: state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0,
		MaxError:     time.Duration(t.Maxerror) * time.Microsecond,
	}
}

// lookAtKernel tries what the daemon uses.
func (h *Host) lookAtKernel() {
	k := &Kernel{SockDiag: sockDiag(), PIDFD: pidfd()}
	for _, n := range h.Neighbors {
		if n.MD5 {
			k.MD5 = md5()
		}
	}
	if h.wantsIPv6() {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			k.IPv6 = "IPv6: " + err.Error()
		} else {
			unix.Close(fd)
		}
	}
	h.Kernel = k
}

func (h *Host) wantsIPv6() bool {
	if h.Config == nil {
		return false
	}
	for _, s := range h.Config.Services {
		for _, id := range s.Slices {
			if id.Prefix().Addr().Is6() {
				return true
			}
		}
	}
	return false
}

// sockDiag joins a group that tells of closed sockets; it needs no right.
func sockDiag() string {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return "sock_diag: " + err.Error()
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.SKNLGRP_INET_TCP_DESTROY - 1)}); err != nil {
		return "sock_diag destroy groups: " + err.Error()
	}
	return ""
}

func pidfd() string {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return "pidfd_open: " + err.Error()
	}
	unix.Close(fd)
	return ""
}

// md5 puts a signature key on a socket that connects to nobody.
func md5() string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	sig := unix.TCPMD5Sig{Keylen: 1, Key: [80]byte{'x'}}
	sig.Addr.Family = unix.AF_INET
	if err := unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig); errors.Is(err, unix.ENOPROTOOPT) {
		return "this kernel has no TCP signatures (RFC 2385)"
	}
	return ""
}
