package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/health"
)

// icmpCheck sends one echo request. It uses a ping socket where the kernel
// lets this user have one (net.ipv4.ping_group_range), else a raw socket,
// which needs CAP_NET_RAW. The socket is connected, and the reply is known by
// 16 random bytes, so that nobody else's reply counts.
type icmpCheck struct {
	dialer
	address string
}

func newICMP(c Config) health.Checker {
	return &icmpCheck{dialer: newDialer(c), address: strings.Trim(c.Address, "[]")}
}

// ICMP types (RFC 792, RFC 4443) and the length of an echo header.
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
	echoHeader               = 8
)

func (i *icmpCheck) Check(ctx context.Context) health.Result {
	started := time.Now()
	addrs, err := i.resolve(ctx, i.address)
	if err != nil {
		return i.judge(ctx, err)
	}
	to := addrs[0]
	sock, err := i.open(to)
	if err != nil {
		return i.judge(ctx, err)
	}
	defer sock.Close()
	defer context.AfterFunc(ctx, func() { _ = sock.SetDeadline(time.Unix(1, 0)) })()
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return health.Result{Detail: err.Error()}
	}
	if _, err := sock.Write(echoRequest(to, nonce)); err != nil {
		return i.judge(ctx, fmt.Errorf("ping %s: %w", to, err))
	}
	buf := make([]byte, 2048)
	for {
		n, err := sock.Read(buf)
		if err != nil {
			return i.judge(ctx, fmt.Errorf("ping %s: %w", to, err))
		}
		if got, ok := parseEchoReply(buf[:n], to.Is6()); ok && bytes.Equal(got, nonce) {
			return i.pass(started, "echo reply")
		}
	}
}

// open returns a connected, nonblocking ICMP socket.
func (i *icmpCheck) open(to netip.Addr) (*os.File, error) {
	family, proto := unix.AF_INET, unix.IPPROTO_ICMP
	if to.Is6() {
		family, proto = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|flags, proto)
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EPROTONOSUPPORT) {
		fd, err = unix.Socket(family, unix.SOCK_RAW|flags, proto)
	}
	if err != nil {
		return nil, fmt.Errorf("icmp socket (needs net.ipv4.ping_group_range or CAP_NET_RAW): %w", err)
	}
	if err := i.prepare(fd, to); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "icmp"), nil
}

func (i *icmpCheck) prepare(fd int, to netip.Addr) error {
	if i.device != "" {
		if err := unix.BindToDevice(fd, i.device); err != nil {
			return &bindError{i.device, err}
		}
	}
	if i.source.IsValid() {
		if err := unix.Bind(fd, sockaddr(i.source)); err != nil {
			return fmt.Errorf("bind %s: %w", i.source, err)
		}
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil {
		return fmt.Errorf("connect %s: %w", to, err)
	}
	return nil
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	sa := &unix.SockaddrInet6{Addr: a.As16()}
	if dev, err := net.InterfaceByName(a.Zone()); a.Zone() != "" && err == nil {
		sa.ZoneId = uint32(dev.Index)
	}
	return sa
}

// echoRequest encodes an echo request. The kernel fills in the identifier of
// a ping socket, and the checksum of ICMPv6 and of ping sockets.
func echoRequest(to netip.Addr, payload []byte) []byte {
	b := make([]byte, echoHeader, echoHeader+len(payload))
	b[0] = echoRequest6
	if to.Is4() {
		b[0] = echoRequest4
	}
	binary.BigEndian.PutUint16(b[4:], uint16(os.Getpid()))
	binary.BigEndian.PutUint16(b[6:], 1)
	b = append(b, payload...)
	if to.Is4() {
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return b
}

// parseEchoReply returns the payload of an echo reply. A raw IPv4 socket puts
// the IP header (RFC 791) in front, a ping socket does not; the first byte of
// an echo reply is 0 and that of an IPv4 header 0x45 to 0x4f.
func parseEchoReply(b []byte, v6 bool) (payload []byte, ok bool) {
	want := byte(echoReply6)
	if !v6 {
		want = echoReply4
		if len(b) > 0 && b[0]>>4 == 4 {
			n := int(b[0]&0xf) * 4
			if n < 20 || len(b) < n || b[9] != unix.IPPROTO_ICMP {
				return nil, false
			}
			b = b[n:]
		}
	}
	if len(b) < echoHeader || b[0] != want || b[1] != 0 {
		return nil, false
	}
	return b[echoHeader:], true
}

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
