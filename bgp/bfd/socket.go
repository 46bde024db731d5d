package bfd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Source ports, RFC 5881 section 4.
const (
	portFirst = 49152
	portLast  = 65535
	portTries = 64
)

// trafficClass is internetwork control (CS6), as routers mark their protocols.
const trafficClass = 0xC0

// sockets is the real network.
type sockets struct{}

func (sockets) listen(l listener, deliver func(datagram), failed func(error)) (func(), error) {
	proto := "udp4"
	if l.v6 {
		proto = "udp6"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return control(c, func(fd int) error { return askForDetails(fd, l.v6) })
	}}
	pc, err := lc.ListenPacket(context.Background(), proto, fmt.Sprintf(":%d", port(l.multihop)))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("%s port %d is in use, is another BFD daemon running? %w", proto, port(l.multihop), err)
	} else if err != nil {
		return nil, err
	}
	conn := pc.(*net.UDPConn)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := read(conn, l, deliver); !errors.Is(err, net.ErrClosed) {
			failed(fmt.Errorf("bfd: read %s port %d: %w", proto, port(l.multihop), err))
		}
	}()
	return func() { _ = conn.Close(); <-done }, nil
}

// askForDetails wants hop limit, destination and device with each datagram.
func askForDetails(fd int, v6 bool) error {
	if v6 {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1))
	}
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTTL, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
}

func control(c syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

func read(conn *net.UDPConn, l listener, deliver func(datagram)) error {
	var names deviceNames
	buf, oob := make([]byte, 512), make([]byte, 256)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return err
		}
		d := datagram{payload: buf[:n], from: from.Addr().Unmap(), multihop: l.multihop}
		index := d.details(oob[:oobn])
		d.device = names.name(index)
		if d.from.Is6() && d.from.IsLinkLocalUnicast() {
			d.from = d.from.WithZone(d.device)
		}
		deliver(d)
	}
}

// details fills in what the control messages say and returns the device's index.
func (d *datagram) details(oob []byte) (index int) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		switch data := m.Data; {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TTL && len(data) >= 4,
			m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			d.ttl = int(binary.NativeEndian.Uint32(data))
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(data) >= 12:
			index = int(binary.NativeEndian.Uint32(data)) // struct in_pktinfo: index, local, destination
			d.to = netip.AddrFrom4([4]byte(data[8:12]))
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(data) >= 20:
			d.to = netip.AddrFrom16([16]byte(data[:16])) // struct in6_pktinfo: destination, index
			index = int(binary.NativeEndian.Uint32(data[16:]))
		}
	}
	return index
}

// deviceNames remembers names for a second: asking the kernel for each packet
// is dear, and names can change.
type deviceNames struct {
	names map[int]string
	until time.Time
}

func (d *deviceNames) name(index int) string {
	if now := time.Now(); d.names == nil || now.After(d.until) {
		d.names, d.until = map[int]string{}, now.Add(time.Second)
	}
	name, ok := d.names[index]
	if !ok {
		if i, err := net.InterfaceByIndex(index); err == nil {
			name = i.Name
		}
		d.names[index] = name
	}
	return name
}

func (sockets) dial(c SessionConfig) transmitter { return &sender{config: c} }

// sender is the socket of one session, which keeps its source port as RFC
// 5881 section 4 wants. It is opened by the first packet and again after an
// error, because addresses and devices come and go.
type sender struct {
	config SessionConfig
	port   int // kept over reopening; zero: not chosen yet
	conn   *net.UDPConn
	to     netip.AddrPort
}

func (s *sender) send(b []byte) error {
	if s.conn == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	_, err := s.conn.WriteToUDPAddrPort(b, s.to)
	if err != nil {
		s.close()
	}
	return err
}

func (s *sender) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

func (s *sender) open() error {
	zone, err := s.zone()
	if err != nil {
		return err
	}
	s.to = netip.AddrPortFrom(s.config.Neighbor.WithZone(zone), port(s.config.Multihop))
	if s.port != 0 {
		if err = s.bind(s.port, zone); !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
	}
	for range portTries {
		p := portFirst + rand.IntN(portLast-portFirst+1)
		if err = s.bind(p, zone); err == nil {
			s.port = p
			return nil
		} else if !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
	}
	return err
}

// zone is the device's number as text: by name the net package would answer
// from a cache that is up to a minute old.
func (s *sender) zone() (string, error) {
	if !s.config.Neighbor.Is6() || !s.config.Neighbor.IsLinkLocalUnicast() {
		return "", nil
	}
	i, err := net.InterfaceByName(s.config.Device)
	if err != nil {
		return "", fmt.Errorf("device %s: %w", s.config.Device, err)
	}
	return strconv.Itoa(i.Index), nil
}

func (s *sender) bind(p int, zone string) error {
	proto, local := "udp4", s.config.Local
	if s.config.Neighbor.Is6() {
		proto = "udp6"
	}
	host := ""
	if local.IsValid() {
		if local.IsLinkLocalUnicast() && local.Is6() {
			local = local.WithZone(zone)
		}
		host = local.String()
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return control(c, s.prepare)
	}}
	pc, err := lc.ListenPacket(context.Background(), proto, net.JoinHostPort(host, strconv.Itoa(p)))
	if err != nil {
		return err
	}
	s.conn = pc.(*net.UDPConn)
	return nil
}

// prepare sets hop limit 255 (RFC 5881 section 5), class and device.
func (s *sender) prepare(fd int) error {
	level, ttl, class := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_TOS
	if s.config.Neighbor.Is6() {
		level, ttl, class = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_TCLASS
	}
	err := errors.Join(
		unix.SetsockoptInt(fd, level, ttl, 255),
		unix.SetsockoptInt(fd, level, class, trafficClass))
	if s.config.Device != "" {
		if e := unix.BindToDevice(fd, s.config.Device); e != nil {
			err = errors.Join(err, fmt.Errorf("bind to device %s: %w", s.config.Device, e))
		}
	}
	return err
}
