package socket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Lengths and places in the kernel's messages (linux/netlink.h,
// linux/sock_diag.h, linux/inet_diag.h). Numbers are in host order, except
// ports and addresses.
const (
	headerLen  = 16 // struct nlmsghdr
	msgLen     = 72 // struct inet_diag_msg
	requestLen = 56 // struct inet_diag_req_v2
	atSport    = 4  // in inet_diag_msg
	atDport    = 6
	atSrc      = 8
	atDst      = 24

	// States (include/net/tcp_states.h) in which we may still have to send, or
	// to hear that what we sent has arrived: RFC 9293 section 3.3.2.
	tcpEstablished, tcpFinWait1, tcpLastAck, tcpClosing = 1, 4, 9, 11
)

// sock is what the kernel says about one socket.
type sock struct {
	family        uint8
	state         uint8
	local, remote netip.AddrPort
}

var errTruncated = errors.New("netlink: message is cut off")

// parse calls f for each socket in the messages of b. It returns done after
// the message that ends a dump, and the error that the kernel sent, if any.
func parse(b []byte, f func(sock)) (done bool, err error) {
	for len(b) > 0 {
		if len(b) < headerLen {
			return false, errTruncated
		}
		n := int64(binary.NativeEndian.Uint32(b))
		if n < headerLen || n > int64(len(b)) {
			return false, errTruncated
		}
		body := b[headerLen:n]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return true, kernelError(body)
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return false, errTruncated
			}
			return true, kernelError(body)
		case unix.SOCK_DIAG_BY_FAMILY:
			s, err := parseSock(body)
			if err != nil {
				return false, err
			}
			f(s)
		}
		b = b[min((n+3)&^3, int64(len(b))):]
	}
	return false, nil
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

func parseSock(b []byte) (sock, error) {
	if len(b) < msgLen {
		return sock{}, errTruncated
	}
	s := sock{family: b[0], state: b[1]}
	local, ok := address(s.family, b[atSrc:])
	remote, ok2 := address(s.family, b[atDst:])
	if !ok || !ok2 {
		return sock{}, fmt.Errorf("netlink: socket of family %d", s.family)
	}
	s.local = netip.AddrPortFrom(local, binary.BigEndian.Uint16(b[atSport:]))
	s.remote = netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[atDport:]))
	return s, nil
}

// address reads an address. IPv4 in IPv6, which dual-stack sockets have, is
// IPv4.
func address(family uint8, b []byte) (netip.Addr, bool) {
	switch family {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[:4])), true
	case unix.AF_INET6:
		return netip.AddrFrom16([16]byte(b[:16])).Unmap(), true
	}
	return netip.Addr{}, false
}

// open returns a nonblocking sock_diag socket that the runtime waits on,
// joined to the groups.
func open(groups uint32) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("sock_diag socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("sock_diag groups: %w", err)
	}
	return os.NewFile(uintptr(fd), "sock_diag"), nil
}

// receive reads one datagram from the kernel into buf.
func receive(f *os.File, buf []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var from unix.Sockaddr
	var sysErr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, from, sysErr = unix.Recvfrom(int(fd), buf, unix.MSG_TRUNC)
			if sysErr != unix.EINTR {
				return sysErr != unix.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case sysErr != nil:
		return 0, sysErr
	case n > len(buf):
		return 0, errTruncated
	}
	if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 {
		return 0, nil // not the kernel
	}
	return n, nil
}
