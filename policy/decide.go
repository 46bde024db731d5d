package policy

import (
	"fmt"
	"slices"
	"time"
)

// Decider is the policy with its guards. The zero value decides without any
// guard, which only tests want; policy/guard.Standard gives all of them.
type Decider struct {
	Guards []Guard
}

// Decide says what should be announced at now, given the last state and all
// inputs. It returns the state for the next call and changes neither argument.
//
// Slices are decided in the order of their prefixes, so that a guard that
// counts changes treats equal inputs equally.
func (d Decider) Decide(last State, in Input, now time.Time) (State, Decision) {
	r := round{guards: d.Guards, state: last.clone(), in: &in, now: now}
	r.trimReductions()
	for _, s := range r.state.Slices {
		if s.Stance.Announced() {
			r.announced++
		}
	}
	ts := r.targets()
	r.takeTurn(ts)
	r.out.Turn = r.state.Turn
	r.out.Slices = make([]SliceDecision, 0, len(ts))
	for _, t := range ts {
		r.decide(t)
	}
	return r.state, r.out
}

// round is one call of Decide.
type round struct {
	guards    []Guard
	state     State
	in        *Input
	now       time.Time
	announced int
	out       Decision
}

// target is one slice to decide about. Gone slices are in the state but no
// longer in the configuration.
type target struct {
	service *Service
	slice   SliceID
	cover   bool
	gone    bool
}

// targets lists every slice of the configuration and the state, by prefix.
func (r *round) targets() []target {
	ts := make([]target, 0, len(r.state.Slices))
	seen := make(map[SliceID]bool, len(r.state.Slices))
	for i := range r.in.Services {
		svc := &r.in.Services[i]
		for _, id := range svc.Slices {
			ts, seen[id] = append(ts, target{service: svc, slice: id}), true
		}
		for _, id := range svc.Cover {
			ts, seen[id] = append(ts, target{service: svc, slice: id, cover: true}), true
		}
	}
	for id, s := range r.state.Slices {
		if !seen[id] {
			ts = append(ts, target{service: &Service{ID: s.Service, Rungs: 1}, slice: id, gone: true})
		}
	}
	slices.SortFunc(ts, func(a, b target) int { return a.slice.Prefix().Compare(b.slice.Prefix()) })
	return ts
}

// decide takes one slice from what the rule wants through the guards to the
// stance, and notes it in the state and the decision.
func (r *round) decide(t target) {
	s, known := r.state.Slices[t.slice]
	if !known {
		s = SliceState{Stance: Stance{}, Reason: Reason{Code: Starting}, Since: r.now}
	}
	s.Service = t.service.ID
	w := r.want(t, &s)
	if w.stance.Action == Withdraw && (s.Stance.Announced() || w.guarded()) {
		if s.Leaving.IsZero() {
			s.Leaving = r.now
		}
	} else {
		s.Leaving = time.Time{}
	}
	out := SliceDecision{Service: t.service.ID, Slice: t.slice, Before: s.Stance, Want: w.stance, Why: w.why, Wake: w.wake, Leaving: s.Leaving, Intent: w.intent}
	stance, reason := r.guard(t, s, w, &out)
	if w.drain && stance.Action == Announce && slices.ContainsFunc(out.Guards, func(v GuardVerdict) bool { return v.Queued }) {
		s.Drain = time.Time{} // it has not begun
	}
	r.settle(t, &s, stance, reason)
	if why := r.in.Invalid[t.slice]; why != "" && s.Stance.Announced() {
		r.out.Alarms = append(r.out.Alarms, Alarm{Name: AlarmInvalid, Service: t.service.ID, Slice: t.slice, Detail: "announced, and RPKI-invalid: " + why})
	}
	out.Stance, out.Reason, out.Since = s.Stance, s.Reason, s.Since
	out.Changed = out.Stance != out.Before
	r.out.Slices = append(r.out.Slices, out)
	r.out.Wake = earliest(r.out.Wake, out.Wake)
	if t.gone && !s.Stance.Announced() {
		delete(r.state.Slices, t.slice)
		return
	}
	r.state.Slices[t.slice] = s
}

// guard asks every guard about the change and returns the stance that is left.
// Of several objections the one wins that keeps most traffic here. Where the
// checks have stalled the guards are asked even about no change: a runner that
// is dead changes no verdict, and somebody must hear of it.
func (r *round) guard(t target, s SliceState, w wish, out *SliceDecision) (Stance, Reason) {
	if stalled := w.stance.Announced() && r.health(t).Stalled; w.stance == s.Stance && !w.guarded() && !stalled {
		return w.stance, w.why
	}
	q := Question{
		Service: *t.service, Slice: t.slice, State: s, From: s.Stance, To: w.stance, Why: w.why, Forced: w.force, Drain: w.drain, Turn: r.state.Turn,
		Input: r.in, Reductions: r.state.Reductions, Moved: r.state.Moved, Announced: r.announced, Now: r.now,
	}
	stance, reason := w.stance, w.why
	for _, g := range r.guards {
		v := g.Ask(q)
		v.Guard = g.Name()
		if v.Answer == Allow {
			if v.Detail != "" {
				out.Guards = append(out.Guards, v)
			}
			continue
		}
		out.Guards = append(out.Guards, v)
		out.Wake = earliest(out.Wake, v.Wake)
		r.out.Ask = r.out.Ask || v.Ask
		if v.Alarm {
			r.out.Alarms = append(r.out.Alarms, Alarm{Name: v.Guard, Service: t.service.ID, Slice: t.slice, Detail: v.Detail})
		}
		if left := r.left(t, s, w, v.Answer); reason.Code != Guarded || stance.Less(left) {
			stance, reason = left, Reason{Code: Guarded, Guard: v.Guard, Detail: v.Detail + " (wanted: " + w.stance.String() + ", " + w.why.String() + ")"}
		}
	}
	return stance, reason
}

// left is what a guard's objection leaves: after a veto the stance as it is;
// of a weakened withdraw an announcement on the last rung, or what is less
// preferred already and still announced (a running drain, say).
func (r *round) left(t target, s SliceState, w wish, a GuardAnswer) Stance {
	if a == Veto || w.stance.Action != Withdraw {
		return s.Stance
	}
	last := Stance{Action: Announce, Rung: clampRung(t.service, t.service.LastRung)}
	if s.Stance.Announced() && s.Stance.Less(last) {
		return s.Stance
	}
	return last
}

// settle writes the stance into the state and does the bookkeeping of damping
// and blast.
func (r *round) settle(t target, s *SliceState, stance Stance, reason Reason) {
	before := s.Stance
	s.Reason = reason
	s.Served = s.Served || stance.Announced()
	if stance == before {
		return
	}
	s.Stance, s.Since = stance, r.now
	switch {
	case before.Announced() && !stance.Announced():
		r.announced--
		if reason.Code == CheckDown {
			s.Penalty = s.Penalty.add(t.service.Damping, r.now)
		}
	case !before.Announced() && stance.Announced():
		r.announced++
	}
	if stance.Less(before) {
		r.state.Reductions = append(r.state.Reductions, r.now)
		if r.in.Limits.BlastTraffic > 0 {
			r.state.Moved = append(r.state.Moved, Moved{r.now, r.in.TrafficOf(t.slice)})
		}
	}
}

// trimReductions forgets what is older than the blast interval.
func (r *round) trimReductions() {
	from := r.now.Add(-r.in.Limits.BlastInterval)
	r.state.Reductions = slices.DeleteFunc(r.state.Reductions, func(t time.Time) bool { return !t.After(from) })
	r.state.Moved = slices.DeleteFunc(r.state.Moved, func(m Moved) bool { return !m.At.After(from) })
}

func clampRung(s *Service, rung int) int {
	return max(0, min(rung, s.Rungs-1))
}

func until(now, t time.Time) string {
	return fmt.Sprintf("%v more", t.Sub(now).Round(100*time.Millisecond))
}
