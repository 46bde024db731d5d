package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/lab/sandbox"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

// shell runs a command line in the sandbox, as an operator would.
func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.Command("/bin/sh", "-ec", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// configure writes a configuration and returns its path.
func configure(t *testing.T, service string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	text := fmt.Sprintf(`
pop: LON
state-dir: %s
api: {socket: %s/c.sock, gobgp-socket: ""}
metrics: {listen: ""}
bgp:
  global: {config: {as: 64500, router-id: 10.0.0.1}}
  neighbors:
    - config: {neighbor-address: 10.7.0.2, peer-as: 64501}
    - config: {neighbor-address: 10.7.1.2, peer-as: 64501}
services:
  - name: web
    prefixes: [192.0.2.0/24, "2001:db8:100::/48"]
    %s
    ladder: [{name: backup, prepend: 3}]
    checks: [{name: tcp, type: tcp, address: "192.0.2.1:80"}]
`, dir, dir, service)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func see(t *testing.T, o Options) *Host {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h, err := Look(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// find returns the finding of that name and subject.
func find(h *Host, name, about string) (Finding, bool) {
	all := Findings(h)
	i := slices.IndexFunc(all, func(f Finding) bool { return f.Name == name && f.About == about })
	if i < 0 {
		return Finding{}, false
	}
	return all[i], true
}

// uplinks makes two devices that lead to the two neighbors, and the best
// default route by the first.
func uplinks(t *testing.T) {
	shell(t, `
		ip link add up0 type veth peer name far0; ip address add 10.7.0.1/24 dev up0
		ip link add up1.7 type veth peer name far1; ip address add 10.7.1.1/24 dev up1.7
		for d in up0 far0 up1.7 far1; do ip link set $d up; done
		ip route add default via 10.7.1.2 metric 50
		ip route add default via 10.7.0.2 metric 10`)
	t.Cleanup(func() { shell(t, "ip link del up0; ip link del up1.7") })
}

// TestBreakSeeMend breaks one thing after the other: it is seen, the command
// that is printed mends it, and it is seen no more.
func TestBreakSeeMend(t *testing.T) {
	uplinks(t)
	path := configure(t, `vips: {addresses: [192.0.2.1, "2001:db8:100::1"], device: any0}`)
	t.Cleanup(func() { shell(t, "ip link del any0") })
	shell(t, "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.all.rp_filter=0 net.ipv4.tcp_mtu_probing=0")
	shell(t, "sysctl -qw net.ipv4.conf.up0.rp_filter=0 net/ipv4/conf/up1.7/rp_filter=0")
	for _, step := range []struct{ breaks, name, about, command string }{
		{"", "vip-device", "any0", "ip link add any0 type dummy && ip link set any0 up"},
		{"ip link set any0 down", "vip-device", "any0", "ip link set any0 up"},
		{"", "vip-missing", "192.0.2.1", "ip address add 192.0.2.1/32 dev any0"},
		{"", "vip-missing", "2001:db8:100::1", "ip address add 2001:db8:100::1/128 dev any0 nodad"},
		{"sysctl -qw net.ipv6.conf.any0.disable_ipv6=1", "ipv6-off", "any0", ""},
		{"", "vip-missing", "2001:db8:100::1", ""}, // the kernel has dropped it
		{"sysctl -qw net.ipv4.conf.all.rp_filter=1", "rp-filter", "up1.7", "sysctl -w net/ipv4/conf/up1.7/rp_filter=2"},
		{"", "rp-filter", "up0", "sysctl -w net.ipv4.conf.up0.rp_filter=2"},
		{"sysctl -qw net.ipv4.conf.all.arp_ignore=0", "arp", "up0", ""},
		{"", "arp", "up1.7", ""},
		{"ip link set up1.7 mtu 9000", "mtu", "up1.7", "ip link set up1.7 mtu 1500"},
		{"ip link set up0 mtu 1400; ip link set up1.7 mtu 1400", "mtu-probing", "up0", ""},
	} {
		if step.breaks != "" {
			if h := see(t, Options{ConfigPath: path}); has(h, step.name, step.about) {
				t.Fatalf("%s %s: found before it was broken", step.name, step.about)
			}
			shell(t, step.breaks)
		}
		f, ok := find(see(t, Options{ConfigPath: path}), step.name, step.about)
		if !ok || f.Command == "" || step.command != "" && f.Command != step.command {
			t.Fatalf("%s %s after %q: %v %+v", step.name, step.about, step.breaks, ok, f)
		}
		shell(t, available(f.Command))
		if h := see(t, Options{ConfigPath: path}); has(h, step.name, step.about) {
			t.Fatalf("%s %s is still there after %q", step.name, step.about, f.Command)
		}
	}
}

// available replaces dummy devices where the kernel of the tests has none.
func available(command string) string {
	if exec.Command("ip", "link", "add", "try0", "type", "dummy").Run() == nil {
		_ = exec.Command("ip", "link", "del", "try0").Run()
		return command
	}
	return strings.Replace(command, "any0 type dummy &&", "any0 type veth peer name any1 && ip link set any1 up &&", 1)
}

func has(h *Host, name, about string) bool { _, ok := find(h, name, about); return ok }

// TestDuplicate: an address that duplicate address detection took away. The
// detection itself needs a link with another host; the flag is what counts.
func TestDuplicate(t *testing.T) {
	shell(t, "ip link add d0 type veth peer name d1; ip link set d1 up; sysctl -qw net.ipv6.conf.d1.accept_dad=0; ip address add 2001:db8:100::1/128 dev d1 nodad")
	t.Cleanup(func() { shell(t, "ip link del d0") })
	shell(t, "ip link set d0 up; ip address add 2001:db8:100::1/128 dev d0")
	path := configure(t, `vips: {addresses: ["2001:db8:100::1"], device: d0}`)
	deadline := time.Now().Add(20 * time.Second)
	for {
		f, ok := find(see(t, Options{ConfigPath: path}), "vip-duplicate", "2001:db8:100::1")
		if ok {
			shell(t, f.Command)
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("not found")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if h := see(t, Options{ConfigPath: path}); has(h, "vip-duplicate", "2001:db8:100::1") || has(h, "vip-missing", "2001:db8:100::1") {
		t.Errorf("still there: %+v", Findings(h))
	}
}

// serve answers as a daemon with these neighbors.
func serve(t *testing.T, socket string, neighbors ...bgp.PeerState) {
	t.Helper()
	b := apitest.World()
	b.POP.Neighbors = neighbors
	srv, err := api.New(api.Options{Socket: socket, Backend: b, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	<-srv.Ready()
}

// TestDaemon: the process behind the socket, and the neighbors that it has no
// session with.
func TestDaemon(t *testing.T) {
	uplinks(t)
	path := configure(t, "")
	t.Setenv("CATCHMENT_POP", "LON")
	serve(t, filepath.Join(filepath.Dir(path), "c.sock"), bgp.PeerState{Address: netip.MustParseAddr("10.7.0.2"), State: bgp.Active})
	shell(t, "ip address add 10.7.0.2/32 dev lo") // a router that does not listen
	t.Cleanup(func() { shell(t, "ip address del 10.7.0.2/32 dev lo") })
	h := see(t, Options{ConfigPath: path})
	if h.Daemon == nil || h.Daemon.PID != os.Getpid() || h.Daemon.Exe == "" || h.Daemon.OtherNetNS || int(h.Daemon.UID) != os.Geteuid() {
		t.Errorf("%+v", h.Daemon)
	}
	if h.Status == nil || h.Status.POP != "LON" {
		t.Errorf("%+v", h.Status)
	}
	if h.Clock == nil || h.Kernel == nil || h.Kernel.SockDiag+h.Kernel.PIDFD != "" || h.State == nil || h.State.Free <= 0 {
		t.Errorf("%+v %+v %+v", h.Clock, h.Kernel, h.State)
	}
	f, ok := find(h, "session", "10.7.0.2")
	if !ok || !strings.Contains(f.What, "refuses connections") {
		t.Errorf("%v %+v", ok, f)
	}
	if len(h.Blind) > 0 {
		t.Errorf("not looked at: %q", h.Blind)
	}
}

// TestProbe: listeners without and with a signature.
func TestProbe(t *testing.T) {
	addr := netip.MustParseAddr("127.0.9.1")
	n := func() *Neighbor {
		return &Neighbor{NeighborInfo: gobgp.NeighborInfo{Address: addr, TTLSecurity: true}}
	}
	probe := func() (Probe, map[string]uint64) {
		h := &Host{Network: &Network{}, Neighbors: []Neighbor{*n()}, Status: &api.Status{Neighbors: []bgp.PeerState{{Address: addr}}}}
		h.lookAtSessions(t.Context(), 0)
		return h.Neighbors[0].Probe, h.Network.Drops
	}
	if p, _ := probe(); p != Refused {
		t.Errorf("nobody listens: %q", p)
	}
	l, err := net.Listen("tcp", "127.0.9.1:179")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if p, _ := probe(); p != Accepted {
		t.Errorf("somebody listens: %q", p)
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var sysErr error
	err = raw.Control(func(fd uintptr) {
		sig := unix.TCPMD5Sig{Keylen: 3, Key: [80]byte{'a', 'b', 'c'}}
		sig.Addr.Family = unix.AF_INET
		copy(sig.Addr.Data[2:], []byte{127, 0, 0, 1})
		sysErr = unix.SetsockoptTCPMD5Sig(int(fd), unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig)
	})
	if err != nil || sysErr != nil {
		t.Fatal(err, sysErr)
	}
	if p, d := probe(); p != Unanswered || d["TCPMD5NotFound"] == 0 {
		t.Errorf("somebody wants a signature: %q %v", p, d)
	}
	far := Neighbor{NeighborInfo: gobgp.NeighborInfo{Address: netip.MustParseAddr("203.0.113.9")}}
	if p := try(t.Context(), &far); p != Unreachable {
		t.Errorf("no route: %q", p)
	}
}

// TestCannotLook: without a configuration and a daemon there is nothing to go
// by; a configuration with mistakes is a finding.
func TestCannotLook(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	if h, err := Look(t.Context(), Options{ConfigPath: path, Socket: filepath.Join(dir, "c.sock")}); err == nil {
		t.Errorf("%+v", h)
	}
	if err := os.WriteFile(path, []byte("pop: LON\nnonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := see(t, Options{ConfigPath: path, Socket: filepath.Join(dir, "c.sock")})
	if all := Findings(h); len(all) < 2 || all[0].Name != "config" || !strings.Contains(all[0].What+all[1].What, "nonsense") {
		t.Errorf("%+v", all)
	}
}

// TestDefaultDevices: the best of several default routes, and both of two
// equal ones.
func TestDefaultDevices(t *testing.T) {
	uplinks(t)
	get := func() []string {
		links, err := netlink.LinkList()
		if err != nil {
			t.Fatal(err)
		}
		names, err := defaultDevices(links)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Sorted(slices.Values(names))
	}
	if d := get(); !slices.Equal(d, []string{"up0"}) {
		t.Error(d)
	}
	shell(t, "ip route replace default metric 10 nexthop via 10.7.0.2 nexthop via 10.7.1.2")
	if d := get(); !slices.Equal(d, []string{"up0", "up1.7"}) {
		t.Error(d)
	}
}
