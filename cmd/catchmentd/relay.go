package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/core/host"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/metrics"
	"github.com/catchment/catchment/pop/relay"
)

// relays is this POP's place in the relay tree. A follower's core runs through
// it; at a member, or a POP that asks members itself, it runs beside the core.
type relays struct {
	cfg   *config.Config
	host  *host.Host
	fleet *fleet.Tree // nil: nobody here decides by what others say
	dry   bool        // it listens, and says nothing in the POP's name
	log   *slog.Logger
	now   atomic.Pointer[relay.Node] // nil: it has not run yet
}

// relayOf makes the place that a configuration asks for, and lets the core go
// through it; nil: none.
func relayOf(cfg *config.Config, h *host.Host, f *fleet.Tree, log *slog.Logger) *relays {
	if h == nil || !cfg.Relay.On() {
		return nil
	}
	r := &relays{cfg: cfg, host: h, fleet: f, log: log.With("part", "relay")}
	if f != nil {
		f.Wake(func() {
			if n := r.now.Load(); n != nil {
				n.Tell()
			}
		})
	}
	h.Relays()
	if r.follows() {
		h.Through(r.open)
	}
	return r
}

// follows reports whether the core is known by the tree.
func (r *relays) follows() bool {
	return r.cfg.Core.Mode == config.CoreFollow && len(r.cfg.Relay.Parents) > 0
}

// open makes the core of a follower.
func (r *relays) open(files core.Files) (*core.Core, error) {
	n, err := r.node(files, nil)
	if err != nil {
		return nil, err
	}
	return core.NewFollower(n.Running(), core.Options{Log: r.log}), nil
}

func (r *relays) node(files core.Files, top *core.Core) (*relay.Node, error) {
	o := relay.Options{
		POP: string(r.cfg.POP), Core: top, Listen: r.cfg.Relay.Listen, Advertise: r.cfg.Relay.Advertise,
		Files: files, Dir: filepath.Join(r.cfg.Core.Dir, "relay"), Log: r.log,
	}
	for _, p := range r.cfg.Relay.Parents {
		o.Parents = append(o.Parents, relay.Parent{POP: p.POP, Address: p.Address})
	}
	if r.fleet != nil {
		o.OnPresence = r.hear
	}
	if r.fleet != nil && !r.dry {
		o.Presence = r.say
	}
	n, err := relay.New(o)
	if err == nil {
		r.now.Store(n)
	}
	return n, err
}

// say is what we state of ourselves.
func (r *relays) say(ctx context.Context) (relay.Said, error) {
	if err := r.host.Sole(); err != nil {
		return relay.Said{}, err
	}
	s, err := r.fleet.Say(ctx)
	return relay.Said{Boot: s.Boot, Sequence: s.Sequence, Payload: s.Body, Asks: s.Asks, Urgent: s.Urgent}, err
}

// hear takes in what another POP states. One that says nothing of slices is
// waiting for its configuration, or only carries.
func (r *relays) hear(p relay.Presence) {
	if len(p.Payload) == 0 {
		return
	}
	h := fleet.Hearing{POP: policy.POPID(p.POP), Boot: p.Boot, Sequence: p.Sequence, Made: p.Made, Body: p.Payload}
	for _, a := range p.Acks {
		if a.POP == string(r.cfg.POP) {
			h.AckBoot, h.Ack = a.Boot, a.Sequence
		}
	}
	if err := r.fleet.Hear(h); err != nil {
		r.log.Debug("what a POP states is not taken", "pop", p.POP, "through", p.From, "err", err)
	}
}

func (r *relays) String() string { return "relay" }

// relayRetry is how long a node that failed is left alone.
const relayRetry = 15 * time.Second

// Run runs the node where the core does not go through it. What goes wrong
// here ends nothing: the POP announces without a tree as well.
func (r *relays) Run(ctx context.Context) error {
	if r.follows() {
		return nil
	}
	select {
	case <-r.host.Core().Ready():
	case <-ctx.Done():
		return nil
	}
	for {
		n, err := r.node(r.host.Files(), r.host.Core())
		if err == nil {
			err = n.Run(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		r.log.Error("nobody can follow this POP, announcing goes on", "err", err, "again", relayRetry)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(relayRetry):
		}
	}
}

// buildRelay makes this POP's place in the relay tree; none where the
// configuration names neither whom to follow nor where to be followed.
func (d *parts) buildRelay(m *metrics.Metrics) {
	d.relay = relayOf(d.cfg, d.core, d.fleet.Tree(), d.log)
	if d.relay != nil {
		d.relay.dry = d.dry
		m.WatchRelay(d.relay.stats)
	}
}

// stats tells the metrics of the tree.
func (r *relays) stats() (metrics.Relay, bool) {
	n := r.now.Load()
	if n == nil {
		return metrics.Relay{}, false
	}
	s := n.Status()
	out := metrics.Relay{
		Rooted: s.Standing == relay.Rooted, Depth: len(s.Path) - 1, Revision: s.Revision, Behind: max(0, s.Head-s.Revision),
		Children: len(s.Children), Below: s.Below, BehindBelow: max(0, s.Head-s.Lowest), POPs: s.POPs, Refused: map[string]uint64{},
		Sent: s.Counts.Sent, Received: s.Counts.Received, Mismatches: s.Counts.Mismatches, Switches: s.Counts.Switches, Parent: s.Parent,
	}
	if !s.Heard.IsZero() {
		out.Age = time.Since(s.Heard)
	}
	for _, why := range relay.Refusals() {
		out.Refused[string(why)] = s.Refused[why]
	}
	return out, true
}

// admin is the core as operators use it, with its relay tree.
type admin struct {
	host.Admin
	relay *relays
}

// CoreStatus implements api.Core.
func (a admin) CoreStatus(ctx context.Context) (api.CoreStatus, error) {
	st, err := a.Admin.CoreStatus(ctx)
	if a.relay != nil {
		st.Relay = a.relay.status()
	}
	return st, err
}

// status is the tree as the API shows it; nil: it has not run yet.
func (r *relays) status() *api.CoreRelay {
	n := r.now.Load()
	if n == nil {
		return nil
	}
	s := n.Status()
	out := &api.CoreRelay{
		Standing: string(s.Standing), Path: s.Path, Since: s.Since, Heard: s.Heard, Why: s.Why, Revision: s.Revision,
		Behind: max(0, s.Head-s.Revision), Below: int64(s.Below), BehindBelow: max(0, s.Head-s.Lowest), POPs: int64(s.POPs),
	}
	for _, c := range s.Children {
		if !c.Beside {
			out.Followers = append(out.Followers, c.POP)
		}
	}
	return out
}
