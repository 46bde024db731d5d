package matrix

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
)

// Event is a change of one POP's announcement of a service that was seen to
// happen, with what every POP carried of the slices that changed, before it
// and after it had settled. Rungs go by their names: ladders change.
type Event struct {
	Service policy.ServiceID         `json:"service"`
	POP     policy.POPID             `json:"pop"`
	From    string                   `json:"from"` // "normal", a rung, or "withdraw"
	To      string                   `json:"to"`
	Before  map[policy.POPID]float64 `json:"before"`
	After   map[policy.POPID]float64 `json:"after"`
	// Demand is what the POP would carry of them normally; 0 where From is
	// normal: Before says it.
	Demand float64 `json:"demand,omitempty"`
	// Drift is how much shares differ between two such measurements with
	// nothing done (shed.Event.Drift); 0: the model's.
	Drift float64   `json:"drift,omitempty"`
	At    time.Time `json:"at"`
}

// normalRung is the name of level 0, whatever the ladder calls it.
const normalRung = "normal"

// Name is what events call a level.
func (l Ladder) Name(level shed.Level) string {
	switch {
	case level == 0:
		return normalRung
	case int(level) >= l.levels()-1:
		return Withdraw
	}
	return l[level].Name
}

// named is the level of a name.
func (l Ladder) named(name string) (shed.Level, bool) {
	if name == normalRung {
		return 0, true
	}
	return l.level(Setting{Rung: name})
}

// check refuses what is no event at all; a file may have been edited.
func (e *Event) check() error {
	if e.Service == "" || e.POP == "" || e.From == "" || e.To == "" || e.From == e.To || e.At.IsZero() {
		return fmt.Errorf("event of %s at %s from %q to %q: incomplete", e.Service, e.POP, e.From, e.To)
	}
	for _, m := range []map[policy.POPID]float64{e.Before, e.After} {
		if len(m) == 0 || len(m) > maxPOPs {
			return fmt.Errorf("event of %s at %s: loads of %d POPs", e.Service, e.POP, len(m))
		}
		for p, v := range m {
			if v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("event of %s at %s: load %v of %s", e.Service, e.POP, v, p)
			}
		}
	}
	if e.Demand < 0 || math.IsNaN(e.Demand) || e.Drift < 0 || math.IsNaN(e.Drift) {
		return fmt.Errorf("event of %s at %s: demand %v, drift %v", e.Service, e.POP, e.Demand, e.Drift)
	}
	return nil
}

// same reports whether two are the same event.
func (e *Event) same(o *Event) bool {
	return e.Service == o.Service && e.POP == o.POP && e.From == o.From && e.To == o.To && e.At.Equal(o.At)
}

// observe is the matrix after an event, where the ladder still has its rungs.
func (l Ladder) observe(m *shed.Matrix, e *Event) (*shed.Matrix, error) {
	from, ok := l.named(e.From)
	to, there := l.named(e.To)
	if !ok || !there {
		return m, fmt.Errorf("%s of %s: the ladder of %s has no such rungs", e.From+" to "+e.To, e.POP, e.Service)
	}
	return m.Observe(shed.Event{
		POP: e.POP, From: from, To: to, Before: ours(m, e.Before), After: ours(m, e.After), Demand: e.Demand, Drift: e.Drift, At: e.At,
	})
}

// ours are the loads of POPs that the matrix has.
func ours(m *shed.Matrix, load map[policy.POPID]float64) map[policy.POPID]float64 {
	out := maps.Clone(load)
	maps.DeleteFunc(out, func(p policy.POPID, _ float64) bool { return m.Rows[p] == nil })
	return out
}

// Bounds on what is kept: old events say little beside new ones.
const (
	keptEach = 8 // of the same POP, service and rung
	keptAll  = 1000
)

// pruned are the events worth keeping, oldest first.
func pruned(events []Event) []Event {
	slices.SortStableFunc(events, func(a, b Event) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Service, b.Service), cmp.Compare(a.POP, b.POP))
	})
	type key struct{ service, pop, from, to string }
	n := map[key]int{}
	var out []Event
	for _, e := range slices.Backward(events) {
		k := key{string(e.Service), string(e.POP), e.From, e.To}
		if n[k]++; n[k] <= keptEach && len(out) < keptAll {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out
}
