package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/wire"
)

// world is a client and a POP, each in a network namespace, with a wire
// between them that delays packets and sends them at a rate.
type world struct {
	client, pop space
	wire        *wire.Wire
	life        sync.WaitGroup
	stop        context.CancelFunc
}

// Addresses of the world.
var (
	clientAddr = netip.MustParsePrefix("203.0.113.2/24")
	popAddr    = netip.MustParsePrefix("203.0.113.1/24")
)

// space is a network namespace.
type space struct {
	ns     *os.File
	handle *netlink.Handle
}

// onThread runs f on a thread of its own, which ends with it.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is thrown away
		done <- f()
	}()
	return <-done
}

// do runs f inside the namespace.
func (s space) do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(s.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return f()
	})
}

func newSpace() (s space, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("network namespace: %w", err)
		}
		s.ns, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return s, err
	}
	s.handle, err = netlink.NewHandleAt(netns.NsHandle(s.ns.Fd()), unix.NETLINK_ROUTE)
	return s, err
}

// sysctl sets one in the namespace.
func (s space) sysctl(name, value string) error {
	return s.do(func() error { return os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o644) })
}

// build makes the world; the calling thread's namespace has the wire.
func build(ctx context.Context) (*world, error) {
	w := &world{}
	var err error
	if w.client, err = newSpace(); err != nil {
		return nil, err
	}
	if w.pop, err = newSpace(); err != nil {
		return nil, err
	}
	if err := w.cable(w.client, "wclient", clientAddr); err != nil {
		return nil, err
	}
	if err := w.cable(w.pop, "wpop", popAddr); err != nil {
		return nil, err
	}
	if err := w.pop.sysctl("tcp_no_metrics_save", "1"); err != nil {
		return nil, err
	}
	if w.wire, err = wire.Open("wclient", "wpop", wire.Config{}); err != nil {
		return nil, err
	}
	ctx, w.stop = context.WithCancel(ctx)
	w.life.Go(func() { _ = w.wire.Run(ctx) })
	return w, nil
}

// cable joins a namespace with the wire's end dev.
func (w *world) cable(s space, dev string, addr netip.Prefix) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = dev
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(s.ns.Fd())}); err != nil {
		return fmt.Errorf("cable %s: %w", dev, err)
	}
	end, err := netlink.LinkByName(dev)
	if err == nil {
		err = netlink.LinkSetUp(end)
	}
	if err != nil {
		return fmt.Errorf("cable %s: %w", dev, err)
	}
	link, err := s.handle.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("cable %s: %w", dev, err)
	}
	ip := &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), 32)}
	if err := s.handle.AddrAdd(link, &netlink.Addr{IPNet: ip}); err != nil {
		return fmt.Errorf("cable %s: %w", dev, err)
	}
	if err := s.handle.LinkSetGSOMaxSegs(link, 1); err != nil { // the wire sees packets and not bundles
		return fmt.Errorf("cable %s: %w", dev, err)
	}
	return s.handle.LinkSetUp(link)
}

// path is what lies between client and POP.
type path struct {
	rtt  time.Duration
	rate int64 // bits a second
}

// set makes the wire a path, with a queue of one bandwidth-delay product.
func (w *world) set(p path) {
	w.wire.Set(wire.Config{Delay: p.rtt / 2, Rate: p.rate, Queue: max(64<<10, p.bdp())})
}

// bdp is the bandwidth-delay product in bytes.
func (p path) bdp() int { return int(p.rtt.Seconds() * float64(p.rate) / 8) }

// floor is the least time from the first packet of a handshake to the last
// byte of n: two round trips and the line rate.
func (p path) floor(n int) time.Duration {
	const header, mtu = 14 + 20 + 32, 1514
	return 2*p.rtt + time.Duration(float64(n)*8*mtu/(mtu-header)/float64(p.rate)*float64(time.Second))
}

// initcwnd sets the initial window of all that the POP sends; 0: as it is.
func (w *world) initcwnd(n int) error {
	link, err := w.pop.handle.LinkByName("eth0")
	if err != nil {
		return err
	}
	p := clientAddr.Masked()
	r := netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, InitCwnd: n,
		Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}, Src: popAddr.Addr().AsSlice()}
	return w.pop.handle.RouteReplace(&r)
}

func (w *world) close() {
	w.stop()
	w.life.Wait()
	for _, s := range []space{w.client, w.pop} {
		s.handle.Close()
		s.ns.Close()
	}
}
