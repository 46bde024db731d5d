package netlab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Route is one route of a node's main table.
type Route struct {
	Prefix   netip.Prefix
	Via      []netip.Addr // next hops, sorted; empty for a connected route
	Protocol int          // who installed it: 186 bgp, 12 bird, 2 kernel, 4 static
	Metric   int
}

// RouteEvent is one change of a node's main table.
type RouteEvent struct {
	Time  time.Time // when netlink said it
	Gone  bool      // else added or changed
	Route Route
}

// Routes returns the routes of a node for exactly that prefix, or all of its
// main table when prefix is the zero Prefix.
func (l *Lab) Routes(node string, prefix netip.Prefix) ([]Route, error) {
	n, err := l.node(node)
	if err != nil {
		return nil, err
	}
	family := netlink.FAMILY_ALL
	switch {
	case prefix.IsValid() && prefix.Addr().Is4():
		family = netlink.FAMILY_V4
	case prefix.IsValid():
		family = netlink.FAMILY_V6
	}
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN}
	list, err := n.net.handle.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("%s: list routes: %w", node, err)
	}
	var out []Route
	for _, r := range list {
		if have := routeOf(r); !prefix.IsValid() || have.Prefix == prefix.Masked() {
			out = append(out, have)
		}
	}
	return out, nil
}

// WatchRoutes reports each change of the node's main table until ctx ends;
// then the channel is closed. A slow reader loses nothing short of the
// kernel's buffer.
func (l *Lab) WatchRoutes(ctx context.Context, node string) (<-chan RouteEvent, error) {
	n, err := l.node(node)
	if err != nil {
		return nil, err
	}
	updates := make(chan netlink.RouteUpdate, 64)
	ns := netns.NsHandle(n.net.file.Fd())
	opt := netlink.RouteSubscribeOptions{Namespace: &ns, ReceiveBufferSize: 1 << 20}
	if err := netlink.RouteSubscribeWithOptions(updates, ctx.Done(), opt); err != nil {
		return nil, fmt.Errorf("%s: watch routes: %w", node, err)
	}
	out := make(chan RouteEvent, 64)
	go func() {
		defer close(out)
		for u := range updates {
			if u.Route.Table != unix.RT_TABLE_MAIN {
				continue
			}
			e := RouteEvent{Time: time.Now(), Gone: u.Type == unix.RTM_DELROUTE, Route: routeOf(u.Route)}
			select {
			case out <- e:
			case <-ctx.Done():
			}
		}
	}()
	return out, nil
}

func routeOf(r netlink.Route) Route {
	out := Route{Protocol: int(r.Protocol), Metric: r.Priority}
	if r.Dst != nil {
		ip, _ := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		if r.Dst.IP.To4() != nil && len(r.Dst.Mask) == net.IPv4len {
			ip = ip.Unmap()
		}
		out.Prefix = netip.PrefixFrom(ip, bits)
	}
	gateways := []net.IP{r.Gw}
	for _, nh := range r.MultiPath {
		gateways = append(gateways, nh.Gw)
	}
	for _, gw := range gateways {
		if ip, ok := netip.AddrFromSlice(gw); ok {
			out.Via = append(out.Via, ip.Unmap())
		}
	}
	slices.SortFunc(out.Via, netip.Addr.Compare)
	return out
}
