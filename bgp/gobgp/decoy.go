package gobgp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/server"
)

// After a restart v3 ends the restart for all neighbors as soon as those that
// have said hello by then have sent their End-of-RIB. rearm puts in again who
// was caught by this, but one that connects in the same moment (a router often
// sends the one and opens the other in one turn) has its OPEN already, without
// the bits that make it keep our routes. So there is one more neighbor at
// first, ourselves over loopback, whose End-of-RIB comes when each neighbor's
// OPEN is out, or after decoyTime: no longer, as a neighbor may be gone for
// good, and nobody hears of changes before.
const (
	decoyTime = 3 * time.Second
	decoyPace = 10 * time.Millisecond
)

var decoyAddr = netip.AddrFrom4([4]byte{127, 83, 79, 67})

// decoy is our side of that session; nil does nothing.
type decoy struct {
	srv  *server.BgpServer
	conn net.Conn
}

// newDecoy begins the session. It returns nil where it is not needed or cannot
// be: then it is as if it were not there.
func (s *Speaker) newDecoy(ctx context.Context, srv *server.BgpServer) *decoy {
	returning := 0
	for _, n := range s.config.set.Neighbors {
		if n.GracefulRestart.Config.Enabled {
			returning++
		}
	}
	g := s.config.set.Global.Config
	to, ok := decoyTarget(g.LocalAddressList, g.Port)
	if returning < 2 || !ok || !s.opts.Restarting {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	family := &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}
	err := srv.AddPeer(ctx, &api.AddPeerRequest{Peer: &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: decoyAddr.String(), PeerAsn: g.As, Description: "catchmentd itself, while it restarts"},
		Transport: &api.Transport{PassiveMode: true},
		GracefulRestart: &api.GracefulRestart{Enabled: true, RestartTime: 1, DeferralTime: 360,
			LocalRestarting: true},
		AfiSafis: []*api.AfiSafi{{Config: &api.AfiSafiConfig{Family: family, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}}}},
	}})
	d := &decoy{srv: srv}
	if err == nil {
		err = d.open(ctx, to, g.As)
	}
	if err != nil {
		s.log.Debug("bgp: neighbors that come back late are not waited for", "err", err)
		d.leave()
		return nil
	}
	return d
}

// decoyTarget is where we listen; IPv4 only, as loopback has one IPv6 address,
// which may be somebody's.
func decoyTarget(addresses []string, port int32) (netip.AddrPort, bool) {
	i := slices.IndexFunc(addresses, func(a string) bool { ip, err := netip.ParseAddr(a); return err == nil && ip.Is4() })
	if port <= 0 || i < 0 {
		return netip.AddrPort{}, false
	}
	to := netip.MustParseAddr(addresses[i])
	if to.IsUnspecified() {
		to = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(to, uint16(port)), true
}

// open connects until v3 is ready for it, and returns when it has read our
// OPEN.
func (d *decoy) open(ctx context.Context, to netip.AddrPort, as uint32) error {
	for {
		err := d.try(ctx, to, as)
		if err == nil {
			return nil
		}
		if d.conn != nil {
			d.conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(decoyPace):
		}
	}
}

func (d *decoy) try(ctx context.Context, to netip.AddrPort, as uint32) error {
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(decoyAddr, 0))}
	var err error
	if d.conn, err = dialer.DialContext(ctx, "tcp4", to.String()); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		d.conn.SetDeadline(deadline)
	}
	short := uint16(packet.AS_TRANS)
	if as <= 0xffff {
		short = uint16(as)
	}
	caps := packet.NewOptionParameterCapability([]packet.ParameterCapabilityInterface{
		packet.NewCapMultiProtocol(packet.RF_IPv4_UC), packet.NewCapFourOctetASNumber(as),
		packet.NewCapGracefulRestart(false, false, 1, []*packet.CapGracefulRestartTuple{
			packet.NewCapGracefulRestartTuple(packet.RF_IPv4_UC, false)}),
	})
	// It ends long before a KEEPALIVE would be due.
	open := packet.NewBGPOpenMessage(short, 90, decoyAddr.String(), []packet.OptionParameterInterface{caps})
	if err := errors.Join(d.send(open), d.send(packet.NewBGPKeepAliveMessage())); err != nil {
		return err
	}
	for {
		kind, err := d.read()
		if err != nil {
			return err
		}
		if kind == packet.BGP_MSG_KEEPALIVE { // v3's answer to an OPEN that it took
			return d.conn.SetDeadline(time.Time{})
		}
	}
}

func (d *decoy) send(m *packet.BGPMessage) error {
	b, err := m.Serialize()
	if err == nil {
		_, err = d.conn.Write(b)
	}
	return err
}

// read reads one message and returns its type.
func (d *decoy) read() (byte, error) {
	head := make([]byte, packet.BGP_HEADER_LENGTH)
	if _, err := io.ReadFull(d.conn, head); err != nil {
		return 0, err
	}
	n := int64(binary.BigEndian.Uint16(head[16:18])) - packet.BGP_HEADER_LENGTH
	if _, err := io.CopyN(io.Discard, d.conn, n); err != nil {
		return 0, err
	}
	if head[18] == packet.BGP_MSG_NOTIFICATION {
		return 0, fmt.Errorf("refused by a NOTIFICATION of %s bytes", strconv.FormatInt(n, 10))
	}
	return head[18], nil
}

// stay holds the restart together until all neighbors have been greeted, and
// then takes the decoy out.
func (s *Speaker) stay(ctx context.Context, d *decoy) {
	if d == nil {
		return
	}
	defer d.leave()
	late := time.NewTimer(decoyTime)
	defer late.Stop()
	tick := time.NewTicker(decoyPace)
	defer tick.Stop()
	for over := false; !over && !s.greeted(ctx, d.srv); {
		select {
		case <-ctx.Done():
			return
		case <-s.ended:
			return
		case <-late.C:
			over = true
		case <-tick.C:
		}
	}
	if d.send(packet.NewEndOfRib(packet.RF_IPv4_UC)) != nil {
		return
	}
	// v3 ends the restart on this one, or later on that of a neighbor.
	for range 20 {
		if _, restarting := peerNow(ctx, d.srv, decoyAddr); !restarting {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// greeted reports whether our OPEN has gone to all who may hold routes of our
// former life. In OpenSent it may not have, whatever the name says.
func (s *Speaker) greeted(ctx context.Context, srv *server.BgpServer) bool {
	for addr := range s.expected() {
		if state, _ := peerNow(ctx, srv, addr); state != 0 && state < api.PeerState_OPENCONFIRM {
			return false
		}
	}
	return true
}

// peerNow is zero for a neighbor that is not there or is shut down.
func peerNow(ctx context.Context, srv *server.BgpServer, addr netip.Addr) (state api.PeerState_SessionState, restarting bool) {
	_ = srv.ListPeer(ctx, &api.ListPeerRequest{Address: addr.String()}, func(p *api.Peer) {
		if p.State.AdminState == api.PeerState_UP {
			state, restarting = p.State.SessionState, p.GetGracefulRestart().GetLocalRestarting()
		}
	})
	return state, restarting
}

func (d *decoy) leave() {
	// It fails only where v3 has stopped.
	_ = d.srv.DeletePeer(context.Background(), &api.DeletePeerRequest{Address: decoyAddr.String()})
	if d.conn != nil {
		d.conn.Close()
	}
}
