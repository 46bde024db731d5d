package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/bgp"
)

// holdTime is what a session may take to notice a dead host where BFD does not.
const holdTime = 30 * time.Second

// neighborFindings are about what the configuration and the routes say of
// neighbors, up or not.
func neighborFindings(h *Host) []Finding {
	var out []Finding
	for _, n := range h.Neighbors {
		if n.NoRoute != "" {
			out = append(out, Finding{
				Severity: Bad, Name: "no-route", About: n.Address.String(), What: "no route leads to the neighbor: " + n.NoRoute,
				Why: "the session cannot come up", Command: "ip route get " + n.Address.String(),
				Change: "put an address of the neighbor's network on the device that leads to it",
			})
		}
		hold := n.HoldTime
		if n.Session != nil {
			hold = n.Session.HoldTime
		}
		if !n.BFD && hold > holdTime {
			out = append(out, Finding{
				Severity: Warn, Name: "hold-time", About: n.Address.String(),
				What: fmt.Sprintf("no BFD, and a hold time of %v", hold),
				Why:  fmt.Sprintf("when this host freezes or loses power its traffic is lost for up to %v", hold),
				Change: fmt.Sprintf("bfd: [{neighbor: %q}] here and BFD on the router; or bgp.neighbors[%d].timers.config.hold-time",
					n.Address, n.Index),
				Command: "catchment reload",
			})
		}
	}
	return out
}

// sessionFindings are about sessions as the daemon sees them.
func sessionFindings(h *Host) []Finding {
	if h.Status == nil {
		return nil
	}
	var out []Finding
	for _, st := range h.Status.Neighbors {
		n := h.neighbor(st)
		switch {
		case st.AdminDown:
			out = append(out, Finding{
				Severity: Warn, Name: "session", About: st.Address.String(), What: "shut down by an operator",
				Why: "nothing is announced to this neighbor", Command: "catchment " + h.target() + "neighbor " + st.Address.String() + " enable",
			})
		case st.State != bgp.Established && n.NoRoute != "": // neighborFindings says so
		case st.State != bgp.Established:
			out = append(out, down(h, n, st))
		default:
			out = append(out, established(n, st)...)
		}
	}
	return out
}

// usualSocket is where gobgp's words look for a daemon by themselves.
const usualSocket = "/run/catchment/gobgp.sock"

// target is the flag by which gobgp's words reach the daemon, where they do not
// by themselves.
func (h *Host) target() string {
	if h.Config == nil || h.Config.API.GoBGPSocket == "" || h.Config.API.GoBGPSocket == usualSocket {
		return ""
	}
	return "--target unix://" + h.Config.API.GoBGPSocket + " "
}

func (h *Host) neighbor(st bgp.PeerState) Neighbor {
	for _, n := range h.Neighbors {
		if n.Address.WithZone("") == st.Address.WithZone("") {
			return n
		}
	}
	return Neighbor{Index: -1} // added through GoBGP's API, or there is no configuration to look at
}

// down says why a session may not come up.
func down(h *Host, n Neighbor, st bgp.PeerState) Finding {
	f := Finding{
		Severity: Bad, Name: "session", About: st.Address.String(),
		What: "the session has never been up (" + string(st.State) + ")", Why: "nothing is announced to this neighbor",
	}
	if !st.Since.IsZero() {
		f.What = fmt.Sprintf("the session is down (%s) since %s", st.State, st.Since.UTC().Format(time.DateTime))
	}
	if st.LastError != "" {
		f.What += ": " + st.LastError
	}
	if n.Index < 0 && h.Config == nil {
		f.Change = "what is configured of this neighbor on both sides; without the configuration no more can be said: --config"
		return f
	}
	if n.Index < 0 {
		f.Change = "the neighbor was added through GoBGP's API: see what it was given there"
		return f
	}
	what, change := suspect(h, n)
	f.What += "; " + what
	f.Change = strings.ReplaceAll(change, "bgp.neighbors[]", fmt.Sprintf("bgp.neighbors[%d]", n.Index))
	if strings.Contains(f.Change, "bgp.neighbors[") {
		f.Command = "catchment reload"
	}
	return f
}

// suspect names what most probably keeps a session from coming up, and what
// mends it. It goes by what the kernel dropped meanwhile and by how a plain
// connection went; the kernel does not count by neighbor, so that with several
// neighbors down it is a suspicion.
func suspect(h *Host, n Neighbor) (what, change string) {
	drops := map[string]uint64{}
	if h.Network != nil {
		drops = h.Network.Drops
	}
	switch {
	case !n.MD5 && drops["TCPMD5Unexpected"] > 0:
		return "it signs its segments (TCP MD5) and no password is configured here", "bgp.neighbors[].config.auth-password"
	case n.MD5 && drops["TCPMD5Failure"] > 0:
		return "it signs with another password", "bgp.neighbors[].config.auth-password, the same on both sides"
	case n.MD5 && (drops["TCPMD5NotFound"] > 0 || n.Probe == Accepted):
		return "it does not sign, a password is configured here only", "the password on the router, or remove bgp.neighbors[].config.auth-password"
	case n.TTLSecurity && drops["TCPMinTTLDrop"] > 0:
		return "its packets come with a lower TTL than ttl-security allows", "ttl-security (GTSM) on the router too, or another bgp.neighbors[].ttl-security.config.ttl-min; it must be one hop away"
	case n.Probe == Refused:
		return "it refuses connections to port 179", "the router's side: BGP with this address and AS configured, and not shut down"
	case n.Probe == Unreachable:
		return "it cannot be reached", "the link or the address of the router"
	case n.Probe == Unanswered && n.MD5:
		return "a connection without signature is not answered, as it should be", "compare bgp.neighbors[].config.auth-password and the AS numbers with the router's"
	case n.Probe == Unanswered && n.TTLSecurity:
		return "it does not answer on port 179", "is it up? does it want a password? compare bgp.neighbors[].config with the router's"
	case n.Probe == Unanswered:
		return "it does not answer on port 179", "is it up? does it want a password or ttl-security (GTSM)? compare bgp.neighbors[] with the router's"
	case n.Probe == Accepted:
		return "it accepts connections", "compare the AS numbers of bgp.neighbors[].config with the router's"
	}
	return "it was not tried from here", "compare bgp.neighbors[] with the router's side"
}

// established says what is missing from a session that is up.
func established(n Neighbor, st bgp.PeerState) []Finding {
	var out []Finding
	about := st.Address.String()
	restarts := st.GracefulRestart
	if n.Session != nil {
		restarts = n.GracefulRestart && n.Session.GracefulRestart
	}
	if !restarts {
		f := Finding{
			Severity: Warn, Name: "graceful-restart", About: about, What: "no graceful restart was agreed on",
			Why:    "each restart of catchmentd withdraws everything from this neighbor until it is back",
			Change: "graceful restart on the router: FRR `bgp graceful-restart`, BIRD `graceful restart on`",
		}
		if n.Index >= 0 && !n.GracefulRestart {
			f.Change = fmt.Sprintf("bgp.neighbors[%d].graceful-restart: {config: {enabled: true, restart-time: 120}}", n.Index)
			f.Command = "catchment reload"
		}
		out = append(out, f)
	}
	if n.BFD && st.BFD != "up" {
		out = append(out, Finding{
			Severity: Warn, Name: "bfd", About: about, What: "BGP is up, BFD is " + cmp.Or(st.BFD, "not there"),
			Why:    "a dead host is noticed by the hold time only",
			Change: "BFD for this address on the router, single-hop or multihop as here, and UDP 3784 (4784) let through",
		})
	}
	return append(out, familyFindings(n, about)...)
}

func familyFindings(n Neighbor, about string) []Finding {
	if n.Session == nil {
		return nil
	}
	var out []Finding
	for _, f := range []struct {
		name        string
		ours, their bool
	}{{"ipv4-unicast", n.IPv4, n.Session.IPv4}, {"ipv6-unicast", n.IPv6, n.Session.IPv6}} {
		if f.ours && !f.their {
			out = append(out, Finding{
				Severity: Bad, Name: "family", About: about, What: "the neighbor does not speak " + f.name,
				Why:    "prefixes of that family are not announced to it",
				Change: f.name + " for this session on the router, or not in bgp.neighbors[" + fmt.Sprint(n.Index) + "].afi-safis",
			})
		}
	}
	return out
}

// fleetFindings are about what the guards know of other POPs.
func fleetFindings(h *Host) []Finding {
	if h.Config == nil {
		return nil
	}
	if !h.Config.Fleet.Configured() {
		return []Finding{{
			Severity: Warn, Name: "last-pop", What: "no other POP is known: fleet.peers and fleet.rib are empty",
			Why:    "the guards last-pop and correlated are off: a check that is wrong everywhere takes the service off the air everywhere",
			Change: "fleet.peers or fleet.rib, see reference.yaml", Command: "systemctl restart catchmentd",
		}}
	}
	out := secretFindings(h)
	if h.Status == nil {
		return out
	}
	up := slices.ContainsFunc(h.Status.Neighbors, func(n bgp.PeerState) bool { return n.State == bgp.Established })
	for _, p := range h.Status.Fleet {
		if !p.Stale && p.Error == "" || p.Source == "rib" && !up {
			continue // what it announces comes by sessions that are down, which is said already
		}
		f := Finding{
			Severity: Warn, Name: "fleet", About: string(p.POP), What: cmp.Or(p.Error, "not heard lately"),
			Why:    "a POP that is not heard does not count as announcing: last-pop holds more than it must",
			Change: "catchmentd there, its route, its announcement with the site community",
		}
		if p.URL != "" {
			f.Change = "catchmentd there, the way to " + p.URL + ", and the same key in fleet.secret-file"
		}
		out = append(out, f)
	}
	return out
}

func secretFindings(h *Host) []Finding {
	if h.Secret == "" {
		return nil
	}
	file := h.Config.Fleet.SecretFile
	return []Finding{{
		Severity: Bad, Name: "fleet-secret", About: file, What: h.Secret, Why: "the daemon does not start without the key",
		Change:  "one line of at least 16 bytes, the same in all POPs, for root and the daemon's group only",
		Command: "chown root:catchment " + file + " && chmod 640 " + file,
	}}
}
