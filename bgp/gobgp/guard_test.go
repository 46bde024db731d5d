package gobgp_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

// gobgpClient builds the stock client from the pinned module.
func gobgpClient(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "gobgp")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/osrg/gobgp/v3/cmd/gobgp").CombinedOutput()
	if err != nil {
		t.Fatalf("build gobgp: %v\n%s", err, out)
	}
	return bin
}

func TestStockClientAndOwnPrefixGuard(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "gobgp.sock")
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA,
		Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	stale, err := net.Listen("unix", socket) // a dead process's socket
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	s := start(t, gobgp.Options{Config: config(t, us4, session(us4, peerA, asA)), APISocket: socket, APIListen: "127.0.0.1:50051"})
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v, %v", info, err)
	}
	bin := gobgpClient(t)
	run := func(args ...string) (string, error) {
		out, err := exec.Command(bin, append([]string{"--target", "unix://" + socket}, args...)...).CombinedOutput()
		return string(out), err
	}
	s.set(t, announce(web4))
	a.AwaitRoute(web4, nil)

	if out, err := run("neighbor"); err != nil || !strings.Contains(out, "127.0.0.2 64501") || !strings.Contains(out, "Establ") {
		t.Errorf("gobgp neighbor: %v\n%s", err, out)
	}
	if out, err := run("global", "rib"); err != nil || !strings.Contains(out, "192.0.2.0/24") {
		t.Errorf("gobgp global rib: %v\n%s", err, out)
	}
	if out, err := exec.Command(bin, "neighbor", "127.0.0.2", "adj-out").CombinedOutput(); err != nil || // by TCP
		!strings.Contains(string(out), "192.0.2.0/24") || strings.Contains(string(out), "LargeCommunity") {
		t.Errorf("gobgp adj-out: %v\n%s", err, out)
	}
	// Other prefixes come into the table and go no further; ours are refused.
	if out, err := run("global", "rib", "add", alien4.String()); err != nil {
		t.Errorf("rib add: %v\n%s", err, out)
	}
	for _, args := range [][]string{
		{"global", "rib", "add", web4b.String()},
		{"global", "rib", "add", web4.String(), "med", "1"},
		{"global", "rib", "del", web4.String()},
		{"global", "rib", "del", "all"},
		{"global", "policy", "export", "set", "default", "accept"},
		{"policy", "del", "catchment-guard"},
		{"policy", "prefix", "add", "catchment-own4", alien4.String()},
		{"global", "del", "all"},
	} {
		if out, err := run(args...); err == nil && !strings.Contains(out, "refused by catchmentd") {
			t.Errorf("gobgp %v: accepted\n%s", args, out)
		} else if !strings.Contains(out, "refused by catchmentd") {
			t.Errorf("gobgp %v: %s", args, out)
		}
	}
	if out, err := run("neighbor", "127.0.0.2", "softresetout"); err != nil {
		t.Errorf("softresetout: %v\n%s", err, out)
	}
	s.set(t, announce(web4), announce(web6), announce(web4b))
	a.AwaitRoute(web4b, nil) // all that came before is there
	if got := a.All(); !slices.Equal(got, []netip.Prefix{web4, web4b}) {
		t.Errorf("the neighbor has %v", got)
	}
	if out, err := run("global", "rib"); err != nil || !strings.Contains(out, alien4.String()) {
		t.Errorf("the foreign route is not in the table: %v\n%s", err, out)
	}
}

func TestAPIListenFailureIsAnError(t *testing.T) {
	t.Parallel()
	us4, _, _, _ := loopback4(17)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	live, err := net.Listen("unix", filepath.Join(dir, "live.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    gobgp.Options
		want string
	}{
		"tcp":       {gobgp.Options{APIListen: taken.Addr().String()}, "address already in use"},
		"live":      {gobgp.Options{APISocket: live.Addr().String()}, "another process answers on it"},
		"not ours":  {gobgp.Options{APISocket: file}, "is there and is not a socket"},
		"directory": {gobgp.Options{APISocket: filepath.Join(dir, "none", "a.sock")}, "no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Config = config(t, us4)
			s, err := gobgp.New(c.o)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Run: %v; want %s", err, c.want)
			}
		})
	}
}

func TestBGPListenFailureIsAnError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:179")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s, err := gobgp.New(gobgp.Options{Config: config(t, us4)})
	if err != nil {
		t.Fatal(err)
	}
	want := "bgp: listen: listen tcp4 127.0.0.1:179: bind: address already in use"
	if err := s.Run(t.Context()); err == nil || err.Error() != want {
		t.Errorf("Run: %v; want %s", err, want)
	}
}

func TestLearnedRoutesDoNotLeave(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{"leaf": 18, "transit": 41} {
		t.Run(name, func(t *testing.T) {
			us4, peerA, peerB, _ := loopback4(n)
			transit := name == "transit"
			a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA, Own: []netip.Prefix{alien4, web4},
				Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
			b := bgptest.StartNeighbor(t, bgptest.Config{AS: asB, Address: peerB,
				Peers: []map[string]any{session(peerB, us4, ourAS, passive)}})
			learned := make(chan bgp.Path, 64)
			s := start(t, gobgp.Options{Transit: transit, ImportAll: true,
				Config: config(t, us4, session(us4, peerA, asA), session(us4, peerB, asB)),
				OnPath: func(p bgp.Path, gone bool) { learned <- p }})
			if err := a.Set(t.Context(), []bgp.Announcement{announce(alien4), announce(web4)}); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				<-learned
			}
			b.AwaitUp(us4)
			s.set(t, announce(web4b))
			b.AwaitRoute(web4b, nil)
			want := []netip.Prefix{web4b}
			if transit {
				b.AwaitRoute(alien4, nil)
				b.AwaitRoute(web4, nil)
				want = []netip.Prefix{web4, web4b, alien4}
			}
			if got := b.All(); !slices.Equal(got, want) {
				t.Errorf("B has %v, want %v", got, want)
			}
		})
	}
}

func TestImportOnlyWhatIsAsked(t *testing.T) {
	t.Parallel()
	us4, peerA, peerB, _ := loopback4(19)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA, Own: []netip.Prefix{alien4, web4},
		Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	b := bgptest.StartNeighbor(t, bgptest.Config{AS: asB, Address: peerB,
		Peers: []map[string]any{session(peerB, us4, ourAS, passive)}})
	type event struct {
		p    netip.Prefix
		gone bool
	}
	events := make(chan event, 64)
	s := start(t, gobgp.Options{Import: []netip.Prefix{web4},
		Config: config(t, us4, session(us4, peerA, asA), session(us4, peerB, asB)),
		OnPath: func(p bgp.Path, gone bool) { events <- event{p.Prefix, gone} }})
	s.set(t, announce(web4))
	b.AwaitRoute(web4, nil)
	a.AwaitUp(us4)
	// The other POP's route for our prefix is seen, and ours stays the best.
	other := bgp.Announcement{Prefix: web4, Attributes: bgp.Attributes{LocalPref: ptr(500)}}
	if err := a.Set(t.Context(), []bgp.Announcement{announce(alien4), other}); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.p != web4 || e.gone {
		t.Errorf("learned %+v", e)
	}
	b.AwaitRoute(web4, func(p bgp.Path) bool { return p.Neighbor == us4 && len(p.ASPath) == 1 })
	if n := withdrawals(b, web4); n != 0 {
		t.Errorf("%d withdrawals", n)
	}
	eventually(t, "of 2 routes 1 is accepted", func() string {
		p := s.Peers()[0]
		return fmt.Sprintf("%s: of %d routes %d is accepted", p.Address, p.Received, p.Accepted)
	})
	if err := a.Set(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.p != web4 || !e.gone {
		t.Errorf("then %+v", e)
	}
	b.AwaitRoute(web4, nil)
}
