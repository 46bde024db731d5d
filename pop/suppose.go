package pop

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// asker is who asks for an intent that is only supposed.
const asker = "the plan"

// suppose makes one thing happen. refused says why it could not, although the
// question makes sense.
func (s *situation) suppose(what api.Supposition, try Try) (refused string, err error) {
	switch what.Kind {
	case api.SupposeCheck:
		return "", s.supposeCheck(what)
	case api.SupposePOP:
		return "", s.supposePOP(what)
	case api.SupposeNeighbor:
		return "", s.supposeNeighbor(what)
	case api.SupposeConfig:
		return s.supposeConfig(what, try)
	case api.SupposeCapacity:
		return "", s.supposeCapacity(what)
	}
	if what.Rung != "" {
		return "", s.supposeRung(what)
	}
	if what.POP != "" {
		return "", s.supposeElsewhere(what)
	}
	switch what.Kind {
	case api.SupposeUndrain:
		return "", s.release(what, policy.IntentDrain)
	case api.SupposeRelease:
		return "", s.release(what, policy.IntentHold, policy.IntentPin)
	}
	if err := s.known(what.Service, what.Slice); err != nil {
		return "", err
	}
	s.ask(what)
	return "", nil
}

// known refuses what there is not.
func (s *situation) known(svc policy.ServiceID, slice policy.SliceID) error {
	if svc != "" && s.service(svc) == nil {
		var names []string
		for _, o := range s.cfg.Services {
			names = append(names, string(o.ID))
		}
		return api.Errorf(api.NotFound, "no service %q here; there are: %s", svc, strings.Join(names, ", "))
	}
	if slice == (policy.SliceID{}) {
		return nil
	}
	if _, ok := s.state.Slices[slice]; !ok {
		if _, ok = s.index[slice]; !ok {
			return api.Errorf(api.NotFound, "no slice %v here", slice)
		}
	}
	return nil
}

// ask puts an intent in force, as Controller.Intent does.
func (s *situation) ask(what api.Supposition) {
	in := policy.Intent{
		Kind: policy.IntentKind(what.Kind), Service: what.Service, Slice: what.Slice, By: asker, At: s.now,
		Wait: time.Duration(what.Wait), Force: what.Force,
	}
	switch what.Kind {
	case api.SupposeWithdraw:
		in.Kind = policy.IntentPin
	case api.SupposePin:
		in.Stance = *what.Stance
	case api.SupposeStop:
		in.Wait = max(0, s.cfg.Stop.Deadline-stopReserve) // as Stop has it
	}
	if what.For > 0 {
		in.Until = s.now.Add(time.Duration(what.For))
	}
	s.in.Intents = slices.DeleteFunc(s.in.Intents, func(o policy.Intent) bool {
		return o.Kind == in.Kind && o.Service == in.Service && o.Slice == in.Slice
	})
	s.in.Intents = append(s.in.Intents, in)
}

// release ends intents, as Controller.Release does.
func (s *situation) release(what api.Supposition, kinds ...policy.IntentKind) error {
	r, n := api.Released{Kinds: kinds, Service: what.Service, Slice: what.Slice}, len(s.in.Intents)
	s.in.Intents = slices.DeleteFunc(s.in.Intents, func(in policy.Intent) bool { return released(in, r) })
	if len(s.in.Intents) == n {
		if err := s.known(what.Service, what.Slice); err != nil {
			return err
		}
		return api.Errorf(api.NotFound, "there is nothing to release for %s", scope(what.Service, what.Slice))
	}
	return nil
}

func (s *situation) supposeCheck(what api.Supposition) error {
	if err := s.known(what.Service, policy.SliceID{}); err != nil {
		return err
	}
	svc := s.service(what.Service)
	if svc.Always {
		return api.Errorf(api.Invalid, "%s is announced always: no check drives it", svc.ID)
	}
	states := slices.Clone(s.checks[svc.ID])
	found := false
	for i := range states {
		c := &states[i]
		if what.Check != "" && c.Spec.ID != what.Check || what.Check == "" && (c.Spec.Shared || c.Spec.Maintenance) {
			continue
		}
		found = true
		if c.Verdict != what.Verdict {
			c.Since, c.DetectedAt = s.now, s.now
		}
		c.Verdict = what.Verdict
		c.Last = health.Result{Outcome: outcomeOf[what.Verdict], Detail: "supposed to be " + what.Verdict.String()}
	}
	if !found {
		var names []string
		for _, c := range svc.Checks {
			names = append(names, string(c.ID))
		}
		if what.Check == "" {
			return api.Errorf(api.NotFound, "%s has no checks of its own", svc.ID)
		}
		return api.Errorf(api.NotFound, "%s has no check %q; there are: %s", svc.ID, what.Check, strings.Join(names, ", "))
	}
	s.checks[svc.ID] = states
	s.judge(svc)
	return nil
}

var outcomeOf = map[policy.Verdict]health.Outcome{
	policy.Up: health.Pass, policy.Degraded: health.Warn, policy.Down: health.Fail, policy.Unknown: health.CannotTell,
}

func (s *situation) supposePOP(what api.Supposition) error {
	i := s.peer(what.POP)
	if i < 0 {
		return s.noPOP(what.POP)
	}
	switch what.Is {
	case api.IsSilent:
		s.notes = append(s.notes, fmt.Sprintf("What %s carries while it is not heard is not known: its load is taken to stay.", what.POP))
	case api.IsUp:
		s.shiftAll(what.POP, policy.Stance{Action: policy.Announce})
	default:
		s.shiftAll(what.POP, policy.Stance{})
	}
	p := &s.in.Fleet.Peers[i]
	before, counted := *p, !s.quiet[p.POP]
	if counted && what.Is != api.IsUp {
		defer s.lacking(before)
	}
	if what.Is == api.IsSilent {
		s.silence(p.POP)
		return nil
	}
	delete(s.quiet, p.POP)
	if p.Heard.IsZero() && p.Source != "rib" {
		p.Asked = s.now // from now on it answers
	}
	p.Heard = s.now
	was := p.Slices
	p.Slices = map[policy.SliceID]policy.PeerSlice{}
	for id, c := range was {
		switch what.Is {
		case api.IsGone:
			c.Stance, c.Leaving = policy.Stance{}, false
		case api.IsDown:
			if c.Verdict != policy.Down {
				c.Verdict, c.DownSince = policy.Down, s.now
			}
			c.Leaving = true
		}
		p.Slices[id] = c
	}
	if what.Is == api.IsUp {
		for id, r := range s.index {
			if !r.gone {
				p.Slices[id] = policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}
			}
		}
	}
	return nil
}

// lacking notes for which slices this POP would be one of the last, once
// another does not announce them any more.
func (s *situation) lacking(lost policy.Peer) {
	var last []string
	for i := range s.cfg.Services {
		svc := &s.cfg.Services[i]
		for _, id := range svc.Slices {
			if guard.WhyNot(lost, id) != "" {
				continue // it did not count before
			}
			n := 0
			for _, p := range s.in.Fleet.Peers {
				if !s.quiet[p.POP] && guard.WhyNot(p, id) == "" {
					n++
				}
			}
			if n < max(1, svc.MinPOPs) && s.state.Slices[id].Stance.Announced() {
				last = append(last, id.String())
			}
		}
	}
	if more := len(last) - mostPrevented; more > 0 {
		last = append(last[:mostPrevented], fmt.Sprintf("%d more", more))
	}
	if len(last) > 0 {
		s.notes = append(s.notes, fmt.Sprintf("Without %s too few other POPs announce %s: what is announced here stays even if its checks say down, and no drain withdraws it without --force (guard last-pop).",
			lost.POP, strings.Join(last, ", ")))
	}
}

func (s *situation) supposeNeighbor(what api.Supposition) error {
	var names []string
	for i := range s.peers {
		n := &s.peers[i]
		names = append(names, n.Address.String())
		if n.Address != what.Neighbor {
			continue
		}
		n.State = bgp.Idle
		if what.Is == api.IsUp {
			n.State = bgp.Established
		} else if n.GracefulRestart {
			s.notes = append(s.notes, fmt.Sprintf("%v is a graceful restart helper: if its session is lost without a Cease it keeps our routes for the restart time.", n.Address))
		}
		return nil
	}
	return api.Errorf(api.NotFound, "no neighbor %v; there are: %s", what.Neighbor, strings.Join(names, ", "))
}

// supposeConfig takes a configuration over as a reload does.
func (s *situation) supposeConfig(what api.Supposition, try Try) (refused string, err error) {
	if try == nil {
		return "", api.Errorf(api.Refused, "this daemon cannot reload")
	}
	format := what.Format
	if format == "" {
		format = "yaml"
	}
	cfg, changes, err := try(s.cfg, what.Config, format)
	if err != nil {
		return err.Error(), nil
	}
	s.cfg, s.changes = cfg, append(s.changes, changes...)
	s.index = index(cfg, s.index.forced(s.view.Decision))
	s.links = linksOf(cfg)
	s.in.Limits, s.in.Services = cfg.Limits, make([]policy.Service, len(cfg.Services))
	old := s.checks
	s.checks = map[policy.ServiceID][]health.State{}
	s.fresh = nil
	var first time.Duration
	for i := range cfg.Services {
		svc := &cfg.Services[i]
		s.in.Services[i] = svc.Service
		for _, c := range svc.Checks {
			st, kept := carried(old[svc.ID], c, svc.ID)
			if !kept {
				s.fresh = append(s.fresh, string(svc.ID)+"/"+string(c.ID))
				first = max(first, passing(c))
			}
			s.checks[svc.ID] = append(s.checks[svc.ID], st)
		}
		s.judge(svc)
	}
	if len(s.fresh) > 0 {
		s.later = append(s.later, happening{at: s.now.Add(first), when: "once checks pass", do: (*situation).pass})
		s.notes = append(s.notes, fmt.Sprintf("New and changed checks are taken to pass within %v, which nobody has tried: %s.", first.Round(100*time.Millisecond), strings.Join(s.fresh, ", ")))
	}
	return "", nil
}

// carried is what of a check survives a reload: all of it where its probe is
// the same (health.Runner.Set).
func carried(old []health.State, c config.Check, svc policy.ServiceID) (health.State, bool) {
	spec := c.Spec(svc, nil)
	for _, st := range old {
		if st.Spec.ID == c.ID && st.Spec.Key == spec.Key {
			st.Spec = &spec
			return st, true
		}
	}
	return health.State{Spec: &spec}, false
}

// passing is about how long a new check takes to say up.
func passing(c config.Check) time.Duration {
	fast := c.Fast
	if fast == 0 {
		fast = min(max(c.Interval/10, 50*time.Millisecond), time.Second)
	}
	return time.Duration(max(c.Rise, 1)) * fast
}

// pass makes every check pass that a reload started.
func (s *situation) pass() {
	s.checks = maps.Clone(s.checks)
	for i := range s.cfg.Services {
		svc := &s.cfg.Services[i]
		states := slices.Clone(s.checks[svc.ID])
		for k := range states {
			if slices.Contains(s.fresh, string(svc.ID)+"/"+string(states[k].Spec.ID)) {
				states[k].Verdict = policy.Up
			}
		}
		s.checks[svc.ID] = states
		s.judge(svc)
	}
}

// words says what is supposed.
func words(s api.Supposition) string {
	switch s.Kind {
	case api.SupposeCheck:
		of := "every check of " + string(s.Service)
		if s.Check != "" {
			of = "check " + string(s.Service) + "/" + string(s.Check)
		}
		return of + " says " + s.Verdict.String()
	case api.SupposePOP:
		return "POP " + string(s.POP) + " is " + s.Is
	case api.SupposeNeighbor:
		return "neighbor " + s.Neighbor.String() + " is " + s.Is
	case api.SupposeConfig:
		return "a reload with another configuration"
	}
	if s.Kind == api.SupposeCapacity {
		return fmt.Sprintf("%s can carry %g of what it can", s.POP, s.Capacity)
	}
	out := string(s.Kind)
	if _, err := strconv.Atoi(s.Rung); err == nil && s.Kind == api.SupposePrepend {
		out += " " + s.Rung + " more times"
	}
	if out += " of " + scope(s.Service, s.Slice); s.POP != "" {
		out += " at " + string(s.POP)
	}
	if s.Rung != "" && !strings.Contains(out, "more times") {
		out += " to rung " + s.Rung
	}
	if s.Kind == api.SupposeStop {
		out = "the daemon is told to stop"
	}
	if s.Stance != nil {
		out += " to " + s.Stance.String()
	}
	if s.For > 0 {
		out += " for " + s.For.String()
	}
	if s.Force {
		out += ", forced"
	}
	return out
}
