package flow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests and answers of sock_diag: linux/sock_diag.h, linux/inet_diag.h.
const (
	headerLen  = 16 // struct nlmsghdr
	requestLen = 56 // struct inet_diag_req_v2
	messageLen = 72 // struct inet_diag_msg
	attrLen    = 4  // struct nlattr

	diagByFamily = 20 // SOCK_DIAG_BY_FAMILY
	diagDestroy  = 21 // SOCK_DESTROY
	diagInfo     = 2  // INET_DIAG_INFO
	// states in which data goes to the client: ESTABLISHED, FIN_WAIT1, CLOSE_WAIT, CLOSING.
	sending     = 1<<established | 1<<4 | 1<<8 | 1<<11
	established = 1
)

// A socket of sock_diag in the network namespace of its maker.
type diag struct {
	file *os.File
	buf  []byte
}

func openDiag() (*diag, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("flow: sock_diag: %w", err)
	}
	// The kernel fills at most 32 KiB a message.
	return &diag{os.NewFile(uintptr(fd), "sock_diag"), make([]byte, 32<<10)}, nil
}

func (d *diag) close() { d.file.Close() }

// request makes a message of sock_diag about one family.
func request(kind, flags uint16, family uint8) []byte {
	b := make([]byte, headerLen+requestLen)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|flags)
	b[headerLen], b[headerLen+1] = family, unix.IPPROTO_TCP
	b[headerLen+2] = 1 << (diagInfo - 1)
	binary.NativeEndian.PutUint32(b[headerLen+4:], sending)
	return b
}

// dump gives every flow of a family to f. The Flow is overwritten by the next.
func (d *diag) dump(ctx context.Context, family uint8, f func(*Flow)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = d.file.SetDeadline(time.Unix(1, 0)) })()
	if _, err := d.file.Write(request(diagByFamily, unix.NLM_F_DUMP, family)); err != nil {
		return errors.Join(ctx.Err(), err)
	}
	var flow Flow
	for {
		n, err := d.file.Read(d.buf)
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		done, err := messages(d.buf[:n], &flow, f)
		if done || err != nil {
			return err
		}
	}
}

// messages reads one datagram of a dump; done at its end.
func messages(b []byte, flow *Flow, f func(*Flow)) (done bool, err error) {
	for len(b) >= headerLen {
		n := int(binary.NativeEndian.Uint32(b))
		if n < headerLen || n > len(b) {
			return false, errors.New("flow: sock_diag: a message is cut off")
		}
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			return true, answered(b[headerLen:n])
		case diagByFamily:
			if decode(b[headerLen:n], flow) {
				f(flow)
			}
		}
		b = b[min(len(b), (n+3)&^3):]
	}
	return false, nil
}

// answered is what a message of type NLMSG_ERROR says.
func answered(b []byte) error {
	if len(b) < 4 {
		return errors.New("flow: sock_diag: a message is cut off")
	}
	if no := int32(binary.NativeEndian.Uint32(b)); no != 0 {
		return fmt.Errorf("flow: sock_diag: %w", syscall.Errno(-no))
	}
	return nil
}

// decode reads struct inet_diag_msg and the attribute INET_DIAG_INFO after it;
// false for what is no TCP flow.
func decode(b []byte, f *Flow) bool {
	if len(b) < messageLen {
		return false
	}
	local, remote := address(b[0], b[8:24]), address(b[0], b[24:40])
	if !local.IsValid() || !remote.IsValid() {
		return false
	}
	*f = Flow{
		Key: Key{
			VIP:    netip.AddrPortFrom(local, binary.BigEndian.Uint16(b[4:])),
			Client: netip.AddrPortFrom(remote, binary.BigEndian.Uint16(b[6:])),
		},
		Closing: b[1] != established, uid: binary.NativeEndian.Uint64(b[44:]),
	}
	for a := b[messageLen:]; len(a) >= attrLen; {
		n := int(binary.NativeEndian.Uint16(a))
		if n < attrLen || n > len(a) {
			return false
		}
		if binary.NativeEndian.Uint16(a[2:]) == diagInfo {
			return info(a[attrLen:n], f)
		}
		a = a[min(len(a), (n+3)&^3):]
	}
	return false
}

func address(family uint8, b []byte) netip.Addr {
	switch family {
	case unix.AF_INET:
		return netip.AddrFrom4([4]byte(b[:4]))
	case unix.AF_INET6: // also IPv4 clients of a socket for both families
		return netip.AddrFrom16([16]byte(b)).Unmap()
	}
	return netip.Addr{}
}

// info reads struct tcp_info; false for one of a kernel before 4.9, which does
// not say what limits a flow.
func info(b []byte, f *Flow) bool {
	var t unix.TCPInfo
	if len(b) < int(unsafe.Offsetof(t.Sndbuf_limited)) {
		return false
	}
	u32 := func(at uintptr) uint32 { return binary.NativeEndian.Uint32(b[at:]) }
	u64 := func(at uintptr) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
	us := func(n uint64) time.Duration { return time.Duration(min(n, 1<<50)) * time.Microsecond }
	f.Acked, f.Rate = u64(unsafe.Offsetof(t.Bytes_acked)), u64(unsafe.Offsetof(t.Delivery_rate))
	f.RTT, f.MinRTT = us(uint64(u32(unsafe.Offsetof(t.Rtt)))), us(uint64(u32(unsafe.Offsetof(t.Min_rtt))))
	f.Cwnd, f.MSS = u32(unsafe.Offsetof(t.Snd_cwnd)), u32(unsafe.Offsetof(t.Snd_mss))
	f.Out, f.Retrans = u32(unsafe.Offsetof(t.Unacked)), u32(unsafe.Offsetof(t.Total_retrans))
	f.Busy, f.Receiver = us(u64(unsafe.Offsetof(t.Busy_time))), us(u64(unsafe.Offsetof(t.Rwnd_limited)))
	return true
}

// destroy ends a flow: its client gets a RST, its server an error
// (ECONNABORTED). CAP_NET_ADMIN. The cookie makes sure that it is this flow
// and not a later one of the same addresses; ErrGone if there is none.
func (d *diag) destroy(f *Flow) error {
	family := uint8(unix.AF_INET6)
	if f.VIP.Addr().Is4() {
		family = unix.AF_INET
	}
	b := request(diagDestroy, unix.NLM_F_ACK, family)
	id := b[headerLen+8:]
	binary.BigEndian.PutUint16(id, f.VIP.Port())
	binary.BigEndian.PutUint16(id[2:], f.Client.Port())
	copy(id[4:20], f.VIP.Addr().AsSlice())
	copy(id[20:36], f.Client.Addr().AsSlice())
	binary.NativeEndian.PutUint64(id[40:], f.uid)
	if _, err := d.file.Write(b); err != nil {
		return err
	}
	n, err := d.file.Read(d.buf)
	if err != nil {
		return err
	}
	if n < headerLen+4 || binary.NativeEndian.Uint16(d.buf[4:]) != unix.NLMSG_ERROR {
		return errors.New("flow: sock_diag: the answer is no answer")
	}
	err = answered(d.buf[headerLen:n])
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESTALE) {
		return ErrGone
	}
	return err
}

// ErrGone: the flow has ended meanwhile.
var ErrGone = errors.New("flow: it is gone")
