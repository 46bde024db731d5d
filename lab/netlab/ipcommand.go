package netlab

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ipCommand does the plain forms of ip that topologies use, without
// iproute2: addr add, route add and replace, link set up, down and mtu. done
// is false for anything else.
func (n *Node) ipCommand(line string) (done bool, err error) {
	w, err := Words(line)
	if err != nil || len(w) < 4 || w[0] != "ip" {
		return false, err
	}
	w = w[1:]
	for w[0] == "-4" || w[0] == "-6" {
		if w = w[1:]; len(w) < 3 {
			return false, nil
		}
	}
	args, ok := options(w[2:])
	if !ok {
		return false, nil
	}
	switch object, verb := w[0], w[1]; {
	case strings.HasPrefix("address", object) && (verb == "add" || verb == "replace"):
		return n.ipAddr(args)
	case strings.HasPrefix("route", object) && (verb == "add" || verb == "replace"):
		return n.ipRoute(args)
	case strings.HasPrefix("link", object) && verb == "set":
		return n.ipLink(args)
	}
	return false, nil
}

// options reads "WHAT key value flag ..." into a map, WHAT under "".
func options(w []string) (map[string]string, bool) {
	out := map[string]string{}
	for i := 0; i < len(w); i++ {
		switch w[i] {
		case "dev", "via", "src", "metric", "mtu":
			if i+1 == len(w) {
				return nil, false
			}
			out[w[i]] = w[i+1]
			i++
		case "nodad", "up", "down", "blackhole":
			out[w[i]] = w[i]
		default:
			if _, twice := out[""]; twice {
				return nil, false
			}
			out[""] = w[i]
		}
	}
	return out, true
}

func (n *Node) ipAddr(args map[string]string) (bool, error) {
	link, err := n.net.handle.LinkByName(args["dev"])
	if err != nil {
		return true, err
	}
	text := args[""]
	if !strings.Contains(text, "/") {
		text = hostPrefix(text)
	}
	addr, err := netlink.ParseAddr(text)
	if err != nil {
		return true, err
	}
	if addr.IP.To4() == nil {
		addr.Flags |= unix.IFA_F_NODAD
	}
	return true, n.net.handle.AddrReplace(link, addr)
}

func hostPrefix(ip string) string {
	if strings.Contains(ip, ":") {
		return ip + "/128"
	}
	return ip + "/32"
}

func (n *Node) ipRoute(args map[string]string) (bool, error) {
	if args["metric"] != "" || args["mtu"] != "" {
		return false, nil
	}
	r := &netlink.Route{}
	if args["blackhole"] != "" {
		r.Type = unix.RTN_BLACKHOLE
	}
	to, via := args[""], args["via"]
	if to == "default" {
		if to = "0.0.0.0/0"; strings.Contains(via, ":") {
			to = "::/0"
		}
	}
	if !strings.Contains(to, "/") {
		to = hostPrefix(to)
	}
	var err error
	if _, r.Dst, err = net.ParseCIDR(to); err != nil {
		return true, err
	}
	if via != "" {
		if r.Gw = net.ParseIP(via); r.Gw == nil {
			return true, fmt.Errorf("via %q is no address", via)
		}
	}
	if args["src"] != "" {
		r.Src = net.ParseIP(args["src"])
	}
	if args["dev"] != "" {
		link, err := n.net.handle.LinkByName(args["dev"])
		if err != nil {
			return true, err
		}
		r.LinkIndex = link.Attrs().Index
	}
	return true, n.net.handle.RouteReplace(r)
}

func (n *Node) ipLink(args map[string]string) (bool, error) {
	dev := first(args["dev"], args[""])
	link, err := n.net.handle.LinkByName(dev)
	if err != nil {
		return true, fmt.Errorf("%s: %w", dev, err)
	}
	var errs []error
	if m := args["mtu"]; m != "" {
		var mtu int
		if _, err := fmt.Sscan(m, &mtu); err != nil {
			return true, fmt.Errorf("mtu %q: %w", m, err)
		}
		errs = append(errs, n.net.handle.LinkSetMTU(link, mtu))
	}
	if args["up"] != "" {
		errs = append(errs, n.net.handle.LinkSetUp(link))
	}
	if args["down"] != "" {
		errs = append(errs, n.net.handle.LinkSetDown(link))
	}
	return true, errors.Join(errs...)
}
