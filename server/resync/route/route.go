// Package route lets the connections of client networks that are about to come
// from another POP begin with a larger window where there is no better means
// (package jump): by a route to the network, the same as there is but for
// initcwnd, which the kernel looks at when a connection begins (RFC 6928 has
// ten segments).
//
// It is coarse: every connection of the network begins so, whatever it carries
// and however often. So the window is half of what was measured, under a
// ceiling, routes stay for a short time, and they are few. It owns the routes of
// its protocol number and no others; those of a former life go at the start.
package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/server/resync/careful"
	"github.com/catchment/catchment/server/resync/checkpoint"
)

// Protocol is the number of our routes (rtm_protocol).
const Protocol = 187

// Options are what Routes need. Zero fields mean the defaults.
type Options struct {
	Log  *slog.Logger
	Most int           // largest initcwnd, segments
	Keep time.Duration // for which a route stays; 60 s
	Max  int           // routes at a time; 256
}

// Routes keep them. Their methods may be called from any goroutine.
type Routes struct {
	opt Options

	mu    sync.Mutex
	there map[netip.Prefix]time.Time // until when
}

// New makes Routes; Run takes them away again.
func New(o Options) *Routes {
	o.Keep, o.Max = cmp.Or(o.Keep, time.Minute), cmp.Or(o.Max, 256)
	return &Routes{opt: o, there: map[netip.Prefix]time.Time{}}
}

// segment is what a segment carries at the least that is usual.
const segment = 1400

// Windows are the initcwnd of client networks, by the middle of what their
// flows had: half of rate times round trip. Networks for which ten segments
// are enough are left out.
func Windows(flows []checkpoint.Known, most int) map[netip.Prefix]int {
	by := map[netip.Prefix][]int{}
	for i := range flows {
		f := &flows[i]
		if net := careful.NetOf(f.Client.Addr()); net.IsValid() && f.Rate > 0 && f.RTT > 0 {
			by[net] = append(by[net], int(min(float64(f.Rate)*f.RTT.Seconds()/2/segment, 1e6)))
		}
	}
	out := map[netip.Prefix]int{}
	for net, all := range by {
		slices.Sort(all)
		if n := min(all[len(all)/2], most); n > 10 {
			out[net] = n
		}
	}
	return out
}

// Want puts routes to the networks of flows in place, those of the largest
// windows first. It returns how many there are for them.
func (r *Routes) Want(flows []checkpoint.Known, now time.Time) (set int, err error) {
	windows := Windows(flows, r.opt.Most)
	nets := make([]netip.Prefix, 0, len(windows))
	for net := range windows {
		nets = append(nets, net)
	}
	slices.SortFunc(nets, func(a, b netip.Prefix) int { return cmp.Or(windows[b]-windows[a], a.Compare(b)) })
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, net := range nets {
		if _, ok := r.there[net]; ok {
			r.there[net] = now.Add(r.opt.Keep)
			set++
			continue
		}
		if len(r.there) >= r.opt.Max {
			break
		}
		if err := put(net, windows[net]); err != nil {
			return set, fmt.Errorf("route: %v: %w", net, err)
		}
		r.there[net] = now.Add(r.opt.Keep)
		set++
	}
	return set, nil
}

// Len is how many routes there are.
func (r *Routes) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.there)
}

// Run takes routes away whose time is over, and all of them at the end.
func (r *Routes) Run(ctx context.Context) error {
	r.sweep(func(netip.Prefix) bool { return true })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.sweep(func(netip.Prefix) bool { return true })
			return nil
		case now := <-tick.C:
			r.mu.Lock()
			over := map[netip.Prefix]bool{}
			for net, until := range r.there {
				if now.After(until) {
					over[net] = true
				}
			}
			r.mu.Unlock()
			if len(over) > 0 {
				r.sweep(func(net netip.Prefix) bool { return over[net] })
			}
		}
	}
}

// sweep deletes those of our routes in the kernel that f names.
func (r *Routes) sweep(f func(netip.Prefix) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := netlink.RouteListFiltered(family, &netlink.Route{Protocol: Protocol}, netlink.RT_FILTER_PROTOCOL)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			r.opt.Log.Warn("routes of client networks cannot be listed", "err", err)
			continue
		}
		for i := range all {
			net, ok := prefixOf(all[i].Dst)
			if !ok || !f(net) {
				continue
			}
			if err := netlink.RouteDel(&all[i]); err != nil && !errors.Is(err, unix.ESRCH) {
				r.opt.Log.Warn("the route of a client network stays", "network", net, "err", err)
				continue
			}
			delete(r.there, net)
		}
	}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits), ok
}

// put makes a route to a network that leads where its first address is led to
// now. A network that is on one of our own links is left alone.
func put(network netip.Prefix, window int) error {
	is, err := netlink.RouteGet(network.Addr().Next().AsSlice())
	if err != nil {
		return err
	}
	if len(is) == 0 || is[0].Gw == nil {
		return errors.New("it is on a link of this host, or nowhere")
	}
	return netlink.RouteReplace(&netlink.Route{
		Dst: &net.IPNet{IP: network.Addr().AsSlice(), Mask: net.CIDRMask(network.Bits(), network.Addr().BitLen())},
		Gw:  is[0].Gw, LinkIndex: is[0].LinkIndex, Protocol: Protocol, InitCwnd: window,
	})
}
