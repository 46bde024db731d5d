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
)

// Standard returns all guards, in the order in which they are named where
// several object alike.
func Standard() []policy.Guard {
	return []policy.Guard{OwnPrefix{}, Deadman{}, LastPOP{}, Stale{}, Correlated{}, Blast{}}
}

func allow(detail string) policy.GuardVerdict {
	return policy.GuardVerdict{Answer: policy.Allow, Detail: detail}
}

func object(a policy.GuardAnswer, format string, args ...any) policy.GuardVerdict {
	return policy.GuardVerdict{Answer: a, Detail: fmt.Sprintf(format, args...)}
}

// OwnPrefix lets nothing be announced that is not configured. The speaker has
// the same rule once more in its export policy.
type OwnPrefix struct{}

// Name returns "own-prefix".
func (OwnPrefix) Name() string { return NameOwnPrefix }

// Ask vetoes announcing a slice that no service lists.
func (OwnPrefix) Ask(q policy.Question) policy.GuardVerdict {
	if !q.To.Announced() {
		return allow("")
	}
	for _, s := range q.Input.Services {
		if slices.Contains(s.Slices, q.Slice) || slices.Contains(s.Cover, q.Slice) {
			return allow("")
		}
	}
	v := object(policy.Veto, "%v is not a prefix of any configured service", q.Slice)
	v.Alarm = true
	return v
}

// Deadman holds everything while the health runner shows no sign of life: its
// last verdicts say nothing about now.
type Deadman struct{}

// Name returns "deadman".
func (Deadman) Name() string { return NameDeadman }

// Ask vetoes changes by health while the service's checks are stalled.
func (Deadman) Ask(q policy.Question) policy.GuardVerdict {
	if !q.ByHealth() || !q.Input.Health[q.Service.ID].Stalled {
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

// Correlated takes a failure that is everywhere for a failure of the check.
type Correlated struct{}

// Name returns "correlated".
func (Correlated) Name() string { return NameCorrelated }

// Ask vetoes a loss of preference by health while many POPs are down at once,
// or fail the same check.
func (Correlated) Ask(q policy.Question) policy.GuardVerdict {
	l := q.Input.Limits
	if l.CorrelatedShare <= 0 || !q.ByHealth() || q.Forced || !q.To.Less(q.From) {
		return allow("")
	}
	here := q.Input.Health[q.Service.ID]
	down, known, same := 1, 1, map[policy.CheckID]int{}
	var who []string
	for _, p := range q.Input.Fleet.Peers {
		s, ok := p.Slices[q.Slice]
		if !ok || !p.Fresh(l, q.Now) || s.Verdict == policy.Unknown {
			continue
		}
		known++
		if s.Verdict == policy.Down && recent(s.DownSince, l.CorrelatedWindow, q.Now) {
			down++
			who = append(who, string(p.POP))
		}
		for _, c := range s.Failing {
			same[c]++
		}
	}
	if suspect(down, known, l.CorrelatedShare) {
		v := object(policy.Veto, "%d of %d POPs went down within %v (also %s): the check is suspect",
			down, known, l.CorrelatedWindow, strings.Join(who, ", "))
		v.Alarm = true
		return v
	}
	for _, f := range append(slices.Clone(here.Failing), here.Shared...) {
		if n := same[f.Check] + 1; suspect(n, known, l.CorrelatedShare) {
			v := object(policy.Veto, "check %s fails at %d of %d POPs: the check is suspect", f.Check, n, known)
			v.Alarm = true
			return v
		}
	}
	return allow("")
}

func suspect(n, of int, share float64) bool { return n >= 2 && float64(n) >= share*float64(of) }

func recent(t time.Time, window time.Duration, now time.Time) bool {
	return !t.IsZero() && (window <= 0 || now.Sub(t) <= window)
}
