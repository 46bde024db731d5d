package pop

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// Try reads a configuration as a reload would and says what it changes, or
// why a reload would be refused. Nothing takes it over.
type Try func(old *config.Config, text, format string) (*config.Config, []string, error)

// planTime bounds how long a plan may take, waiting for another included.
const planTime = 20 * time.Second

var errPlanTime = api.Errorf(api.Unavailable, "the plan takes too long: ask for a shorter time ahead, or for less")

// Plan says what would happen if. The same code that decides is run on copies
// of the state and the inputs, in virtual time and on the caller's goroutine:
// the controller's own state, the journal, the other POPs and the speaker see
// nothing of it.
func (c *Controller) Plan(ctx context.Context, r api.PlanRequest) (api.Plan, error) {
	if err := r.Validate(); err != nil {
		return api.Plan{}, err
	}
	if _, err := c.seen(ctx); err != nil {
		return api.Plan{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, planTime, errPlanTime)
	defer cancel()
	select { // one at a time: who may only read must not be able to keep the daemon busy
	case c.planning <- struct{}{}:
		defer func() { <-c.planning }()
	case <-ctx.Done():
		return api.Plan{}, context.Cause(ctx)
	}
	var is situation
	if err := c.call(ctx, func() { is = c.situation(time.Now()) }); err != nil {
		return api.Plan{}, err
	}
	horizon := time.Duration(r.For)
	if horizon == 0 {
		horizon = api.PlanHorizon
	}
	would := is.copy()
	p := api.Plan{POP: is.cfg.POP, Now: is.now, Until: api.Duration(horizon)}
	for _, s := range r.Suppose {
		s = would.meant(s)
		p.Suppose = append(p.Suppose, words(s))
		refused, err := would.suppose(s, c.opt.Try)
		if err != nil {
			return api.Plan{}, err
		}
		if refused != "" {
			p.Refused, p.Settled = refused, true
			return p, nil
		}
	}
	would.in.Receivers = would.receivers()
	without, err := is.foresee(ctx, horizon)
	if err != nil {
		return api.Plan{}, err
	}
	if end, ends := would.ends(); ends { // then nobody decides any more
		horizon = min(horizon, end)
		p.Until = api.Duration(horizon)
	}
	with, err := would.foresee(ctx, horizon)
	if err != nil {
		return api.Plan{}, err
	}
	p.Settled = with.settled
	p.Changes = would.changes
	p.Slices = planned(&is, &would, without, with)
	p.Notes = append(prevented(without, with), would.remarks(p)...)
	shifts := append(would.becomes(p), would.shifts...)
	p.Loads = would.loads(shifts)
	is.instead(ctx, &would, r, shifts, without, &p)
	return p, nil
}

// situation is all that decides at one moment, and what comes of it. What it
// shares with the controller is never changed by either.
type situation struct {
	now     time.Time
	cfg     *config.Config
	decider policy.Decider
	state   policy.State
	in      policy.Input
	checks  map[policy.ServiceID][]health.State
	index   announcements
	view    *View // of the last round
	peers   []bgp.PeerState
	links   links

	measured *load.Snapshot           // what this POP carries; nil: nothing is measured
	matrices Matrices                 // nil: none
	capacity map[policy.POPID]float64 // by what the capacity of a POP is supposed to be multiplied
	shifts   []shift                  // what other POPs are supposed to announce otherwise

	quiet   map[policy.POPID]bool // not heard any more
	later   []happening
	fresh   []string // SERVICE/CHECK, started by a reload
	changes []string
	notes   []string
}

// happening is something that is taken to happen later: by itself, not by
// what is supposed.
type happening struct {
	at   time.Time
	when string
	do   func(*situation)
}

// situation copies what decides. It is called on the controller's goroutine.
func (c *Controller) situation(now time.Time) situation {
	v := c.view.Load()
	s := situation{
		now: now, cfg: c.cfg, decider: c.decider, state: c.state, in: v.Input, checks: v.Checks, index: c.index,
		view: v, peers: v.Peers, links: linksOf(c.cfg), matrices: c.opt.Matrices,
	}
	if c.opt.Measured != nil {
		m := c.opt.Measured.Snapshot()
		s.measured = &m
	}
	for _, p := range v.Input.Fleet.Peers {
		if !p.Fresh(v.Input.Limits, v.Now) {
			s.silence(p.POP)
		}
	}
	s.later = c.windowsAhead(now)
	return s.copy()
}

// copy is one that may be changed.
func (s *situation) copy() situation {
	c := *s
	c.in.Intents = slices.Clone(s.in.Intents)
	c.in.Health = maps.Clone(s.in.Health)
	c.in.Fleet.Peers = slices.Clone(s.in.Fleet.Peers)
	c.checks = maps.Clone(s.checks)
	c.peers = slices.Clone(s.peers)
	c.quiet = maps.Clone(s.quiet)
	c.capacity = maps.Clone(s.capacity)
	c.shifts = slices.Clone(s.shifts)
	c.later = slices.Clone(s.later)
	return c
}

// silence makes a POP one that is not heard from now on.
func (s *situation) silence(id policy.POPID) {
	if s.quiet == nil {
		s.quiet = map[policy.POPID]bool{}
	}
	s.quiet[id] = true
}

// service returns the configuration of a service.
func (s *situation) service(id policy.ServiceID) *config.Service {
	for i := range s.cfg.Services {
		if s.cfg.Services[i].ID == id {
			return &s.cfg.Services[i]
		}
	}
	return nil
}

// judge puts the checks of a service together as the controller does.
func (s *situation) judge(svc *config.Service) {
	if svc.Always {
		return
	}
	was := s.in.Health[svc.ID]
	h := health.Combine(svc.Combine, s.checks[svc.ID])
	h.Empty, h.Stalled = len(svc.Checks) == 0, was.Stalled
	s.in.Health[svc.ID] = h
}

// ends is when the daemon is gone at the latest, if it is told to stop.
func (s *situation) ends() (time.Duration, bool) {
	stops := slices.ContainsFunc(s.in.Intents, func(in policy.Intent) bool { return in.Kind == policy.IntentStop })
	return s.cfg.Stop.Deadline, stops && s.cfg.Stop.Deadline > 0
}

// remarks are what a plan takes for granted.
func (s *situation) remarks(p api.Plan) []string {
	out := slices.Clone(s.notes)
	if s.view.dry {
		out = append(out, "This is a dry run: nothing is announced, now or then.")
	}
	if s.view.blind {
		out = append(out, "The state of the life before is lost: until the checks have spoken nothing is announced or withdrawn.")
	}
	if s.in.Fleet.Configured {
		out = append(out, "Other POPs that are heard now are taken to go on as they are.")
	}
	if end, ends := s.ends(); ends {
		out = append(out, fmt.Sprintf("The daemon ends once all is withdrawn, after %v at the latest (stop.deadline); what a guard keeps announced until then routers keep for graceful restart's time.", end))
	}
	idle := map[policy.ServiceID]bool{}
	for _, sl := range p.Slices {
		svc := s.service(sl.Service)
		for _, st := range sl.Steps {
			if svc != nil && svc.DrainIdle > 0 && st.Stance.Action == policy.Drain && !idle[svc.ID] {
				idle[svc.ID] = true
				out = append(out, fmt.Sprintf("%s: the drain ends earlier once it has at most %.0f connections.", svc.ID, svc.DrainIdle))
			}
		}
	}
	return out
}
