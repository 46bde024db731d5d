package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
)

// uplinks are the devices by which neighbors are reached, sorted.
func (h *Host) uplinks() []string {
	var names []string
	for _, n := range h.Neighbors {
		if d, ok := h.device(n.Device); ok && !d.Loopback {
			names = append(names, n.Device)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (h *Host) device(name string) (Device, bool) {
	if h.Network != nil {
		for _, d := range h.Network.Devices {
			if d.Name == name {
				return d, true
			}
		}
	}
	return Device{}, false
}

// setting is what holds for a device: the greater of its own and the setting
// of all (Documentation/networking/ip-sysctl.rst). Not known counts as want.
func (n *Network) setting(device, name string, want int) int {
	all, ok1 := n.Sysctl["net.ipv4.conf.all."+name]
	own, ok2 := n.Sysctl["net.ipv4.conf."+device+"."+name]
	if !ok1 || !ok2 {
		return want
	}
	return max(all, own)
}

// sysctl is a command line that sets values of a device's IPv4 settings. A
// dot in the device's name would be taken for a separator.
func sysctl(family, device string, settings ...string) string {
	sep := "."
	if strings.Contains(device, ".") {
		sep = "/"
	}
	b := strings.Builder{}
	b.WriteString("sysctl -w")
	for _, s := range settings {
		b.WriteString(" " + strings.Join([]string{"net", family, "conf", device, s}, sep))
	}
	return b.String()
}

// reverseFindings are about the reverse path filter (RFC 3704). Its strict
// mode drops what comes in by another device than the way back leads to, and
// with anycast both are often different.
func reverseFindings(h *Host) []Finding {
	if h.Network == nil {
		return nil
	}
	const strict = 1
	var out []Finding
	ups := h.uplinks()
	for _, dev := range ups {
		if h.Network.setting(dev, "rp_filter", 0) != strict {
			continue
		}
		f := Finding{
			Name: "rp-filter", About: dev,
			What:    "reverse path filter is strict (the greater of net.ipv4.conf.all.rp_filter and " + dev + "'s own is 1)",
			Command: sysctl("ipv4", dev, "rp_filter=2"),
			Change:  "a file in /etc/sysctl.d keeps it over a reboot",
		}
		switch {
		case !slices.Contains(h.Network.DefaultDevices, dev):
			f.Severity = Bad
			f.Why = "the default route is not by " + dev + ": what clients send comes in there, the way back leads elsewhere, and the kernel drops it without a word"
		case len(ups) > 1:
			f.Severity = Warn
			f.Why = "clients come in by any of " + strings.Join(ups, ", ") + "; whoever's way back is another one is dropped without a word"
		default:
			continue // in and out by the same device only
		}
		out = append(out, f)
	}
	return out
}

// arpFindings are about ARP for service addresses that are on another device
// than the one the question comes in by. (IPv6 does not answer for those.)
func arpFindings(h *Host) []Finding {
	if h.Network == nil || h.Config == nil {
		return nil
	}
	var out []Finding
	for _, dev := range h.uplinks() {
		if !h.elsewhere(dev) {
			continue
		}
		ignore := h.Network.setting(dev, "arp_ignore", 1)
		announce := h.Network.setting(dev, "arp_announce", 2)
		if ignore >= 1 && announce >= 2 {
			continue
		}
		out = append(out, Finding{
			Severity: Warn, Name: "arp", About: dev,
			What: fmt.Sprintf("arp_ignore is %d (want 1), arp_announce is %d (want 2)", ignore, announce),
			Why: "this host answers ARP on " + dev + " for the service addresses on other devices, and asks with them as sender: " +
				"where two hosts of the link have the same address, neighbors send to one of them past their routes",
			Command: sysctl("ipv4", dev, "arp_ignore=1", "arp_announce=2"),
			Change:  "a file in /etc/sysctl.d keeps it over a reboot",
		})
	}
	return out
}

// elsewhere reports whether a service has an IPv4 address on another device.
func (h *Host) elsewhere(dev string) bool {
	return slices.ContainsFunc(h.Config.Services, func(s config.Service) bool {
		return s.VIPs.Device != dev && slices.ContainsFunc(s.VIPs.Addresses, netip.Addr.Is4)
	})
}

// vipFindings are about service addresses on their devices.
func vipFindings(h *Host) []Finding {
	if h.Network == nil || h.Config == nil {
		return nil
	}
	var out []Finding
	devices := map[string]bool{}
	for i := range h.Config.Services {
		s := &h.Config.Services[i]
		if len(s.VIPs.Addresses) == 0 || !h.wantsVIPs(s) {
			continue
		}
		d, ok := h.device(s.VIPs.Device)
		if !devices[s.VIPs.Device] {
			devices[s.VIPs.Device] = true
			out = append(out, deviceFindings(h, s, d, ok)...)
		}
		if !ok {
			continue
		}
		for _, a := range s.VIPs.Addresses {
			out = append(out, addressFindings(h, s, d, a)...)
		}
	}
	return out
}

// wantsVIPs reports whether a service's addresses should be there now. One
// with keep: false takes them off while nothing of it is announced.
func (h *Host) wantsVIPs(s *config.Service) bool {
	if h.Status == nil || s.VIPs.Keep {
		return true
	}
	if h.Status.DryRun {
		return false
	}
	for _, st := range h.Status.Services {
		for _, sl := range st.Slices {
			if st.ID == s.ID && sl.Stance.Action != policy.Withdraw {
				return true
			}
		}
	}
	return false
}

func deviceFindings(h *Host, s *config.Service, d Device, there bool) []Finding {
	name := s.VIPs.Device
	switch {
	case !there:
		return []Finding{{
			Severity: Bad, Name: "vip-device", About: name,
			What:    "service " + string(s.ID) + " wants its addresses on " + name + ", and there is no such device",
			Why:     "nobody here answers for them; the daemon holds the announcement back",
			Command: "ip link add " + name + " type dummy && ip link set " + name + " up",
		}}
	case !d.Up:
		return []Finding{{
			Severity: Bad, Name: "vip-device", About: name, What: name + " is down",
			Why:     "what is sent to the service addresses on it may be dropped, and IPv6 takes no address there",
			Command: "ip link set " + name + " up",
		}}
	}
	if !slices.ContainsFunc(s.VIPs.Addresses, netip.Addr.Is6) {
		return nil
	}
	for _, which := range []string{"all", name} {
		if h.Network.Sysctl["net.ipv6.conf."+which+".disable_ipv6"] == 1 {
			return []Finding{{
				Severity: Bad, Name: "ipv6-off", About: name, What: "IPv6 is off on " + name,
				Why: "the IPv6 addresses of " + string(s.ID) + " cannot be put there",
				// That of all is written through to each device.
				Command: sysctl("ipv6", name, "disable_ipv6=0") + " && " + sysctl("ipv6", "all", "disable_ipv6=0"),
			}}
		}
	}
	return nil
}

func addressFindings(h *Host, s *config.Service, d Device, a netip.Addr) []Finding {
	i := slices.IndexFunc(d.Addrs, func(x Addr) bool { return x.Addr() == a })
	add := "ip address add " + netip.PrefixFrom(a, a.BitLen()).String() + " dev " + d.Name
	if a.Is6() {
		add += " nodad"
	}
	switch {
	case i < 0:
		f := Finding{
			Severity: Bad, Name: "vip-missing", About: a.String(),
			What:    a.String() + " of " + string(s.ID) + " is not on " + d.Name,
			Why:     "what is announced here ends in a black hole: nobody answers for the address",
			Command: add,
		}
		if h.Status == nil {
			f.Severity = Warn
			f.Why = "nobody here answers for it until catchmentd runs, which adds it"
		}
		return []Finding{f}
	case d.Addrs[i].DADFailed:
		return []Finding{{
			Severity: Bad, Name: "vip-duplicate", About: a.String(),
			What:    a.String() + " on " + d.Name + " failed duplicate address detection",
			Why:     "another host on the link has it, which is what anycast is about, and this kernel does not use it",
			Command: "ip address del " + d.Addrs[i].String() + " dev " + d.Name + " && " + add,
		}}
	}
	return nil
}

// minMTU6 is the least that IPv6 works with (RFC 8200 section 5).
const minMTU6 = 1280

// mtuFindings are about packets too big for the way: "packet too big" is
// sent to the anycast address, and may arrive at another POP.
func mtuFindings(h *Host) []Finding {
	if h.Network == nil {
		return nil
	}
	var out []Finding
	least, most := 0, 0
	small := ""
	for _, name := range h.uplinks() {
		d, _ := h.device(name)
		if least == 0 || d.MTU < least {
			least, small = d.MTU, name
		}
		most = max(most, d.MTU)
		if d.MTU < minMTU6 {
			out = append(out, Finding{
				Severity: Bad, Name: "mtu", About: name, What: fmt.Sprintf("the MTU of %s is %d", name, d.MTU),
				Why: "IPv6 needs 1280 and is off there", Command: fmt.Sprintf("ip link set %s mtu %d", name, minMTU6),
			})
		}
	}
	for _, name := range h.uplinks() {
		if d, _ := h.device(name); d.MTU > least && least >= minMTU6 {
			out = append(out, Finding{
				Severity: Warn, Name: "mtu", About: name,
				What:    fmt.Sprintf("the MTU of %s is %d, that of %s %d", name, d.MTU, small, least),
				Why:     "when a route moves to the other device, connections with larger segments hang",
				Command: "ip link set " + name + " mtu " + strconv.Itoa(least),
			})
		}
	}
	probing, known := h.Network.Sysctl["net.ipv4.tcp_mtu_probing"]
	if least > 0 && least < 1500 && known && probing == 0 {
		out = append(out, Finding{
			Severity: Warn, Name: "mtu-probing", About: small, What: fmt.Sprintf("the MTU of %s is %d, and TCP does not probe", small, least),
			Why:     "\"packet too big\" goes to the anycast address and may reach another POP: connections hang without it",
			Command: "sysctl -w net.ipv4.tcp_mtu_probing=1", Change: "a file in /etc/sysctl.d keeps it over a reboot",
		})
	}
	return out
}
