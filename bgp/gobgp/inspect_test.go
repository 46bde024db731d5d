package gobgp_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

// TestInspect: what neighbors agreed to, as the API tells it.
func TestInspect(t *testing.T) {
	t.Parallel()
	us4, peerA, peerB, peerC := loopback4(20)
	gr := conf("graceful-restart", "enabled", true, "restart-time", 60)
	both := families("ipv4-unicast", "ipv6-unicast")
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA, Peers: []map[string]any{
		session(peerA, us4, ourAS, passive, gr, both, conf("timers", "hold-time", 12))}})
	b := bgptest.StartNeighbor(t, bgptest.Config{AS: asB, Address: peerB, Peers: []map[string]any{
		session(peerB, us4, ourAS, passive, families("ipv4-unicast"))}})
	socket := filepath.Join(t.TempDir(), "g.sock")
	start(t, gobgp.Options{APISocket: socket, Config: config(t, us4,
		session(us4, peerA, asA, gr, both), session(us4, peerB, asB, gr, both), session(us4, peerC, asB, gr))})
	a.AwaitUp(us4)
	b.AwaitUp(us4)
	want := map[string]gobgp.SessionInfo{ // and not peerC, whose session is down
		peerA.String(): {Neighbor: peerA, HoldTime: 12 * time.Second, IPv4: true, IPv6: true, GracefulRestart: true},
		peerB.String(): {Neighbor: peerB, HoldTime: 90 * time.Second, IPv4: true},
	}
	// Their side may be up a moment before ours.
	deadline := time.Now().Add(bgptest.Timeout)
	for {
		got, err := gobgp.Inspect(t.Context(), socket)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == len(want) {
			for _, s := range got {
				if s != want[s.Neighbor.String()] {
					t.Errorf("%+v, want %+v", s, want[s.Neighbor.String()])
				}
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("sessions: %+v", got)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestInspectNobody(t *testing.T) {
	if got, err := gobgp.Inspect(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil {
		t.Errorf("%+v", got)
	}
}
