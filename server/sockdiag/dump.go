package sockdiag

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Query says which TCP sockets a dump is of.
type Query struct {
	Family uint8  // AF_INET or AF_INET6
	States uint32 // a bit each
	Info   bool   // with struct tcp_info
	Filter []byte // of Local or RemotePorts; nil: all
}

// request makes a message of sock_diag about one family (struct
// inet_diag_req_v2, attribute INET_DIAG_REQ_BYTECODE).
func (q Query) request(kind, flags uint16) []byte { return q.append(nil, kind, flags) }

func (q Query) append(to []byte, kind, flags uint16) []byte {
	n := HeaderLen + requestLen
	if len(q.Filter) > 0 {
		n += attrLen + len(q.Filter)
	}
	at := len(to)
	to = append(to, make([]byte, n)...)
	b := to[at:]
	binary.NativeEndian.PutUint32(b, uint32(n))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	req := b[HeaderLen:]
	req[0], req[1] = q.Family, unix.IPPROTO_TCP
	if q.Info {
		req[2] = 1 << (attrInfo - 1)
	}
	binary.NativeEndian.PutUint32(req[4:], q.States)
	if len(q.Filter) > 0 {
		attr := req[requestLen:]
		binary.NativeEndian.PutUint16(attr, uint16(attrLen+len(q.Filter)))
		binary.NativeEndian.PutUint16(attr[2:], attrBytecode)
		copy(attr[attrLen:], q.Filter)
	}
	return to
}

// Dump gives every socket that q is of to f, until ctx ends. The Socket is
// overwritten by the next. A kernel without the family has none of it.
func (c *Conn) Dump(ctx context.Context, q Query, f func(*Socket)) error {
	defer c.until(ctx)()
	if _, err := c.file.Write(q.request(unix.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)); err != nil {
		return c.failed(ctx, err)
	}
	for {
		b, err := c.Receive()
		if err != nil {
			return c.failed(ctx, err)
		}
		done, err := Parse(b, f)
		if errors.Is(err, syscall.ENOENT) && q.Family == unix.AF_INET6 {
			return nil
		}
		if done || err != nil {
			return err
		}
	}
}

// until makes ctx end what waits.
func (c *Conn) until(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.file.SetDeadline(time.Unix(1, 0)) })
}

// failed is why the kernel was not reached.
func (c *Conn) failed(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// ID names one socket; without a cookie whichever has these addresses now.
type ID struct {
	Local, Remote netip.AddrPort
	Cookie        uint64
}

const anyCookie = ^uint64(0) // INET_DIAG_NOCOOKIE

// single is a request about one socket.
func (id *ID) single(b []byte, q Query, kind, flags uint16) []byte {
	q.Family = unix.AF_INET6
	if id.Local.Addr().Is4() {
		q.Family = unix.AF_INET
	}
	at := len(b)
	b = q.append(b, kind, flags)
	to := b[at+HeaderLen+8:] // struct inet_diag_sockid
	binary.BigEndian.PutUint16(to, id.Local.Port())
	binary.BigEndian.PutUint16(to[2:], id.Remote.Port())
	copy(to[4:20], id.Local.Addr().AsSlice())
	copy(to[20:36], id.Remote.Addr().AsSlice())
	binary.NativeEndian.PutUint64(to[40:], cmp.Or(id.Cookie, anyCookie))
	return b
}

// answered reads one datagram of answers to single requests, and how many it
// has. A socket that is gone is one too.
func answered(b []byte, f func(*Socket)) (n int, err error) {
	var s Socket
	for len(b) > 0 {
		kind, body, rest, err := message(b)
		if err != nil {
			return n, err
		}
		switch kind {
		case unix.NLMSG_ERROR:
			if err := kernelError(body); err != nil && !gone(err) {
				return n, fmt.Errorf("sockdiag: %w", err)
			}
			n++
		case unix.SOCK_DIAG_BY_FAMILY:
			if err := s.decode(body); err != nil {
				return n, err
			}
			f(&s)
			n++
		}
		b = rest
	}
	return n, nil
}

func gone(err error) bool { return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE) }

// Destroy ends a socket: its peer gets a RST, its owner an error
// (ECONNABORTED). The cookie makes sure that it is this one and not a later
// one of the same addresses; ErrGone if there is none.
func (c *Conn) Destroy(id ID) error {
	if _, err := c.file.Write(id.single(nil, Query{States: ^uint32(0)}, unix.SOCK_DESTROY, unix.NLM_F_ACK)); err != nil {
		return err
	}
	b, err := c.Receive()
	if err != nil {
		return err
	}
	kind, body, _, err := message(b)
	if err != nil || kind != unix.NLMSG_ERROR {
		return errors.Join(err, errors.New("sockdiag: the answer is no answer"))
	}
	if err := kernelError(body); gone(err) {
		return ErrGone
	} else if err != nil {
		return fmt.Errorf("sockdiag: %w", err)
	}
	return nil
}
