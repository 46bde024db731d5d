package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/catchment/catchment/bgp/bfd"
)

// task is a part of the daemon that runs as long as it does.
type task interface {
	Run(context.Context) error
	String() string
}

// waiter is a task that says when it is ready for those that come after it.
type waiter interface{ Ready() <-chan struct{} }

// joinTime bounds how long the tasks may take to end.
const joinTime = 5 * time.Second

// crew runs tasks and joins them. The first that fails ends all.
type crew struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

func newCrew(ctx context.Context) *crew {
	c := &crew{}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	return c
}

// start runs a task and waits until it is ready, if it can say so.
func (c *crew) start(t task) {
	c.wg.Go(func() {
		if err := t.Run(c.ctx); err != nil {
			c.cancel(fmt.Errorf("%s: %w", t, err))
		}
	})
	if w, ok := t.(waiter); ok {
		select {
		case <-w.Ready():
		case <-c.ctx.Done():
		}
	}
}

// join ends every task and returns why the first one failed, if one did.
func (c *crew) join() error {
	c.cancel(nil)
	done := make(chan struct{})
	go func() { c.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(joinTime):
		return errors.Join(c.cause(), fmt.Errorf("not every part ended within %v", joinTime))
	}
	return c.cause()
}

func (c *crew) cause() error {
	if err := context.Cause(c.ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// serve starts the parts in the order in which they need each other, obeys
// signals, and ends them. It returns nil if it was told to end.
func (d *parts) serve(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	defer signal.Stop(signals)
	c := newCrew(ctx)
	for _, t := range d.tasks {
		c.start(t)
	}
	if c.ctx.Err() == nil {
		d.log.Info("ready", "pop", d.cfg.POP, "version", version)
		daemon.SdNotify(false, daemon.SdNotifyReady)
	}
	err := d.obey(c, signals)
	return errors.Join(err, c.join())
}

// obey carries out signals until one of them, or a failure, ends the daemon.
func (d *parts) obey(c *crew, signals <-chan os.Signal) error {
	watchdog := time.NewTicker(watchdogEvery())
	defer watchdog.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return nil
		case <-watchdog.C:
			if d.controller.Alive(c.ctx, watchdogEvery()) {
				daemon.SdNotify(false, daemon.SdNotifyWatchdog)
			}
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				daemon.SdNotify(false, daemon.SdNotifyReloading)
				d.controller.Reload(c.ctx, "signal HUP") // it logs and journals what went wrong
				daemon.SdNotify(false, daemon.SdNotifyReady)
			case syscall.SIGUSR2:
				daemon.SdNotify(false, daemon.SdNotifyStopping)
				ctx, cancel := context.WithTimeout(c.ctx, joinTime)
				defer cancel()
				return d.leave(ctx)
			default:
				daemon.SdNotify(false, daemon.SdNotifyStopping)
				return d.stop(c.ctx, s, signals)
			}
		}
	}
}

// stop drains and withdraws within the deadline; another signal cuts the
// drain short.
func (d *parts) stop(ctx context.Context, s os.Signal, again <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Stop.Deadline)
	defer cancel()
	go func() {
		select {
		case <-again:
			cancel()
		case <-ctx.Done():
		}
	}()
	d.log.Info("stopping: drain, withdraw, close", "signal", s, "deadline", d.cfg.Stop.Deadline)
	return d.controller.Stop(ctx, d.speaker, "signal "+s.String())
}

// leave ends so that the routes stay: the process must be gone right after.
func (d *parts) leave(ctx context.Context) error {
	d.log.Info("leaving for a restart: the routes stay")
	if err := bfd.KeepHandover(d.handover(), d.bfd.HandOver(ctx)); err != nil {
		d.log.Error("BFD sessions will begin anew", "err", err)
	}
	return d.controller.Leave(ctx, d.speaker, "signal USR2")
}

// watchdogEvery is half of what systemd asks for, or a harmless default.
func watchdogEvery() time.Duration {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every <= 0 {
		return 10 * time.Second
	}
	return every / 2
}
