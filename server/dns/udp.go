package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
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

// packetLoop is one UDP socket and the goroutine that answers on it.
type packetLoop struct {
	srv   *Server
	conn  *net.UDPConn
	raw   syscall.RawConn
	local netip.Addr // unspecified: each datagram says it
	any   bool
	slots []slot
	in    []mmsghdr
	out   []mmsghdr
	w     *worker

	got, sent, todo int
	errno           syscall.Errno
	read, write     func(fd uintptr) bool
	finishing       bool
}

func listenPacket(at netip.AddrPort) (*net.UDPConn, error) {
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
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

func (s *Server) listenPacket(at netip.AddrPort) (*packetLoop, error) {
	conn, err := listenPacket(at)
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, err
	}
	p := &packetLoop{srv: s, conn: conn, raw: raw, local: at.Addr(), any: at.Addr().IsUnspecified(),
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
	p.read, p.write = p.readBatch, p.writeBatch
	return p, nil
}

// readBatch is called by the poller when there may be something.
func (p *packetLoop) readBatch(fd uintptr) bool {
	for i := range p.in {
		p.in[i].hdr.Namelen = nameSize
		if p.any {
			p.in[i].hdr.SetControllen(oobSize)
		}
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&p.in[0])), batch, unix.MSG_DONTWAIT, 0, 0)
	p.got, p.errno = int(n), errno
	return errno != unix.EAGAIN || p.finishing
}

// writeBatch sends what is left to send. When the kernel has no room for more
// it waits.
func (p *packetLoop) writeBatch(fd uintptr) bool {
	for p.sent < p.todo {
		n, _, errno := syscall.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&p.out[p.sent])), uintptr(p.todo-p.sent), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EAGAIN:
			return false
		case errno == unix.EINTR:
		case errno != 0: // of this one datagram: no route to the client, for one
			p.w.stats.unsent.Add(1)
			p.sent++
		default:
			p.sent += int(n)
		}
	}
	return true
}

// run answers until the socket is closed, or until its queue is empty once it
// shall finish.
func (p *packetLoop) run() error {
	defer p.conn.Close()
	for {
		if err := p.raw.Read(p.read); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			// finish has been called: take what is queued.
			p.finishing = true
			_ = p.conn.SetReadDeadline(time.Time{})
			continue
		}
		switch {
		case p.errno == unix.EAGAIN:
			return nil
		case p.errno != 0: // an ICMP error of an earlier answer, or an interruption
			continue
		}
		p.serve()
	}
}

// finish makes run end when the queue is empty.
func (p *packetLoop) finish() { _ = p.conn.SetReadDeadline(time.Unix(1, 0)) }

// serve answers what was read.
func (p *packetLoop) serve() {
	p.w.second = uint32(time.Now().Unix())
	p.todo, p.sent = 0, 0
	for i := range p.got {
		m := &p.in[i]
		b := &p.slots[i]
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
		o := &p.out[p.todo].hdr
		o.Name, o.Namelen = m.hdr.Name, m.hdr.Namelen
		o.Iov, o.Iovlen = &b.iovs[1], 1
		o.Control, o.Controllen = m.hdr.Control, m.hdr.Controllen
		p.todo++
	}
	if p.todo > 0 && p.raw.Write(p.write) != nil {
		return // closed: the next read says so
	}
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
