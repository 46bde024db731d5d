package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/server"

	"github.com/catchment/catchment/bgp"
)

// peerTable remembers the last state that was reported of each neighbor.
type peerTable struct {
	mu    sync.Mutex
	state map[netip.Addr]bgp.SessionState
	idle  map[netip.Addr]time.Time // since when, where it is idle
	tries map[netip.Addr]int       // woken since it was last up
}

func newPeerTable() *peerTable {
	return &peerTable{state: make(map[netip.Addr]bgp.SessionState),
		idle: make(map[netip.Addr]time.Time), tries: make(map[netip.Addr]int)}
}

// change records a state and reports the one before.
func (t *peerTable) change(a netip.Addr, to bgp.SessionState) (was bgp.SessionState, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was = t.state[a]
	if was == "" {
		was = bgp.Idle
	}
	t.state[a] = to
	delete(t.idle, a)
	switch to {
	case bgp.Idle:
		t.idle[a] = time.Now()
	case bgp.Established:
		delete(t.tries, a)
	}
	return was, was != to
}

// watch follows sessions and learned routes until the context ends (a watch
// whose context is not cancelled stays in v3 for ever).
func (s *Speaker) watch(ctx context.Context, srv *server.BgpServer) error {
	r := &api.WatchEventRequest{Peer: &api.WatchEventRequest_Peer{}}
	if err := srv.WatchEvent(ctx, r, func(r *api.WatchEventResponse) { s.onPeer(ctx, srv, r) }); err != nil {
		return fmt.Errorf("watch sessions: %w", err)
	}
	if !s.scope.importAll && len(s.scope.imports) == 0 && s.opts.OnPath == nil {
		return nil
	}
	for t, fn := range map[api.WatchEventRequest_Table_Filter_Type]func(*api.WatchEventResponse){
		api.WatchEventRequest_Table_Filter_POST_POLICY: s.paths.learned,
		api.WatchEventRequest_Table_Filter_BEST:        s.paths.best,
	} {
		r := &api.WatchEventRequest{Table: &api.WatchEventRequest_Table{
			Filters: []*api.WatchEventRequest_Table_Filter{{Type: t, Init: true}}}}
		if err := srv.WatchEvent(ctx, r, fn); err != nil {
			return fmt.Errorf("watch routes: %w", err)
		}
	}
	return nil
}

func (s *Speaker) onPeer(ctx context.Context, srv *server.BgpServer, r *api.WatchEventResponse) {
	e := r.GetPeer()
	if e.GetType() != api.WatchEventResponse_PeerEvent_STATE && e.GetType() != api.WatchEventResponse_PeerEvent_INIT {
		return
	}
	addr, err := netip.ParseAddr(e.Peer.State.NeighborAddress)
	if err != nil || addr == decoyAddr {
		return
	}
	now := sessionState(e.Peer.State.SessionState)
	was, changed := s.peers.change(addr, now)
	if !changed || s.opts.OnPeer == nil {
		return
	}
	p := bgp.PeerState{Address: addr, AS: e.Peer.State.PeerAsn}
	if all := s.list(ctx, srv, addr.String()); len(all) == 1 {
		p = all[0]
	}
	p.State = now // of the event; the list may be ahead of it
	s.opts.OnPeer(bgp.PeerEvent{Peer: p, Was: was})
}

// Peers lists the neighbors as they are now, sorted by address.
func (s *Speaker) Peers() []bgp.PeerState {
	s.mu.Lock()
	srv, phase := s.srv, s.phase
	s.mu.Unlock()
	if phase != running {
		return nil
	}
	out := s.list(context.Background(), srv, "")
	slices.SortFunc(out, func(a, b bgp.PeerState) int { return a.Address.Compare(b.Address) })
	return out
}

func (s *Speaker) list(ctx context.Context, srv *server.BgpServer, addr string) []bgp.PeerState {
	var out []bgp.PeerState
	// It fails only for a nil request.
	_ = srv.ListPeer(ctx, &api.ListPeerRequest{Address: addr}, func(p *api.Peer) {
		if p.State.NeighborAddress != decoyAddr.String() {
			out = append(out, s.peerState(p))
		}
	})
	return out
}

func (s *Speaker) peerState(p *api.Peer) bgp.PeerState {
	addr, _ := netip.ParseAddr(p.State.NeighborAddress)
	out := bgp.PeerState{
		Address:     addr,
		AS:          p.State.PeerAsn,
		Description: p.Conf.Description,
		State:       sessionState(p.State.SessionState),
		AdminDown:   p.State.AdminState != api.PeerState_UP,
	}
	h := s.wire.told(addr)
	out.Advertised, out.Flaps, out.LastError, out.Since = h.sent, h.flaps, h.reason, h.since
	out.Accepted = s.paths.count(addr)
	if out.AS == 0 {
		out.AS = p.Conf.PeerAsn
	}
	asked := false // do we ask to keep routes of any family?
	for _, a := range p.AfiSafis {
		out.Received += int(a.State.GetReceived())
		asked = asked || a.MpGracefulRestart.GetConfig().GetEnabled()
	}
	gr := p.GetGracefulRestart()
	out.GracefulRestart = gr.GetEnabled() && !gr.GetHelperOnly() && asked && helps(p)
	return out
}

// helps reports whether the neighbor has the graceful restart capability. Who
// only helps names no family in it (RFC 4724 section 3), and v3 then takes it
// for one that does not.
func helps(p *api.Peer) bool {
	caps, err := apiutil.UnmarshalCapabilities(p.State.GetRemoteCap())
	return err == nil && slices.ContainsFunc(caps, func(c packet.ParameterCapabilityInterface) bool {
		return c.Code() == packet.BGP_CAP_GRACEFUL_RESTART
	})
}

func sessionState(s api.PeerState_SessionState) bgp.SessionState {
	switch s {
	case api.PeerState_CONNECT:
		return bgp.Connect
	case api.PeerState_ACTIVE:
		return bgp.Active
	case api.PeerState_OPENSENT:
		return bgp.OpenSent
	case api.PeerState_OPENCONFIRM:
		return bgp.OpenConfirm
	case api.PeerState_ESTABLISHED:
		return bgp.Established
	}
	return bgp.Idle
}

// ResetPeer closes a session at once, so that the neighbor's routes go, and
// lets it come up again: for a neighbor that BFD has found dead. The reason
// goes into the Cease (RFC 9003), should anybody still read it.
func (s *Speaker) ResetPeer(ctx context.Context, addr netip.Addr, reason string) error {
	srv, err := s.server()
	if err != nil {
		return err
	}
	r := &api.ResetPeerRequest{Address: addr.String(), Communication: reason}
	if err := srv.ResetPeer(ctx, r); err != nil {
		return fmt.Errorf("bgp: reset %s: %w", addr, err)
	}
	return nil
}

// RefreshPeer sends all announcements to a neighbor again and passes its
// routes through the import policies again, without a new session.
func (s *Speaker) RefreshPeer(ctx context.Context, addr netip.Addr) error {
	srv, err := s.server()
	if err != nil {
		return err
	}
	r := &api.ResetPeerRequest{Address: addr.String(), Soft: true, Direction: api.ResetPeerRequest_BOTH}
	if err := srv.ResetPeer(ctx, r); err != nil {
		return fmt.Errorf("bgp: refresh %s: %w", addr, err)
	}
	return nil
}
