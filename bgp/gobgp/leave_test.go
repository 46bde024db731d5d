package gobgp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

// childEnv makes the test binary a daemon that announces, says so, and leaves
// when its input ends: the end of a session by the end of a process cannot be
// had within one process.
const childEnv = "GOBGP_TEST_CHILD"

func child() {
	if err := announceUntilEOF(); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func grConfig() map[string]any {
	return conf("graceful-restart", "enabled", true, "restart-time", 30)
}

func announceUntilEOF() error {
	words := strings.Fields(os.Getenv(childEnv)) // mode, our address, the neighbor's, perhaps two prefixes
	if len(words) < 3 {
		return fmt.Errorf("want a mode and two addresses: %q", words)
	}
	mode, us, peer := words[0], netip.MustParseAddr(words[1]), netip.MustParseAddr(words[2])
	p, q, more := web4, web4b, map[string]any{}
	if len(words) > 3 {
		p, q = netip.MustParsePrefix(words[3]), netip.MustParsePrefix(words[4])
	}
	switch mode {
	case "llgr":
		overlay(more, longLived(us, 1, 60))
	case "llgr-short":
		overlay(more, longLived(us, 1, 2))
	case "llgr-secure":
		overlay(more, securities["secure"])
		overlay(more, conf("graceful-restart", "restart-time", 1, "long-lived-enabled", true)) // the times by family are our default
	case "secure", "gtsm":
		more = securities[mode]
	}
	c, err := gobgp.ParseConfig(bgptest.Section(ourAS, "10.255.255.1", us, 0, session(us, peer, asA, grConfig(), more)))
	if err != nil {
		return err
	}
	up := make(chan struct{})
	once := sync.OnceFunc(func() { close(up) }) // FRR may reset the first session
	s, err := gobgp.New(gobgp.Options{Config: c, Own: []netip.Prefix{p, q}, OnPeer: func(e bgp.PeerEvent) {
		if e.Peer.State == bgp.Established {
			once()
		}
	}})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := s.Set(ctx, []bgp.Announcement{announce(p), announce(q)}); err != nil {
		return err
	}
	go s.Run(ctx)
	<-up
	if err := s.Flush(ctx); err != nil {
		return err
	}
	fmt.Println("up")
	io.Copy(io.Discard, os.Stdin)
	if mode == "kill" {
		select {} // until we are killed
	}
	return s.Leave(ctx)
}

type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

func startChild(t *testing.T, mode string) *process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	// Races inside v3 are .ci/race's to judge, by what it prints.
	cmd.Env = append(os.Environ(), childEnv+"="+mode, "GORACE=exitcode=0 "+os.Getenv("GORACE"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	late := time.AfterFunc(bgptest.Timeout, func() { cmd.Process.Kill() })
	defer late.Stop()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	return &process{cmd, in}
}

func TestLeaveKeepsRoutesAndRestartKeepsTraffic(t *testing.T) {
	t.Parallel()
	for mode, net := range map[string]string{"leave": "127.0.1.", "kill": "127.0.2."} {
		us4, peerA := netip.MustParseAddr(net+"1"), netip.MustParseAddr(net+"2")
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA,
				Peers: []map[string]any{session(peerA, us4, ourAS, passive, grConfig())}})
			p := startChild(t, fmt.Sprint(mode, " ", us4, " ", peerA))
			a.AwaitRoute(web4, nil)
			a.AwaitRoute(web4b, nil)
			p.stdin.Close()
			if mode == "kill" {
				p.cmd.Process.Kill()
				p.cmd.Wait()
			} else if err := p.cmd.Wait(); err != nil {
				t.Fatalf("child: %v", err)
			}
			a.AwaitDown(us4)
			for _, prefix := range []netip.Prefix{web4, web4b} {
				a.AwaitRoute(prefix, func(p bgp.Path) bool { return p.Stale })
			}
			// The next process announces one of them; it goes on without a gap,
			// and the other goes when the table is complete.
			s := start(t, gobgp.Options{Restarting: true, Config: config(t, us4, session(us4, peerA, asA, grConfig()))})
			if n := len(s.Peers()); n != 0 {
				t.Errorf("%d neighbors before the first set", n)
			}
			s.set(t, announce(web4))
			a.AwaitRoute(web4, func(p bgp.Path) bool { return !p.Stale })
			a.AwaitNone(web4b)
			if n := withdrawals(a, web4); n != 0 {
				t.Errorf("%d withdrawals of the route that was kept", n)
			}
			if peers := s.Peers(); len(peers) != 1 || !peers[0].GracefulRestart {
				t.Errorf("peers: %+v", peers)
			}
		})
	}
}
