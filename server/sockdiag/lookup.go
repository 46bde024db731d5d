package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// atOnce is how many sockets one system call asks for; their answers fit in
// the receive buffer that every socket has, and each in answerLen.
const (
	atOnce    = 64
	answerLen = 1024
)

// many is room for the answers to one call (recvmmsg).
type many struct {
	headers [atOnce]struct {
		unix.Msghdr
		length uint32
	}
	vectors [atOnce]unix.Iovec
	buf     [atOnce][answerLen]byte
}

func newMany() *many {
	m := new(many)
	for i := range m.headers {
		m.vectors[i].Base = &m.buf[i][0]
		m.vectors[i].SetLen(answerLen)
		m.headers[i].Iov = &m.vectors[i]
		m.headers[i].SetIovlen(1)
	}
	return m
}

// Lookup gives each of the sockets that are still there to f, with their
// tcp_info, until ctx ends. The kernel answers before it returns from the
// question, so nothing waits.
func (c *Conn) Lookup(ctx context.Context, ids []ID, f func(*Socket)) error {
	if len(ids) == 0 {
		return ctx.Err()
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	m, b := newMany(), []byte(nil)
	for len(ids) > 0 && err == nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(ids), atOnce)
		b = b[:0]
		for i := range ids[:n] {
			b = ids[i].single(b, Query{Info: true}, unix.SOCK_DIAG_BY_FAMILY, 0)
		}
		ids = ids[n:]
		if e := raw.Control(func(fd uintptr) { err = m.ask(int(fd), b, n, f) }); e != nil {
			return e
		}
	}
	return err
}

// ask sends n requests and reads their answers.
func (m *many) ask(fd int, b []byte, n int, f func(*Socket)) error {
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sockdiag: %w", err)
	}
	for n > 0 {
		got, _, no := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.headers[0])), atOnce, unix.MSG_DONTWAIT, 0, 0)
		switch {
		case no == unix.EINTR:
			continue
		case no == unix.EAGAIN || no == 0 && got == 0:
			return errors.New("sockdiag: answers are missing")
		case no != 0:
			return fmt.Errorf("sockdiag: %w", no)
		}
		for i := range int(got) {
			answers, err := answered(m.buf[i][:min(m.headers[i].length, answerLen)], f)
			if err != nil {
				return err
			}
			n -= answers
		}
	}
	return nil
}
