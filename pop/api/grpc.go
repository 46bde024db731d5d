package api

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api/catchmentv1"
)

// Register adds the gRPC services, catchment.v1.Catchment, Core, Ingress and Cache, to a
// server that has Credentials.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	catchmentv1.RegisterCatchmentServer(r, service{s: s})
	catchmentv1.RegisterCoreServer(r, coreService{s: s})
	catchmentv1.RegisterIngressServer(r, ingressService{s: s})
	catchmentv1.RegisterCacheServer(r, cacheService{s: s})
}

// service is the API over gRPC: the same calls as over HTTP, and the same
// answers in the messages of catchment.proto.
type service struct {
	catchmentv1.UnimplementedCatchmentServer
	s *Server
}

// codesOf are the gRPC codes of an Error.
var codesOf = map[Code]codes.Code{
	Invalid: codes.InvalidArgument, Forbidden: codes.PermissionDenied, NotFound: codes.NotFound,
	Refused: codes.FailedPrecondition, Unavailable: codes.Unavailable, Internal: codes.Internal,
}

func statusOf(err error) error {
	if err == nil {
		return nil
	}
	e := asError(err)
	return status.Error(codesOf[e.Code], e.Error())
}

// answer makes v the message of a call that has not failed.
func answer[T any, M message[T]](v any, err error) (M, error) {
	if err != nil {
		return nil, statusOf(err)
	}
	m, err := toProto[T, M](v)
	return m, statusOf(err)
}

func (v service) Rights(ctx context.Context, _ *catchmentv1.RightsRequest) (*catchmentv1.RightsResponse, error) {
	return answer[catchmentv1.RightsResponse](rightsOf(ctx), nil)
}

func (v service) Status(ctx context.Context, _ *catchmentv1.StatusRequest) (*catchmentv1.Status, error) {
	return answer[catchmentv1.Status](v.s.opt.Backend.Status(ctx))
}

func (v service) Services(ctx context.Context, _ *catchmentv1.ServicesRequest) (*catchmentv1.ServicesResponse, error) {
	st, err := v.s.opt.Backend.Status(ctx)
	return answer[catchmentv1.ServicesResponse](map[string]any{"services": st.Services}, err)
}

func (v service) Slices(ctx context.Context, _ *catchmentv1.SlicesRequest) (*catchmentv1.SlicesResponse, error) {
	st, err := v.s.opt.Backend.Status(ctx)
	return answer[catchmentv1.SlicesResponse](map[string]any{"slices": st.Slices()}, err)
}

func (v service) Explain(ctx context.Context, r *catchmentv1.ExplainRequest) (*catchmentv1.Explanation, error) {
	id, err := parseSlice(r.GetSlice())
	if err != nil {
		return nil, statusOf(err)
	}
	return answer[catchmentv1.Explanation](v.s.opt.Backend.Explain(ctx, id))
}

func (v service) Fleet(ctx context.Context, _ *catchmentv1.FleetRequest) (*catchmentv1.Fleet, error) {
	return answer[catchmentv1.Fleet](v.s.opt.Backend.Fleet(ctx))
}

func (v service) Journal(r *catchmentv1.JournalRequest, out grpc.ServerStreamingServer[catchmentv1.JournalEntry]) error {
	f := JournalFilter{Service: policy.ServiceID(r.GetService()), Limit: int(r.GetLimit()), Follow: r.GetFollow()}
	if r.GetSlice() != "" {
		var err error
		if f.Slice, err = parseSlice(r.GetSlice()); err != nil {
			return statusOf(err)
		}
	}
	if r.GetSince() != nil {
		f.Since = r.GetSince().AsTime()
	}
	if err := f.validate(); err != nil {
		return statusOf(err)
	}
	return statusOf(v.s.opt.Backend.Journal(out.Context(), f, func(e JournalEntry) error {
		return send[catchmentv1.JournalEntry](out, e)
	}))
}

func (v service) Watch(_ *catchmentv1.WatchRequest, out grpc.ServerStreamingServer[catchmentv1.Event]) error {
	return statusOf(Watch(out.Context(), v.s.opt.Backend, func(e Event) error {
		return send[catchmentv1.Event](out, e)
	}))
}

func (v service) Plan(ctx context.Context, m *catchmentv1.PlanRequest) (*catchmentv1.Plan, error) {
	var r PlanRequest
	if err := fromProto(m, &r); err != nil {
		return nil, statusOf(Errorf(Invalid, "request: %v", err))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return answer[catchmentv1.Plan](v.s.plan(ctx, r))
}

func send[T any, M message[T]](out grpc.ServerStreamingServer[T], v any) error {
	m, err := toProto[T, M](v)
	if err != nil {
		return err
	}
	return out.Send((*T)(m))
}

func (v service) Drain(ctx context.Context, c *catchmentv1.Change) (*catchmentv1.Result, error) {
	return v.change(ctx, "drain", c)
}

func (v service) Undrain(ctx context.Context, c *catchmentv1.Change) (*catchmentv1.Result, error) {
	return v.change(ctx, "undrain", c)
}

func (v service) Hold(ctx context.Context, c *catchmentv1.Change) (*catchmentv1.Result, error) {
	return v.change(ctx, "hold", c)
}

func (v service) Pin(ctx context.Context, c *catchmentv1.Change) (*catchmentv1.Result, error) {
	return v.change(ctx, "pin", c)
}

func (v service) Release(ctx context.Context, c *catchmentv1.Change) (*catchmentv1.Result, error) {
	return v.change(ctx, "release", c)
}

func (v service) Stop(ctx context.Context, c *catchmentv1.Change) (*catchmentv1.Result, error) {
	return v.change(ctx, "stop", c)
}

func (v service) change(ctx context.Context, call string, m *catchmentv1.Change) (*catchmentv1.Result, error) {
	if err := v.s.MayChange(ctx, call); err != nil {
		return nil, statusOf(err)
	}
	var c Change
	if err := fromProto(m, &c); err != nil {
		return nil, statusOf(Errorf(Invalid, "request: %v", err))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return answer[catchmentv1.Result](v.s.change(ctx, call, c))
}

func (v service) Maintenance(ctx context.Context, _ *catchmentv1.MaintenanceRequest) (*catchmentv1.MaintenanceResponse, error) {
	all, err := v.s.opt.Backend.Maintenance(ctx)
	return answer[catchmentv1.MaintenanceResponse](map[string]any{"windows": nonNil(all)}, err)
}

func (v service) AddMaintenance(ctx context.Context, m *catchmentv1.NewWindow) (*catchmentv1.Result, error) {
	return changed(ctx, v.s, "maintenance/add", m, v.s.addWindow)
}

func (v service) RemoveMaintenance(ctx context.Context, m *catchmentv1.WindowName) (*catchmentv1.Result, error) {
	return changed(ctx, v.s, "maintenance/remove", m, v.s.removeWindow)
}

// changed carries out a call that changes something, for a caller who may.
func changed[T any](ctx context.Context, s *Server, call string, m proto.Message, do func(context.Context, T) (Result, error)) (*catchmentv1.Result, error) {
	if err := s.MayChange(ctx, call); err != nil {
		return nil, statusOf(err)
	}
	var v T
	if err := fromProto(m, &v); err != nil {
		return nil, statusOf(Errorf(Invalid, "request: %v", err))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return answer[catchmentv1.Result](do(ctx, v))
}

func (v service) Reload(ctx context.Context, _ *catchmentv1.ReloadRequest) (*catchmentv1.Reloaded, error) {
	if err := v.s.MayChange(ctx, "reload"); err != nil {
		return nil, statusOf(err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return answer[catchmentv1.Reloaded](v.s.reload(ctx))
}
