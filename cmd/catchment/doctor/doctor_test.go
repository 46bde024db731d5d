package doctor

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/bgp/rpki"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

const text = `
pop: LON
bgp:
  global: {config: {as: 64500, router-id: 10.0.0.1}}
  neighbors:
    - config: {neighbor-address: 10.0.0.2, peer-as: 64501, auth-password: secret}
      ttl-security: {config: {enabled: true, ttl-min: 255}}
      graceful-restart: {config: {enabled: true, restart-time: 120}}
    - config: {neighbor-address: "2001:db8:1::2", peer-as: 64501}
      graceful-restart: {config: {enabled: true, restart-time: 120}}
bfd: [{neighbor: 10.0.0.2}, {neighbor: "2001:db8:1::2"}]
services:
  - name: web
    prefixes: [192.0.2.0/24, "2001:db8:100::/48"]
    vips: {addresses: [192.0.2.1, "2001:db8:100::1"]}
    ladder: [{name: backup, prepend: 3}]
    drain: {prepend: 3}
    checks:
      - {name: ping, type: icmp, address: 192.0.2.1}
fleet:
  site: "64500:1:1"
  rib: [{pop: FRA, site: "64500:1:2"}]
`

// host is one with nothing wrong: two uplinks, one session a family.
func host(t *testing.T) *Host {
	t.Helper()
	section := &gobgp.Config{}
	c, err := config.Parse(strings.NewReader(text), "yaml", config.Options{BGP: func(m map[string]any) (addrs []netip.Addr, err error) {
		if section, err = gobgp.ParseConfig(m); err != nil {
			return nil, err
		}
		for _, n := range section.Neighbors() {
			addrs = append(addrs, n.Address)
		}
		return addrs, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{Version: "v1", ConfigPath: "/etc/catchment/catchment.yaml", Config: c}
	st := api.Status{POP: "LON", Version: "v1", Services: []api.ServiceStatus{{ID: "web",
		Checks: []api.CheckStatus{{ID: "ping", Verdict: policy.Up, Outcome: "pass"}},
		Slices: []api.SliceStatus{{Stance: policy.Stance{Action: policy.Announce}}},
	}}, Fleet: []api.FleetPeerStatus{{POP: "FRA", Source: "rib"}}}
	for i, n := range section.Neighbors() {
		v4 := n.Address.Is4()
		dev := map[bool]string{true: "eth0", false: "eth1"}[v4]
		h.Neighbors = append(h.Neighbors, Neighbor{NeighborInfo: n, Index: i, Device: dev, BFD: true,
			Session: &gobgp.SessionInfo{Neighbor: n.Address, HoldTime: 90 * time.Second, IPv4: v4, IPv6: !v4, GracefulRestart: true}})
		st.Neighbors = append(st.Neighbors, bgp.PeerState{Address: n.Address, AS: n.AS, State: bgp.Established, BFD: "up", GracefulRestart: true, Since: time.Unix(1e9, 0)})
	}
	h.Status = &st
	vips := []Addr{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}, {Prefix: netip.MustParsePrefix("2001:db8:100::1/128")}}
	h.Network = &Network{
		Devices: []Device{
			{Name: "lo", MTU: 65536, Up: true, Loopback: true, Addrs: vips},
			{Name: "eth0", MTU: 1500, Up: true}, {Name: "eth1", MTU: 1500, Up: true},
		},
		Sysctl: map[string]int{
			"net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.eth0.rp_filter": 2, "net.ipv4.conf.eth1.rp_filter": 0,
			"net.ipv4.conf.all.arp_ignore": 1, "net.ipv4.conf.eth0.arp_ignore": 0, "net.ipv4.conf.eth1.arp_ignore": 0,
			"net.ipv4.conf.all.arp_announce": 2, "net.ipv4.conf.eth0.arp_announce": 0, "net.ipv4.conf.eth1.arp_announce": 0,
			"net.ipv6.conf.all.disable_ipv6": 0, "net.ipv6.conf.lo.disable_ipv6": 0,
			"net.ipv4.tcp_mtu_probing": 0,
		},
		DefaultDevices: []string{"eth0"},
	}
	h.Origins = section.Origins()
	h.RPKI = &RPKI{Known: true, VRPs: []rpki.VRP{vrp("192.0.2.0/24", 24, 64500), vrp("2001:db8::/32", 48, 64500)},
		Caches: []gobgp.RPKICache{{Address: "10.0.0.9:323", Up: true, Synchronized: true}}}
	h.Clock = &Clock{Synchronized: true, MaxError: 10 * time.Millisecond}
	h.Kernel = &Kernel{}
	h.State = &State{Dir: "/var/lib/catchment", Owner: 100, Group: 100, Mode: 0o750, Free: 100 << 30, Inodes: 1e6}
	h.Daemon = &Daemon{PID: 77, Exe: "/usr/bin/catchmentd", UID: 100, GID: 100,
		Capabilities: 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_NET_BIND_SERVICE}
	h.Sockets = []Socket{{Key: "api.socket", Address: "/run/catchment/catchment.sock"}, {Key: "metrics.listen", Address: "127.0.0.1:9798"}}
	return h
}

// TestNothingWrong also guards the table below: each of its rows is found in
// what it breaks, not in the host.
func TestNothingWrong(t *testing.T) {
	if all := Findings(host(t)); len(all) > 0 {
		t.Errorf("%+v", all)
	}
}

// measures makes a host measure how fast client networks are, of servers
// beside our own.
func measures(h *Host) {
	h.Config.Slowness.Rate, h.Config.Slowness.VIPs = 1e9, h.Config.Services[0].VIPs.Addresses
	h.BPF = &BPF{Major: 6, Minor: 4}
}

// follows gives a host downloads that go on at other POPs, by jumps too, and
// all that it takes.
func follows(h *Host) {
	measures(h)
	h.Config.Resync.Listen, h.Config.Resync.Jump.Services = "[::]:9792", []policy.ServiceID{"web"}
	h.Daemon.Capabilities |= 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON
}

func vrp(prefix string, longest int, as uint32) rpki.VRP {
	return rpki.VRP{Prefix: netip.MustParsePrefix(prefix), MaxLength: longest, AS: as}
}

func lose(h *Host, i int) *Neighbor {
	h.Status.Neighbors[i].State, h.Status.Neighbors[i].Since = bgp.Active, time.Time{}
	h.Neighbors[i].Session = nil
	return &h.Neighbors[i]
}

func TestFindings(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(*Host)
		want  []string // severity, name and subject of each finding
		says  string   // in one of its texts
	}{
		{"config with mistakes", func(h *Host) { h.Config, h.Mistakes = nil, []string{"c.yaml:3: pop: missing", "c.yaml:9: x: unknown"} },
			[]string{"error config", "error config"}, "catchmentd --check-config --config /etc/catchment/catchment.yaml"},
		{"config with warnings", func(h *Host) { h.Config.Warnings = []string{"services[0].drain: moves nothing"} }, []string{"warning config"}, "moves nothing"},
		{"no fleet", func(h *Host) {
			h.Config.Fleet = config.Fleet{}
			h.Config.Warnings = []string{"fleet: the guards last-pop and correlated are inactive"}
		}, []string{"warning last-pop"}, "systemctl restart catchmentd"}, // a reload refuses what is new in fleet
		{"session down, configuration not there", func(h *Host) {
			h.Config, h.Neighbors = nil, nil
			h.Status.Neighbors[0].State = bgp.Active
		}, []string{"error session 10.0.0.2"}, "without the configuration no more can be said"},
		{"no daemon", func(h *Host) {
			h.Status, h.Daemon = nil, nil
			h.Sockets[0].Err, h.Sockets[1].Err = "no such file", "refused"
		}, []string{"error daemon api.socket"}, "systemctl start catchmentd"},
		{"metrics taken", func(h *Host) { h.Sockets[1].Err = "refused" }, []string{"error socket metrics.listen"}, "127.0.0.1:9798"},
		{"dry run", func(h *Host) { h.Status.DryRun = true }, []string{"warning dry-run"}, ""},
		{"other version", func(h *Host) { h.Status.Version = "v0" }, []string{"warning version"}, "systemctl restart"},
		{"own version not known", func(h *Host) { h.Version = "" }, nil, ""},
		{"alarm", func(h *Host) { h.Status.Alarms = []api.Alarm{{Name: "journal", Detail: "no space"}} }, []string{"error alarm journal"}, "no space"},
		{"alarm of a slice", func(h *Host) {
			h.Status.Alarms = []api.Alarm{{Name: "correlated", Detail: "3 POPs", Slice: policy.SliceID(netip.MustParsePrefix("192.0.2.0/24"))}}
		}, []string{"error alarm correlated 192.0.2.0/24"}, "catchment explain 192.0.2.0/24"},

		{"no capabilities", func(h *Host) { h.Daemon.Capabilities = 0 },
			[]string{"error capability cap_net_admin", "error capability cap_net_raw", "error capability cap_net_bind_service"}, "setcap"},
		{"capabilities for flows that go on", func(h *Host) {
			h.Daemon.Capabilities = 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_NET_ADMIN
			h.Config.Services[0].Checks, h.Config.Resync.Listen, h.Config.Resync.Probes = nil, "[::]:9792", 1
			h.Config.Resync.Jump.Services = []policy.ServiceID{"web"}
		}, []string{"error capability cap_net_raw", "warning capability cap_bpf", "warning capability cap_perfmon"}, "cap_bpf,cap_perfmon+ep"},
		{"capabilities for slowness, measured in the kernel", func(h *Host) { measures(h) },
			[]string{"warning capability cap_bpf", "warning capability cap_perfmon"}, "sock_diag"},
		{"capabilities for a jump that root has pinned", func(h *Host) {
			follows(h)
			h.BPF.Pinned, h.Daemon.Capabilities = true, h.Daemon.Capabilities&^(1<<unix.CAP_BPF)
		}, []string{"warning capability cap_bpf"}, "it is needed for reading flows each second; without it"},
		{"ports of DNS", func(h *Host) {
			h.Daemon.Capabilities, h.Neighbors = 1<<unix.CAP_NET_ADMIN|1<<unix.CAP_NET_RAW, nil
			h.Config.DNS.Listen = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}
		}, []string{"error capability cap_net_bind_service"}, "dns.listen"},
		{"BGP on a port for everybody", func(h *Host) {
			h.Daemon.Capabilities = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW
			h.Config.BGP = map[string]any{"global": map[string]any{"config": map[string]any{"port": int64(1790)}}}
		}, nil, ""},
		{"capabilities that nobody needs", func(h *Host) {
			h.Daemon.Capabilities = 1 << unix.CAP_NET_BIND_SERVICE
			h.Config.Services[0].Checks, h.Config.Services[0].VIPs.Addresses = nil, nil
		}, nil, ""},
		{"process that we may not look into", func(h *Host) { h.Daemon.Exe, h.Daemon.Capabilities = "", 0 }, nil, ""},

		{"state directory gone", func(h *Host) { h.State.Missing = true }, []string{"error state-dir /var/lib/catchment"}, "gone"},
		{"state directory not yet made", func(h *Host) { h.State.Missing, h.Status, h.Daemon = true, nil, nil }, nil, ""},
		{"state directory read-only", func(h *Host) { h.State.ReadOnly = true }, []string{"error state-dir /var/lib/catchment"}, "remount,rw"},
		{"state directory of root", func(h *Host) { h.State.Owner, h.State.Group = 0, 0 },
			[]string{"error state-dir /var/lib/catchment"}, "chown -R 100:100 /var/lib/catchment"},
		{"state directory of root, daemon too", func(h *Host) {
			h.State.Owner, h.State.Group = 0, 0
			h.Daemon.UID, h.Daemon.Capabilities = 0, h.Daemon.Capabilities|1<<unix.CAP_DAC_OVERRIDE
		}, nil, ""},
		{"state directory by group", func(h *Host) { h.State.Owner, h.State.Mode = 0, 0o770 }, nil, ""},
		{"state directory by second group", func(h *Host) {
			h.State.Owner, h.State.Group, h.State.Mode, h.Daemon.Groups = 0, 7, 0o770, []uint32{5, 7}
		}, nil, ""},
		{"disk full", func(h *Host) { h.State.Free = 1 << 20 }, []string{"error state-dir /var/lib/catchment"}, "1 MiB"},
		{"no inodes", func(h *Host) { h.State.Inodes = 0 }, []string{"error state-dir /var/lib/catchment"}, "0 inodes"},
		{"inodes not counted", func(h *Host) { h.State.Inodes, h.State.NoInodes = 0, true }, nil, ""},
		{"journal outgrows the disk", func(h *Host) { h.State.Free = 300 << 20 },
			[]string{"warning journal-space /var/lib/catchment"}, "CATCHMENT_JOURNAL_KEEP=2 "},
		{"journal has its room", func(h *Host) { h.State.Free, h.State.Journal = 300<<20, 500<<20 }, nil, ""},

		{"kernel", func(h *Host) { h.Kernel = &Kernel{SockDiag: "x", PIDFD: "x", MD5: "x", IPv6: "x"} },
			[]string{"error kernel md5", "error kernel ipv6", "warning kernel sock_diag", "warning kernel pidfd"}, "modprobe"},
		{"flows that go on, all is there", follows, nil, ""},
		{"kernel too old for the flow table and jumps", func(h *Host) { follows(h); h.BPF.Minor = 2 },
			[]string{"warning bpf flow-table", "warning bpf jump"}, "use Linux 6.3 or later"},
		{"kernel too old for jumps", func(h *Host) { follows(h); h.BPF.Minor = 3 }, []string{"warning bpf jump"}, "slow start"},
		{"kernel too old for jumps, which nobody wants", func(h *Host) {
			follows(h)
			h.BPF.Minor, h.Config.Resync.Jump.Services = 3, nil
		}, nil, ""},
		{"kernel too old, but a pin is there", func(h *Host) { follows(h); h.BPF.Minor, h.BPF.Pinned = 3, true }, nil, ""},
		{"older major version", func(h *Host) { follows(h); h.BPF.Major, h.BPF.Minor = 5, 15 },
			[]string{"warning bpf flow-table", "warning bpf jump"}, "Linux 5.15 is older than 6.3"},
		{"newer major version", func(h *Host) { follows(h); h.BPF.Major, h.BPF.Minor = 7, 0 }, nil, ""},
		{"version not known", func(h *Host) { follows(h); h.BPF.Major, h.BPF.Minor = 0, 0 }, nil, ""},
		{"kernel without BTF", func(h *Host) { follows(h); h.BPF.Types = "no such file" },
			[]string{"warning bpf flow-table", "warning bpf jump"}, "CONFIG_DEBUG_INFO_BTF"},
		{"no place for the pin", func(h *Host) { follows(h); h.BPF.Pin = "/srv is in no BPF file system" },
			[]string{"warning bpf resync.jump.pin"}, "mount -t bpf bpf /sys/fs/bpf"},
		{"clock", func(h *Host) { h.Clock.Synchronized = false }, []string{"warning clock"}, "timedatectl set-ntp true"},
		{"clock far off", func(h *Host) { h.Clock.MaxError = 5 * time.Second }, []string{"warning clock"}, "5s"},

		{"strict by all, away from the default route", func(h *Host) { h.Network.Sysctl["net.ipv4.conf.all.rp_filter"] = 1 },
			[]string{"error rp-filter eth1"}, "sysctl -w net.ipv4.conf.eth1.rp_filter=2"},
		{"strict where in and out may differ", func(h *Host) { h.Network.Sysctl["net.ipv4.conf.eth0.rp_filter"] = 1 },
			[]string{"warning rp-filter eth0"}, "eth0, eth1"},
		{"strict where it does no harm", func(h *Host) {
			h.Network.Sysctl["net.ipv4.conf.eth0.rp_filter"] = 1
			h.Neighbors[1].Device = "eth0"
		}, nil, ""},
		{"device with a dot", func(h *Host) {
			h.Network.Devices[2].Name, h.Neighbors[1].Device = "eth1.100", "eth1.100"
			h.Network.Sysctl["net.ipv4.conf.eth1.100.rp_filter"] = 1
		}, []string{"error rp-filter eth1.100"}, "sysctl -w net/ipv4/conf/eth1.100/rp_filter=2"},
		{"arp", func(h *Host) {
			h.Network.Sysctl["net.ipv4.conf.all.arp_ignore"] = 0
			h.Network.Sysctl["net.ipv4.conf.eth0.arp_ignore"] = 1
		}, []string{"warning arp eth1"}, "sysctl -w net.ipv4.conf.eth1.arp_ignore=1 net.ipv4.conf.eth1.arp_announce=2"},
		{"arp without IPv4 addresses", func(h *Host) {
			h.Network.Sysctl["net.ipv4.conf.all.arp_ignore"] = 0
			h.Config.Services[0].VIPs.Addresses = h.Config.Services[0].VIPs.Addresses[1:]
		}, nil, ""},

		{"address missing", func(h *Host) { h.Network.Devices[0].Addrs = h.Network.Devices[0].Addrs[1:] },
			[]string{"error vip-missing 192.0.2.1"}, "ip address add 192.0.2.1/32 dev lo"},
		{"IPv6 address missing", func(h *Host) { h.Network.Devices[0].Addrs = h.Network.Devices[0].Addrs[:1] },
			[]string{"error vip-missing 2001:db8:100::1"}, "ip address add 2001:db8:100::1/128 dev lo nodad"},
		{"address missing without daemon", func(h *Host) {
			h.Network.Devices[0].Addrs, h.Status, h.Daemon = h.Network.Devices[0].Addrs[1:], nil, nil
		},
			[]string{"warning vip-missing 192.0.2.1"}, "until catchmentd runs"},
		{"address missing as it should", func(h *Host) {
			h.Network.Devices[0].Addrs, h.Config.Services[0].VIPs.Keep = nil, false
			h.Status.Services[0].Slices[0].Stance.Action = policy.Withdraw
		}, nil, ""},
		{"address missing though announced", func(h *Host) { h.Network.Devices[0].Addrs, h.Config.Services[0].VIPs.Keep = nil, false },
			[]string{"error vip-missing 192.0.2.1", "error vip-missing 2001:db8:100::1"}, ""},
		{"duplicate address", func(h *Host) { h.Network.Devices[0].Addrs[1].DADFailed = true },
			[]string{"error vip-duplicate 2001:db8:100::1"}, "ip address del 2001:db8:100::1/128 dev lo && ip address add 2001:db8:100::1/128 dev lo nodad"},
		{"device missing", func(h *Host) { h.Config.Services[0].VIPs.Device = "anycast0" },
			[]string{"error vip-device anycast0"}, "ip link add anycast0 type dummy && ip link set anycast0 up"},
		{"device down", func(h *Host) { h.Network.Devices[0].Up = false }, []string{"error vip-device lo"}, "ip link set lo up"},
		{"IPv6 off", func(h *Host) { h.Network.Sysctl["net.ipv6.conf.lo.disable_ipv6"] = 1 },
			[]string{"error ipv6-off lo"}, "net.ipv6.conf.lo.disable_ipv6=0"},

		{"MTUs differ", func(h *Host) { h.Network.Devices[1].MTU = 9000 }, []string{"warning mtu eth0"}, "ip link set eth0 mtu 1500"},
		{"MTU of a tunnel", func(h *Host) { h.Network.Devices[1].MTU, h.Network.Devices[2].MTU = 1400, 1400 },
			[]string{"warning mtu-probing eth0"}, "sysctl -w net.ipv4.tcp_mtu_probing=1"},
		{"MTU of a tunnel, probing", func(h *Host) {
			h.Network.Devices[1].MTU, h.Network.Devices[2].MTU, h.Network.Sysctl["net.ipv4.tcp_mtu_probing"] = 1400, 1400, 1
		}, nil, ""},
		{"MTU below IPv6's", func(h *Host) { h.Network.Devices[2].MTU = 1000 },
			[]string{"error mtu eth1", "warning mtu-probing eth1"}, "ip link set eth1 mtu 1280"},

		{"no route", func(h *Host) { lose(h, 1).NoRoute, h.Neighbors[1].Device = "network is unreachable", "" },
			[]string{"error no-route 2001:db8:1::2"}, "ip route get 2001:db8:1::2"},
		{"no BFD", func(h *Host) { h.Neighbors[0].BFD, h.Status.Neighbors[0].BFD = false, "" },
			[]string{"warning hold-time 10.0.0.2"}, "1m30s"},
		{"no BFD, short hold time", func(h *Host) {
			h.Neighbors[0].BFD, h.Status.Neighbors[0].BFD = false, ""
			h.Neighbors[0].Session.HoldTime = 9 * time.Second
		}, nil, ""},
		{"BFD down", func(h *Host) { h.Status.Neighbors[0].BFD = "down" }, []string{"warning bfd 10.0.0.2"}, "3784"},
		{"no graceful restart there", func(h *Host) { h.Neighbors[0].Session.GracefulRestart = false },
			[]string{"warning graceful-restart 10.0.0.2"}, "on the router"},
		{"no graceful restart here", func(h *Host) { h.Neighbors[0].GracefulRestart = false },
			[]string{"warning graceful-restart 10.0.0.2"}, "bgp.neighbors[0].graceful-restart"},
		{"a router that only helps", func(h *Host) { h.Status.Neighbors[0].GracefulRestart = false }, nil, ""},
		{"family missing", func(h *Host) { h.Neighbors[1].Session.IPv4, h.Neighbors[1].Session.IPv6 = true, false },
			[]string{"error family 2001:db8:1::2"}, "does not speak ipv6-unicast"},
		{"shut down", func(h *Host) { lose(h, 0); h.Status.Neighbors[0].AdminDown = true },
			[]string{"warning session 10.0.0.2"}, "neighbor 10.0.0.2 enable"},

		{"refused", func(h *Host) { lose(h, 0).Probe = Refused }, []string{"error session 10.0.0.2"}, "refuses connections"},
		{"no password there", func(h *Host) { lose(h, 0).Probe = Accepted }, []string{"error session 10.0.0.2"}, "it does not sign"},
		{"no password there, its segments dropped", func(h *Host) { lose(h, 0); h.Network.Drops = map[string]uint64{"TCPMD5NotFound": 3} },
			[]string{"error session 10.0.0.2"}, "it does not sign"},
		{"another password", func(h *Host) { lose(h, 0); h.Network.Drops = map[string]uint64{"TCPMD5Failure": 3} },
			[]string{"error session 10.0.0.2"}, "another password"},
		{"password there only", func(h *Host) { lose(h, 1); h.Network.Drops = map[string]uint64{"TCPMD5Unexpected": 3} },
			[]string{"error session 2001:db8:1::2"}, "bgp.neighbors[1].config.auth-password"},
		{"TTL too low", func(h *Host) { lose(h, 0); h.Network.Drops = map[string]uint64{"TCPMinTTLDrop": 3} },
			[]string{"error session 10.0.0.2"}, "ttl-security"},
		{"silent, with password", func(h *Host) { lose(h, 0).Probe = Unanswered }, []string{"error session 10.0.0.2"}, "as it should be"},
		{"silent", func(h *Host) { lose(h, 1).Probe = Unanswered }, []string{"error session 2001:db8:1::2"}, "want a password"},
		{"wrong AS", func(h *Host) { lose(h, 1).Probe = Accepted; h.Status.Neighbors[1].LastError = "bad peer AS" },
			[]string{"error session 2001:db8:1::2"}, "bad peer AS"},
		{"neighbor that is not in the config", func(h *Host) {
			h.Status.Neighbors = append(h.Status.Neighbors, bgp.PeerState{Address: netip.MustParseAddr("10.9.9.9"), State: bgp.Idle})
		}, []string{"error session 10.9.9.9"}, "through GoBGP's API"},

		{"drains by community only", func(h *Host) { h.Config.Services[0].Drain.Prepend = 0 },
			[]string{"warning drain web"}, "(RFC 8326) is all that tells 10.0.0.2, 2001:db8:1::2 of a drain"},
		{"drains by community only, to one", func(h *Host) {
			d := &h.Config.Services[0].Drain
			d.Prepend = 0
			d.Neighbors = map[netip.Addr]bgp.Override{h.Neighbors[0].Address: {Attributes: bgp.Attributes{Prepend: 1}}}
		}, []string{"warning drain web"}, "all that tells 2001:db8:1::2 of a drain"},
		{"drains by MED too", func(h *Host) {
			ten := uint32(10)
			h.Config.Services[0].Drain.Prepend, h.Config.Services[0].Drain.MED = 0, &ten
		}, nil, ""},
		{"drains inside the network by prepend", func(h *Host) { h.Neighbors[0].AS = h.Neighbors[0].LocalAS },
			[]string{"warning drain web"}, "10.0.0.2"},
		{"drains inside the network by local preference", func(h *Host) {
			zero := uint32(0)
			h.Neighbors[0].AS, h.Config.Services[0].Drain.LocalPref = h.Neighbors[0].LocalAS, &zero
		}, nil, ""},

		{"no ROA", func(h *Host) { h.RPKI.VRPs = h.RPKI.VRPs[1:] },
			[]string{"warning roa 192.0.2.0/24"}, "one for AS 64500, 192.0.2.0/24, maximum length 24"},
		{"ROA of another AS", func(h *Host) { h.RPKI.VRPs[0].AS = 64999 },
			[]string{"error roa 192.0.2.0/24"}, "its ROA is not for AS 64500: 192.0.2.0/24 AS 64999"},
		{"longer than its ROA allows", func(h *Host) { h.RPKI.VRPs[1].MaxLength = 47 },
			[]string{"error roa 2001:db8:100::/48"}, "longer than its ROA allows AS 64500: 2001:db8::/32-47 AS 64500"},
		{"two origins", func(h *Host) { h.Origins = []uint32{64500, 64510} },
			[]string{"error roa 192.0.2.0/24", "error roa 2001:db8:100::/48"}, "one for AS 64510"},
		{"cache down", func(h *Host) { h.RPKI = &RPKI{Caches: []gobgp.RPKICache{{Address: "10.0.0.9:323"}}} },
			[]string{"warning rtr 10.0.0.9:323"}, "catchment doctor --rtr 10.0.0.9:323"},
		{"one cache of two down", func(h *Host) {
			h.RPKI.Caches = append(h.RPKI.Caches, gobgp.RPKICache{Address: "10.0.0.8:323", Up: true})
			h.RPKI.VRPs[0].AS = 0
		}, []string{"error roa 192.0.2.0/24", "warning rtr 10.0.0.8:323"}, "not come to the end of its data"},
		{"ROA of another AS, and its alarm", func(h *Host) {
			h.RPKI.VRPs[0].AS = 64999
			h.Status.Alarms = []api.Alarm{{Name: "rpki-invalid", Slice: policy.SliceID(netip.MustParsePrefix("192.0.2.0/24"))}}
		}, []string{"error roa 192.0.2.0/24"}, ""},
		{"RPKI not looked at", func(h *Host) { h.RPKI = nil }, nil, ""},

		{"stale POP", func(h *Host) { h.Status.Fleet[0].Stale = true }, []string{"warning fleet FRA"}, "site community"},
		{"POP not heard as no session is up", func(h *Host) {
			lose(h, 0).Probe, h.Status.Fleet[0].Stale = Refused, true
			lose(h, 1).Probe = Refused
		}, []string{"error session 10.0.0.2", "error session 2001:db8:1::2"}, ""},
		{"POP that refuses", func(h *Host) { h.Status.Fleet[0].Error, h.Status.Fleet[0].URL = "401", "http://10.9.0.2:9799/" },
			[]string{"warning fleet FRA"}, "http://10.9.0.2:9799/"},
		{"secret", func(h *Host) { h.Config.Fleet.SecretFile, h.Secret = "/etc/catchment/fleet.key", "mode 0644" },
			[]string{"error fleet-secret /etc/catchment/fleet.key"}, "chmod 640 /etc/catchment/fleet.key"},
		{"check that cannot run", func(h *Host) {
			h.Status.Services[0].Checks[0] = api.CheckStatus{ID: "ping", Outcome: "cannot-tell", Detail: "socket: operation not permitted"}
		}, []string{"warning check web/ping"}, "operation not permitted"},
		{"check that hangs", func(h *Host) { h.Status.Services[0].Checks[0].Hung = 2 }, []string{"warning check web/ping"}, "2 runs"},
		{"nothing was looked at", func(h *Host) { *h = Host{} }, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := host(t)
			tc.spoil(h)
			var got []string
			all := ""
			for _, f := range Findings(h) {
				got = append(got, strings.TrimSpace(string(f.Severity)+" "+f.Name+" "+f.About))
				all += strings.Join([]string{f.What, f.Why, f.Command, f.Change}, "\n") + "\n"
				if f.What == "" || f.Why == "" || f.Command == "" && f.Change == "" || strings.Contains(f.Command, "\n") {
					t.Errorf("incomplete: %+v", f)
				}
			}
			if !slices.Equal(got, tc.want) || !strings.Contains(all, tc.says) {
				t.Errorf("found %q, want %q with %q in\n%s", got, tc.want, tc.says, all)
			}
		})
	}
}
