package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batch      = 64
	inputSize  = 1280 // a longer question is cut and dropped
	outputSize = 1280 // a longer answer is sent from elsewhere
	nameSize   = unix.SizeofSockaddrInet6
	oobSize    = 64
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// slot is the memory of one datagram, in and out.
type slot struct {
	in   [inputSize]byte
	out  [outputSize]byte
	name [nameSize]byte
	oob  [oobSize]byte
	iovs [2]unix.Iovec
}

// packetLoop is one UDP socket and the goroutine that answers on it. The socket
// blocks and is not in Go's poller: that watches for room to send too, and each
// answer that leaves the machine would wake it, at a tenth of an answer's CPU.
type packetLoop struct {
	srv   *Server
	local netip.Addr // unspecified: each datagram says it
	any   bool
	slots []slot
	in    []mmsghdr
	out   []mmsghdr
	w     *worker
	since time.Time // of this turn

	ending atomic.Uint32 // how run shall end: 0, drained or aborted
	mu     sync.Mutex    // of fd and runs
	fd     int           // -1: closed
	runs   bool          // run closes fd
}

// How a loop ends.
const (
	drained = 1 + iota // when its queue is empty
	aborted            // at once
)

// listenPacket opens a socket that blocks.
func listenPacket(at netip.AddrPort) (fd int, err error) {
	network := "udp4"
	if at.Addr().Is6() {
		network = "udp6"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		ctl := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			if err == nil && at.Addr().IsUnspecified() {
				if at.Addr().Is4() {
					err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
				} else {
					err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
				}
			}
			// Never send fragments by path MTU tricks (RFC 9715 §3.1).
			if err == nil && at.Addr().Is4() {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT)
			} else if err == nil {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT)
			}
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
		})
		return errors.Join(ctl, err)
	}}
	c, err := lc.ListenPacket(context.Background(), network, at.String())
	if err != nil {
		return -1, err
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return -1, err
	}
	ctl := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(ctl, err); err != nil {
		return -1, fmt.Errorf("socket of %s: %w", at, err)
	}
	if err = unix.SetNonblock(fd, false); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("socket of %s: %w", at, err)
	}
	return fd, nil
}

func (s *Server) listenPacket(at netip.AddrPort) (*packetLoop, error) {
	fd, err := listenPacket(at)
	if err != nil {
		return nil, err
	}
	p := &packetLoop{srv: s, fd: fd, local: at.Addr(), any: at.Addr().IsUnspecified(),
		slots: make([]slot, batch), in: make([]mmsghdr, batch), out: make([]mmsghdr, batch), w: newWorker(s, true)}
	for i := range p.slots {
		b := &p.slots[i]
		b.iovs[0].Base = &b.in[0]
		b.iovs[0].SetLen(inputSize)
		b.iovs[1].Base = &b.out[0]
		h := &p.in[i].hdr
		h.Name = &b.name[0]
		h.Iov, h.Iovlen = &b.iovs[0], 1
		if p.any {
			h.Control = &b.oob[0]
		}
	}
	return p, nil
}

// read waits for datagrams and takes what there are, up to a batch; when the
// loop is to end it does not wait.
func (p *packetLoop) read(fd int) (int, syscall.Errno) {
	for i := range p.in {
		p.in[i].hdr.Namelen = nameSize
		if p.any {
			p.in[i].hdr.SetControllen(oobSize)
		}
	}
	flags := uintptr(unix.MSG_WAITFORONE)
	if p.ending.Load() != 0 {
		flags = unix.MSG_DONTWAIT
	}
	n, _, errno := syscall.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&p.in[0])), batch, flags, 0, 0)
	return int(n), errno
}

// write sends answers. When the kernel has no room for more it waits.
func (p *packetLoop) write(fd int, out []mmsghdr) {
	for len(out) > 0 {
		n, _, errno := syscall.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&out[0])), uintptr(len(out)), 0, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0: // of this one datagram: no route to the client, for one
			p.w.stats.unsent.Add(1)
			out = out[1:]
		default:
			out = out[n:]
		}
	}
}

// run answers until the loop is aborted, or until its queue is empty once it
// shall drain.
func (p *packetLoop) run() error {
	p.mu.Lock()
	fd := p.fd
	p.runs = fd >= 0
	p.mu.Unlock()
	if fd < 0 {
		return net.ErrClosed
	}
	defer p.close()
	for {
		n, errno := p.read(fd)
		switch {
		case p.ending.Load() == aborted || errno == unix.EAGAIN:
			return nil
		case errno != 0: // an ICMP error of an earlier answer, or an interruption
			continue
		}
		p.serve(fd, p.in[:n])
	}
}

// drain makes run end when the queue is empty.
func (p *packetLoop) drain() { p.end(drained, unix.SHUT_RD) }

// abort makes run end at once, or closes the socket if it does not run.
func (p *packetLoop) abort() { p.end(aborted, unix.SHUT_RDWR) }

// end tells run, and wakes it: shutdown fails on a socket that is not connected,
// but ends all waiting on it first (Linux, inet_shutdown).
func (p *packetLoop) end(how uint32, shut int) {
	p.ending.Store(how)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.fd < 0:
	case p.runs:
		_ = unix.Shutdown(p.fd, shut)
	case how == aborted:
		unix.Close(p.fd)
		p.fd = -1
	}
}

func (p *packetLoop) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	unix.Close(p.fd)
	p.fd = -1
}

// turn is how long the loop runs before it lets others run. A goroutine that
// runs for 10 ms without a stop loses its processor in each system call that
// takes longer than 20 us, and getting it back costs as much as four answers.
const turn = time.Millisecond

// serve answers what was read.
func (p *packetLoop) serve(fd int, in []mmsghdr) {
	now := time.Now()
	if now.Sub(p.since) > turn {
		runtime.Gosched()
		p.since = now
	}
	p.w.second = uint32(now.Unix())
	todo := 0
	for i := range in {
		m := &in[i]
		b := &p.slots[i]
		if m.len == 0 && p.ending.Load() != 0 {
			continue // the shutdown, as the kernel tells of it
		}
		if !p.origin(m, b) || m.hdr.Flags&unix.MSG_TRUNC != 0 {
			p.w.stats.dropped.Add(1)
			continue
		}
		out := p.w.answer(b.out[:0], b.in[:m.len])
		if len(out) == 0 {
			continue
		}
		b.iovs[1].Base = unsafe.SliceData(out)
		b.iovs[1].SetLen(len(out))
		o := &p.out[todo].hdr
		o.Name, o.Namelen = m.hdr.Name, m.hdr.Namelen
		o.Iov, o.Iovlen = &b.iovs[1], 1
		o.Control, o.Controllen = m.hdr.Control, m.hdr.Controllen
		todo++
	}
	p.write(fd, p.out[:todo])
}

// origin reads who asked, and at which address of ours, and readies the
// control message so that the answer leaves from that address.
func (p *packetLoop) origin(m *mmsghdr, b *slot) bool {
	port := binary.BigEndian.Uint16(b.name[2:])
	var from netip.Addr
	switch *(*uint16)(unsafe.Pointer(&b.name[0])) {
	case unix.AF_INET:
		from = netip.AddrFrom4([4]byte(b.name[4:8]))
	case unix.AF_INET6:
		from = netip.AddrFrom16([16]byte(b.name[8:24]))
	default:
		return false
	}
	p.w.from = netip.AddrPortFrom(from, port)
	p.w.local = p.local
	if port == 0 {
		return false
	}
	if !p.any {
		return true
	}
	return p.destination(m, b)
}

// destination reads the packet information of the only control message there
// is.
func (p *packetLoop) destination(m *mmsghdr, b *slot) bool {
	head := int(unsafe.Sizeof(unix.Cmsghdr{}))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b.oob[0]))
	switch {
	case int(m.hdr.Controllen) < head:
		return false
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO:
		info := b.oob[head : head+unix.SizeofInet4Pktinfo]
		p.w.local = netip.AddrFrom4([4]byte(info[8:12]))
		copy(info[4:8], info[8:12]) // spec_dst is what the answer leaves from
		clear(info[:4])
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO:
		info := b.oob[head : head+unix.SizeofInet6Pktinfo]
		p.w.local = netip.AddrFrom16([16]byte(info[:16]))
		if !p.w.local.IsLinkLocalUnicast() {
			clear(info[16:])
		}
	default:
		return false
	}
	return true
}

func inode(st os.FileInfo) uint64 {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}
