package health

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/catchment/catchment/policy"
)

// Mode is how the checks of a service make one verdict.
type Mode string

// Modes.
const (
	ModeAll     Mode = "all"     // down when any check is down; the zero Mode is the same
	ModeAny     Mode = "any"     // down when all checks are down
	ModeQuorum  Mode = "quorum"  // down when fewer than Rule.Quorum checks are up
	ModeWeights Mode = "weights" // down when the share of capacity up is below Rule.DownBelow, or nothing is up
)

// Rule says how the checks of a service are combined.
type Rule struct {
	Mode   Mode
	Quorum int // with ModeQuorum: how many must be up
	// DegradedBelow is the share of capacity below which a service that is not
	// down is degraded; 1 means as soon as anything is missing, 0 never.
	DegradedBelow float64
	// DownBelow is the share below which it is down; with ModeWeights only.
	DownBelow float64
}

// Validate reports what is wrong with the rule for a service with that many
// local checks (neither shared nor maintenance).
func (r Rule) Validate(local int) error {
	switch r.Mode {
	case "", ModeAll, ModeAny, ModeWeights:
	case ModeQuorum:
		if r.Quorum < 1 || r.Quorum > local {
			return fmt.Errorf("quorum %d: must be from 1 to the number of checks that count, %d", r.Quorum, local)
		}
	default:
		return fmt.Errorf("mode %q: want all, any, quorum or weights", r.Mode)
	}
	if r.Quorum != 0 && r.Mode != ModeQuorum {
		return fmt.Errorf("quorum %d: only with mode quorum", r.Quorum)
	}
	if !(r.DegradedBelow >= 0 && r.DegradedBelow <= 1) {
		return fmt.Errorf("degraded-below %v: must be from 0 to 1", r.DegradedBelow)
	}
	if !(r.DownBelow >= 0 && r.DownBelow <= 1) {
		return fmt.Errorf("down-below %v: must be from 0 to 1", r.DownBelow)
	}
	return nil
}

// epsilon is what sums of weights may be off by: 0.1+0.2 is not below 0.3.
const epsilon = 1e-9

// Combine turns the checks of one service into what policy wants to know.
//
// Shared and maintenance checks never count for the verdict: they are told
// apart in Health.Shared and Health.Maintenance. A check that is unknown
// decides nothing: the service is down only if it were down with every unknown
// check up, up or degraded only if it were so whatever they are, else unknown.
// A degraded check counts as up, and the service is then at best degraded.
// Fraction counts what is known to be up. Stalled is not set here, because it
// needs a clock: see State.Stalled.
func Combine(rule Rule, states []State) policy.Health {
	var h policy.Health
	var local []*State
	for i := range states {
		s := &states[i]
		down := s.Verdict == policy.Down
		switch {
		case s.Spec.Maintenance:
			h.Maintenance = h.Maintenance || down
		case s.Spec.Shared:
			if down {
				h.Shared = append(h.Shared, failure(s))
			}
		default:
			local = append(local, s)
			if down {
				h.Failing = append(h.Failing, failure(s))
			}
		}
	}
	if len(local) == 0 {
		h.Empty = true
		return h
	}
	slices.SortStableFunc(local, func(a, b *State) int { return a.Since.Compare(b.Since) })
	h.Verdict, h.Fraction = rule.judge(local, len(local))
	h.Since = rule.since(local, h.Verdict)
	h.Rising = h.Verdict == policy.Down && rule.rising(local)
	return h
}

// rising reports whether the service would not be down if every check whose
// last run passed were up already.
func (r Rule) rising(local []*State) bool {
	risen := make([]*State, len(local))
	for i, s := range local {
		risen[i] = s
		if s.Verdict == policy.Down && (s.Last.Outcome == Pass || s.Last.Outcome == Warn) {
			up := *s
			up.Verdict = policy.Up
			risen[i] = &up
		}
	}
	v, _ := r.judge(risen, len(risen))
	return v != policy.Down
}

func failure(s *State) policy.Failure {
	return policy.Failure{Check: s.Spec.ID, Detail: s.Last.Detail}
}

// since returns when the verdict was decided. Taking the checks in the order
// of their last change, and all later ones as unknown, a verdict once reached
// stays: so the first number of checks that reaches it is found by bisection.
func (r Rule) since(local []*State, v policy.Verdict) time.Time {
	if v == policy.Unknown {
		return local[len(local)-1].Since
	}
	n := 1 + sort.Search(len(local)-1, func(i int) bool {
		got, _ := r.judge(local, i+1)
		return got == v
	})
	return local[n-1].Since
}

// sums is what is known of the checks.
type sums struct {
	checks, up, unknown      int
	weight, upWeight, unsure float64
	degraded                 bool
}

// judge combines the checks, taking those from the n-th on as unknown.
func (r Rule) judge(local []*State, n int) (policy.Verdict, float64) {
	s := sums{checks: len(local)}
	flat := !slices.ContainsFunc(local, func(s *State) bool { return s.Spec.Weight > 0 })
	for i, c := range local {
		w := c.Spec.Weight
		if flat { // nobody gave weights
			w = 1
		}
		s.weight += w
		v := c.Verdict
		if i >= n {
			v = policy.Unknown
		}
		switch v {
		case policy.Up, policy.Degraded:
			s.up++
			s.upWeight += w
			s.degraded = s.degraded || v == policy.Degraded
		case policy.Unknown:
			s.unknown++
			s.unsure += w
		}
	}
	worst := r.verdict(s, s.up, s.upWeight)
	best := r.verdict(s, s.up+s.unknown, s.upWeight+s.unsure)
	if best != worst {
		worst = policy.Unknown
	}
	return worst, min(s.upWeight/s.weight, 1)
}

// verdict judges with so many checks up, of so much weight.
func (r Rule) verdict(s sums, up int, weight float64) policy.Verdict {
	share := weight/s.weight + epsilon
	var down bool
	switch r.Mode {
	case ModeAny:
		down = up == 0
	case ModeQuorum:
		down = up < min(max(r.Quorum, 1), s.checks)
	case ModeWeights:
		down = up == 0 || weight <= 0 || share < r.DownBelow
	default:
		down = up < s.checks
	}
	switch {
	case down:
		return policy.Down
	case s.degraded || share < r.DegradedBelow:
		return policy.Degraded
	}
	return policy.Up
}
