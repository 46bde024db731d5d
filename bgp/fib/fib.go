// Package fib puts learned routes into the kernel's forwarding table by
// netlink: for the lab's transit routers, which are our own speaker, and for
// hosts that learn routes. Best chooses among learned paths, Table writes.
//
// It owns the routes of its protocol number in its table, and only those. It
// never decides what is announced, and never touches routes of others; a
// route of another protocol with the same prefix and metric would be replaced
// by the kernel, so the metric should be one that nobody else uses.
package fib

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/bgp/addr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Options of a Table. Zero values mean what the comments say.
type Options struct {
	TableID  int // 254, main
	Protocol int // 186, which iproute2 calls bgp
	Metric   int // 20
	// Grace is how long routes that an earlier run left may stay without being
	// updated. 10 s; negative: they go at once.
	Grace time.Duration
	// KeepOnStop leaves the routes in the kernel when Run ends, for a restart.
	KeepOnStop bool
	Logger     *slog.Logger // nil: nothing is logged
}

// settle is how long to wait after a change of devices or addresses before
// routes are written again, and retry how long after a failure.
const (
	settle = 50 * time.Millisecond
	retry  = time.Second
)

// Table is the kernel's view of our routes.
type Table struct {
	opts Options

	mu     sync.Mutex
	handle *netlink.Handle // nil: not running
	routes map[netip.Prefix]*route
	stale  map[place]netlink.Route // of an earlier run
	wake   chan struct{}           // something failed: Run tries again
}

type route struct {
	nexthops []netip.Addr
	done     bool // the kernel has it
}

// place is what the kernel tells routes of one table apart by.
type place struct {
	prefix netip.Prefix
	metric int
}

// New starts nothing.
func New(o Options) (*Table, error) {
	if o.TableID == 0 {
		o.TableID = unix.RT_TABLE_MAIN
	}
	if o.Protocol == 0 {
		o.Protocol = unix.RTPROT_BGP
	}
	if o.Metric == 0 {
		o.Metric = 20
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.TableID < 0 || o.Metric < 0 {
		return nil, fmt.Errorf("fib: table %d, metric %d: want positive numbers", o.TableID, o.Metric)
	}
	if o.Protocol <= unix.RTPROT_STATIC || o.Protocol > 255 {
		return nil, fmt.Errorf("fib: protocol %d: want 5 to 255, the lower ones are the kernel's and the administrator's", o.Protocol)
	}
	return &Table{opts: o, routes: map[netip.Prefix]*route{}, wake: make(chan struct{}, 1)}, nil
}

// Update makes a prefix go by the next hops, several sharing the traffic
// equally. A link-local next hop needs its zone. The kernel replaces the old
// route without a gap. Before Run it is only remembered. An error (no device
// leads to the next hop, say) is also retried by Run, each second and when
// devices or addresses change.
func (t *Table) Update(prefix netip.Prefix, nexthops []netip.Addr) error {
	if !prefix.IsValid() || len(nexthops) == 0 {
		return fmt.Errorf("fib: route %v: no prefix or no next hop", prefix)
	}
	prefix, nexthops = prefix.Masked(), slices.Clone(nexthops)
	for _, n := range nexthops {
		if !n.IsValid() || n.Is4() != prefix.Addr().Is4() {
			return fmt.Errorf("fib: route %v: next hop %v is not of its family", prefix, n)
		}
		if n.Is6() && n.IsLinkLocalUnicast() && n.Zone() == "" {
			return fmt.Errorf("fib: route %v: link-local next hop %v needs its device", prefix, n)
		}
	}
	slices.SortFunc(nexthops, netip.Addr.Compare)
	nexthops = slices.Compact(nexthops)
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.routes[prefix]
	if r != nil && r.done && slices.Equal(r.nexthops, nexthops) {
		return nil
	}
	r = &route{nexthops: nexthops}
	t.routes[prefix] = r
	return t.write(prefix, r)
}

// Remove takes a prefix out; one that is not there is no error.
func (t *Table) Remove(prefix netip.Prefix) error {
	prefix = prefix.Masked()
	t.mu.Lock()
	defer t.mu.Unlock()
	_, known := t.routes[prefix]
	_, left := t.stale[place{prefix, t.opts.Metric}]
	if !known && !left {
		return nil
	}
	delete(t.routes, prefix)
	delete(t.stale, place{prefix, t.opts.Metric})
	if t.handle == nil {
		return nil
	}
	return t.delete(t.base(prefix))
}

// Apply does what a Decision says.
func (t *Table) Apply(d Decision) error {
	if len(d.NextHops) == 0 {
		return t.Remove(d.Prefix)
	}
	return t.Update(d.Prefix, d.NextHops)
}

// Installed returns the routes that the kernel has taken.
func (t *Table) Installed() map[netip.Prefix][]netip.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[netip.Prefix][]netip.Addr{}
	for p, r := range t.routes {
		if r.done {
			all[p] = slices.Clone(r.nexthops)
		}
	}
	return all
}

// base is the part of a route that identifies it.
func (t *Table) base(prefix netip.Prefix) netlink.Route {
	return netlink.Route{Dst: ipNet(prefix), Table: t.opts.TableID, Priority: t.opts.Metric,
		Protocol: netlink.RouteProtocol(t.opts.Protocol)}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// write gives a route to the kernel. With mu held.
func (t *Table) write(prefix netip.Prefix, r *route) error {
	if t.handle == nil {
		return nil
	}
	r.done = false
	k := t.base(prefix)
	for _, n := range r.nexthops {
		hop := netlink.NexthopInfo{Gw: n.AsSlice()}
		if n.Zone() != "" {
			link, err := t.handle.LinkByName(n.Zone())
			if err != nil {
				t.again()
				return fmt.Errorf("fib: route %v via %v: %w", prefix, n, err)
			}
			hop.LinkIndex = link.Attrs().Index
		}
		k.MultiPath = append(k.MultiPath, &hop)
	}
	if len(k.MultiPath) == 1 {
		k.Gw, k.LinkIndex, k.MultiPath = k.MultiPath[0].Gw, k.MultiPath[0].LinkIndex, nil
	}
	if err := t.handle.RouteReplace(&k); err != nil {
		t.again()
		return fmt.Errorf("fib: route %v via %v: %w", prefix, r.nexthops, err)
	}
	r.done = true
	delete(t.stale, place{prefix, t.opts.Metric})
	return nil
}

func (t *Table) delete(r netlink.Route) error {
	if err := t.handle.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("fib: remove route %v: %w", r.Dst, err)
	}
	return nil
}

// again asks Run for another try.
func (t *Table) again() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Run writes what was asked for so far, removes what an earlier run left and
// nobody asked for within the grace time, writes routes again that the kernel
// dropped with a device, and at the end of ctx takes all routes out (or not,
// by option).
func (t *Table) Run(ctx context.Context) error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("fib: open netlink: %w", err)
	}
	defer handle.Close()
	changes, stop, err := addr.Watch()
	if err != nil {
		return fmt.Errorf("fib: %w", err)
	}
	defer stop()
	if err := t.begin(handle); err != nil {
		return err
	}
	defer t.end()
	t.rewrite()
	grace := time.NewTimer(max(t.opts.Grace, 0))
	defer grace.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-changes:
			if !ok {
				return errors.New("fib: netlink closed the subscription to devices and addresses")
			}
			again.Reset(settle)
			t.forget()
		case <-t.wake:
			again.Reset(retry)
		case <-again.C:
			t.rewrite()
		case <-grace.C:
			t.purge()
		}
	}
}

// begin opens the fast path and takes over what the kernel has of us.
func (t *Table) begin(handle *netlink.Handle) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stale = map[place]netlink.Route{}
	filter := &netlink.Route{Table: t.opts.TableID, Protocol: netlink.RouteProtocol(t.opts.Protocol)}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		found, err := handle.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			return fmt.Errorf("fib: list routes: %w", err)
		}
		for _, r := range found {
			if r.Dst == nil {
				continue
			}
			ip, _ := netip.AddrFromSlice(r.Dst.IP)
			bits, size := r.Dst.Mask.Size()
			if size == 32 {
				ip = ip.Unmap()
			}
			p := netip.PrefixFrom(ip, bits)
			t.stale[place{p, r.Priority}] = netlink.Route{Dst: r.Dst, Table: r.Table, Priority: r.Priority, Protocol: r.Protocol}
		}
	}
	t.handle = handle
	return nil
}

// rewrite writes what the kernel does not have.
func (t *Table) rewrite() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, r := range t.routes {
		if r.done {
			continue
		}
		if err := t.write(p, r); err != nil {
			t.opts.Logger.Warn("fib: cannot install", "error", err)
		}
	}
}

// forget makes rewrite write everything: the kernel drops routes with their
// device or address and does not say which.
func (t *Table) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.routes {
		r.done = false
	}
}

// purge removes what an earlier run left.
func (t *Table) purge() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range t.stale {
		if err := t.delete(r); err != nil {
			t.opts.Logger.Warn("fib: cannot remove a route of an earlier run", "error", err)
		}
	}
	if n := len(t.stale); n > 0 {
		t.opts.Logger.Info("fib: routes of an earlier run removed", "count", n)
	}
	clear(t.stale)
}

// end closes the fast path.
func (t *Table) end() {
	if !t.opts.KeepOnStop {
		t.purge()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range slices.Collect(maps.Keys(t.routes)) {
		if !t.opts.KeepOnStop {
			if err := t.delete(t.base(p)); err != nil {
				t.opts.Logger.Warn("fib: at stop", "error", err)
			}
		}
		t.routes[p].done = false
	}
	t.handle = nil
}
