package gobgp

import (
	"context"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// services are gRPC services beside GoBGP's on the same server. v3 makes its
// server itself and shows it to nobody; but calls that it does not know come
// here.
type services struct {
	methods map[string]grpc.StreamHandler // by full name
	info    map[string]grpc.ServiceInfo
}

// newServices has add register, and adds the reflection service (grpc.io's
// server reflection, version 1) for all of them and for GoBGP's.
func newServices(add func(grpc.ServiceRegistrar)) *services {
	s := &services{methods: map[string]grpc.StreamHandler{}, info: map[string]grpc.ServiceInfo{}}
	if add != nil {
		add(s)
	}
	reflectionv1.RegisterServerReflectionServer(s, reflection.NewServerV1(reflection.ServerOptions{Services: s}))
	s.info[api.GobgpApi_ServiceDesc.ServiceName] = grpc.ServiceInfo{Metadata: api.GobgpApi_ServiceDesc.Metadata}
	return s
}

// RegisterService is what generated code calls.
func (s *services) RegisterService(d *grpc.ServiceDesc, impl any) {
	for _, m := range d.Methods {
		s.methods["/"+d.ServiceName+"/"+m.MethodName] = func(_ any, ss grpc.ServerStream) error {
			out, err := m.Handler(impl, ss.Context(), ss.RecvMsg, nil)
			if err != nil {
				return err
			}
			return ss.SendMsg(out)
		}
	}
	for _, m := range d.Streams {
		s.methods["/"+d.ServiceName+"/"+m.StreamName] = func(_ any, ss grpc.ServerStream) error { return m.Handler(impl, ss) }
	}
	s.info[d.ServiceName] = grpc.ServiceInfo{Metadata: d.Metadata}
}

// GetServiceInfo lists the services for reflection.
func (s *services) GetServiceInfo() map[string]grpc.ServiceInfo { return s.info }

// handle is for grpc.UnknownServiceHandler.
func (s *services) handle(_ any, ss grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(ss)
	if h := s.methods[name]; h != nil {
		return h(nil, ss)
	}
	return status.Errorf(codes.Unimplemented, "no call %s here", name)
}

// isGoBGP reports whether a call is of GoBGP's own service.
func isGoBGP(method string) bool {
	return strings.HasPrefix(method, "/"+api.GobgpApi_ServiceDesc.ServiceName+"/")
}

// changes reports whether a call of GoBGP's changes anything.
func changes(call string) bool {
	for _, reads := range []string{"Get", "List", "Watch"} {
		if strings.HasPrefix(call, reads) {
			return false
		}
	}
	return true
}

// secretFields hold what only those may see who may change things: the key of
// TCP MD5.
var secretFields = map[protoreflect.Name]bool{"auth_password": true}

// masked takes secrets out of a message that is about to be sent.
func masked(m any) any {
	msg, ok := m.(proto.Message)
	if !ok {
		return m
	}
	msg = proto.Clone(msg) // what is sent may be GoBGP's own
	mask(msg.ProtoReflect())
	return msg
}

func mask(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case secretFields[f.Name()] && f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString("(hidden)"))
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				mask(v.List().Get(i).Message())
			}
		default:
			mask(v.Message())
		}
		return true
	})
}

// guarded is a stream of a call: what comes in is shown to the judge, what
// goes out holds no secrets that its reader may not see.
type guarded struct {
	grpc.ServerStream
	method  string
	judge   judge
	secrets func(context.Context) bool
}

func (s *guarded) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	_, err := s.judge(s.Context(), s.method, m)
	return err
}

func (s *guarded) SendMsg(m any) error {
	if holdsPeers(m) && !s.secrets(s.Context()) {
		m = masked(m)
	}
	return s.ServerStream.SendMsg(m)
}

// holdsPeers spares the listing of routes a look for secrets.
func holdsPeers(m any) bool {
	switch m := m.(type) {
	case *api.ListPeerResponse, *api.ListPeerGroupResponse:
		return true
	case *api.WatchEventResponse:
		return m.GetPeer() != nil
	}
	return false
}
