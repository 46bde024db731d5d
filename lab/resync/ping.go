package resync

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// echo is one question of lab-ping and how long its answer took.
type echo struct {
	At  time.Time     `json:"at"`
	RTT time.Duration `json:"rtt"`
}

// pingMain asks a host for echoes until it is told to end, and gives what the
// kernel says of each answer's time as JSON. IPv4.
func pingMain(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("ping", flag.ContinueOnError)
	to := fs.String("to", "", "address")
	every := fs.Duration("every", 20*time.Millisecond, "from one to the next")
	if err := fs.Parse(args); err != nil {
		return err
	}
	host, err := netip.ParseAddr(*to)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return fmt.Errorf("raw socket: %w", err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- ask(ctx, fd, host, *every) }()
	got, err := answers(ctx, fd)
	if err := errors.Join(err, <-done); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

// ask sends echo requests that carry when they were sent.
func ask(ctx context.Context, fd int, host netip.Addr, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		b := make([]byte, 16)
		b[0] = 8
		binary.BigEndian.PutUint64(b[8:], uint64(time.Now().UnixNano()))
		sum := uint32(0)
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: host.As4()}); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func answers(ctx context.Context, fd int) (all []echo, err error) {
	buf, oob := make([]byte, 256), make([]byte, 256)
	for ctx.Err() == nil {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if p := buf[:n]; len(p) == 36 && p[20] == 0 {
			sent := int64(binary.BigEndian.Uint64(p[28:]))
			all = append(all, echo{time.Unix(0, sent), time.Duration(stamp(oob[:oobn]) - sent)})
		}
	}
	return all, nil
}
