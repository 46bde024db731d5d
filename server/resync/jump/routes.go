package jump

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteOptions bound Routes. Zero fields mean the defaults.
type RouteOptions struct {
	// Protocol marks our routes in the kernel's table, so that none is left
	// behind: what bears it goes when Run begins and when it ends; 187.
	Protocol int
	// Networks is how many have a route at most; 1,000.
	Networks int
	// Segments is the largest initial window; 100.
	Segments int
	// Keep is how long a route stays; 30 s.
	Keep time.Duration
}

// Routes is what there is instead of a Jumper where the kernel takes no BPF
// programs: for a while the way to a client network has a larger initial
// window (RTAX_INITCWND). It is coarse: it must be there before the client's
// handshake, counts for all its flows, and knows no pace and no retreat.
// CAP_NET_ADMIN.
//
// Such a route is a copy of the one that leads there, for a smaller network.
// As it would hide a change of that one, any change of a route that has to do
// with it ends it at once.
type Routes struct {
	opt    RouteOptions
	handle *netlink.Handle

	mu     sync.Mutex
	raised map[netip.Prefix]raised
	ended  bool
}

type raised struct {
	route netlink.Route
	until time.Time
}

// NewRoutes is for the network namespace of the calling thread.
func NewRoutes(o RouteOptions) (*Routes, error) {
	o.Protocol, o.Networks = cmp.Or(o.Protocol, 187), cmp.Or(o.Networks, 1000)
	o.Segments, o.Keep = cmp.Or(o.Segments, 100), cmp.Or(o.Keep, 30*time.Second)
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("jump: routes: %w", err)
	}
	return &Routes{opt: o, handle: h, raised: map[netip.Prefix]raised{}}, nil
}

// Errors of Raise.
var (
	ErrFull    = errors.New("as many networks have a route as may have one")
	ErrOwnWay  = errors.New("this network has a route of its own")
	errStopped = errors.New("it has ended")
)

// Raise gives flows to a network an initial window of so many segments from
// now on. It must be called while Run runs.
func (r *Routes) Raise(to netip.Prefix, segments int, now time.Time) error {
	to = to.Masked()
	segments = min(segments, r.opt.Segments)
	if !to.IsValid() || to.Bits() == 0 || segments <= 0 {
		return fmt.Errorf("jump: route to %v: a window of %d", to, segments)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	have, known := r.raised[to]
	switch {
	case r.ended:
		return fmt.Errorf("jump: route to %v: %w", to, errStopped)
	case known && have.route.InitCwnd >= segments:
		have.until = now.Add(r.opt.Keep)
		r.raised[to] = have
		return nil
	case !known && len(r.raised) >= r.opt.Networks:
		return fmt.Errorf("jump: route to %v: %w", to, ErrFull)
	case known:
		r.drop(to)
	}
	route, err := r.copied(to)
	if err != nil {
		return fmt.Errorf("jump: route to %v: %w", to, err)
	}
	route.InitCwnd = segments
	// Only where there is none: a route of somebody else is left as it is.
	if err := r.handle.RouteAdd(&route); errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("jump: route to %v: %w", to, ErrOwnWay)
	} else if err != nil {
		return fmt.Errorf("jump: route to %v: %w", to, err)
	}
	r.raised[to] = raised{route, now.Add(r.opt.Keep)}
	return nil
}

// copied is a route to a network by the way that leads there.
func (r *Routes) copied(to netip.Prefix) (netlink.Route, error) {
	ways, err := r.handle.RouteGet(to.Addr().AsSlice())
	if err != nil {
		return netlink.Route{}, err
	}
	if len(ways) == 0 || ways[0].Type != unix.RTN_UNICAST {
		return netlink.Route{}, errors.New("no way leads there")
	}
	w := ways[0]
	route := netlink.Route{LinkIndex: w.LinkIndex, Gw: w.Gw, Via: w.Via, Src: w.Src, MTU: w.MTU,
		Dst: ipNet(to), Protocol: netlink.RouteProtocol(r.opt.Protocol), Table: unix.RT_TABLE_MAIN}
	if w.Gw == nil && w.Via == nil && to.Addr().Is4() {
		route.Scope = netlink.SCOPE_LINK
	}
	if to.Addr().Is6() { // a packet of the VIP keeps its address; here it would be one of many
		route.Src = nil
	}
	return route, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Len is how many networks have a route.
func (r *Routes) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.raised)
}

// Window is the initial window that flows to a network have by such a route; 0:
// there is none.
func (r *Routes) Window(to netip.Prefix) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.raised[to.Masked()].route.InitCwnd
}

// drop takes one away. The caller holds r.mu.
func (r *Routes) drop(to netip.Prefix) {
	have := r.raised[to]
	delete(r.raised, to)
	_ = r.handle.RouteDel(&have.route) // it may have gone with its device
}

// Run takes routes away when their time is over or when what they are copies
// of changes, and all of them when ctx ends. It begins with those that another
// process has left behind.
func (r *Routes) Run(ctx context.Context) error {
	defer r.handle.Close()
	changes, done := make(chan netlink.RouteUpdate, 64), make(chan struct{})
	defer func() {
		close(done)
		for range changes { // until the reader has ended
		}
	}()
	if err := netlink.RouteSubscribe(changes, done); err != nil {
		close(changes)
		return fmt.Errorf("jump: routes: %w", err)
	}
	if err := r.clear(); err != nil { // now, when no change is missed after it
		return err
	}
	tick := time.NewTicker(min(time.Second, r.opt.Keep/4+time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.mu.Lock()
			r.ended = true
			r.mu.Unlock()
			return r.clear()
		case now := <-tick.C:
			r.expire(now)
		case c, ok := <-changes:
			if !ok {
				return errors.Join(errors.New("jump: routes: changes are not told any more"), r.clear())
			}
			r.changed(c)
		}
	}
}

func (r *Routes) expire(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for to, have := range r.raised {
		if !now.Before(have.until) {
			r.drop(to)
		}
	}
}

// changed ends the routes that a change has to do with.
func (r *Routes) changed(c netlink.RouteUpdate) {
	if int(c.Protocol) == r.opt.Protocol {
		return
	}
	of, all := netip.Prefix{}, c.Dst == nil
	if !all {
		a, _ := netip.AddrFromSlice(c.Dst.IP)
		bits, _ := c.Dst.Mask.Size()
		of = netip.PrefixFrom(a.Unmap(), bits)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for to := range r.raised {
		if all || of.Overlaps(to) {
			r.drop(to)
		}
	}
}

// clear takes all routes with our mark away, whoever made them.
func (r *Routes) clear() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.raised)
	mark := &netlink.Route{Protocol: netlink.RouteProtocol(r.opt.Protocol), Table: unix.RT_TABLE_MAIN}
	var failed error
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := r.handle.RouteListFiltered(family, mark, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for i := range routes {
			if err := r.handle.RouteDel(&routes[i]); err != nil && !errors.Is(err, unix.ESRCH) {
				failed = errors.Join(failed, err)
			}
		}
	}
	if failed != nil {
		return fmt.Errorf("jump: routes are left behind: %w", failed)
	}
	return nil
}
