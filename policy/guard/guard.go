// Package guard holds the safety rules that can veto or weaken a change. Each
// is a pure function of the question it is asked and has one name, which is
// the same in reasons, metrics, the journal and the documentation.
//
// Guards never make a change of their own. They see every change that the
// rule wants, and a withdraw by health again in each round while it lasts, so
// that a slice which was let go on an outdated view of the fleet comes back.
package guard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
)

// Names of the guards.
const (
	NameOwnPrefix  = "own-prefix"
	NameDeadman    = "deadman"
	NameLastPOP    = "last-pop"
	NameStale      = "stale"
	NameCorrelated = "correlated"
	NameBlast      = "blast"
	NameIsolated   = "isolated"
	NameHeadroom   = "headroom"
	NameDrains     = "drains"
)

// Standard returns all guards, in the order in which they are named where
// several object alike.
func Standard() []policy.Guard {
	return []policy.Guard{OwnPrefix{}, Deadman{}, LastPOP{}, Stale{}, Correlated{}, Isolated{}, Headroom{}, Drains{}, Blast{}}
}

func allow(detail string) policy.GuardVerdict {
	return policy.GuardVerdict{Answer: policy.Allow, Detail: detail}
}

func object(a policy.GuardAnswer, format string, args ...any) policy.GuardVerdict {
	return policy.GuardVerdict{Answer: a, Detail: fmt.Sprintf(format, args...)}
}

// OwnPrefix lets nothing be announced that is not configured. The speaker has
// the same rule once more in its export policy.
//
// It lets nothing begin to be announced that the RPKI calls invalid, unless it
// is forced. What is announced stays, and what has been announced here comes
// back where nobody else is known to announce it: a ROA or a cache that is
// wrong must not take a service off the air.
type OwnPrefix struct{}

// Name returns "own-prefix".
func (OwnPrefix) Name() string { return NameOwnPrefix }

// Ask vetoes announcing a slice that no service lists, or that is invalid.
func (OwnPrefix) Ask(q policy.Question) policy.GuardVerdict {
	if !q.To.Announced() {
		return allow("")
	}
	v := allow("")
	listed := slices.ContainsFunc(q.Input.Services, func(s policy.Service) bool {
		return slices.Contains(s.Slices, q.Slice) || slices.Contains(s.Cover, q.Slice)
	})
	why := q.Input.Invalid[q.Slice]
	switch {
	case !listed:
		v = object(policy.Veto, "%v is not a prefix of any configured service", q.Slice)
	case why == "" || q.From.Announced():
	case q.Forced:
		v.Detail = "forced although RPKI-invalid: " + why
	case q.State.Served && nobodyElse(q):
		v.Detail = "nobody else announces it, although RPKI-invalid: " + why
	default:
		v = object(policy.Veto, "RPKI-invalid: %s", why)
	}
	v.Alarm = v.Answer != policy.Allow
	return v
}

// nobodyElse reports whether no other POP is known to announce the slice.
func nobodyElse(q policy.Question) bool {
	fresh := func(p policy.Peer) bool { return p.Fresh(q.Input.Limits, q.Now) }
	return len(count(q, fresh).staying) == 0
}

// Deadman holds everything while the health runner shows no sign of life: its
// last verdicts say nothing about now.
type Deadman struct{}

// Name returns "deadman".
func (Deadman) Name() string { return NameDeadman }

// Ask vetoes changes by health or load while the service's checks are stalled.
func (Deadman) Ask(q policy.Question) policy.GuardVerdict {
	if !q.ByHealth() && q.Why.Code != policy.Load || !q.Input.Health[q.Service.ID].Stalled {
		return allow("")
	}
	v := object(policy.Veto, "the checks of %s have stopped running: their last verdicts drive nothing", q.Service.ID)
	v.Alarm = true
	return v
}

// Blast bounds how much may lose preference or be withdrawn within an
// interval, and takes an empty check set for a mistake.
type Blast struct{}

// Name returns "blast".
func (Blast) Name() string { return NameBlast }

// Ask vetoes a loss of preference beyond the limit, but always lets one slice
// an interval go. A daemon that stops is not held back, nor is a forced change.
func (Blast) Ask(q policy.Question) policy.GuardVerdict {
	if !q.To.Less(q.From) || q.Forced || q.Why.Code == policy.Stopping {
		return allow("")
	}
	if q.Input.Health[q.Service.ID].Empty && q.ByHealth() {
		v := object(policy.Veto, "%s has no checks: an empty check set means hold", q.Service.ID)
		v.Alarm = true
		return v
	}
	if v := movesTooMuch(q); v.Answer != policy.Allow {
		return v
	}
	l := q.Input.Limits
	used := len(q.Reductions)
	limit, what := l.BlastSlices, "slices"
	if share := int(l.BlastShare * float64(q.Announced+used)); l.BlastShare > 0 && (limit == 0 || share < limit) {
		limit, what = max(1, share), fmt.Sprintf("slices (%.0f %%)", l.BlastShare*100)
	}
	if limit == 0 || used < limit {
		return allow("")
	}
	v := object(policy.Veto, "%d of at most %d %s changed within %v", used, limit, what, l.BlastInterval)
	v.Wake = q.Reductions[0].Add(l.BlastInterval)
	v.Alarm = true
	return v
}

// movesTooMuch bounds the share of the fleet's traffic that one interval
// moves, by what is on the slices now. One slice an interval may always go.
func movesTooMuch(q policy.Question) policy.GuardVerdict {
	l := q.Input.Limits
	if l.BlastTraffic <= 0 || len(q.Moved) == 0 {
		return allow("")
	}
	used := 0.0
	for _, m := range q.Moved {
		used += m.Share
	}
	share, known := q.Input.Traffic[q.Slice]
	if !known {
		share = q.Input.TrafficOf(q.Slice)
	}
	if used+share <= l.BlastTraffic+1e-9 {
		return allow("")
	}
	what := fmt.Sprintf("%.1f %% are on it", share*100)
	if !known {
		what = "what is on it is not known"
	}
	v := object(policy.Veto, "%.1f of at most %.1f %% of the fleet's traffic changed within %v, %s", used*100, l.BlastTraffic*100, l.BlastInterval, what)
	v.Wake = q.Moved[0].At.Add(l.BlastInterval)
	v.Alarm = true
	return v
}

// Correlated takes a failure that is everywhere for a failure of the check.
//
// Only POPs that serve count: one that was taken out some time ago, for a
// repair, fails its checks for a reason of its own, and is no reason to keep a
// dead service announced elsewhere.
type Correlated struct{}

// Name returns "correlated".
func (Correlated) Name() string { return NameCorrelated }

// Ask vetoes a loss of preference by health while many POPs went down at once,
// or fail the same shared check, and while every POP fails the same check.
func (Correlated) Ask(q policy.Question) policy.GuardVerdict {
	l := q.Input.Limits
	if l.CorrelatedShare <= 0 || !q.ByHealth() || q.Forced || !q.To.Less(q.From) {
		return allow("")
	}
	here := q.Input.Health[q.Service.ID]
	e := epidemicOf(q)
	suspicion := ""
	if suspect(len(e.who)+1, e.known, l.CorrelatedShare) {
		suspicion = fmt.Sprintf("%d of %d POPs went down within %v (also %s)", len(e.who)+1, e.known, l.CorrelatedWindow, strings.Join(e.who, ", "))
	}
	for _, f := range here.Shared {
		if n := e.failing[f.Check] + 1; suspicion == "" && suspect(n, e.known, l.CorrelatedShare) {
			suspicion = fmt.Sprintf("check %s fails at %d of %d POPs", f.Check, n, e.known)
		}
	}
	for _, f := range here.Failing {
		if n := e.down[f.Check] + 1; suspicion == "" && suspect(n, e.known, 1) {
			suspicion = fmt.Sprintf("check %s fails at all %d POPs", f.Check, n)
		}
	}
	if suspicion == "" {
		return allow("")
	}
	v := object(policy.Veto, "%s: the check is suspect", suspicion)
	v.Alarm = true
	return v
}

// epidemic is what the POPs that serve a slice say of its health.
type epidemic struct {
	known   int                    // that say anything, this one included
	who     []string               // others that went down within the window
	failing map[policy.CheckID]int // others at which a check fails
	down    map[policy.CheckID]int // and that are down
}

func epidemicOf(q policy.Question) epidemic {
	l := q.Input.Limits
	e := epidemic{known: 1, failing: map[policy.CheckID]int{}, down: map[policy.CheckID]int{}}
	for _, p := range q.Input.Fleet.Peers {
		s, ok := p.Slices[q.Slice]
		isDown := s.Verdict == policy.Down
		lately := isDown && recent(s.DownSince, l.CorrelatedWindow, q.Now)
		if !ok || !p.Fresh(l, q.Now) || s.Verdict == policy.Unknown || isDown && !lately && !s.Stance.Announced() {
			continue
		}
		e.known++
		if lately {
			e.who = append(e.who, string(p.POP))
		}
		for _, c := range s.Failing {
			e.failing[c]++
			if isDown {
				e.down[c]++
			}
		}
	}
	return e
}

func suspect(n, of int, share float64) bool { return n >= 2 && float64(n) >= share*float64(of) }

func recent(t time.Time, window time.Duration, now time.Time) bool {
	return !t.IsZero() && (window <= 0 || now.Sub(t) <= window)
}
