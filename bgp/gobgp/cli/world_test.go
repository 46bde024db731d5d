package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/lab/sandbox"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

const patience = 20 * time.Second

// programs are there once: the stock client and daemon from the pinned module,
// ours, and ours under the stock client's name.
type programs struct{ stock, daemon, ours, alias string }

// build makes the programs, unless the folder CATCHMENT_BIN has them.
func build(t testing.TB) programs {
	t.Helper()
	dir := t.TempDir()
	ours := filepath.Join(dir, "catchment")
	p := programs{filepath.Join(dir, "stock", "gobgp"), filepath.Join(dir, "gobgpd"), ours, filepath.Join(dir, "gobgp")}
	if err := os.Mkdir(filepath.Dir(p.stock), 0o755); err != nil {
		t.Fatal(err)
	}
	for bin, pkg := range map[string]string{
		p.stock:  "github.com/osrg/gobgp/v3/cmd/gobgp",
		p.daemon: "github.com/osrg/gobgp/v3/cmd/gobgpd",
		p.ours:   "github.com/catchment/catchment/cmd/catchment",
	} {
		if have := os.Getenv("CATCHMENT_BIN"); have != "" {
			if err := os.Symlink(filepath.Join(have, filepath.Base(bin)), bin); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if out, err := exec.Command("go", "build", "-o", bin, pkg).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, out)
		}
	}
	if err := os.Symlink("catchment", p.alias); err != nil {
		t.Fatal(err)
	}
	return p
}

// The speaker and its neighbors.
var (
	us4    = netip.MustParseAddr("127.0.0.1")
	us6    = netip.MustParseAddr("2001:db8::1")
	peer4  = netip.MustParseAddr("127.0.0.2")
	peer6  = netip.MustParseAddr("2001:db8::2")
	client = netip.MustParseAddr("127.0.0.3") // of the route server
)

func addresses(t testing.TB) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []netip.Addr{us6, peer6} {
		if err := netlink.AddrReplace(lo, &netlink.Addr{IPNet: netlink.NewIPNet(a.AsSlice()), Flags: 0x02 /* IFA_F_NODAD */}); err != nil {
			t.Fatal(err)
		}
	}
}

// startWorld makes the daemon that the name stands for, until the test ends.
func startWorld(t *testing.T, p programs, name, dir string) {
	t.Helper()
	socket := filepath.Join(dir, "gobgp.sock")
	hosts := "127.0.0.1:50051,unix://" + socket
	os.Remove(socket) // of the last, which was killed
	switch name {
	case "nothing":
	case "bare":
		startDaemon(t, p, "", "--api-hosts", hosts)
	case "empty":
		startDaemon(t, p, emptyConfig, "--api-hosts", hosts)
	case "tls":
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		startDaemon(t, p, emptyConfig, "--api-hosts", "127.0.0.1:50051", "--tls", "--tls-cert-file", cert, "--tls-key-file", key, "--tls-client-ca-file", cert)
	case "full":
		startDaemon(t, p, fullConfig, "--api-hosts", hosts)
		startCache(t, "127.0.0.10:323")
		startSink(t, "127.0.0.10:11019")
		startSink(t, "[2001:db8::2]:11020")
		startNeighbors(t)
		awaitSessions(t, p)
	case "catchmentd":
		startOwn(t, socket)
		awaitSessions(t, p)
	default:
		t.Fatalf("no world %q", name)
	}
}

const emptyConfig = `
[global.config]
  as = 64500
  router-id = "10.0.0.1"
  port = 179
  local-address-list = ["127.0.0.1", "2001:db8::1"]
`

const fullConfig = emptyConfig + `
[[neighbors]]
  [neighbors.config]
    neighbor-address = "127.0.0.2"
    peer-as = 64501
    remove-private-as = "all"
  [neighbors.timers.config]
    hold-time = 9000
    idle-hold-time-after-reset = 1
    keepalive-interval = 3000
  [neighbors.transport.config]
    local-address = "127.0.0.1"
    passive-mode = true
  [neighbors.as-path-options.config]
    allow-own-as = 3
    replace-peer-as = true
  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 120
    notification-enabled = true
    long-lived-enabled = true
  [neighbors.add-paths.config]
    receive = true
    send-max = 4
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
    [neighbors.afi-safis.long-lived-graceful-restart.config]
      enabled = true
      restart-time = 100000
    [neighbors.afi-safis.prefix-limit.config]
      max-prefixes = 1000
      shutdown-threshold-pct = 80
[[neighbors]]
  [neighbors.config]
    neighbor-address = "2001:db8::2"
    peer-as = 64502
  [neighbors.timers.config]
    hold-time = 9000
    idle-hold-time-after-reset = 1
    keepalive-interval = 3000
  [neighbors.transport.config]
    local-address = "2001:db8::1"
    passive-mode = true
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
    [neighbors.afi-safis.prefix-limit.config]
      max-prefixes = 500
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "127.0.0.3"
    peer-as = 64503
  [neighbors.timers.config]
    hold-time = 9000
    idle-hold-time-after-reset = 1
    keepalive-interval = 3000
  [neighbors.transport.config]
    local-address = "127.0.0.1"
    passive-mode = true
  [neighbors.route-server.config]
    route-server-client = true
[[neighbors]]
  [neighbors.config]
    neighbor-address = "127.0.0.8"
    peer-as = 64500
    admin-down = true
  [neighbors.route-reflector.config]
    route-reflector-client = true
    route-reflector-cluster-id = "10.0.0.9"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "127.0.0.9"
    peer-as = 4200000009
  [neighbors.transport.config]
    passive-mode = true
`

// startDaemon runs gobgpd until the test ends; it answers when this returns.
func startDaemon(t *testing.T, p programs, config string, args ...string) {
	t.Helper()
	args = append(args, "--pprof-disable", "--log-level", "warn")
	if config != "" {
		path := filepath.Join(t.TempDir(), "gobgpd.toml")
		if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-f", path)
	}
	cmd := exec.Command(p.daemon, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have gone already
		<-ended
		if t.Failed() {
			t.Logf("gobgpd said:\n%s", &log)
		}
	})
	await(t, "gobgpd", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("gobgpd: %v", err)
		default:
		}
		c, err := net.Dial("tcp", "127.0.0.1:50051")
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if config != "" && !strings.Contains(strings.Join(args, " "), "--tls") {
		await(t, "gobgpd's config", func() bool {
			out, _ := exec.Command(p.stock, "-j", "global").Output()
			return strings.Contains(string(out), `"asn":64500`)
		})
	}
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// startNeighbors has real speakers announce routes of both families.
func startNeighbors(t *testing.T) {
	t.Helper()
	med := uint32(10)
	communities := []bgp.Community{bgp.Community(64501<<16 | 7)}
	a := neighbor(t, 64501, peer4, us4, "ipv4-unicast")
	b := neighbor(t, 64502, peer6, us6, "ipv4-unicast", "ipv6-unicast")
	c := neighbor(t, 64503, client, us4, "ipv4-unicast")
	announce := func(n *bgptest.Neighbor, prefixes ...string) {
		var set []bgp.Announcement
		for i, s := range prefixes {
			x := bgp.Announcement{Prefix: netip.MustParsePrefix(s)}
			if i%2 == 1 {
				x.Attributes = bgp.Attributes{MED: &med, Prepend: 2, Communities: communities}
			}
			set = append(set, x)
		}
		if err := n.Set(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}
	announce(a, "198.51.100.0/24", "198.51.100.128/25", "203.0.113.0/24", "10.50.0.0/24")
	announce(b, "2001:db8:a::/48", "203.0.113.0/24", "2001:db8:b::/48")
	announce(c, "192.0.2.0/24", "203.0.113.0/24")
}

func neighbor(t *testing.T, as uint32, own, remote netip.Addr, families ...string) *bgptest.Neighbor {
	t.Helper()
	var l []any
	for _, f := range families {
		l = append(l, map[string]any{"config": map[string]any{"afi-safi-name": f}})
	}
	return bgptest.StartNeighbor(t, bgptest.Config{AS: as, Address: own, Own: announced, Peers: []map[string]any{{
		"config":    map[string]any{"neighbor-address": remote.String(), "peer-as": 64500},
		"transport": map[string]any{"config": map[string]any{"local-address": own.String()}},
		"timers":    map[string]any{"config": map[string]any{"hold-time": 9000, "keepalive-interval": 3000, "connect-retry": 1}},
		"afi-safis": l,
	}}})
}

var announced = func() (l []netip.Prefix) {
	for _, s := range []string{"198.51.100.0/24", "198.51.100.128/25", "203.0.113.0/24", "10.50.0.0/24", "192.0.2.0/24", "2001:db8:a::/48", "2001:db8:b::/48"} {
		l = append(l, netip.MustParsePrefix(s))
	}
	return l
}()

// startOwn runs catchmentd's speaker with a neighbor and two announcements.
func startOwn(t *testing.T, socket string) {
	t.Helper()
	own := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:100::/48")}
	conf, err := gobgp.ParseConfig(bgptest.Section(64500, "10.0.0.1", us4, 0, map[string]any{
		"config":    map[string]any{"neighbor-address": peer4.String(), "peer-as": 64501},
		"transport": map[string]any{"config": map[string]any{"local-address": us4.String(), "passive-mode": true}},
		"timers":    map[string]any{"config": map[string]any{"hold-time": 9000, "keepalive-interval": 3000}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	s, err := gobgp.New(gobgp.Options{Config: conf, Own: own, ImportAll: true, APISocket: socket, APIListen: "127.0.0.1:50051", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-s.Ready()
	if err := s.Set(t.Context(), []bgp.Announcement{{Prefix: own[0]}, {Prefix: own[1], Attributes: bgp.Attributes{NextHop: us6}}}); err != nil {
		t.Fatal(err)
	}
	n := neighbor(t, 64501, peer4, us4, "ipv4-unicast")
	if err := n.Set(t.Context(), []bgp.Announcement{{Prefix: announced[0]}}); err != nil {
		t.Fatal(err)
	}
	n.AwaitRoute(own[0], nil)
}

// awaitSessions waits until what should be up is, with its routes.
func awaitSessions(t *testing.T, p programs) {
	t.Helper()
	want := map[string]int{peer4.String(): 4, peer6.String(): 3, client.String(): 2}
	var last string
	defer func() {
		if t.Failed() {
			t.Log(last)
		}
	}()
	await(t, "sessions", func() bool {
		out, _ := exec.Command(p.stock, "-j", "neighbor").Output()
		last = string(out)
		var peers []struct {
			State struct {
				Address string `json:"neighbor_address"`
				State   int    `json:"session_state"`
			} `json:"state"`
			Families []struct {
				State struct{ Received int } `json:"state"`
			} `json:"afi_safis"`
		}
		if json.Unmarshal(out, &peers) != nil || len(peers) == 0 {
			return false
		}
		for _, n := range peers {
			routes := 0
			for _, f := range n.Families {
				routes += f.State.Received
			}
			least, ok := want[n.State.Address]
			if len(peers) == 1 {
				least = 1
			}
			if ok && (n.State.State != 6 || routes < least) {
				return false
			}
		}
		return true
	})
}

func awaitOutput(t *testing.T, p programs, ok func(string) bool, args ...string) {
	t.Helper()
	await(t, strings.Join(args, " "), func() bool {
		out, _ := exec.Command(p.stock, args...).Output()
		return ok(string(out))
	})
}
