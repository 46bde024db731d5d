package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/catchment/catchment/bgp"
)

// Keys of a call's metadata with which an operator says that a change of one
// of our own prefixes is meant, and why, and of the answer's header, in which
// the daemon says what became of it. The client has the same.
const (
	forceKey = "catchment-force" // "1"
	whyKey   = "catchment-why-bin"
	noteKey  = "catchment-note-bin"
)

// maxWhy bounds what an operator says, in bytes.
const maxWhy = 1000

// Forced is a change of a route of ours that an operator insists on. Nothing
// of it is in GoBGP's table: it is a wish, and comes back as part of a Set, so
// that nobody ever undoes what another has done.
type Forced struct {
	Prefix     netip.Prefix // one of Options.Own
	Withdraw   bool
	Attributes bgp.Attributes // without Withdraw: sorted, all of them sendable
	By, Why    string
}

// force takes the changes of our own routes out of GoBGP's hands where an
// operator insists. Neither a response nor an error: it is not such a call.
func (s *Speaker) force(ctx context.Context, call string, request any) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if !slices.Equal(md.Get(forceKey), []string{"1"}) {
		return nil, nil
	}
	var p *api.Path
	var table api.TableType
	var answer any
	f := Forced{By: caller(ctx)}
	if why := md.Get(whyKey); len(why) > 0 {
		f.Why = why[0]
	}
	switch r := request.(type) {
	case *api.AddPathRequest:
		p, table, answer, f.Withdraw = r.GetPath(), r.GetTableType(), &api.AddPathResponse{}, r.GetPath().GetIsWithdraw()
	case *api.DeletePathRequest:
		p, table, answer, f.Withdraw = r.GetPath(), r.GetTableType(), &emptypb.Empty{}, true
	default:
		return nil, nil
	}
	var ok bool
	if f.Prefix, ok = prefixOfAPI(p); !ok || !s.owns(f.Prefix) {
		return nil, nil
	}
	switch {
	case s.opts.OnForced == nil:
		return nil, denied(call, f.Prefix.String()+": nobody here takes a forced change")
	case table != api.TableType_GLOBAL:
		return nil, invalid(call, f.Prefix, "only the global table leads to neighbors")
	case len(f.Why) > maxWhy || !utf8.ValidString(f.Why) || strings.ContainsFunc(f.Why, unicode.IsControl):
		return nil, invalid(call, f.Prefix, fmt.Sprintf("why: at most %d bytes of text on one line", maxWhy))
	}
	if !f.Withdraw {
		var err error
		if f.Attributes, err = s.attributesOf(p); err != nil {
			return nil, invalid(call, f.Prefix, err.Error())
		}
	}
	note, err := s.opts.OnForced(ctx, f)
	if err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "%s: %s: %v", call, f.Prefix, err)
	}
	_ = grpc.SetHeader(ctx, metadata.Pairs(noteKey, note)) // who has hung up needs no note
	return answer, nil
}

func invalid(call string, p netip.Prefix, why string) error {
	return status.Errorf(codes.InvalidArgument, "%s: %s by force: %s", call, p, why)
}

// owns reports whether the prefix is one that may leave.
func (s *Speaker) owns(p netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scope.owns(p)
}

// caller names who called, as far as the transport knows: its authentication
// speaks for itself where it can.
func caller(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "gobgp API"
	}
	if who, ok := p.AuthInfo.(fmt.Stringer); ok {
		return who.String()
	}
	if a := p.Addr; a != nil && a.Network() != "unix" {
		return "gobgp API from " + a.String()
	}
	return "gobgp API on its socket"
}

// attributesOf reads what an operator wants said to the neighbors. What could
// not be sent as it is meant is an error; nothing is dropped.
func (s *Speaker) attributesOf(p *api.Path) (bgp.Attributes, error) {
	attrs, err := apiutil.GetNativePathAttributes(p)
	if err != nil {
		return bgp.Attributes{}, err
	}
	if p.GetIdentifier() != 0 {
		return bgp.Attributes{}, fmt.Errorf("identifier %d: there is one path for each prefix", p.GetIdentifier())
	}
	s.mu.Lock()
	as := s.config.set.Global.Config.As
	s.mu.Unlock()
	var out bgp.Attributes
	for _, a := range attrs {
		if err := takeAttribute(&out, a, as); err != nil {
			return bgp.Attributes{}, err
		}
	}
	prefix, _ := prefixOfAPI(p)
	slices.Sort(out.Communities)
	out.Communities = slices.Compact(out.Communities)
	slices.SortFunc(out.LargeCommunities, bgp.LargeCommunity.Compare)
	out.LargeCommunities = slices.Compact(out.LargeCommunities)
	return out, validateAttributes(prefix, out)
}

func takeAttribute(out *bgp.Attributes, a packet.PathAttributeInterface, as uint32) error {
	switch x := a.(type) {
	case *packet.PathAttributeOrigin:
		if x.Value != packet.BGP_ORIGIN_ATTR_TYPE_IGP {
			return fmt.Errorf("origin: what leaves here has origin igp; say so, or nothing")
		}
	case *packet.PathAttributeNextHop:
		out.NextHop = specified(addrOf(x.Value))
	case *packet.PathAttributeMpReachNLRI:
		out.NextHop = specified(addrOf(x.Nexthop))
	case *packet.PathAttributeAsPath:
		for _, seg := range x.Value {
			for _, n := range seg.GetAS() {
				if n != as || seg.GetType() != packet.BGP_ASPATH_ATTR_TYPE_SEQ {
					return fmt.Errorf("aspath %s: the origin is AS %d; it can be prepended, no other can", x, as)
				}
				out.Prepend++
			}
		}
	case *packet.PathAttributeMultiExitDisc:
		out.MED = &x.Value
	case *packet.PathAttributeLocalPref:
		out.LocalPref = &x.Value
	case *packet.PathAttributeCommunities:
		for _, c := range x.Value {
			out.Communities = append(out.Communities, bgp.Community(c))
		}
	case *packet.PathAttributeLargeCommunities:
		for _, c := range x.Values {
			out.LargeCommunities = append(out.LargeCommunities,
				bgp.LargeCommunity{Global: c.ASN, Local1: c.LocalData1, Local2: c.LocalData2})
		}
	default:
		return fmt.Errorf("attribute %s cannot be sent with it: there are nexthop, med, local-pref, aspath, community and large-community", a)
	}
	return nil
}

// specified drops what stands for "the session's own address".
func specified(a netip.Addr) netip.Addr {
	if a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
