// Package sockdiag asks the kernel about its sockets by netlink: dumps of the
// TCP sockets that pass a filter, single sockets by their addresses, the end
// of one (SOCK_DESTROY), and messages about sockets that were closed
// (linux/sock_diag.h, linux/inet_diag.h).
//
// It decides nothing and keeps nothing. It is a leaf: it imports nothing of
// ours, so that health, which listens for closed sockets, and server, which
// follows flows, share one reader of the kernel's messages. What it sees are
// the sockets of the network namespace in which Open was called; only Destroy
// needs a capability (CAP_NET_ADMIN).
package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Lengths and places in the kernel's messages. Numbers are in host order,
// except ports and addresses.
const (
	HeaderLen  = 16 // struct nlmsghdr
	MessageLen = 72 // struct inet_diag_msg
	AtSport    = 4  // in inet_diag_msg
	AtDport    = 6

	requestLen = 56 // struct inet_diag_req_v2
	attrLen    = 4  // struct nlattr
	atSrc      = 8
	atDst      = 24
	atCookie   = 44
	atQueue    = 60 // idiag_wqueue

	attrInfo     = 2 // INET_DIAG_INFO
	attrBytecode = 1 // INET_DIAG_REQ_BYTECODE of a request
)

// States of a TCP socket (include/net/tcp_states.h, RFC 9293 §3.3.2).
const (
	Established = 1
	FinWait1    = 4
	TimeWait    = 6
	CloseWait   = 8
	LastAck     = 9
	Closing     = 11
)

// Socket is what the kernel says about one.
type Socket struct {
	Family, State uint8
	Local, Remote netip.AddrPort // IPv4 in IPv6, which sockets of both families have, is IPv4
	// Cookie is the kernel's name of the socket; it is never used twice.
	Cookie uint64
	// Queue is how many bytes were written and are not acknowledged.
	Queue uint32
	// Info is struct tcp_info as this kernel has it, where it was asked for;
	// good only until the callback returns.
	Info []byte
}

// ErrTruncated: a message is cut off.
var ErrTruncated = errors.New("sockdiag: a message is cut off")

// ErrGone: there is no such socket, or no longer.
var ErrGone = errors.New("sockdiag: it is gone")

// Conn is a socket of sock_diag. It is not safe for concurrent use, but for
// File.
type Conn struct {
	file *os.File
	buf  []byte
}

// Open opens one in the network namespace of the calling thread, joined to
// groups (a bit each, SKNLGRP_*).
func Open(groups uint32) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sockdiag: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("sockdiag: groups: %w", err)
	}
	// The kernel fills at most 32 KiB a message.
	return &Conn{os.NewFile(uintptr(fd), "sock_diag"), make([]byte, 64<<10)}, nil
}

// Close closes it; who waits in Receive gets an error.
func (c *Conn) Close() error { return c.file.Close() }

// File is for deadlines and socket options.
func (c *Conn) File() *os.File { return c.file }

// Receive reads one datagram of the kernel; what somebody else sent is empty.
// It is good until the next call.
func (c *Conn) Receive() ([]byte, error) {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var n int
	var from unix.Sockaddr
	var sysErr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, from, sysErr = unix.Recvfrom(int(fd), c.buf, unix.MSG_TRUNC)
			if sysErr != unix.EINTR {
				return sysErr != unix.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return nil, err
	case sysErr != nil:
		return nil, sysErr
	case n > len(c.buf):
		return nil, ErrTruncated
	}
	if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 {
		return nil, nil
	}
	return c.buf[:n], nil
}

// Parse calls f for each socket in the messages of a datagram. The Socket is
// overwritten by the next. done after the message that ends a dump, or with
// the error that the kernel sent.
func Parse(b []byte, f func(*Socket)) (done bool, err error) {
	var s Socket
	for len(b) > 0 {
		kind, body, rest, err := message(b)
		if err != nil {
			return false, err
		}
		switch kind {
		case unix.NLMSG_DONE:
			return true, kernelError(body)
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return false, ErrTruncated
			}
			return true, kernelError(body)
		case unix.SOCK_DIAG_BY_FAMILY:
			if err := s.decode(body); err != nil {
				return false, err
			}
			f(&s)
		}
		b = rest
	}
	return false, nil
}

// message splits off the first message of a datagram.
func message(b []byte) (kind uint16, body, rest []byte, err error) {
	if len(b) < HeaderLen {
		return 0, nil, nil, ErrTruncated
	}
	n := int64(binary.NativeEndian.Uint32(b))
	if n < HeaderLen || n > int64(len(b)) {
		return 0, nil, nil, ErrTruncated
	}
	return binary.NativeEndian.Uint16(b[4:]), b[HeaderLen:n], b[min((n+3)&^3, int64(len(b))):], nil
}

// kernelError reads the negative error number of NLMSG_ERROR and NLMSG_DONE.
func kernelError(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	if n := int32(binary.NativeEndian.Uint32(body)); n < 0 {
		return syscall.Errno(-int64(n))
	}
	return nil
}

// decode reads struct inet_diag_msg and the attribute INET_DIAG_INFO.
func (s *Socket) decode(b []byte) error {
	if len(b) < MessageLen {
		return ErrTruncated
	}
	*s = Socket{Family: b[0], State: b[1], Cookie: binary.NativeEndian.Uint64(b[atCookie:]), Queue: binary.NativeEndian.Uint32(b[atQueue:])}
	local, ok := address(s.Family, b[atSrc:])
	remote, ok2 := address(s.Family, b[atDst:])
	if !ok || !ok2 {
		return fmt.Errorf("sockdiag: a socket of family %d", s.Family)
	}
	s.Local = netip.AddrPortFrom(local, binary.BigEndian.Uint16(b[AtSport:]))
	s.Remote = netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[AtDport:]))
	for a := b[MessageLen:]; len(a) >= attrLen; {
		n := int(binary.NativeEndian.Uint16(a))
		if n < attrLen || n > len(a) {
			return ErrTruncated
		}
		if binary.NativeEndian.Uint16(a[2:]) == attrInfo {
			s.Info = a[attrLen:n]
			return nil
		}
		a = a[min(len(a), (n+3)&^3):]
	}
	return nil
}

func address(family uint8, b []byte) (netip.Addr, bool) {
	switch family {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[:4])), true
	case unix.AF_INET6:
		return netip.AddrFrom16([16]byte(b[:16])).Unmap(), true
	}
	return netip.Addr{}, false
}
