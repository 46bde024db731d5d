package resync

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// finMain waits for a segment of data that this host sends from port 80 to a
// port, as it does again and again where nobody acknowledges, and sends the same
// with a FIN: what comes when the server has ended. IPv4.
func finMain(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("fin", flag.ContinueOnError)
	port := fs.Int("port", 0, "of the client")
	if err := fs.Parse(args); err != nil {
		return err
	}
	in, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(be16(unix.ETH_P_ALL)))
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer unix.Close(in)
	if err := unix.SetsockoptTimeval(in, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for over := time.Now().Add(20 * time.Second); time.Now().Before(over) && ctx.Err() == nil; {
		n, _, err := unix.Recvfrom(in, buf, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if p := buf[:n]; isData(p, *port) {
			return sendFIN(p)
		}
	}
	return errors.New("no segment of data has been sent")
}

func be16(n uint16) uint16 { return n<<8 | n>>8 }

// isData reports whether a packet is of IPv4 and TCP from port 80 to a port,
// with bytes in it.
func isData(p []byte, port int) bool {
	if len(p) < 40 || p[0] != 0x45 || p[9] != unix.IPPROTO_TCP {
		return false
	}
	t := p[20:]
	head := 20 + int(t[12]>>4)*4
	return binary.BigEndian.Uint16(t) == 80 && int(binary.BigEndian.Uint16(t[2:])) == port && len(p) > head
}

// sendFIN sends a segment with the flag FIN.
func sendFIN(p []byte) error {
	p = p[:min(len(p), 1400)] // the kernel may have shown several in one
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	t := p[20:]
	t[13] |= 1
	t[16], t[17] = 0, 0
	sum := uint32(unix.IPPROTO_TCP + len(t))
	for _, part := range [][]byte{p[12:20], t} {
		for i, b := range part {
			sum += uint32(b) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(t[16:], ^uint16(sum))
	out, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	defer unix.Close(out)
	return unix.Sendto(out, p, 0, &unix.SockaddrInet4{Addr: [4]byte(p[16:20])})
}
