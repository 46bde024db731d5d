package bfd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/lab/sandbox"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

// patience is how long a test waits for what must happen; it measures nothing.
const patience = 30 * time.Second

const frrConf = `bfd
 peer 10.0.0.1 local-address 10.0.0.2 interface peer0
  receive-interval 50
  transmit-interval 60
  detect-multiplier 3
 exit
 peer 2001:db8::1 local-address 2001:db8::2 interface peer0
  receive-interval 50
  transmit-interval 60
  detect-multiplier 3
 exit
 peer fe80::1 local-address fe80::2 interface peer0
  receive-interval 50
  transmit-interval 60
  detect-multiplier 3
 exit
 peer 10.2.0.1 multihop local-address 10.2.0.2
  receive-interval 50
  transmit-interval 60
  detect-multiplier 3
 exit
 peer 2001:db8:2::1 multihop local-address 2001:db8:2::2
  receive-interval 50
  transmit-interval 60
  detect-multiplier 3
 exit
exit
`

// startFRR runs zebra and bfdd of FRR as root without its init scripts.
func startFRR(t *testing.T, r *router) (peers func() string) {
	conf := r.write(t, "bfdd.conf", frrConf)
	none := r.write(t, "zebra.conf", "\n")
	group, err := os.ReadFile("/etc/group")
	if err != nil {
		t.Fatal(err)
	}
	// FRR insists that its user is in the group frrvty.
	r.write(t, "group", regexp.MustCompile(`(?m)^(frrvty:.*:).*$`).ReplaceAllString(string(group), "${1}root"))
	r.start(t, fmt.Sprintf(`cd %[1]s
mount --make-rprivate /
mount --bind %[1]s/group /etc/group
common="--vty_socket %[1]s -z %[1]s/zserv -u root -g root -P 0"
/usr/lib/frr/zebra $common -i %[1]s/zebra.pid -f %[3]s &
while ! test -S %[1]s/zserv; do sleep 0.05; done
/usr/lib/frr/bfdd $common -i %[1]s/bfdd.pid -f %[2]s --bfdctl %[1]s/bfdd.sock &
wait
`, r.dir, conf, none))
	return func() string {
		out, _ := exec.Command("vtysh", "--vty_socket", r.dir, "-d", "bfdd", "-c", "show bfd peers").CombinedOutput()
		return string(out)
	}
}

const birdConf = `router id 10.0.0.2;
protocol device { }
protocol bfd {
	interface "peer0" { min rx interval 50 ms; min tx interval 60 ms; idle tx interval 1 s; multiplier 3; };
	multihop { min rx interval 50 ms; min tx interval 60 ms; idle tx interval 1 s; multiplier 3; };
	neighbor 10.0.0.1 dev "peer0";
	neighbor 2001:db8::1 dev "peer0";
	neighbor fe80::1 dev "peer0";
	neighbor 10.2.0.1 local 10.2.0.2 multihop on;
	neighbor 2001:db8:2::1 local 2001:db8:2::2 multihop on;
}
`

func startBIRD(t *testing.T, r *router) (peers func() string) {
	conf := r.write(t, "bird.conf", birdConf)
	r.start(t, fmt.Sprintf("exec /usr/sbin/bird -f -c %s -s %s/ctl -P %[2]s/bird.pid\n", conf, r.dir))
	return func() string {
		out, _ := exec.Command("/usr/sbin/birdc", "-s", r.dir+"/ctl", "show", "bfd", "sessions").CombinedOutput()
		return string(out)
	}
}

func interopSessions(minTTL int) []SessionConfig {
	var all []SessionConfig
	for _, s := range []SessionConfig{
		{Neighbor: netip.MustParseAddr("10.0.0.2"), Device: "eth0"},
		{Neighbor: netip.MustParseAddr("2001:db8::2")},
		{Neighbor: netip.MustParseAddr("fe80::2"), Local: netip.MustParseAddr("fe80::1"), Device: "eth0"},
		{Neighbor: netip.MustParseAddr("10.2.0.2"), Local: netip.MustParseAddr("10.2.0.1"), Multihop: true, MinTTL: minTTL},
		{Neighbor: netip.MustParseAddr("2001:db8:2::2"), Local: netip.MustParseAddr("2001:db8:2::1"), Multihop: true, MinTTL: minTTL},
	} {
		s.Transmit, s.Receive, s.Multiplier = 40*ms, 80*ms, 4
		all = append(all, s)
	}
	return all
}

// rig is our side against a real router.
type rig struct {
	*Manager
	sessions []SessionConfig
	events   chan Event
	cancel   context.CancelFunc
	done     chan error
}

func newRig(t *testing.T, p peer) *rig {
	t.Helper()
	g := &rig{sessions: interopSessions(p.minTTL), events: make(chan Event, 1000), done: make(chan error, 1)}
	var err error
	g.Manager, err = New(Options{Sessions: g.sessions, OnChange: func(e Event) { g.events <- e }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g.cancel = cancel
	go func() { g.done <- g.Run(ctx) }()
	t.Cleanup(cancel)
	return g
}

func (g *rig) stop(t *testing.T) {
	t.Helper()
	g.cancel()
	if err := <-g.done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// await takes events until each of the sessions went to state s, and returns
// the last one of each.
func (g *rig) await(t *testing.T, s State, peers func() string) map[netip.Addr]Event {
	t.Helper()
	got := map[netip.Addr]Event{}
	timeout := time.After(patience)
	for len(got) < len(g.sessions) {
		select {
		case e := <-g.events:
			delete(got, e.Neighbor)
			if e.State == s {
				got[e.Neighbor] = e
			} else if s == Up && e.Failure() {
				t.Errorf("on the way up: %+v", e)
			}
		case <-timeout:
			t.Fatalf("after %v only these are %v: %v\nours: %+v\nrefused: %v\ntheirs:\n%s",
				patience, s, got, g.Sessions(), g.Refused(), peers())
		}
	}
	return got
}

// eventually asks until ok holds for all sessions.
func (g *rig) eventually(t *testing.T, what string, peers func() string, ok func(Status) bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		good := 0
		all := g.Sessions()
		for _, s := range all {
			if ok(s) {
				good++
			}
		}
		if good == len(all) {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v\nours: %+v\ntheirs:\n%s", what, patience, all, peers())
		}
		time.Sleep(20 * ms)
	}
}

// peer is an implementation under test.
type peer struct {
	pidfile string
	minTTL  int // of its multihop packets
	start   func(*testing.T, *router) (peers func() string)
}

func testInterop(t *testing.T, p peer) {
	for _, first := range []string{"we start first", "they start first"} {
		t.Run(first, func(t *testing.T) {
			r := newRouter(t)
			var g *rig
			var peers func() string
			if first == "we start first" {
				g = newRig(t, p)
				g.eventually(t, "sent before they start", func() string { return "" }, func(s Status) bool { return s.Sent > 0 })
				peers = p.start(t, r)
			} else {
				peers = p.start(t, r)
				for deadline := time.Now().Add(patience); !strings.Contains(peers(), "10.2.0.1"); time.Sleep(50 * ms) {
					if time.Now().After(deadline) {
						t.Fatalf("they did not start:\n%s", peers())
					}
				}
				g = newRig(t, p)
			}
			lifecycle(t, g, r, p.pidfile, peers)
		})
	}
}

// lifecycle is what a session lives through: negotiation, a frozen neighbor,
// its return, a change of timers, our planned exit.
func lifecycle(t *testing.T, g *rig, r *router, pidfile string, peers func() string) {
	g.await(t, Up, peers)
	g.eventually(t, "negotiation", peers, func(s Status) bool {
		return s.Transmit == Interval(50*ms) && s.Detection == Interval(3*80*ms) && !s.Polling
	})
	pid := readPid(t, filepath.Join(r.dir, pidfile))
	before := time.Now()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for n, e := range g.await(t, Down, peers) {
		t.Logf("frozen: %v down after %v", n, e.Time.Sub(before).Round(ms))
		if !e.Failure() || e.Diagnostic != DiagDetectionTime {
			t.Errorf("frozen neighbor: %+v", e)
		}
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	g.await(t, Up, peers)

	changed := slices.Clone(g.sessions)
	for i := range changed {
		changed[i].Transmit, changed[i].Receive = 120*ms, 100*ms
	}
	if err := g.Set(changed); err != nil {
		t.Fatal(err)
	}
	g.eventually(t, "new timers by poll", peers, func(s Status) bool {
		return s.Transmit == Interval(120*ms) && s.Detection == Interval(3*100*ms) && !s.Polling && s.State == Up && s.Downs == 1
	})
	up := regexp.MustCompile(`(?i)\bup\b`)
	if n := len(up.FindAllString(peers(), -1)); n != len(g.sessions) {
		t.Fatalf("they say that %d sessions are up, want %d:\n%s", n, len(g.sessions), peers())
	}
	g.stop(t)
	for deadline := time.Now().Add(patience); up.MatchString(peers()); time.Sleep(20 * ms) {
		if time.Now().After(deadline) {
			t.Fatalf("they still think it is up:\n%s", peers())
		}
	}
}

func readPid(t *testing.T, path string) (pid int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(b), &pid); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return pid
}

func TestFRR(t *testing.T) {
	need(t, "/usr/lib/frr/bfdd")
	need(t, "/usr/lib/frr/zebra")
	testInterop(t, peer{"bfdd.pid", 254, startFRR})
}

func TestBIRD(t *testing.T) {
	need(t, "/usr/sbin/bird")
	// BIRD 2.0.12 sends IPv4 multihop packets with the system's default TTL.
	testInterop(t, peer{"bird.pid", 64, startBIRD})
}

func TestPortInUse(t *testing.T) {
	other, err := net.ListenPacket("udp4", fmt.Sprintf(":%d", PortMultihop))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	m, err := New(Options{Sessions: []SessionConfig{{Neighbor: netip.MustParseAddr("10.2.0.2"), Multihop: true}}})
	if err != nil {
		t.Fatal(err)
	}
	err = m.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "udp4 port 4784 is in use, is another BFD daemon running?") {
		t.Errorf("Run: %v", err)
	}
}
