package gobgp

import (
	"context"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/config/oc"
	"github.com/osrg/gobgp/v3/pkg/server"
)

// After a session ends, v3 stays in Idle for five seconds, whatever the
// config says, and closes what the neighbor connects in that time, which
// sends the neighbor to its own Idle. A neighbor that comes back at once is
// therefore seen after ten seconds or more. So a neighbor that has been idle
// for idle-hold-time-after-reset is taken out and put in again, which begins
// anew; a few times, and then at v3's own pace.
const (
	wakeTries = 3
	idleOfV3  = 5 * time.Second
)

// sleepers lists the neighbors that have been idle for at least min.
func (t *peerTable) sleepers(least time.Duration) map[netip.Addr]time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[netip.Addr]time.Duration)
	for a, since := range t.idle {
		if d := time.Since(since); d >= least && t.tries[a] < wakeTries {
			out[a] = d
		}
	}
	return out
}

func (t *peerTable) woken(a netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.idle, a)
	t.tries[a]++
}

func (s *Speaker) wake(ctx context.Context, srv *server.BgpServer) {
	sleepers := s.peers.sleepers(time.Second)
	if len(sleepers) == 0 || !s.calls.TryLock() {
		return // a Set or Reload is at work: at the next tick
	}
	defer s.calls.Unlock()
	if _, err := s.server(); err != nil {
		return
	}
	for _, n := range s.config.set.Neighbors {
		addr, err := netip.ParseAddr(n.State.NeighborAddress)
		hold := time.Duration(n.Timers.Config.IdleHoldTimeAfterReset * float64(time.Second))
		idle, asleep := sleepers[addr]
		// Past v3's own time it is about to move by itself.
		if err != nil || !asleep || idle < hold || idle > idleOfV3-time.Second {
			continue
		}
		s.wakeOne(ctx, srv, addr, n)
	}
}

// wakeOne puts a neighbor in again. It does nothing for one that was shut
// down by hand or by a prefix limit, and for one whose stale routes wait for
// its graceful restart.
func (s *Speaker) wakeOne(ctx context.Context, srv *server.BgpServer, addr netip.Addr, n oc.Neighbor) {
	s.peers.woken(addr)
	var now *api.Peer
	_ = srv.ListPeer(ctx, &api.ListPeerRequest{Address: addr.String()}, func(p *api.Peer) { now = p })
	if now == nil || now.State.SessionState != api.PeerState_IDLE || now.State.AdminState != api.PeerState_UP ||
		now.GracefulRestart.GetPeerRestarting() || n.Config.AdminDown {
		return
	}
	n.GracefulRestart.State.LocalRestarting = now.GracefulRestart.GetLocalRestarting()
	if err := srv.DeletePeer(ctx, &api.DeletePeerRequest{Address: addr.String()}); err != nil {
		s.log.Warn("bgp: wake neighbor", "neighbor", addr, "err", err)
		return
	}
	if err := srv.AddPeer(ctx, &api.AddPeerRequest{Peer: oc.NewPeerFromConfigStruct(&n)}); err != nil {
		s.log.Error("bgp: wake neighbor", "neighbor", addr, "err", err)
	}
}
