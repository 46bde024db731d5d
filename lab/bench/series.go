package bench

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/catchment/catchment/lab/await"
	"github.com/catchment/catchment/lab/netlab"
)

// result is what a row measured.
type result struct {
	subject subject
	down    map[string]series // by router: blow to route gone
	up      map[string]series // by router: repair to route in the kernel
	update  series            // blow to the first withdrawal on the wire
	router  map[string]series // withdrawal on the wire to route gone
	react   series            // verdict to withdrawal or announcement on the wire, catchmentd only
	detect  series            // first probe that began after the blow to the first withdrawal
}

func newResult(s subject) *result {
	return &result{subject: s, down: map[string]series{}, up: map[string]series{}, router: map[string]series{}}
}

const (
	startup   = 30 * time.Second       // for all sessions and the first route
	patience  = 90 * time.Second       // for a route to come or go
	afterglow = 100 * time.Millisecond // for events that other sources report later
)

// measure runs one row: n blows and repairs in a fresh lab.
func measure(ctx context.Context, s subject, n int, opt Options) (_ *result, err error) {
	w, err := newWorld(ctx, s.values(), opt)
	if err != nil {
		return nil, err
	}
	log := &daemonLog{rec: w.rec, routers: w.routers()}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s\n%s", err, tail(w.lab.Log("pop")), log)
		}
		err = errors.Join(err, w.close())
	}()
	since, err := w.startService()
	if err != nil {
		return nil, err
	}
	procs, err := w.startTool(s.tool, log)
	if err != nil {
		return nil, err
	}
	ctx, stop := whileAlive(ctx, procs)
	defer stop()
	for _, r := range routers {
		if _, err := w.rec.wait(ctx, installed, r, since, startup); err != nil {
			return nil, fmt.Errorf("at the start: %w", err)
		}
	}
	if err := w.guarded(ctx, since); err != nil {
		return nil, fmt.Errorf("at the start: %w", err)
	}
	res := newResult(s)
	for i := range n {
		if err := w.once(ctx, res, i, n); err != nil {
			return nil, fmt.Errorf("%s %d of %d: %w", s.blow, i+1, n, err)
		}
		opt.progress("%s: %d of %d", s.name, i+1, n)
	}
	return res, nil
}

// once is one blow and one repair.
func (w *world) once(ctx context.Context, res *result, i, n int) error {
	s := res.subject
	if err := await.Lapse(ctx, phase(i, n, s.interval)); err != nil {
		return err
	}
	for _, r := range routers {
		have, err := w.lab.Routes(r, w.val.Services[0].Prefix)
		if err != nil || len(have) == 0 {
			return errors.Join(err, fmt.Errorf("%s has lost the route before anything happened", r))
		}
	}
	w.rec.forget()
	at, err := w.strike(ctx, s.blow)
	if err != nil {
		return err
	}
	if err := w.await(ctx, gone, at, res.down); err != nil {
		return err
	}
	if err := await.Lapse(ctx, afterglow); err != nil {
		return err
	}
	w.learn(res, at)
	if err := await.Lapse(ctx, phase(i, n, s.interval)); err != nil {
		return err
	}
	back, err := w.repair(ctx, s.blow)
	if err != nil {
		return err
	}
	if err := w.await(ctx, installed, back, res.up); err != nil {
		return err
	}
	if s.blow == freeze {
		if err := w.guarded(ctx, back); err != nil {
			return err
		}
	}
	if err := await.Lapse(ctx, afterglow); err != nil {
		return err
	}
	if v, sent, ok := w.reaction(verdictUp, announced, back); ok && s.blow != freeze {
		res.react = append(res.react, sent.Sub(v))
	}
	return nil
}

func (w *world) strike(ctx context.Context, b blow) (time.Time, error) {
	switch b {
	case kill:
		return w.signal(syscall.SIGKILL)
	case hang:
		return w.signal(syscall.SIGSTOP)
	}
	at := time.Now()
	return at, w.lab.Freeze(ctx, "pop")
}

func (w *world) repair(ctx context.Context, b blow) (time.Time, error) {
	switch b {
	case kill:
		return w.startService()
	case hang:
		return w.signal(syscall.SIGCONT)
	}
	at := time.Now()
	return at, w.lab.Thaw(ctx, "pop")
}

// await waits for both routers and notes how long each took.
func (w *world) await(ctx context.Context, k kind, since time.Time, into map[string]series) error {
	for _, r := range routers {
		e, err := w.rec.wait(ctx, k, r, since, patience)
		if err != nil {
			return err
		}
		into[r] = append(into[r], e.at.Sub(since))
	}
	return nil
}

// guarded waits for the BFD sessions of a row that has any: one that is not up
// yet, a second or two after BGP, guards nothing (RFC 5880 section 6.8.3).
func (w *world) guarded(ctx context.Context, since time.Time) error {
	if !w.val.BFD {
		return nil
	}
	for _, r := range routers {
		if _, err := w.rec.wait(ctx, watched, r, since, startup); err != nil {
			return err
		}
	}
	return nil
}

// learn takes from the records of a blow what lies between it and the routers.
func (w *world) learn(res *result, at time.Time) {
	first := time.Time{}
	for _, r := range routers {
		sent, ok := w.rec.find(withdrawn, r, at)
		if !ok {
			continue // a frozen POP sends nothing
		}
		if e, ok := w.rec.find(gone, r, at); ok {
			res.router[r] = append(res.router[r], e.at.Sub(sent.at))
		}
		if first.IsZero() || sent.at.Before(first) {
			first = sent.at
		}
	}
	if first.IsZero() {
		return
	}
	res.update = append(res.update, first.Sub(at))
	if p, ok := w.rec.find(probed, "", at); ok {
		res.detect = append(res.detect, first.Sub(p.at))
	}
	if v, sent, ok := w.reaction(verdictDown, withdrawn, at); ok {
		res.react = append(res.react, sent.Sub(v))
	}
}

// reaction finds the verdict and the first UPDATE after it.
func (w *world) reaction(v, update kind, since time.Time) (verdict, sent time.Time, ok bool) {
	said, ok := w.rec.find(v, "", since)
	if !ok {
		return verdict, sent, false
	}
	for _, r := range routers {
		if e, found := w.rec.find(update, r, said.at); found && (sent.IsZero() || e.at.Before(sent)) {
			sent = e.at
		}
	}
	return said.at, sent, !sent.IsZero()
}

// whileAlive ends the context when one of the processes does.
func whileAlive(ctx context.Context, procs []*netlab.Process) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	for _, p := range procs {
		go func() {
			select {
			case <-p.Done():
				cancel(fmt.Errorf("%s has ended: %w", p.Args[0], p.Wait(context.WithoutCancel(ctx))))
			case <-ctx.Done():
			}
		}()
	}
	return ctx, func() { cancel(context.Canceled) }
}

// tail is the end of a log, as much as is worth showing.
func tail(log string) string { return log[max(0, len(log)-keptTail):] }
