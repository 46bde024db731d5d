package slow

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// place is a network namespace, held by a descriptor.
type place struct {
	file   *os.File
	handle *netlink.Handle
}

func newPlace() (*place, error) {
	p := &place{}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		p.file = f
		return err
	})
	if err != nil {
		return nil, err
	}
	if p.handle, err = netlink.NewHandleAt(netns.NsHandle(p.file.Fd()), unix.NETLINK_ROUTE); err != nil {
		p.file.Close()
		return nil, fmt.Errorf("netlink in the namespace: %w", err)
	}
	return p, p.up("lo")
}

// do runs f on a thread that is inside.
func (p *place) do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(p.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		return f()
	})
}

func (p *place) close() {
	p.handle.Close()
	p.file.Close()
}

// onThread runs f on a thread that ends with it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not used again
		done <- f()
	}()
	return <-done
}

func (p *place) up(dev string) error {
	l, err := p.handle.LinkByName(dev)
	if err == nil {
		err = p.handle.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("%s up: %w", dev, err)
	}
	return nil
}

// cable lays a veth pair between two places, with both ends up. Data is cut into
// segments before it.
func cable(a *place, devA string, b *place, devB string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = devA
	if err := a.handle.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: devB, PeerNamespace: netlink.NsFd(b.file.Fd())}); err != nil {
		return fmt.Errorf("cable %s to %s: %w", devA, devB, err)
	}
	for dev, p := range map[string]*place{devA: a, devB: b} {
		l, err := p.handle.LinkByName(dev)
		if err == nil {
			err = p.handle.LinkSetGSOMaxSegs(l, 1)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", dev, err)
		}
		if err := p.up(dev); err != nil {
			return err
		}
	}
	return nil
}

// address gives an interface an address.
func (p *place) address(dev, prefix string) error {
	l, err := p.handle.LinkByName(dev)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	a.Flags = unix.IFA_F_NODAD
	if err := p.handle.AddrReplace(l, a); err != nil {
		return fmt.Errorf("address %s at %s: %w", prefix, dev, err)
	}
	return nil
}

// route leads to a prefix by a gateway; without one the prefix is the place's
// own: each of its addresses is there.
func (p *place) route(prefix, via string) error {
	dst := netip.MustParsePrefix(prefix)
	r := &netlink.Route{Dst: &net.IPNet{IP: dst.Addr().AsSlice(), Mask: net.CIDRMask(dst.Bits(), dst.Addr().BitLen())}}
	if via != "" {
		r.Gw = netip.MustParseAddr(via).AsSlice()
	} else {
		lo, err := p.handle.LinkByName("lo")
		if err != nil {
			return err
		}
		r.LinkIndex, r.Type, r.Table, r.Scope = lo.Attrs().Index, unix.RTN_LOCAL, unix.RT_TABLE_LOCAL, netlink.SCOPE_HOST
	}
	if err := p.handle.RouteReplace(r); err != nil {
		return fmt.Errorf("route to %s: %w", prefix, err)
	}
	return nil
}
