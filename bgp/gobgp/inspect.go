package gobgp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/catchment/catchment/bgp/rpki"
)

// SessionInfo is what an established session has agreed on, as far as it is
// the neighbor's to say.
type SessionInfo struct {
	Neighbor   netip.Addr
	HoldTime   time.Duration // negotiated, RFC 4271 section 4.2
	IPv4, IPv6 bool          // families that the neighbor speaks
	// GracefulRestart: it has the capability. Who only helps others restart
	// names no family in it (RFC 4724 section 3).
	GracefulRestart bool
	// LongLived: it has the capability of RFC 9494.
	LongLived bool
}

// Inspect asks a speaker, through the Unix socket of GoBGP's API, what its
// established sessions have agreed on.
func Inspect(ctx context.Context, socket string) ([]SessionInfo, error) {
	conn, err := dial(socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stream, err := api.NewGobgpApiClient(conn).ListPeer(ctx, &api.ListPeerRequest{})
	if err != nil {
		return nil, fmt.Errorf("GoBGP API %s: %w", socket, err)
	}
	var out []SessionInfo
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("GoBGP API %s: %w", socket, err)
		}
		if p := r.GetPeer(); p.GetState().GetSessionState() == api.PeerState_ESTABLISHED {
			info, err := sessionInfo(p)
			if err != nil {
				return nil, fmt.Errorf("GoBGP API %s: neighbor %s: %w", socket, p.State.NeighborAddress, err)
			}
			out = append(out, info)
		}
	}
}

func dial(socket string) (*grpc.ClientConn, error) {
	connect := func(ctx context.Context, addr string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", addr)
	}
	conn, err := grpc.NewClient("passthrough:///"+socket, grpc.WithContextDialer(connect),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("GoBGP API %s: %w", socket, err)
	}
	return conn, nil
}

// InspectRPKI asks a speaker in the same way what its RTR sessions say of the
// prefixes.
func InspectRPKI(ctx context.Context, socket string, prefixes []netip.Prefix) (RPKIView, error) {
	conn, err := dial(socket)
	if err != nil {
		return RPKIView{}, err
	}
	defer conn.Close()
	src := remote{api.NewGobgpApiClient(conn)}
	view, err := listCaches(ctx, src)
	if err == nil {
		view.VRPs, err = listVRPs(ctx, src, view.Caches, rpki.NewFilter(prefixes))
	}
	if err != nil {
		return RPKIView{}, fmt.Errorf("GoBGP API %s: %w", socket, err)
	}
	return view, nil
}

// remote is GoBGP by its API, as an rpkiSource.
type remote struct{ c api.GobgpApiClient }

func (r remote) ListRpki(ctx context.Context, req *api.ListRpkiRequest, fn func(*api.Rpki)) error {
	stream, err := r.c.ListRpki(ctx, req)
	return each(stream, err, func(m *api.ListRpkiResponse) { fn(m.GetServer()) })
}

func (r remote) ListRpkiTable(ctx context.Context, req *api.ListRpkiTableRequest, fn func(*api.Roa)) error {
	stream, err := r.c.ListRpkiTable(ctx, req)
	return each(stream, err, func(m *api.ListRpkiTableResponse) { fn(m.GetRoa()) })
}

// each gives what a stream, if there is one, brings to fn.
func each[M any](stream interface{ Recv() (M, error) }, err error, fn func(M)) error {
	for err == nil {
		var m M
		if m, err = stream.Recv(); err == nil {
			fn(m)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func sessionInfo(p *api.Peer) (SessionInfo, error) {
	addr, err := netip.ParseAddr(p.State.NeighborAddress)
	if err != nil {
		return SessionInfo{}, err
	}
	hold := p.GetTimers().GetState().GetNegotiatedHoldTime()
	s := SessionInfo{Neighbor: addr, HoldTime: time.Duration(hold) * time.Second}
	caps, err := apiutil.UnmarshalCapabilities(p.State.RemoteCap)
	if err != nil {
		return SessionInfo{}, err
	}
	families := false
	for _, c := range caps {
		switch c := c.(type) {
		case *bgp.CapMultiProtocol:
			families = true
			s.IPv4 = s.IPv4 || c.CapValue == bgp.RF_IPv4_UC
			s.IPv6 = s.IPv6 || c.CapValue == bgp.RF_IPv6_UC
		case *bgp.CapGracefulRestart:
			s.GracefulRestart = true
		case *bgp.CapLongLivedGracefulRestart:
			s.LongLived = true
		}
	}
	if !families { // RFC 4760: without the capability, IPv4 unicast
		s.IPv4 = true
	}
	return s, nil
}
