package gobgp_test

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

// program starts a router's daemon until the test ends.
func program(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			fmt.Fprintf(t.Output(), "%s:\n%s", name, out.String())
		}
	})
}

// eventually asks a router until its answer has (or, with a leading "!", has
// not) the word.
func eventually(t *testing.T, word string, ask func() string) string {
	t.Helper()
	deadline := time.Now().Add(bgptest.Timeout)
	want := !strings.HasPrefix(word, "!")
	for {
		out := ask()
		if strings.Contains(out, strings.TrimPrefix(word, "!")) == want {
			return out
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited for %q, have:\n%s", word, out)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// router is a real router with one neighbor: us, by GTSM, and MD5 but where it
// has none, and with graceful restart.
type router struct {
	mode  string // of the session's security, see securities; "": "secure"
	show  func(p netip.Prefix) string
	stale string   // in show's output for a route that is kept
	words []string // in its output for MED 77, graceful shutdown, 64500:1:2
}

func frr(t *testing.T, us, addr netip.Addr) router {
	const bgpd = "/usr/lib/frr/bgpd"
	if _, err := os.Stat(bgpd); err != nil {
		t.Skip("no FRR: ", err)
	}
	dir := t.TempDir()
	family := "ipv4"
	if addr.Is6() {
		family = "ipv6"
	}
	conf := fmt.Sprintf(`router bgp %[1]d
 bgp router-id 10.255.0.7
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp graceful-restart
 neighbor %[2]s remote-as %[3]d
 neighbor %[2]s password secret
 neighbor %[2]s ttl-security hops 1
 neighbor %[2]s timers connect 1
 neighbor %[2]s update-source %[4]s
 address-family %[5]s unicast
  neighbor %[2]s activate
`, asA, us, ourAS, addr, family)
	file := filepath.Join(dir, "bgpd.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	program(t, bgpd, "-f", file, "-i", filepath.Join(dir, "pid"), "-z", filepath.Join(dir, "z"), "--vty_socket", dir,
		"-l", addr.String(), "-n", "-S", "-P", "0", "-u", "root", "-g", "root")
	return router{stale: "stale", words: []string{"metric 77", "graceful-shutdown", "64500:1:2"}, show: func(p netip.Prefix) string {
		out, _ := exec.Command("vtysh", "--vty_socket", dir, "-d", "bgpd", "-c",
			fmt.Sprintf("show bgp %s unicast %s", family, p)).CombinedOutput()
		return string(out)
	}}
}

// bird runs with more options of the protocol.
func bird(t *testing.T, us, addr netip.Addr, more string) router {
	name, err := exec.LookPath("bird")
	if err != nil {
		if name = "/usr/sbin/bird"; exec.Command(name, "--version").Run() != nil {
			t.Skip("no BIRD: ", err)
		}
	}
	dir := t.TempDir()
	family := "ipv4"
	if addr.Is6() {
		family = "ipv6"
	}
	conf := fmt.Sprintf(`router id 10.255.0.8;
protocol device {}
protocol bgp pop {
  local %s as %d; neighbor %s as %d; password "secret"; multihop 1; ttl security on;
  graceful restart on; connect retry time 1; connect delay time 0; error wait time 1,2;
  strict bind on; %s
  %s { import all; export none; };
}
`, addr, asA, us, ourAS, more, family)
	file, socket := filepath.Join(dir, "bird.conf"), filepath.Join(dir, "ctl")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	program(t, name, "-f", "-c", file, "-s", socket, "-P", filepath.Join(dir, "pid"))
	ask := func(args ...string) string {
		out, _ := exec.Command("birdc", append([]string{"-s", socket}, args...)...).CombinedOutput()
		return string(out)
	}
	return router{stale: "graceful restart active", words: []string{"BGP.med: 77", "(65535,0)", "(64500, 1, 2)"}, show: func(p netip.Prefix) string {
		out := ask("show", "route", "all", p.String())
		for line := range strings.Lines(ask("show", "protocols", "all", "pop")) {
			if strings.Contains(line, "graceful restart active") {
				out += line
			}
		}
		return out
	}}
}

// TestRouters: sessions with MD5 and GTSM, attributes, a restart that leaves
// without a Cease and comes back, and a stop, as real routers see them.
func TestRouters(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]struct {
		net   int
		start func(*testing.T, netip.Addr, netip.Addr) router
	}{
		"FRR":      {5, frr},
		"BIRD":     {6, func(t *testing.T, us, addr netip.Addr) router { return bird(t, us, addr, "") }},
		"OpenBGPD": {7, openbgpd},
		"gobgpd":   {9, stockGobgpd},
	} {
		for _, family := range []string{"10.0.%d.", "2001:db8:%d::"} {
			us := netip.MustParseAddr(fmt.Sprintf(family+"1", r.net))
			addr := netip.MustParseAddr(fmt.Sprintf(family+"2", r.net))
			p, q := web4, web4b
			addresses(t, us, addr) // FRR takes 127.0.0.0/8 for no next hop
			if us.Is6() {
				p, q = web6, netip.MustParsePrefix("2001:db8:200::/48")
			}
			t.Run(name+" "+p.Addr().String(), func(t *testing.T) {
				t.Parallel()
				testRouter(t, r.start(t, us, addr), us, addr, p, q)
			})
		}
	}
}

func testRouter(t *testing.T, r router, us, addr netip.Addr, p, q netip.Prefix) {
	mode := cmp.Or(r.mode, "secure")
	child := startChild(t, fmt.Sprint(mode, " ", us, " ", addr, " ", p, " ", q))
	see := func(p netip.Prefix, word string) string {
		t.Helper()
		return eventually(t, word, func() string { return r.show(p) })
	}
	see(p, us.String())
	see(q, us.String())
	child.stdin.Close()
	if err := child.cmd.Wait(); err != nil {
		t.Fatalf("child: %v", err)
	}
	if out := see(p, r.stale); !strings.Contains(out, us.String()) {
		t.Errorf("kept: %s", out)
	}
	c, err := gobgp.ParseConfig(bgptest.Section(ourAS, "10.255.255.1", us, 0, session(us, addr, asA, grConfig(), securities[mode])))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, gobgp.Options{Restarting: true, Config: c, Own: []netip.Prefix{p, q}})
	s.set(t, bgp.Announcement{Prefix: p, Attributes: bgp.Attributes{MED: ptr(77), Prepend: 1,
		Communities:      []bgp.Community{bgp.GracefulShutdown},
		LargeCommunities: []bgp.LargeCommunity{{Global: 64500, Local1: 1, Local2: 2}}}})
	out := see(p, r.words[0])
	for _, word := range append(r.words, "64500 64500") {
		if !strings.Contains(out, word) {
			t.Errorf("want %q in\n%s", word, out)
		}
	}
	if strings.Contains(out, "64500 64500 64500") || strings.Contains(out, "4294967295") {
		t.Errorf("too much in\n%s", out)
	}
	if strings.Contains(out, r.stale) {
		t.Errorf("still stale: %s", out)
	}
	see(q, "!"+us.String()) // it was not announced again
	ctx, cancel := context.WithTimeout(t.Context(), bgptest.Timeout)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	see(p, "!"+us.String())
}

// securities are what sessions are made safe by.
var securities = map[string]map[string]any{
	"gtsm": conf("ttl-security", "enabled", true, "ttl-min", 255),
	"secure": func() map[string]any {
		m := conf("config", "auth-password", "secret")
		overlay(m, conf("ttl-security", "enabled", true, "ttl-min", 255))
		return m
	}(),
}
