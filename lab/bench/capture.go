package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// packet is what a captured packet meant.
type packet struct {
	kind kind       // probe, announced or withdrawn
	to   netip.Addr // destination
}

// capture reports the packets of interest that leave the network namespace of
// process pid, each with the kernel's time of sending, until ctx ends.
func capture(ctx context.Context, pid int, report func(time.Time, packet)) error {
	f, err := packetSocket(pid)
	if err != nil {
		return fmt.Errorf("capture in the namespace of process %d: %w", pid, err)
	}
	conn, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return err
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	go func() {
		defer stop()
		buf, oob := make([]byte, 1<<16), make([]byte, 256)
		for {
			var n, oobn int
			var from unix.Sockaddr
			err := conn.Read(func(fd uintptr) bool {
				var err error
				n, oobn, _, from, err = unix.Recvmsg(int(fd), buf, oob, 0)
				return !errors.Is(err, unix.EAGAIN)
			})
			if err != nil {
				return // closed
			}
			if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype != unix.PACKET_OUTGOING {
				continue
			}
			at := stamp(oob[:oobn])
			for _, p := range parseIP(buf[:n]) {
				report(at, p)
			}
		}
	}()
	return nil
}

const packetBuffer = 8 << 20 // bytes

// packetSocket opens an AF_PACKET socket in the network namespace of pid.
func packetSocket(pid int) (*os.File, error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer home.Close()
	there, err := netns.GetFromPid(pid)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_ALL)))
	if back := netns.Set(home); back == nil {
		runtime.UnlockOSThread() // else the thread ends with the goroutine
	} else {
		err = errors.Join(err, back)
	}
	if err != nil {
		return nil, err
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, packetBuffer) != nil { // needs root on older kernels
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, packetBuffer)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "packets"), nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// stamp reads the kernel's time of a packet; without one, it is now.
func stamp(oob []byte) time.Time {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err == nil {
		for _, m := range msgs {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
				return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			}
		}
	}
	return time.Now()
}

// parseIP finds what is of interest in an IP packet: a SYN to the service's
// port, BGP UPDATEs.
func parseIP(b []byte) []packet {
	var tcp []byte
	var to netip.Addr
	switch {
	case len(b) >= 20 && b[0]>>4 == 4 && b[9] == unix.IPPROTO_TCP:
		head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
		if total == 0 || total > len(b) { // segmentation offload
			total = len(b)
		}
		if head < 20 || head > total {
			return nil
		}
		to, tcp = netip.AddrFrom4([4]byte(b[16:20])), b[head:total]
	case len(b) >= 40 && b[0]>>4 == 6 && b[6] == unix.IPPROTO_TCP:
		to, tcp = netip.AddrFrom16([16]byte(b[24:40])), b[40:]
	}
	if len(tcp) < 20 {
		return nil
	}
	src, dst, flags := binary.BigEndian.Uint16(tcp), binary.BigEndian.Uint16(tcp[2:]), tcp[13]
	const syn, ack = 0x02, 0x10
	switch {
	case checkedPort(dst) && flags&(syn|ack) == syn:
		return []packet{{probed, to}}
	case src == 179 || dst == 179:
		data := int(tcp[12]>>4) * 4
		if data < 20 || data > len(tcp) {
			return nil
		}
		var out []packet
		for _, k := range parseBGP(tcp[data:]) {
			out = append(out, packet{k, to})
		}
		return out
	}
	return nil
}

// parseBGP returns what the UPDATEs in a segment do. Messages that begin in
// an earlier segment are passed over: those measured here are small.
func parseBGP(b []byte) []kind {
	var out []kind
	for len(b) >= 19 {
		size := int(binary.BigEndian.Uint16(b[16:]))
		for _, c := range b[:16] {
			if c != 0xff {
				return out
			}
		}
		if size < 19 || size > len(b) {
			return out
		}
		if b[18] == 2 {
			out = append(out, parseUpdate(b[19:size])...)
		}
		b = b[size:]
	}
	return out
}

// parseUpdate reads an UPDATE's body, RFC 4271 section 4.3; attributes 14 and
// 15 are those of RFC 4760. An End-of-RIB is neither.
func parseUpdate(b []byte) []kind {
	announces, withdraws := false, false
	if len(b) < 4 {
		return nil
	}
	gone := int(binary.BigEndian.Uint16(b))
	if 2+gone+2 > len(b) {
		return nil
	}
	withdraws = gone > 0
	b = b[2+gone:]
	size := int(binary.BigEndian.Uint16(b))
	if 2+size > len(b) {
		return nil
	}
	announces = len(b) > 2+size
	for attrs := b[2 : 2+size]; len(attrs) >= 3; {
		head, length := 3, int(attrs[2])
		if attrs[0]&0x10 != 0 {
			if len(attrs) < 4 {
				break
			}
			head, length = 4, int(binary.BigEndian.Uint16(attrs[2:]))
		}
		if head+length > len(attrs) {
			break
		}
		switch attrs[1] {
		case 14:
			announces = true
		case 15:
			withdraws = withdraws || length > 3
		}
		attrs = attrs[head+length:]
	}
	var out []kind
	if withdraws {
		out = append(out, withdrawn)
	}
	if announces {
		out = append(out, announced)
	}
	return out
}
