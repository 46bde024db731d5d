package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// lookAtNetwork reads devices, addresses, settings and default routes of this
// network namespace, if it is the daemon's.
func (h *Host) lookAtNetwork() {
	if h.Daemon != nil && h.Daemon.OtherNetNS {
		h.blind("the network", fmt.Errorf("the daemon lives in another network namespace: nsenter --net=/proc/%d/ns/net catchment doctor", h.Daemon.PID))
		return
	}
	links, err := netlink.LinkList()
	if err != nil {
		h.blind("network devices", err)
		return
	}
	n := &Network{Sysctl: map[string]int{}}
	names := []string{"all"}
	for _, l := range links {
		d, err := look(l)
		if err != nil {
			h.blind("addresses of "+d.Name, err)
		}
		n.Devices = append(n.Devices, d)
		names = append(names, d.Name)
	}
	for _, name := range names {
		for _, s := range []string{"rp_filter", "arp_ignore", "arp_announce"} {
			n.read("net", "ipv4", "conf", name, s)
		}
		n.read("net", "ipv6", "conf", name, "disable_ipv6")
	}
	n.read("net", "ipv4", "tcp_mtu_probing")
	if n.DefaultDevices, err = defaultDevices(links); err != nil {
		h.blind("default routes", err)
	}
	h.Network = n
}

func look(l netlink.Link) (Device, error) {
	a := l.Attrs()
	d := Device{Name: a.Name, MTU: a.MTU, Up: a.Flags&net.FlagUp != 0, Loopback: a.Flags&net.FlagLoopback != 0}
	list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	for _, x := range list {
		ip, ok := netip.AddrFromSlice(x.IP)
		if !ok {
			continue
		}
		ones, _ := x.Mask.Size()
		d.Addrs = append(d.Addrs, Addr{
			Prefix:    netip.PrefixFrom(ip.Unmap(), ones),
			DADFailed: x.Flags&unix.IFA_F_DADFAILED != 0,
		})
	}
	return d, err
}

// read keeps a setting, if the kernel has it.
func (n *Network) read(path ...string) {
	text, err := os.ReadFile("/proc/sys/" + strings.Join(path, "/"))
	if err != nil {
		return
	}
	if v, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
		n.Sysctl[strings.Join(path, ".")] = v
	}
}

// defaultDevices are those of the IPv4 default route with the lowest metric.
func defaultDevices(links []netlink.Link) ([]string, error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4,
		&netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
	if err != nil {
		return nil, err
	}
	var names []string
	best := -1
	for _, r := range routes {
		if best < 0 || r.Priority < best {
			best, names = r.Priority, nil
		}
		if r.Priority > best {
			continue
		}
		hops := []int{r.LinkIndex}
		for _, hop := range r.MultiPath {
			hops = append(hops, hop.LinkIndex)
		}
		for _, l := range links {
			if slices.Contains(hops, l.Attrs().Index) {
				names = append(names, l.Attrs().Name)
			}
		}
	}
	return names, nil
}

// lookAtNeighbors asks the kernel by which device each neighbor is reached.
func (h *Host) lookAtNeighbors() {
	if h.Network == nil {
		return
	}
	for i := range h.Neighbors {
		n := &h.Neighbors[i]
		if n.Address.Zone() != "" {
			n.Device = n.Address.Zone()
			continue
		}
		if !n.Address.IsValid() {
			continue // unnumbered
		}
		routes, err := netlink.RouteGet(n.Address.AsSlice())
		if err != nil {
			n.NoRoute = err.Error()
			continue
		}
		for _, r := range routes {
			if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
				n.Device = l.Attrs().Name
			}
		}
	}
}

// drops are the kernel's counts of segments dropped for their signature or
// their TTL.
func drops() (map[string]uint64, error) {
	text, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	lines := strings.Split(string(text), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j, name := range names {
			if j < len(values) && (strings.HasPrefix(name, "TCPMD5") || name == "TCPMinTTLDrop") {
				out[name], _ = strconv.ParseUint(values[j], 10, 64)
			}
		}
	}
	return out, nil
}

const bgpPort = 179

// probeAll connects to each neighbor, and takes at least as long as watch.
func probeAll(ctx context.Context, down []*Neighbor, watch time.Duration) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, n := range down {
		if n.NoRoute == "" && n.Address.IsValid() {
			all.Go(func() { n.Probe = try(ctx, n) })
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(watch):
	}
}

// try connects without a signature, with the TTL that GTSM wants (RFC 5082),
// and hangs up.
func try(ctx context.Context, n *Neighbor) Probe {
	d := net.Dialer{Timeout: patience, Control: func(network, _ string, raw syscall.RawConn) error {
		if !n.TTLSecurity {
			return nil
		}
		level, name := unix.IPPROTO_IP, unix.IP_TTL
		if strings.HasSuffix(network, "6") {
			level, name = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
		}
		var sysErr error
		err := raw.Control(func(fd uintptr) { sysErr = unix.SetsockoptInt(int(fd), level, name, 255) })
		return errors.Join(err, sysErr)
	}}
	c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(n.Address, bgpPort).String())
	var timeout net.Error
	switch {
	case err == nil:
		c.Close()
		return Accepted
	case errors.Is(err, unix.ECONNREFUSED):
		return Refused
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return Unreachable
	case errors.As(err, &timeout) && timeout.Timeout():
		return Unanswered
	}
	return NotProbed
}
