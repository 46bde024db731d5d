package load

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// LinkConfig names a network device.
type LinkConfig struct {
	Device string
	// Capacity is the most it can carry in each direction, bit/s; 0: what the
	// driver says that its speed is, if it says one.
	Capacity float64
}

// speedEvery is how often a driver is asked for the speed of its link.
const speedEvery = 10 * time.Second

// link samples the kernel's counters of a device (IFLA_STATS64 of rtnetlink):
// octets in both directions.
type link struct {
	LinkConfig
	handle *netlink.Handle
	speed  float64
	asked  time.Time
	index  int
}

// NewLink returns a sampler of In and Out. The device need not be there yet.
func NewLink(c LinkConfig) Sampler { return &link{LinkConfig: c} }

// Sample implements Sampler. A device that is made again begins a new epoch
// of its counters.
func (l *link) Sample(ctx context.Context) (Reading, error) {
	if err := l.open(ctx); err != nil {
		return nil, fmt.Errorf("link %s: %w", l.Device, err)
	}
	dev, err := l.handle.LinkByName(l.Device)
	if err != nil {
		if !errors.As(err, new(netlink.LinkNotFoundError)) { // the socket may be out of step
			l.handle.Close()
			l.handle = nil
		}
		return nil, fmt.Errorf("link %s: %w", l.Device, err)
	}
	a := dev.Attrs()
	if a.Statistics == nil {
		return nil, fmt.Errorf("link %s: the kernel gives no counters", l.Device)
	}
	limit, most := l.limit(a.Index)
	down := a.RawFlags&unix.IFF_RUNNING == 0
	point := func(name string, u Unit, octets uint64) Point {
		return Point{
			Name: name, Unit: u, Kind: Counter, Value: float64(octets) * 8,
			Epoch: uint64(a.Index), Limit: limit, Most: most, Down: down, Wrap: (1 << 32) * 8, // of drivers that count in 32 bits
		}
	}
	return Reading{point("in", In, a.Statistics.RxBytes), point("out", Out, a.Statistics.TxBytes)}, nil
}

// open makes the netlink socket, whose calls end with ctx.
func (l *link) open(ctx context.Context) error {
	if l.handle == nil {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		l.handle = h
	}
	left := time.Second
	if deadline, ok := ctx.Deadline(); ok {
		left = max(time.Until(deadline), time.Millisecond)
	}
	return l.handle.SetSocketTimeout(left)
}

// Close closes the netlink socket.
func (l *link) Close() error {
	if l.handle != nil {
		l.handle.Close()
		l.handle = nil
	}
	return nil
}

// limit is the capacity that is configured, or the speed of the link, and what
// it cannot exceed: nobody knows where the driver tells no speed, and some tell
// too little.
func (l *link) limit(index int) (limit, most float64) {
	if index != l.index || time.Since(l.asked) >= speedEvery {
		l.speed, l.index, l.asked = speed(l.Device), index, time.Now()
	}
	switch {
	case l.Capacity <= 0:
		return l.speed, l.speed
	case l.speed <= 0:
		return l.Capacity, 0
	}
	return l.Capacity, max(l.Capacity, l.speed)
}

// Constants and layout of linux/ethtool.h.
const (
	ethtoolGSET  = 0x1
	speedUnknown = 0xffffffff
)

type ethtoolCmd struct {
	cmd, supported, advertising                                 uint32
	speed                                                       uint16
	duplex, port, phyAddress, transceiver, autoneg, mdioSupport uint8
	maxTxPackets, maxRxPackets                                  uint32
	speedHigh                                                   uint16
	mdix, mdixCtrl                                              uint8
	peerAdvertising                                             uint32
	reserved                                                    [2]uint32
}

type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte // struct ifreq is 40 bytes, 32 where pointers have four
}

// speed asks the driver (SIOCETHTOOL), in bit/s; 0 where it has none, or the
// link is down. In contrast to /sys it answers for this network namespace.
func speed(device string) float64 {
	if len(device) >= unix.IFNAMSIZ {
		return 0
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	cmd := ethtoolCmd{cmd: ethtoolGSET}
	req := ifreqData{data: unsafe.Pointer(&cmd)}
	copy(req.name[:], device)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return 0
	}
	mbit := uint32(cmd.speedHigh)<<16 | uint32(cmd.speed)
	if mbit == speedUnknown || mbit == speedUnknown>>16 {
		return 0
	}
	return float64(mbit) * 1e6
}
