package gobgp

import (
	"context"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/config/oc"
	"github.com/osrg/gobgp/v3/pkg/server"
)

// After a restart v3 ends the restart for all neighbors as soon as those that
// are up by then have sent their End-of-RIB. One whose session comes up a
// moment later would get an OPEN without the Restart State and Forwarding
// State bits, on which it must drop the routes that it kept for us (RFC 4724
// section 4.2). So a neighbor that was caught by this before its first session
// is put in again, as one that restarts.

// expect notes a neighbor that may still hold routes of our former life.
func (s *Speaker) expect(n oc.Neighbor) {
	addr, err := netip.ParseAddr(n.State.NeighborAddress)
	if err != nil || !n.GracefulRestart.State.LocalRestarting {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returning[addr] = time.Now().Add(time.Duration(n.GracefulRestart.Config.RestartTime) * time.Second)
}

// expected lists them; those whose time is over are forgotten.
func (s *Speaker) expected() map[netip.Addr]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[netip.Addr]bool, len(s.returning))
	for a, until := range s.returning {
		if time.Now().After(until) {
			delete(s.returning, a)
			continue
		}
		out[a] = true
	}
	return out
}

func (s *Speaker) rearm(ctx context.Context, srv *server.BgpServer) {
	expected := s.expected()
	if len(expected) == 0 || !s.calls.TryLock() {
		return // or at the next tick
	}
	defer s.calls.Unlock()
	if _, err := s.server(); err != nil {
		return
	}
	for _, n := range s.config.set.Neighbors {
		addr, err := netip.ParseAddr(n.State.NeighborAddress)
		if err == nil && expected[addr] {
			s.rearmOne(ctx, srv, addr, n)
		}
	}
}

// rearmOne puts a neighbor in again that waits for a session and is no longer
// taken for restarting. One whose OPEN is out already said the right thing.
func (s *Speaker) rearmOne(ctx context.Context, srv *server.BgpServer, addr netip.Addr, n oc.Neighbor) {
	var now *api.Peer
	_ = srv.ListPeer(ctx, &api.ListPeerRequest{Address: addr.String()}, func(p *api.Peer) { now = p })
	if now == nil || now.State.SessionState == api.PeerState_ESTABLISHED {
		s.mu.Lock()
		delete(s.returning, addr)
		s.mu.Unlock()
		return
	}
	waits := now.State.SessionState < api.PeerState_OPENSENT && now.State.AdminState == api.PeerState_UP && !n.Config.AdminDown
	if !waits || now.GracefulRestart.GetLocalRestarting() {
		return
	}
	n.GracefulRestart.State.LocalRestarting = true
	err := srv.DeletePeer(ctx, &api.DeletePeerRequest{Address: addr.String()})
	if err == nil {
		err = srv.AddPeer(ctx, &api.AddPeerRequest{Peer: oc.NewPeerFromConfigStruct(&n)})
	}
	if err != nil {
		s.log.Error("bgp: neighbor after our restart", "neighbor", addr, "err", err)
	}
}
