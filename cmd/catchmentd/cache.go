package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/server/cache"
)

// againFirst and againMost bound the wait until a cache server that has failed
// is started again.
const (
	againFirst = time.Second
	againMost  = time.Minute
)

// cacheServer runs the cache server beside BGP. One that cannot be started ends
// the daemon before any neighbor has heard of it; one that fails later is an
// alarm, and is started again: the sessions go on, and the checks say what the
// announcements are to be.
type cacheServer struct {
	log      *slog.Logger
	pop      string
	journal  *journal.Journal
	onAlarm  func(name string, on bool)
	resume   func(cache.Resuming) // nil: requests that go on are as any
	steering *cache.Steering
	fromZero bool   // it hears of those from the beginning as well
	disk     string // directory of the store; empty: none
	ready    chan struct{}

	mu       sync.Mutex
	cfg      cache.Config // in force
	srv      *cache.Server
	epoch    uint64 // counts starts: with each, counters begin anew
	began    time.Time
	trouble  string // why it does not serve; empty: it does
	since    time.Time
	leaving  []netip.Addr
	refused  []netip.Addr // new connections to them are
	draining bool
	sitesAt  time.Time
}

// buildCache makes the cache server; nil where none is configured.
func (d *parts) buildCache(j *journal.Journal, onAlarm func(string, bool)) error {
	if !d.cfg.Cache.On() {
		return nil
	}
	cfg, err := d.cacheConfig(d.cfg)
	if err != nil {
		return err
	}
	c := &cacheServer{log: d.log, pop: string(d.cfg.POP), journal: j, onAlarm: onAlarm, disk: d.cfg.Cache.Store.Disk, ready: make(chan struct{}), cfg: cfg}
	d.steer = newRedirects(d, j)
	c.steering = d.steer.steering()
	c.resume, c.fromZero = d.begins()
	if err := c.make(); err != nil {
		return err
	}
	d.cache = c
	return nil
}

// jumpsFrom is how long an answer is that can gain by a jump.
const jumpsFrom = 256 << 10

// begins is what hears of answers before their first byte, and whether it hears
// of those from the beginning of an object as well.
func (d *parts) begins() (func(cache.Resuming), bool) {
	f, stated := d.flows, d.cfg.Resync.Jump.Stated > 0
	switch {
	case !d.slow.measures() && f == nil:
		return nil, false
	case !d.slow.measures():
		return func(r cache.Resuming) {
			if r.First > 0 || r.Length >= jumpsFrom {
				f.resume(r)
			}
		}, stated
	}
	return func(r cache.Resuming) {
		d.slow.begins(r)
		if f != nil && (r.First > 0 || stated && r.Length >= jumpsFrom) {
			f.resume(r)
		}
	}, true
}

func (c *cacheServer) String() string { return "cache" }

// Ready is closed when clients can connect.
func (c *cacheServer) Ready() <-chan struct{} { return c.ready }

// make makes the server that serves next.
func (c *cacheServer) make() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	srv, err := cache.New(cache.Options{Log: c.log, Config: c.cfg, Resume: c.resume, Starts: c.fromZero, Steering: c.steering})
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	c.srv = srv
	c.epoch++
	c.began, c.sitesAt = time.Now(), time.Now()
	return nil
}

func (c *cacheServer) server() *cache.Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.srv
}

// Run serves until ctx ends. Only a start that fails is an error.
func (c *cacheServer) Run(ctx context.Context) error {
	if err := listen(ctx, c.server()); err != nil {
		return err
	}
	close(c.ready)
	wait := againFirst
	for {
		began := time.Now()
		err := serveOnce(ctx, c.server())
		if ctx.Err() != nil || c.over() {
			return nil
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		if time.Since(began) > againMost {
			wait = againFirst
		}
		c.note(err)
		for err != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(wait):
			}
			wait = min(2*wait, againMost)
			if err = c.again(ctx); err != nil {
				c.note(err)
			}
		}
		c.note(nil)
	}
}

// serveOnce serves; a panic of the server itself is an error.
func serveOnce(ctx context.Context, srv *cache.Server) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return srv.Serve(ctx)
}

// listen opens the sockets; an error names the keys that the addresses come from.
func listen(ctx context.Context, srv *cache.Server) error {
	if err := srv.Listen(ctx); err != nil {
		return fmt.Errorf("cache.listen, cache.tls.listen: %w", err)
	}
	return nil
}

// again makes another server in the place of one that has failed.
func (c *cacheServer) again(ctx context.Context) error {
	if err := c.make(); err != nil {
		return err
	}
	srv := c.server()
	c.mu.Lock()
	srv.Refuse(c.refused)
	c.mu.Unlock()
	if err := listen(ctx, srv); err != nil {
		over, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, srv.Serve(over)) // which closes what it has opened
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	srv.Leave(c.leaving)
	srv.Refuse(c.refused) // it may have changed
	return nil
}

// note keeps why it does not serve, and says when that begins and ends.
func (c *cacheServer) note(err error) {
	c.mu.Lock()
	was := c.trouble
	c.trouble = ""
	if err != nil {
		c.trouble = err.Error()
	}
	if was == "" || err == nil {
		c.since = time.Now()
	}
	c.mu.Unlock()
	switch {
	case err != nil:
		c.log.Error("cache: it does not serve", "err", err)
	case was != "":
		c.log.Info("cache: it serves again")
	}
	c.onAlarm(cacheAlarm, err != nil)
}

// Alarms: cacheAlarm is on while the cache server does not serve, and
// cacheDiskAlarm while it serves without its disk.
const (
	cacheAlarm     = "cache"
	cacheDiskAlarm = "cache-disk"
)

// diskEvery is how often the disk is looked at for the metrics.
const diskEvery = 5 * time.Second

// diskWatch tells the metrics how the disk is.
type diskWatch struct{ c *cacheServer }

func (diskWatch) String() string { return "cache disk" }

func (w diskWatch) Run(ctx context.Context) error {
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		w.c.onAlarm(cacheDiskAlarm, !diskWell(w.c.server().Status().Disk))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// over reports whether it was drained for good.
func (c *cacheServer) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// leave lets go of the clients of these addresses, and of no others.
func (c *cacheServer) leave(addrs []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Equal(addrs, c.leaving) {
		return
	}
	c.leaving = slices.Clone(addrs)
	if len(addrs) > 0 {
		c.log.Info("cache: clients of addresses whose route moves are let go", "addresses", addrs)
	} else {
		c.log.Info("cache: clients stay")
	}
	c.srv.Leave(c.leaving)
}

// Refuse implements pop.Doors.
func (c *cacheServer) Refuse(addrs []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = slices.Clone(addrs)
	if len(addrs) > 0 {
		c.log.Info("cache: new connections are refused", "addresses", addrs)
	} else {
		c.log.Info("cache: new connections are taken")
	}
	c.srv.Refuse(c.refused)
}

// drain takes no more connections and lets what runs end, until ctx does.
func (c *cacheServer) drain(ctx context.Context) {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.draining = true
	srv := c.srv
	c.mu.Unlock()
	if err := srv.Drain(ctx); err != nil {
		c.log.Warn("cache: not everything ended in time", "err", err)
	}
}

// adopt makes it go by another configuration, which has been judged.
func (c *cacheServer) adopt(d *parts, cfg *config.Config) error {
	if c == nil {
		return nil
	}
	next, err := d.cacheConfig(cfg)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.srv.Reload(next); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	c.cfg, c.sitesAt = next, time.Now()
	return nil
}

// carried is what it has carried.
func (c *cacheServer) carried() carried {
	n := c.server().Counters()
	return carried{Requests: n.Requests, Sent: n.BytesOut, Connections: n.Connections}
}

func (c *cacheServer) starts() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// Describe implements prometheus.Collector: what there is shows when it is
// asked.
func (c *cacheServer) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *cacheServer) Collect(ch chan<- prometheus.Metric) { c.server().Collect(ch) }

// tasks are the parts in the order in which they start, before BGP and after
// the controller.
func (d *parts) cacheTasks() (before, after []task) {
	if d.cache == nil {
		return nil, nil
	}
	return []task{d.cache}, []task{leaver{controller: d.controller, cfg: &d.inForce, leave: d.cache.leave, dry: d.dry}, diskWatch{d.cache}, d.steer}
}
