package gobgp

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// maxInterval is the longest interval that v3 can make a ticker of, in
// seconds.
const maxInterval = math.MaxInt64 / uint64(time.Second)

// malformed refuses requests that v3 would not survive: it takes them apart
// on its only goroutine, where a panic ends the process with all its
// sessions. What can be tried beforehand is tried here, and may panic:
// recovered makes that an error.
func (s *Speaker) malformed(ctx context.Context, call string, request any) error {
	var err error
	switch r := request.(type) {
	case *api.AddPeerRequest:
		err = malformedPeer(r.GetPeer().GetAfiSafis(), r.GetPeer().GetState())
	case *api.UpdatePeerRequest:
		err = malformedPeer(r.GetPeer().GetAfiSafis(), r.GetPeer().GetState())
	case *api.AddPeerGroupRequest:
		err = malformedPeer(r.GetPeerGroup().GetAfiSafis(), nil)
	case *api.UpdatePeerGroupRequest:
		err = malformedPeer(r.GetPeerGroup().GetAfiSafis(), nil)
	case *api.AddDynamicNeighborRequest:
		err = s.malformedDynamic(ctx, r.GetDynamicNeighbor().GetPeerGroup(), r.GetDynamicNeighbor().GetPrefix())
	case *api.DeleteDynamicNeighborRequest:
		err = s.malformedDynamic(ctx, r.GetPeerGroup(), r.GetPrefix())
	case *api.AddPathRequest:
		serialize(r.GetPath())
	case *api.DeletePathRequest:
		serialize(r.GetPath())
	case *api.AddPathStreamRequest:
		for _, p := range r.GetPaths() {
			serialize(p)
		}
	case *api.DeleteStatementRequest:
		st := r.GetStatement()
		if !r.GetAll() && (fields(st.GetConditions()) > 1 || fields(st.GetActions()) > 1) {
			err = fmt.Errorf("statement %s: only one condition or action goes at a time", st.GetName())
		}
	case *api.EnableMrtRequest:
		if max(r.GetDumpInterval(), r.GetRotationInterval()) > maxInterval {
			err = fmt.Errorf("interval: at most %d seconds", maxInterval)
		}
	}
	if err != nil {
		return status.Errorf(codes.InvalidArgument, "%s: %v", call, err)
	}
	return nil
}

func malformedPeer(families []*api.AfiSafi, state *api.PeerState) error {
	for i, f := range families {
		if f.GetConfig() != nil && f.GetConfig().GetFamily() == nil {
			return fmt.Errorf("afi-safis[%d]: no family", i)
		}
	}
	for _, all := range [][]*anypb.Any{state.GetRemoteCap(), state.GetLocalCap()} {
		if _, err := apiutil.UnmarshalCapabilities(all); err != nil {
			return err
		}
	}
	return nil
}

func (s *Speaker) malformedDynamic(ctx context.Context, group, prefix string) error {
	if _, err := netip.ParsePrefix(prefix); err != nil {
		return fmt.Errorf("prefix: %w", err)
	}
	srv, err := s.server()
	if err != nil {
		return err
	}
	known := false
	err = srv.ListPeerGroup(ctx, &api.ListPeerGroupRequest{PeerGroupName: group}, func(g *api.PeerGroup) {
		known = known || g.GetConf().GetPeerGroupName() == group
	})
	if err == nil && !known {
		err = fmt.Errorf("no peer group is named %q", group)
	}
	return err
}

// serialize does to a path what v3 will do. What is merely wrong is for v3 to
// say.
func serialize(p *api.Path) {
	if p == nil {
		return
	}
	if nlri, err := apiutil.GetNativeNlri(p); err == nil {
		_, _ = nlri.Serialize()
	}
	attrs, _ := apiutil.GetNativePathAttributes(p)
	for _, a := range attrs {
		_, _ = a.Serialize()
	}
}

// fields counts what is set in a message.
func fields(m proto.Message) (n int) {
	m.ProtoReflect().Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { n++; return true })
	return n
}

// recovered makes a panic of a call the call's error: gRPC would let it end
// the process.
func recovered(method string, err *error) {
	if p := recover(); p != nil {
		*err = status.Errorf(codes.InvalidArgument, "%s: the request cannot be taken apart: %v", callName(method), p)
	}
}
