package core

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// The embedded engine's operations run in this process. guard keeps what
// breaks inside the engine inside: the operation runs in a goroutine of its
// own, whose end by panic or Goexit is an error here, and a lock that never
// opens costs the caller its timeout and not its goroutine.
func guard[T any](ctx context.Context, m *embedded, f func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		out := outcome{err: &Error{Code: Unavailable, Uncertain: true, Err: errors.New("the engine broke")}}
		defer func() {
			if r := recover(); r != nil {
				out.err = &Error{Code: Unavailable, Uncertain: true, Err: fmt.Errorf("the engine broke: %v", r)}
				m.log.Error("core: panic in the engine", "panic", r)
			}
			done <- out
		}()
		out.v, out.err = f(ctx)
	}()
	var failure chan struct{}
	if s := m.now.Load(); s != nil {
		failure = s.failure
	}
	why := errors.New("the engine broke meanwhile")
	select {
	case o := <-done:
		return o.v, o.err
	case <-failure:
	case <-ctx.Done():
		why = ctx.Err()
	}
	select { // what f says itself is better, if it comes
	case o := <-done:
		return o.v, o.err
	case <-time.After(50 * time.Millisecond):
		var none T
		return none, &Error{Code: Unavailable, Uncertain: true, Err: why}
	}
}

// whole refuses what a broken engine would keep waiting.
func (m *embedded) whole() error {
	if s := m.now.Load(); s == nil {
		return errNotRunning("")
	} else if why := s.failed(); why != "" {
		return errNotRunning(": " + why)
	}
	return nil
}

// writable refuses writes that the engine would break over.
func (m *embedded) writable() error {
	if err := m.whole(); err != nil {
		return err
	}
	if free, err := freeBytes(m.cfg.Dir); err == nil && free < m.cfg.MinFree {
		return fail(Full, "%d MiB free on the disk of %s, %d are kept free", free>>20, m.cfg.Dir, m.cfg.MinFree>>20)
	}
	return nil
}

func freeBytes(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

func (m *embedded) read(ctx context.Context, q RawQuery) (RawPage, error) {
	if err := m.whole(); err != nil {
		return RawPage{}, err
	}
	return guard(ctx, m, func(ctx context.Context) (RawPage, error) { return m.etcd.read(ctx, q) })
}

func (m *embedded) commit(ctx context.Context, conds []RawCond, ops []RawOp) (RawCommit, error) {
	if err := m.writable(); err != nil {
		return RawCommit{}, err
	}
	return guard(ctx, m, func(ctx context.Context) (RawCommit, error) { return m.etcd.commit(ctx, conds, ops) })
}

// watch ends with the session it began in.
func (m *embedded) watch(ctx context.Context, prefix string, from int64, yield func(RawChanges) error) error {
	s := m.now.Load()
	if s == nil {
		return errNotRunning("")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.failure:
			cancel()
		case <-ctx.Done():
		}
	}()
	return m.etcd.watch(ctx, prefix, from, yield)
}

func (m *embedded) grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error) {
	if err := m.writable(); err != nil {
		return 0, 0, err
	}
	l, err := guard(ctx, m, func(ctx context.Context) (Lease, error) {
		id, got, err := m.etcd.grant(ctx, ttl)
		return Lease{ID: id, TTL: got}, err
	})
	return l.ID, l.TTL, err
}

func (m *embedded) renew(ctx context.Context, id LeaseID) error {
	_, err := guard(ctx, m, func(ctx context.Context) (struct{}, error) { return struct{}{}, m.etcd.renew(ctx, id) })
	return err
}

func (m *embedded) revoke(ctx context.Context, id LeaseID) error {
	_, err := guard(ctx, m, func(ctx context.Context) (struct{}, error) { return struct{}{}, m.etcd.revoke(ctx, id) })
	return err
}

func (m *embedded) compact(ctx context.Context, revision int64) error {
	_, err := guard(ctx, m, func(ctx context.Context) (struct{}, error) { return struct{}{}, m.etcd.compact(ctx, revision) })
	return err
}

func (m *embedded) status(ctx context.Context) (Status, error) {
	s, err := guard(ctx, m, m.etcd.status)
	s.Engine = "embedded"
	s.Name = m.cfg.Name
	s.Free, _ = freeBytes(m.cfg.Dir)
	if s.Free < m.cfg.MinFree {
		s.Alarms = append(s.Alarms, "disk nearly full")
	}
	if now := m.now.Load(); now != nil && now.failed() != "" {
		s.Failed, s.Quorum = now.failed(), false
	}
	return s, err
}
