package api

import (
	"context"

	"google.golang.org/grpc"

	"github.com/catchment/catchment/pop/api/catchmentv1"
)

// coreService is the control core over gRPC: the same calls as over HTTP.
type coreService struct {
	catchmentv1.UnimplementedCoreServer
	s *Server
}

// asked turns a question over gRPC into one of ours.
func (v coreService) asked(m *catchmentv1.CoreQuery) (Core, CoreQuery, error) {
	var q CoreQuery
	c, err := v.s.core()
	if err == nil {
		err = fromProto(m, &q)
	}
	return c, q, err
}

func (v coreService) Status(ctx context.Context, _ *catchmentv1.CoreRequest) (*catchmentv1.CoreStatus, error) {
	c, err := v.s.core()
	if err != nil {
		return nil, statusOf(err)
	}
	return answer[catchmentv1.CoreStatus](c.CoreStatus(ctx))
}

func (v coreService) Config(ctx context.Context, _ *catchmentv1.CoreRequest) (*catchmentv1.CoreConfig, error) {
	c, err := v.s.core()
	if err != nil {
		return nil, statusOf(err)
	}
	return answer[catchmentv1.CoreConfig](c.CoreConfig(ctx))
}

func (v coreService) Rollout(ctx context.Context, _ *catchmentv1.CoreRequest) (*catchmentv1.CoreRollout, error) {
	c, err := v.s.core()
	if err != nil {
		return nil, statusOf(err)
	}
	return answer[catchmentv1.CoreRollout](c.CoreRollout(ctx))
}

func (v coreService) Show(ctx context.Context, m *catchmentv1.CoreQuery) (*catchmentv1.CoreObject, error) {
	if err := v.s.MayChange(ctx, "core show"); err != nil { // it may hold passwords
		return nil, statusOf(err)
	}
	c, q, err := v.asked(m)
	if err != nil {
		return nil, statusOf(err)
	}
	return answer[catchmentv1.CoreObject](c.CoreShow(ctx, q))
}

func (v coreService) Objects(ctx context.Context, m *catchmentv1.CoreQuery) (*catchmentv1.CoreObjectList, error) {
	c, q, err := v.asked(m)
	if err != nil {
		return nil, statusOf(err)
	}
	list, err := c.CoreObjects(ctx, q)
	return answer[catchmentv1.CoreObjectList](map[string]any{"objects": list}, err)
}

func (v coreService) History(ctx context.Context, m *catchmentv1.CoreQuery) (*catchmentv1.CoreObjectList, error) {
	c, q, err := v.asked(m)
	if err != nil {
		return nil, statusOf(err)
	}
	list, err := c.CoreHistory(ctx, q)
	return answer[catchmentv1.CoreObjectList](map[string]any{"objects": list}, err)
}

func (v coreService) Watch(m *catchmentv1.CoreQuery, out grpc.ServerStreamingServer[catchmentv1.CoreObject]) error {
	c, q, err := v.asked(m)
	if err != nil {
		return statusOf(err)
	}
	return statusOf(c.CoreWatch(out.Context(), q, func(o CoreObject) error { return send[catchmentv1.CoreObject](out, o) }))
}

func (v coreService) Backup(_ *catchmentv1.CoreRequest, out grpc.ServerStreamingServer[catchmentv1.CoreChunk]) error {
	if err := v.s.MayChange(out.Context(), "core backup"); err != nil { // it holds all secrets
		return statusOf(err)
	}
	c, err := v.s.core()
	if err != nil {
		return statusOf(err)
	}
	return statusOf(c.CoreBackup(out.Context(), func(b []byte) error { return out.Send(&catchmentv1.CoreChunk{Data: b}) }))
}

func (v coreService) Token(ctx context.Context, c *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	return v.coreChange(ctx, "token", c)
}

func (v coreService) Admit(ctx context.Context, c *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	return v.coreChange(ctx, "admit", c)
}

func (v coreService) Remove(ctx context.Context, c *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	return v.coreChange(ctx, "remove", c)
}

func (v coreService) Forget(ctx context.Context, c *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	return v.coreChange(ctx, "forget", c)
}

func (v coreService) Revoke(ctx context.Context, c *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	return v.coreChange(ctx, "revoke", c)
}

func (v coreService) Leave(ctx context.Context, c *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	return v.coreChange(ctx, "leave", c)
}

func (v coreService) Put(ctx context.Context, c *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	return v.coreChange(ctx, "put", c)
}

func (v coreService) Delete(ctx context.Context, c *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	return v.coreChange(ctx, "delete", c)
}

func (v coreService) Rollback(ctx context.Context, c *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	return v.coreChange(ctx, "rollback", c)
}

func (v coreService) Abort(ctx context.Context, c *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	return v.coreChange(ctx, "abort", c)
}

func (v coreService) Finish(ctx context.Context, c *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	return v.coreChange(ctx, "finish", c)
}

func (v coreService) coreChange(ctx context.Context, verb string, m *catchmentv1.CoreChange) (*catchmentv1.CoreResult, error) {
	if err := v.s.MayChange(ctx, "core/"+verb); err != nil {
		return nil, statusOf(err)
	}
	var c CoreChange
	if err := fromProto(m, &c); err != nil {
		return nil, statusOf(Errorf(Invalid, "request: %v", err))
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return answer[catchmentv1.CoreResult](v.s.coreChange(ctx, verb, c))
}
