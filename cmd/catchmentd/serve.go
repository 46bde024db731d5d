package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/catchment/catchment/bgp/bfd"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
)

// serve starts the parts in the order in which they need each other, obeys
// signals, and ends them. It returns nil if it was told to end.
func (d *parts) serve(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	defer signal.Stop(signals)
	c := newCrew(ctx)
	for _, t := range d.tasks {
		if !c.start(t) {
			// Whatever neighbors may still hold of a former life stays.
			end, cancel := context.WithTimeout(ctx, joinTime)
			defer cancel()
			err := closing{d}.Leave(end)
			return errors.Join(c.join(), err)
		}
	}
	if d.origin.fetched != nil {
		d.origin.fetched.Booted()
	}
	d.log.Info("ready", "pop", d.cfg.POP, "version", version)
	tell("POP " + string(d.cfg.POP))
	daemon.SdNotify(false, daemon.SdNotifyReady)
	err := d.obey(c, signals)
	return errors.Join(err, c.join())
}

// obey carries out signals until one of them, or a failure, ends the daemon.
func (d *parts) obey(c *crew, signals <-chan os.Signal) error {
	for {
		select {
		case <-c.ctx.Done():
			return nil
		case <-c.failed:
			// A part that fails must not take the POP off the air: as for a
			// restart, which is what follows.
			d.log.Error("a part failed, leaving", "err", c.err)
			daemon.SdNotify(false, daemon.SdNotifyStopping)
			return d.leave(c.ctx, "failure of "+c.err.Error())
		case by := <-d.asked:
			daemon.SdNotify(false, daemon.SdNotifyStopping)
			return d.stop(c.ctx, by, signals)
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP:
				daemon.SdNotify(false, daemon.SdNotifyReloading)
				if _, err := d.controller.Reload(c.ctx, "signal HUP"); err != nil { // it is logged and journaled
					tell("POP " + string(d.cfg.POP) + "; reload refused, nothing has changed: " + err.Error())
				} else {
					tell("POP " + string(d.cfg.POP))
				}
				daemon.SdNotify(false, daemon.SdNotifyReady)
			case s == syscall.SIGUSR2:
				daemon.SdNotify(false, daemon.SdNotifyStopping)
				return d.leave(c.ctx, "signal USR2")
			default:
				daemon.SdNotify(false, daemon.SdNotifyStopping)
				return d.stop(c.ctx, "signal "+s.String(), signals)
			}
		}
	}
}

// stop drains and withdraws within the deadline; a second signal to end cuts
// the drain short.
func (d *parts) stop(ctx context.Context, by string, again <-chan os.Signal) error {
	deadline := time.Duration(d.deadline.Load())
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	defer d.dns.drain(ctx)
	defer d.cache.drain(ctx) // what its clients still read may end, when nobody comes any more
	if d.dry {
		return nil // nothing is announced that could be drained
	}
	go func() {
		for {
			select {
			case s := <-again:
				if s == syscall.SIGTERM || s == syscall.SIGINT {
					d.log.Info("told twice: the drain is cut short", "signal", s)
					cancel()
					return
				}
				d.log.Info("ignored while stopping", "signal", s)
			case <-ctx.Done():
				return
			}
		}
	}()
	d.log.Info("stopping: drain, withdraw, close", "by", by, "deadline", deadline)
	return d.controller.Stop(ctx, closing{d}, by)
}

// leave ends so that the routes stay: the process must be gone right after.
func (d *parts) leave(ctx context.Context, by string) error {
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	d.log.Info("leaving for a restart: the routes stay", "by", by)
	return d.controller.Leave(ctx, closing{d}, by)
}

// closing ends the sessions of BGP and, where routes are to stay, leaves those
// of BFD up: routers that watch it would drop the routes otherwise. They wait
// bfd's handover time, half a minute at most.
type closing struct{ d *parts }

func (c closing) Stop(ctx context.Context) error {
	c.d.endIngress()
	return c.d.speaker.Stop(ctx)
}

func (c closing) Leave(ctx context.Context) error {
	c.d.endIngress()
	if err := bfd.KeepHandover(c.d.handover(), c.d.bfd.HandOver(ctx)); err != nil {
		c.d.log.Error("BFD sessions will begin anew", "err", err)
	}
	return c.d.speaker.Leave(ctx)
}

// backend is the controller, but for the stop of the whole daemon, which takes
// more than a controller.
type backend struct {
	*pop.Controller
	d *parts
}

// Intent hands a stop on; it is under way when this returns.
func (b backend) Intent(ctx context.Context, in policy.Intent) (api.Result, error) {
	if in.Kind != policy.IntentStop {
		return b.Controller.Intent(ctx, in)
	}
	select {
	case b.d.asked <- in.By:
	default: // stopping already
	}
	return api.Result{Text: "the daemon drains, withdraws and ends"}, nil
}

// watchdog tells systemd that the controller answers, as often as systemd
// wants to hear it.
type watchdog struct {
	every time.Duration // a third of WatchdogSec=
	alive func(context.Context, time.Duration) bool
}

// newWatchdog returns false where nobody asked for one.
func newWatchdog(alive func(context.Context, time.Duration) bool) (watchdog, bool) {
	patience, err := daemon.SdWatchdogEnabled(false)
	return watchdog{patience / 3, alive}, err == nil && patience > 0
}

func (w watchdog) Run(ctx context.Context) error {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for {
		if w.alive(ctx, w.every) {
			daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (w watchdog) String() string { return "watchdog" }
