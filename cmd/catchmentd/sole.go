package main

import (
	"context"
	"encoding/json"

	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/core/host"
)

// sole is the core for what is kept in it under the POP's name: closed to a
// daemon while another has that name.
type sole struct {
	core *core.Core
	host *host.Host
}

// check is nil, or why nothing is read or written.
func (s sole) check() error { return s.host.Sole() }

func (s sole) Reservations(ctx context.Context, reads ...core.Read) ([]core.Held, int64, error) {
	if err := s.check(); err != nil {
		return nil, 0, err
	}
	return s.core.Reservations(ctx, reads...)
}

func (s sole) List(ctx context.Context, sel core.Selector, reads ...core.Read) (core.Snapshot, error) {
	if err := s.check(); err != nil {
		return core.Snapshot{}, err
	}
	return s.core.List(ctx, sel, reads...)
}

func (s sole) Take(ctx context.Context, w core.Write, step core.Step) ([]core.Held, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return s.core.Take(ctx, w, step)
}

func (s sole) Note(ctx context.Context, w core.Write, h core.Held, detail json.RawMessage) (core.Held, error) {
	if err := s.check(); err != nil {
		return h, err
	}
	return s.core.Note(ctx, w, h, detail)
}

func (s sole) Release(ctx context.Context, w core.Write, held []core.Held, also ...core.Op) error {
	if err := s.check(); err != nil {
		return err
	}
	return s.core.Release(ctx, w, held, also...)
}

func (s sole) Txn(ctx context.Context, w core.Write, conds []core.Cond, ops []core.Op) (int64, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	return s.core.Txn(ctx, w, conds, ops)
}

func (s sole) Put(ctx context.Context, w core.Write, k core.Key, v json.RawMessage, when core.If) (core.Object, error) {
	if err := s.check(); err != nil {
		return core.Object{}, err
	}
	return s.core.Put(ctx, w, k, v, when)
}

func (s sole) Delete(ctx context.Context, w core.Write, k core.Key, when core.If) (int64, error) {
	if err := s.check(); err != nil {
		return 0, err
	}
	return s.core.Delete(ctx, w, k, when)
}
