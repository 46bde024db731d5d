package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// drainSettle is the least time a drain stays de-preferred, so that routers
// have found the other paths before the traffic is looked at.
const drainSettle = 2 * time.Second

// risingAgain is when to look again at a service that is down, passes and is
// still announced: a later failure changes no verdict.
const risingAgain = time.Second

// wish is what the rule wants, before the guards.
type wish struct {
	stance Stance
	why    Reason
	wake   time.Time // when time alone may change the wish
	force  bool
	intent *Intent // whose wish it is; nil: not an operator's
	// watched: a withdraw that the guards judge even where it changes nothing.
	watched bool
	drain   bool // it is a step of a drain that somebody asked for, not of a stop
}

// guarded reports whether the guards judge the wish even where it changes
// nothing: a withdraw by health must stay right while it lasts, or the last
// two POPs that left at the same moment would both stay away.
func (w wish) guarded() bool {
	return w.stance.Action == Withdraw && (w.watched || w.why.Code == CheckDown)
}

// want is the rule: intents of the operator first, then health. It updates
// what the slice remembers about health on the way.
func (r *round) want(t target, s *SliceState) wish {
	h := r.health(t)
	r.track(s, h)
	better := s.Better
	s.Better = time.Time{} // until the rule wants a milder rung again
	if t.gone {
		return wish{stance: Stance{}, why: Reason{Code: Removed, Detail: "no longer in the configuration"}}
	}
	static := t.cover || t.service.Always
	r.hold(t, s, static)
	in, asked := r.intent(t, static)
	drain := asked && in.Kind == IntentDrain || !asked && !static && h.Maintenance
	if drain && r.waitsTurn() {
		if w, ok := r.meanwhile(t, s, h, better, static); ok {
			return w
		}
	}
	switch {
	case asked:
		return r.wantIntent(t, s, h, in, static)
	case static:
		return r.wantStatic(t, s)
	case h.Maintenance: // also of a service that is down: it is being worked on
		in := Intent{Kind: IntentDrain, By: "maintenance check", Why: details(h.Failing)}
		w := r.wantDrain(t, s, h, in)
		w.why.Code, w.drain = Maintenance, true
		return w
	}
	s.Drain = time.Time{}
	return r.wantHealth(t, s, h, better)
}

// wantStatic is what does not depend on health.
func (r *round) wantStatic(t target, s *SliceState) wish {
	s.Drain = time.Time{}
	why := "static prefix"
	if t.cover {
		why = "cover prefix: health never withdraws it"
	}
	return wish{stance: Stance{Action: Announce}, why: Reason{Code: Always, Detail: why}}
}

// health returns the service's health; a service nobody told about is unknown.
func (r *round) health(t target) Health { return r.in.Health[t.service.ID] }

// track notes since when the service has been up without a break.
func (r *round) track(s *SliceState, h Health) {
	switch h.Verdict {
	case Up, Degraded:
		if s.UpSince.IsZero() {
			s.UpSince = r.now
		}
	case Down:
		s.UpSince = time.Time{}
	}
}

// intent returns the strongest intent that speaks of the slice: stop, then
// drain, pin and hold; of two of a kind the newer. Static prefixes and covers
// follow a stop, and otherwise only what names their service.
func (r *round) intent(t target, static bool, kinds ...IntentKind) (Intent, bool) {
	var best Intent
	for _, in := range r.in.Intents {
		if !in.Covers(t.service.ID, t.slice) || !in.Until.IsZero() && !r.now.Before(in.Until) {
			continue
		}
		if len(kinds) > 0 && !slices.Contains(kinds, in.Kind) {
			continue
		}
		if in.Kind != IntentStop && (t.cover && in.Slice != t.slice || static && in.Service == "") {
			continue
		}
		if in.rank() > best.rank() || in.rank() == best.rank() && in.At.After(best.At) {
			best = in
		}
	}
	return best, best.Kind != ""
}

// hold notes the stance that a hold freezes: the one when it was asked for,
// whatever a restart or a drain makes of the slice meanwhile. A drain is no
// stance to freeze; what it takes away comes back.
func (r *round) hold(t target, s *SliceState, static bool) {
	in, ok := r.intent(t, static, IntentHold)
	switch {
	case !ok:
		s.Held = Held{}
	case !in.At.Equal(s.Held.At):
		s.Held = Held{Stance: s.Stance, At: in.At}
		if s.Stance.Action == Drain {
			s.Held.Stance = Stance{Action: Announce}
		}
	}
}

// wantHold is the frozen stance. After a restart it waits until the checks
// have said anything at all: the service may not have been started yet.
func (r *round) wantHold(t target, s *SliceState, h Health, in Intent, static bool) wish {
	why := Reason{Code: Operator, Detail: "held by " + in.who()}
	if s.Held.Stance.Announced() && !s.Stance.Announced() && h.Verdict == Unknown && !static {
		why.Detail += ", waits for the first verdict"
		return wish{stance: s.Stance, why: why}
	}
	to := s.Held.Stance
	to.Rung = clampRung(t.service, to.Rung)
	return wish{stance: to, why: why}
}

// Covers reports whether the intent speaks of the slice.
func (in Intent) Covers(service ServiceID, slice SliceID) bool {
	if in.Slice != (SliceID{}) {
		return in.Slice == slice
	}
	return in.Service == "" || in.Service == service
}

func (r *round) wantIntent(t target, s *SliceState, h Health, in Intent, static bool) wish {
	if in.Kind != IntentDrain && in.Kind != IntentStop {
		s.Drain = time.Time{}
	}
	var w wish
	switch in.Kind {
	case IntentDrain, IntentStop:
		w = r.wantDrain(t, s, h, in)
	case IntentPin:
		w = wish{stance: in.Stance, why: Reason{Code: Operator, Detail: in.pinned() + " by " + in.who()}}
		w.stance.Rung = clampRung(t.service, w.stance.Rung)
	default:
		w = r.wantHold(t, s, h, in, static)
	}
	w.wake = earliest(w.wake, in.Until)
	w.force, w.intent, w.drain = in.Force, &in, in.Kind == IntentDrain
	return w
}

func (in Intent) who() string {
	if in.Why == "" {
		return in.By
	}
	return in.By + ": " + in.Why
}

// wantDrain is the drain as a timed transaction: de-preferred until the load
// is low or the time is over, then withdrawn. A service that is down has
// nothing to wait for; its withdraw stays the operator's, so that no guard
// against wrong checks stands in the way of a maintenance or a stop.
func (r *round) wantDrain(t target, s *SliceState, h Health, in Intent) wish {
	code := Operator
	if in.Kind == IntentStop {
		code = Stopping
	}
	if in.Window != "" {
		code = Maintenance
		if !s.Stance.Announced() && !s.UpSince.IsZero() {
			s.UpSince = r.now // what is worked on is not up: the hold-down begins when the window is over
		}
	}
	if s.Drain.IsZero() {
		s.Drain = r.now
	}
	gone := func(why string) wish {
		return wish{stance: Stance{}, why: Reason{Code: code, Detail: "drained for " + in.who() + ", " + why}}
	}
	if !s.Stance.Announced() {
		return gone("withdrawn")
	}
	if h.Verdict == Down && t.service.WithdrawOnDown && !h.Stalled && !t.cover && !t.service.Always {
		return gone("nothing to wait for, it is down: " + details(h.Failing))
	}
	wait := t.service.DrainWait
	switch {
	case in.Wait > 0 && in.Kind == IntentStop:
		wait = min(wait, in.Wait)
	case in.Wait > 0:
		wait = in.Wait
	}
	end, settled := s.Drain.Add(wait), s.Drain.Add(min(wait, drainSettle))
	if !r.now.Before(end) {
		return gone(fmt.Sprintf("its %v are over", wait))
	}
	load, measured := r.in.Load[t.service.ID]
	idle := t.service.DrainIdle > 0 && measured
	if idle && load <= t.service.DrainIdle && !r.now.Before(settled) {
		return gone(fmt.Sprintf("its load is down to %.0f", load))
	}
	wake := end
	if idle && r.now.Before(settled) {
		wake = settled
	}
	detail := "draining for " + in.who() + ", at most " + until(r.now, end)
	if measured {
		detail += fmt.Sprintf(", load %.0f", load)
	}
	return wish{stance: Stance{Action: Drain}, why: Reason{Code: code, Detail: detail}, wake: wake}
}

// wantHealth is the reflex: verdicts to stances. A slice that a guard kept on
// the air while its service was down is not taken away in the very moment in
// which the service comes back.
func (r *round) wantHealth(t target, s *SliceState, h Health, better time.Time) wish {
	svc := t.service
	if h.Empty {
		return wish{stance: Stance{}, why: Reason{Code: NoVerdict, Detail: "no checks are configured"}}
	}
	switch h.Verdict {
	case Down:
		s.Judged = true
		if h.Rising && s.Stance.Announced() {
			return wish{stance: s.Stance, why: Reason{Code: Recovering, Detail: "down, but it passes again: " + details(h.Failing)}, wake: r.now.Add(risingAgain)}
		}
		why := Reason{Code: CheckDown, Detail: details(h.Failing)}
		if !svc.WithdrawOnDown {
			to, why := r.forLoad(t, Stance{Action: Announce, Rung: clampRung(svc, svc.LastRung)}, why)
			return wish{stance: to, why: why, watched: why.Code == Load}
		}
		return wish{stance: Stance{}, why: why}
	case Degraded:
		return r.rise(t, s, better, Stance{Action: Announce, Rung: clampRung(svc, svc.DegradedRung)},
			Reason{Code: CheckPart, Detail: fmt.Sprintf("%.0f %% of capacity up; %s", h.Fraction*100, details(h.Failing))})
	case Up:
		if len(h.Shared) > 0 {
			return r.rise(t, s, better, Stance{Action: Announce, Rung: clampRung(svc, svc.SharedRung)},
				Reason{Code: SharedDown, Detail: details(h.Shared)})
		}
		return r.rise(t, s, better, Stance{Action: Announce}, Reason{Code: Healthy})
	}
	why := Reason{Code: NoVerdict, Detail: "checks have not said anything that counts"}
	if !s.Judged && !s.Stance.Announced() {
		why.Code = Starting
	}
	// What health took away comes back by last-pop where nobody is left, no
	// less than if it were known to be down still.
	return wish{stance: s.Stance, why: why, watched: s.Judged && s.Served}
}

// rise lets a slice come back or climb to a milder rung only when hold-down,
// damping and dwell allow it. Who climbs must have been better for the whole
// hold-down: a service that toggles stays on the lower rung. What load took
// away it gives back in its own time: only the hold-down since up counts.
func (r *round) rise(t target, s *SliceState, better time.Time, to Stance, why Reason) wish {
	to, why = r.forLoad(t, to, why)
	if to.Action == Withdraw {
		s.Judged = true
		return wish{stance: to, why: why, watched: true}
	}
	if !s.Stance.Announced() {
		if w, wait := r.waiting(t, s); wait {
			return w
		}
		s.Judged = true
		return wish{stance: to, why: why}
	}
	s.Judged = true
	if !s.Stance.Less(to) || s.Stance.Action == Drain {
		return wish{stance: to, why: why}
	}
	if s.Reason.Code == Load && !r.now.Before(s.UpSince.Add(t.service.HoldDown)) {
		return wish{stance: to, why: why}
	}
	s.Better = better
	if s.Better.IsZero() {
		s.Better = r.now
	}
	end, code, what := s.Better.Add(t.service.HoldDown), HoldDown, "hold-down before the milder rung, "
	if dwell := s.Since.Add(t.service.Dwell); dwell.After(end) && s.Reason.Code != Guarded {
		end, code, what = dwell, Dwell, "minimum stay on this rung, "
	}
	if r.now.Before(end) {
		return wish{stance: s.Stance, why: Reason{Code: code, Detail: what + until(r.now, end)}, wake: end}
	}
	return wish{stance: to, why: why}
}

// waiting reports whether a withdrawn slice must still wait although its
// service is up: for the hold-down, or for the penalty to decay. A POP whose
// slice certainly nobody else announces does not wait; one that cannot see
// anybody who does waits for the hold-down, not for the penalty.
func (r *round) waiting(t target, s *SliceState) (wish, bool) {
	var end time.Time
	s.Penalty, end = s.Penalty.settle(t.service.Damping, r.now)
	others := r.in.Fleet.announcers(t.slice, r.in.Limits, r.now)
	if others != somebody {
		end = time.Time{}
	}
	code, what := Damped, "flap penalty, "
	if hold := s.UpSince.Add(t.service.HoldDown); s.Judged && hold.After(end) {
		end, code, what = hold, HoldDown, ""
	}
	if others == nobody || !r.now.Before(end) {
		return wish{}, false
	}
	return wish{stance: Stance{}, why: Reason{Code: code, Detail: what + until(r.now, end)}, wake: end}, true
}

// announcers is what is known of who else announces a slice.
type announcers uint8

const (
	somebody   announcers = iota // or no fleet is configured
	nobodySeen                   // no fresh peer does; of others nothing is known
	nobody                       // every peer is fresh and none does
)

// announcers tells whether a slice is needed here at once.
func (f Fleet) announcers(slice SliceID, l Limits, now time.Time) announcers {
	if !f.Configured || len(f.Peers) == 0 {
		return somebody
	}
	all := nobody
	for _, p := range f.Peers {
		switch {
		case !p.Fresh(l, now):
			all = nobodySeen
		case p.Slices[slice].Stance.Announced():
			return somebody
		}
	}
	return all
}

// Fresh reports whether what the peer said is young enough to be believed: the
// rule of the stale guard.
func (p Peer) Fresh(l Limits, now time.Time) bool {
	return !p.Heard.IsZero() && (l.StaleAfter <= 0 || now.Sub(p.Heard) <= l.StaleAfter)
}

func details(fs []Failure) string {
	parts := make([]string, len(fs))
	for i, f := range fs {
		parts[i] = string(f.Check) + ": " + f.Detail
	}
	return strings.Join(parts, "; ")
}
