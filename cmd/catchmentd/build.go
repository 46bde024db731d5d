package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/bgp/addr"
	"github.com/catchment/catchment/bgp/bfd"
	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/health/socket"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/balance"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core/host"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/matrix"
	"github.com/catchment/catchment/pop/metrics"
	"github.com/catchment/catchment/pop/turns"
	"github.com/catchment/catchment/server/resync/flow"
	"github.com/catchment/catchment/server/resync/flow/tap"
)

// parts are the daemon's parts, built and not started, and the order in which
// they start.
type parts struct {
	cfg        *config.Config // of the start; the controller has the one in force
	origin     *origin
	dry        bool
	log        *slog.Logger
	deadline   atomic.Int64 // stop.deadline in force, nanoseconds
	asked      chan string  // size one: who wants the daemon to stop
	controller *pop.Controller
	speaker    *gobgp.Speaker
	server     *api.Server
	runner     *health.Runner
	watcher    *socket.Watcher
	load       *load.Runner
	matrix     *matrix.Book
	balance    *balance.Loop
	bfd        *bfd.Manager
	resets     *resets
	fleet      *fleet.Fleet
	core       *host.Host    // nil: no control core
	relay      *relays       // nil: in no relay tree
	turns      *turns.Keeper // nil: no shared control core, or a dry run
	routes     *routes       // nil: no FIB
	ingress    *routeControl // nil: no ingress routers
	cache      *cacheServer  // nil: no cache server
	steer      *redirects    // of its clients; nil: no cache server
	flows      *flows        // nil: flows do not go on elsewhere
	dns        *rendezvous   // nil: no DNS server
	cost       *costs        // nil: it is not built yet
	slow       *slowNets     // nil: client networks are not measured
	table      *flow.Table   // nil: nobody looks at the kernel's flows
	tap        *tap.Tap      // what the table reads them by; nil: sock_diag
	inForce    atomic.Pointer[config.Config]
	tasks      []task
}

// judged are the judges of what config itself knows nothing of.
func judged() config.Options {
	return config.Options{
		Env: os.Environ(),
		BGP: func(section map[string]any) ([]netip.Addr, error) {
			c, err := gobgp.ParseConfig(section)
			if err != nil {
				return nil, err
			}
			var addrs []netip.Addr
			for _, n := range c.Neighbors() {
				addrs = append(addrs, n.Address)
			}
			return addrs, nil
		},
		Group: knownGroup,
		TLS:   func(t config.TLS) error { return api.TLS(t).Check() },

		Matrix: judgeCatchments, SitesFile: readSites, Cache: judgeCache, DNS: judgeDNS, Slowness: judgeSlowness,
	}
}

// knownGroup refuses a name that this host has no group for. A number needs
// none.
func knownGroup(group string) error {
	if _, err := strconv.ParseUint(group, 10, 31); err == nil {
		return nil
	}
	_, err := user.LookupGroup(group)
	if errors.As(err, new(user.UnknownGroupError)) {
		return fmt.Errorf("there is no group %q on this host", group)
	}
	return err
}

// base are the parts that others are made with: what is on the disk, and what
// is measured of all of them.
type base struct {
	journal   *journal.Journal
	store     *pop.Store
	addresses *addr.Manager
	metrics   *metrics.Metrics
}

// build makes every part. Nothing runs and nobody hears of us yet.
func build(cfg *config.Config, src *origin, dry bool, stderr io.Writer) (*parts, error) {
	d := &parts{cfg: cfg, origin: src, dry: dry, log: logger(cfg.Log, stderr), asked: make(chan string, 1)}
	d.deadline.Store(int64(cfg.Stop.Deadline))
	d.inForce.Store(cfg)
	b, err := d.buildBase()
	if err != nil {
		return nil, err
	}
	if d.fleet, err = d.buildFleet(); err != nil {
		return nil, err
	}
	d.buildCore()
	d.buildTurns()
	d.watchCore(b.metrics)
	d.buildRelay(b.metrics)
	if err := d.buildServers(b); err != nil {
		return nil, err
	}
	d.buildController(b)
	if err := errors.Join(d.setChecks(cfg), d.measure(cfg), d.seed(cfg)); err != nil {
		return nil, err
	}
	if err := d.buildBalance(b.journal); err != nil {
		return nil, err
	}
	d.buildCosts(b.journal)
	b.metrics.Register(d.cost)
	if err := d.buildAPI(); err != nil {
		return nil, err
	}
	if err := d.buildBGP(b.store, dry); err != nil {
		return nil, err
	}
	if err := d.buildIngress(b.store, b.journal, b.metrics); err != nil {
		return nil, err
	}
	page, err := d.page()
	if err != nil {
		return nil, err
	}
	d.tasks = d.order(b, page)
	return d, nil
}

// buildBase makes the directories, and what is kept in them.
func (d *parts) buildBase() (b base, err error) {
	if err := os.MkdirAll(d.cfg.StateDir, 0o750); err != nil {
		return b, fmt.Errorf("state-dir: %w", err)
	}
	for _, socket := range []string{d.cfg.API.Socket, d.cfg.API.GoBGPSocket} {
		if err := os.MkdirAll(filepath.Dir(socket), 0o755); socket != "" && err != nil {
			return b, fmt.Errorf("api: %w", err)
		}
	}
	b.journal, err = journal.Open(journal.Options{ // which keeps a second daemon out of the whole state-dir
		Dir: filepath.Join(d.cfg.StateDir, "journal"), MaxSize: d.cfg.Journal.MaxSize, Keep: d.cfg.Journal.Keep, Logger: d.log,
	})
	if err != nil {
		return b, fmt.Errorf("state-dir: %w", err)
	}
	if d.origin.fetched != nil {
		if err := d.origin.fetched.Begin(); err != nil {
			return b, fmt.Errorf("core.dir: %w", err)
		}
	}
	b.store = pop.NewStore(d.cfg.StateDir, d.log)
	if b.addresses, err = addr.New(addr.Options{StateFile: filepath.Join(d.cfg.StateDir, "addresses.json"), Logger: d.log}); err != nil {
		return b, err
	}
	b.metrics = metrics.New(metrics.Build{Version: version})
	b.metrics.WatchJournal(func() metrics.Journal { return journalStats(b.journal) })
	b.metrics.WatchFleet(func() metrics.Fleet { return fleetStats(d.fleet, time.Now()) })
	return b, nil
}

// buildServers makes what serves clients beside BGP, and lets their flows go on
// elsewhere.
func (d *parts) buildServers(b base) error {
	if err := d.buildSlowness(); err != nil {
		return err
	}
	if d.slow != nil {
		b.metrics.Register(d.slow)
	}
	if err := d.buildResync(b.journal); err != nil {
		return err
	}
	if d.flows != nil {
		b.metrics.Register(d.flows)
	} else {
		d.newTable()
	}
	if err := d.buildCache(b.journal, b.metrics.SetAlarm); err != nil {
		return err
	}
	if d.cache != nil {
		b.metrics.Register(d.cache)
	}
	if err := d.buildDNS(); err != nil {
		return err
	}
	if d.dns != nil {
		b.metrics.Register(d.dns.srv)
	}
	return nil
}

// buildController makes the controller, and what measures for it.
func (d *parts) buildController(b base) {
	m := b.metrics
	d.runner = health.NewRunner(health.Options{
		Logger:    d.log,
		OnVerdict: func(s health.State) { d.controller.OnVerdict(s) },
		OnResult: func(s health.State) {
			m.ObserveResult(s.Spec.Service, s.Spec.ID, api.CheckOf(s).Outcome, s.Last.Latency)
		},
	})
	d.watcher = socket.NewWatcher(socket.Options{Logger: d.log, OnHint: d.runner.Hint})
	d.load = load.NewRunner(d.log)
	d.matrix = matrix.NewBook(filepath.Join(d.cfg.StateDir, "matrix.json"), d.log)
	m.WatchLoad(func() metrics.Load { return loadStats(d.load.Snapshot()) })
	m.WatchBalance(d.balanceStats)
	d.controller = pop.New(pop.Options{
		Config: d.cfg, Announcer: announcer{d}, Checks: d.runner, Fleet: d.fleet, Journal: b.journal,
		Addresses: vips{b.addresses}, Doors: d.doors(), Loads: loads{}, Measured: d.load, Balance: shows{d}, Matrices: d.matrix, RPKI: announcer{d},
		Core: d.coreOf(), Turns: d.turnsOf(), Metrics: m, Store: b.store,
		Logger: d.log, Version: version, DryRun: d.dry, Reload: d.reload, Try: try,
	})
}

// order lists the tasks in the order in which they start. What may be refused
// comes first, so that a second daemon, or one that somebody else's listener
// is in the way of, ends before any neighbor has heard of it; the controller
// comes when all that it orders about is there.
func (d *parts) order(b base, page task) []task {
	tasks := []task{b.journal}
	if !d.dry { // what a dry run decides is nothing to begin with later
		tasks = append(tasks, b.store)
	}
	if d.cfg.Metrics.Listen != "" {
		tasks = append(tasks, b.metrics.Server(d.cfg.Metrics.Listen))
	}
	if page != nil {
		tasks = append(tasks, page)
	}
	before, after := d.cacheTasks()
	tasks = append(tasks, before...)
	if d.table != nil && d.flows == nil {
		tasks = append(tasks, flowTable{d})
	}
	tasks = append(tasks, d.flows.tasks()...)
	tasks = append(tasks, d.dns.tasks()...)
	tasks = append(tasks, d.slow.tasks()...)
	tasks = append(tasks, d.server, d.fleet, d.resets, named{d.bfd, "bfd"}, d.speaker)
	if d.routes != nil {
		tasks = append(tasks, named{d.routes, "fib"})
	}
	tasks = append(tasks, named{b.addresses, "addresses"}, named{d.watcher, "sockets"}, named{d.runner, "checks"}, d.load, d.controller)
	tasks = append(tasks, after...)
	tasks = append(tasks, d.ingress.tasks()...)
	if d.core != nil {
		tasks = append(tasks, d.core)
		if !d.dry { // they are meant for the daemon that announces
			tasks = append(tasks, orders{d})
		}
	}
	if d.turns != nil {
		tasks = append(tasks, d.turns)
	}
	if d.relay != nil {
		tasks = append(tasks, d.relay)
	}
	tasks = append(tasks, d.balance, d.cost.keeper)
	if d.origin.fetched != nil {
		tasks = append(tasks, follow{d})
	}
	if w, wanted := newWatchdog(d.controller.Alive); wanted {
		tasks = append(tasks, w)
	}
	return tasks
}

func logger(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(c.Level)) // the configuration has judged it
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
