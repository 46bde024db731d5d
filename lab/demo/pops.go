package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// decision is a journal entry of a POP, as far as the story needs it.
type decision struct {
	at     time.Time
	pop    string
	family family
	stance policy.Stance
	reason policy.Reason
}

// journals follows the journals of all POPs.
type journals struct {
	world *world
	add   func(Event)

	mu   sync.Mutex
	list []decision
}

// follow reads one POP's journal from when its daemon answers until ctx ends.
func (j *journals) follow(ctx context.Context, s site) error {
	var said error
	err := until(ctx, patience, "catchmentd answers at "+s.pop, func() bool {
		_, said = j.world.clients[s.node].Status(ctx)
		return said == nil
	})
	if err != nil {
		return errors.Join(err, said)
	}
	err = j.world.clients[s.node].Journal(ctx, api.JournalFilter{Follow: true}, func(e api.JournalEntry) error {
		return j.take(s, e)
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("journal of %s: %w", s.pop, err)
}

func (j *journals) take(s site, e api.JournalEntry) error {
	f, ours := familyOf(e.Slice.Prefix())
	if e.Kind != "decision" || !ours {
		return nil
	}
	var r struct {
		After  policy.Stance `json:"after"`
		Reason policy.Reason `json:"reason"`
	}
	if err := json.Unmarshal(e.Data, &r); err != nil {
		return fmt.Errorf("journal of %s: %w", s.pop, err)
	}
	j.mu.Lock()
	j.list = append(j.list, decision{e.Time, s.pop, f, r.After, r.Reason})
	j.mu.Unlock()
	if r.Reason.Code != policy.Starting {
		j.add(Event{At: e.Time, Who: s.pop, What: r.After.String(), Detail: because(r.Reason), Family: f.name})
	}
	return nil
}

// because is a reason in short: what a guard kept from happening is said by
// the stance.
func because(r policy.Reason) string {
	text, _, _ := strings.Cut(r.String(), " (wanted: ")
	return text
}

// last is the newest decision of a POP on a family.
func (j *journals) last(s site, f family) (decision, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := len(j.list) - 1; i >= 0; i-- {
		if d := j.list[i]; d.pop == s.pop && d.family == f {
			return d, true
		}
	}
	return decision{}, false
}

// both reports whether the newest decisions of a POP, one for each family,
// are both like that.
func (j *journals) both(s site, like func(decision) bool) bool {
	for _, f := range families {
		if d, ok := j.last(s, f); !ok || !like(d) {
			return false
		}
	}
	return true
}

// first is the first decision of a POP after a time that is like that.
func (j *journals) first(s site, after time.Time, like func(decision) bool) (decision, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, d := range j.list {
		if d.pop == s.pop && !d.at.Before(after) && like(d) {
			return d, true
		}
	}
	return decision{}, false
}

func withdrawn(d decision) bool { return d.stance.Action == policy.Withdraw }
func draining(d decision) bool  { return d.stance.Action == policy.Drain }
func announced(d decision) bool { return d.stance.Action == policy.Announce }
func guarded(d decision) bool   { return d.reason.Code == policy.Guarded }
func healthy(d decision) bool   { return announced(d) && d.reason.Code == policy.Healthy }
func recovered(d decision) bool { return healthy(d) || d.reason.Code == policy.HoldDown }
