package guard

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
)

// LastPOP never lets the last announcers of a slice go: at least MinPOPs other
// POPs, with MinCapacity of the fleet's capacity, must announce it, not be
// down and not be leaving themselves. A POP nobody has heard of counts for
// nothing.
//
// POPs that fail at the same moment each see the others as they were. So a POP
// may go at once only while it sees every other POP stay, and then only if it
// is not one of the slice's keepers: the first MinPOPs in the order of their
// names. A keeper, and everybody once some POP is gone, goes when MinPOPs
// others have answered a question that was asked after it knew it was leaving.
// A question tells as well as asks: who answered "I stay" knows from then on
// that the asker does not count, and cannot go without asking in its turn.
// Hence those that answered are there when the last one asks.
type LastPOP struct{}

// Name returns "last-pop".
func (LastPOP) Name() string { return NameLastPOP }

// Ask weakens a withdraw to the last rung where too few would remain, and
// vetoes it while a keeper waits for answers.
func (LastPOP) Ask(q policy.Question) policy.GuardVerdict {
	if !judgesFleet(q) {
		return allow("")
	}
	c := count(q, func(policy.Peer) bool { return true })
	if v, short := c.short(q); short {
		return v
	}
	fresh := count(q, func(p policy.Peer) bool { return p.Fresh(q.Input.Limits, q.Now) })
	if len(fresh.out) == 0 && fresh.rank >= minPOPs(q) {
		return allow(c.String())
	}
	confirmed, end := c.confirmed(q)
	if confirmed >= minPOPs(q) {
		return allow(fmt.Sprintf("%v; %d confirmed after we said that we leave", c, confirmed))
	}
	if !q.From.Announced() {
		return allow(c.String())
	}
	v := object(policy.Veto, "%v waits until %s to stay (%d so far)", q.Input.POP, others(minPOPs(q), "confirms", "confirm"), confirmed)
	v.Ask, v.Wake = true, end
	return v
}

// confirmed counts the staying peers that have answered since we are leaving.
// A peer seen only in BGP cannot answer: it must stay visible for the stale
// time instead, which ends at the time returned.
func (t tally) confirmed(q policy.Question) (n int, end time.Time) {
	for _, p := range t.staying {
		switch visible := q.State.Leaving.Add(q.Input.Limits.StaleAfter); {
		case p.Asked.IsZero() && q.Now.Before(visible):
			end = visible
		case p.Asked.IsZero() || p.Asked.After(q.State.Leaving):
			n++
		}
	}
	return n, end
}

// Stale lets no withdraw rest on peers that have not been heard lately.
type Stale struct{}

// Name returns "stale".
func (Stale) Name() string { return NameStale }

// Ask weakens a withdraw to the last rung where too few POPs would remain that
// have been heard within the limit.
func (Stale) Ask(q policy.Question) policy.GuardVerdict {
	if !judgesFleet(q) || q.Input.Limits.StaleAfter <= 0 {
		return allow("")
	}
	var old []string
	c := count(q, func(p policy.Peer) bool {
		fresh := p.Fresh(q.Input.Limits, q.Now)
		if !fresh && !p.Heard.IsZero() {
			old = append(old, fmt.Sprintf("%s was last heard %v ago", p.POP, q.Now.Sub(p.Heard).Round(100*time.Millisecond)))
		}
		return fresh
	})
	if len(old) == 0 {
		return allow("")
	}
	v, short := c.short(q)
	if !short {
		return allow(strings.Join(old, ", ") + ": not counted")
	}
	v.Detail = strings.Join(old, ", ") + " and does not count: " + v.Detail
	v.Ask = true
	return v
}

// judgesFleet reports whether the change takes a slice away from here that had
// been announced here, in a fleet we can see.
func judgesFleet(q policy.Question) bool {
	return q.Input.Fleet.Configured && !q.Forced && !q.To.Announced() && q.State.Served && q.Why.Code != policy.Removed
}

// tally is who else announces a slice.
type tally struct {
	staying  []policy.Peer // announce it and are not down, by name
	rank     int           // our place among them and us, by name
	capacity float64       // share of the fleet's capacity that they have
	out      []string      // the others, with why they do not count
}

// count tallies the peers that believe lets through.
func count(q policy.Question, believe func(policy.Peer) bool) tally {
	var t tally
	own := cmp.Or(q.Input.Capacity, 1)
	total, have := own, 0.0
	for _, p := range q.Input.Fleet.Peers {
		weight := cmp.Or(p.Capacity, 1)
		total += weight
		why := WhyNot(p, q.Slice)
		if why == "" && !believe(p) {
			why = "is stale"
		}
		if why != "" {
			t.out = append(t.out, string(p.POP)+" "+why)
			continue
		}
		have += weight
		t.staying = append(t.staying, p)
		if p.POP < q.Input.POP {
			t.rank++
		}
	}
	t.capacity = have / total
	slices.SortFunc(t.staying, func(a, b policy.Peer) int { return cmp.Compare(a.POP, b.POP) })
	return t
}

// WhyNot says why a peer does not count as an announcer; empty: it does.
func WhyNot(p policy.Peer, slice policy.SliceID) string {
	s, ok := p.Slices[slice]
	switch {
	case p.Heard.IsZero():
		return "was never heard"
	case !ok:
		return "says nothing of it"
	case s.Stance.Action != policy.Announce:
		return "has it in " + s.Stance.String()
	case s.Verdict == policy.Down:
		return "is down itself"
	case s.Leaving:
		return "is leaving itself"
	}
	return ""
}

// short reports whether too few would remain, and says so.
func (t tally) short(q policy.Question) (policy.GuardVerdict, bool) {
	s := q.Service
	if len(t.staying) >= minPOPs(q) && t.capacity >= s.MinCapacity {
		return policy.GuardVerdict{}, false
	}
	need := fmt.Sprintf("%d needed", minPOPs(q))
	if len(t.staying) >= minPOPs(q) {
		need = fmt.Sprintf("%.0f %% of capacity needed, %.0f %% there", s.MinCapacity*100, t.capacity*100)
	}
	v := object(policy.Weaken, "%v, %s", t, need)
	v.Alarm = true
	return v, true
}

func (t tally) String() string {
	s := others(len(t.staying), "announces", "announce") + " it"
	if len(t.out) > 0 {
		s += " (" + strings.Join(t.out, ", ") + ")"
	}
	return s
}

// others says what n other POPs do.
func others(n int, one, many string) string {
	if n == 1 {
		return "1 other POP " + one
	}
	return fmt.Sprintf("%d other POPs %s", n, many)
}

func minPOPs(q policy.Question) int { return max(1, q.Service.MinPOPs) }
