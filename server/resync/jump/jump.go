// Package jump lets a TCP flow begin where another one ended: at a window and
// a pacing rate that were given to it, instead of slow start.
//
// It is the mechanism only, and decides nothing: how far a flow may jump, and
// what is learned of it, is said in package resync, after Careful Resume
// (RFC 9959) but stricter. A privileged process loads a congestion control of
// about 35 lines into the kernel (bpf/jump.c; CAP_BPF, CAP_PERFMON and
// CAP_NET_ADMIN, once) and pins it; the server needs no privilege but the
// right to open the pin. Its congestion control, cubic or bbr, goes on from
// the new window. It works at any time before or between bytes, also on a
// connection that has sent some.
package jump

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Name is that of the congestion control which a socket has for an instant.
// Names are of the whole kernel: where a process loads it beside one that is
// there, its own has a number behind.
const Name = "catchment_jump"

//go:embed jump.o
var object []byte

// Jumper gives hints to sockets.
type Jumper struct {
	name  string // of the congestion control, and of the map that has its hints
	hints *ebpf.Map
	link  link.Link // nil: somebody else keeps the congestion control there
}

// most is how many of it there may be in one kernel.
const most = 64

// Load brings the congestion control into the kernel. It is there until Close,
// or as long as a pin of it is.
func Load() (*Jumper, error) {
	j, err := load(Name)
	for i := 1; errors.Is(err, unix.EEXIST) && i < most; i++ {
		j, err = load(fmt.Sprintf("%s%d", Name[:11], i))
	}
	return j, err
}

// load loads it by a name.
func load(name string) (*Jumper, error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		return nil, fmt.Errorf("jump: the program: %w", err)
	}
	if err := rename(spec, name); err != nil {
		return nil, fmt.Errorf("jump: the program: %w", err)
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil && !may(unix.CAP_BPF) && !may(unix.CAP_SYS_ADMIN) { // what the kernel says then is of maps and versions
		return nil, fmt.Errorf("jump: the kernel does not take the program of a process without CAP_BPF: %w", unix.EPERM)
	}
	if err != nil {
		return nil, fmt.Errorf("jump: the kernel does not take the program: %w", err)
	}
	defer c.Close()
	l, err := link.AttachStructOps(link.StructOpsOptions{Map: c.Maps["jump"]})
	if err != nil {
		return nil, fmt.Errorf("jump: congestion control %s: %w", name, err)
	}
	return &Jumper{name: name, hints: c.DetachMap("hints"), link: l}, nil
}

// rename gives the congestion control a name, and its map of hints the same,
// so that who opens a pin knows it.
func rename(spec *ebpf.CollectionSpec, name string) error {
	ops, hints := spec.Maps["jump"], spec.Maps["hints"]
	if ops == nil || hints == nil || len(ops.Contents) != 1 {
		return errors.New("it is not as it was built")
	}
	b, ok := ops.Contents[0].Value.([]byte)
	if !ok || !bytes.HasPrefix(b, []byte(Name)) {
		return errors.New("the congestion control has another name than " + Name)
	}
	b = bytes.Clone(b)
	clear(b[:len(Name)])
	copy(b, name) // shorter than 16, with a zero byte behind
	ops.Contents[0].Value, hints.Name = b, name
	return nil
}

// The files of a pin, in a directory of a BPF file system.
const (
	pinHints = "jump_hints"
	pinLink  = "jump_link"
)

// Pin makes the congestion control stay after this process, and lets group gid
// give hints to its own sockets; -1 leaves the group as it is. dir is in a BPF
// file system and is made if it is not there.
func (j *Jumper) Pin(dir string, gid int) error {
	if j.link == nil {
		return errors.New("jump: it is pinned already")
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("jump: pin: %w", err)
	}
	hints := filepath.Join(dir, pinHints)
	if err := j.link.Pin(filepath.Join(dir, pinLink)); err != nil {
		return fmt.Errorf("jump: pin: %w", err)
	}
	err := j.hints.Pin(hints)
	if err == nil {
		err = errors.Join(os.Chown(dir, -1, gid), os.Chown(hints, -1, gid), os.Chmod(hints, 0o660))
	}
	if err != nil {
		return fmt.Errorf("jump: pin: %w", errors.Join(err, Unpin(dir)))
	}
	return nil
}

// Unpin takes pins away; it is no error where there are none.
func Unpin(dir string) error {
	var err error
	for _, name := range []string{pinHints, pinLink} {
		if e := os.Remove(filepath.Join(dir, name)); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Open opens what another process has pinned. It needs no capability.
func Open(dir string) (*Jumper, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, pinHints), nil)
	if err != nil {
		return nil, fmt.Errorf("jump: %w", err)
	}
	i, err := m.Info()
	if err != nil {
		return nil, fmt.Errorf("jump: pin in %s: %w", dir, errors.Join(err, m.Close()))
	}
	return &Jumper{name: i.Name, hints: m}, nil
}

// Name is that of the congestion control in this kernel.
func (j *Jumper) Name() string { return j.name }

// Close ends what Load brought, unless it is pinned.
func (j *Jumper) Close() error {
	err := j.hints.Close()
	if j.link != nil {
		err = errors.Join(err, j.link.Close())
	}
	return err
}

// Hint is what a socket gets.
type Hint struct {
	Window    uint64 // congestion window, bytes; 0: as it is
	Threshold uint64 // of slow start, bytes; 0: as it is
	Rate      uint64 // bytes a second that it is paced at, also as SO_MAX_PACING_RATE; 0: as it is
}

// wire is struct hint of bpf/jump.c.
type wire struct {
	Cwnd, Ssthresh uint32
	Rate           uint64
}

// ErrRestricted: the socket's congestion control is one that this process may
// not select again (net.ipv4.tcp_allowed_congestion_control); nothing was
// changed.
var ErrRestricted = errors.New("its congestion control may not be selected again")

// Apply gives a connected TCP socket a hint, and room in its send buffer for
// what the window takes. The congestion control that it had goes on with the
// hint. On an error the socket is as it was but for its buffer.
func (j *Jumper) Apply(fd int, h Hint) error {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return fmt.Errorf("jump: %w", err)
	}
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		return fmt.Errorf("jump: %w", err)
	}
	if !selectable(name) {
		return fmt.Errorf("jump: %s: %w", name, ErrRestricted)
	}
	mss := uint64(max(info.Snd_mss, 1))
	segments := func(n uint64) uint32 { return uint32(min((n+mss-1)/mss, math.MaxInt32)) }
	if err := room(fd, h.Window); err != nil {
		return fmt.Errorf("jump: send buffer: %w", err)
	}
	if err := j.hints.Put(int32(fd), wire{segments(h.Window), segments(h.Threshold), h.Rate}); err != nil {
		return fmt.Errorf("jump: %w", err)
	}
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, j.name); err != nil {
		return fmt.Errorf("jump: congestion control %s: %w", j.name, errors.Join(err, j.hints.Delete(int32(fd))))
	}
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name); err != nil {
		return fmt.Errorf("jump: back to congestion control %s: %w", name, err)
	}
	if h.Rate > 0 {
		return Pace(fd, h.Rate)
	}
	return nil
}

// Pace bounds the rate of a socket, in bytes a second; 0 lifts the bound.
func Pace(fd int, rate uint64) error {
	if rate == 0 {
		rate = math.MaxUint64
	}
	if err := unix.SetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, rate); err != nil {
		return fmt.Errorf("jump: pacing rate: %w", err)
	}
	return nil
}

// room makes the send buffer hold twice the window now; the kernel counts its
// own overhead into it, and says twice what it was told. A size that was set
// stays for good, so that is taken back (SO_BUF_LOCK): from there on the kernel
// makes room as the window grows, as for every flow.
func room(fd int, window uint64) error {
	want := int(min(2*window, 64<<20))
	have, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil || have >= 2*want {
		return err
	}
	lock, unknown := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK) // since Linux 5.14
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, want) != nil {
		// Without CAP_NET_ADMIN net.core.wmem_max bounds it.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, want); err != nil {
			return err
		}
	}
	if unknown != nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK, lock)
}

// selectable reports whether this process may select a congestion control.
func selectable(name string) bool {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
	return err != nil || slices.Contains(strings.Fields(string(b)), name) || may(unix.CAP_NET_ADMIN)
}

// may reports whether this thread has a capability.
func may(what uint) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&hdr, &data[0]) == nil && data[what/32].Effective&(1<<(what%32)) != 0
}
