// Package host is a daemon's share of the control core: from the section core
// of the configuration it makes a member, or a client of members elsewhere;
// it gets and keeps the certificates, lets other POPs join where the fleet's
// authority lives, and says at any time whether the core answers.
//
// It owns the directory core.dir. It decides nothing about traffic, and
// nothing that goes wrong here ends the daemon: Run returns when it is told
// to, and Trouble says what a person should look at.
package host

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
)

// Host is the daemon's share of the core.
type Host struct {
	cfg   config.Core
	pop   string
	log   *slog.Logger
	core  *core.Core
	files core.Files // of the certificate; empty: none is needed
	// through opens the core in place of a client of members; nil: it is that.
	through func(core.Files) (*core.Core, error)
	relays  bool // POPs can follow by a relay tree

	dry       bool                    // nothing is said in the POP's name
	name      naming                  // lease: of keepName; other, seen: by mu
	authority atomic.Pointer[core.CA] // nil: this POP does not keep it
	endpoints atomic.Pointer[[]string]

	mu      sync.Mutex
	trouble map[string]string // what is wrong, by what it is about
	reached bool
	since   time.Time // of reached
	last    core.Status
	changed chan struct{} // closed when what Reachable says changes
}

// New makes a Host of a section that has a mode. Run starts it.
func New(cfg config.Core, pop string, log *slog.Logger) *Host {
	h := &Host{
		cfg: cfg, pop: pop, log: log.With("part", "core"), files: filesOf(cfg),
		trouble: map[string]string{}, since: time.Now(), changed: make(chan struct{}), name: naming{looked: make(chan struct{})},
	}
	h.core = core.NewLater(h.open, core.Options{Log: h.log})
	return h
}

// Over makes a Host of a core that somebody else runs, such as a model in
// memory. Its Run only watches it.
func Over(c *core.Core, pop string, log *slog.Logger) *Host {
	h := New(config.Core{Mode: config.CoreExternal, Name: pop}, pop, log)
	h.core = c
	return h
}

func (h *Host) String() string { return "core" }

// Dry has the host say nothing in the POP's name. It is called before Run.
func (h *Host) Dry() { h.dry = true }

// Core is the core; whatever is asked of it before it is reached fails with
// core.Unavailable.
func (h *Host) Core() *core.Core { return h.core }

// Write is what this POP writes by itself.
func (h *Host) Write(why string) core.Write { return core.Write{Who: "pop " + h.pop, Why: why} }

// Authority is the fleet's certificate authority; nil where this POP does not
// keep it.
func (h *Host) Authority() *core.CA { return h.authority.Load() }

// retry is how long an engine that failed is left alone.
const retry = 15 * time.Second

// Run keeps the core until ctx ends, and joins everything it started. It
// returns nil.
func (h *Host) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { h.probe(ctx) })
	wg.Go(func() { h.attend(ctx) })
	for {
		err := h.core.Run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		h.log.Error("the core does not run here, announcing goes on", "err", err)
		h.wrong("engine", fmt.Sprint(err))
		if core.Final(err) {
			<-ctx.Done()
			return nil
		}
		if !lapse.Of(ctx, retry) {
			return nil
		}
		h.right("engine")
	}
}

// attend does what can be done once the core answers.
func (h *Host) attend(ctx context.Context) {
	select {
	case <-h.core.Ready():
	case <-ctx.Done():
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	if h.files.Cert != "" && h.cfg.TLS == nil {
		wg.Go(func() { h.keepCertificate(ctx) })
		wg.Go(func() { h.followTrust(ctx) })
	}
	if h.authority.Load() != nil {
		wg.Go(func() { h.serveJoins(ctx) })
	}
	if !h.cfg.Alone && !h.dry {
		wg.Go(func() { h.keepName(ctx) })
	}
	if h.cfg.Mode == config.CoreEmbedded {
		wg.Go(func() { h.publish(ctx) })
	}
	if h.cfg.Mode != config.CoreFollow {
		wg.Go(func() { h.runRollouts(ctx) })
	}
	if h.cfg.Mode == config.CoreFollow && len(h.cfg.Endpoints) == 0 {
		wg.Go(func() { h.followMembers(ctx) })
	}
}

// wrong notes what is wrong about something, right that it is not any more.
func (h *Host) wrong(about, what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble[about] = what
}

func (h *Host) right(about string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.trouble, about)
}

// Trouble is what a person should look at; empty: nothing.
func (h *Host) Trouble() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, about := range []string{"engine", "name", "join", "certificate", "joins", "config"} {
		if t := h.trouble[about]; t != "" {
			out = append(out, t)
		}
	}
	if !h.reached && len(out) == 0 && time.Since(h.since) > patience {
		out = append(out, fmt.Sprintf("it has not answered for %v; announcing goes on", time.Since(h.since).Round(time.Second)))
	}
	for _, a := range h.last.Alarms {
		out = append(out, "its alarm: "+a)
	}
	return strings.Join(out, "; ")
}
