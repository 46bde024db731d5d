package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Turn is a POP's place in the fleet's queue of drains: at most so many POPs
// drain at a time (Limits.DrainPOPs, Limits.DrainShare), the others wait.
//
// A POP that wants to drain takes a ticket above all that it has heard of, and
// tells it with every question and answer. It has its turn when all the others
// have answered a question that was asked since, and when those that drain,
// those whose ticket is lower (the name breaks a tie) and those that are not
// heard leave room. A question tells as well as asks, so of two POPs that
// begin at the same moment at least one sees the other's ticket before it
// goes. Where a control core is there, its queue must give the turn as well
// (Queue); while it cannot be reached the others' answers alone decide.
type Turn struct {
	Ticket uint64    `json:"ticket,omitempty"` // 0: nothing wants to drain here
	Held   bool      `json:"held,omitempty"`   // it is our turn: drains may begin
	Since  time.Time `json:"since,omitzero"`   // of Ticket
}

// PeerTurn is another POP's place in the queue, as last heard.
type PeerTurn struct {
	Known  bool   `json:"known,omitempty"` // it knows of the queue
	Ticket uint64 `json:"ticket,omitempty"`
	Held   bool   `json:"held,omitempty"`
	// Until is about when its drain ends by itself; zero: not known.
	Until time.Time `json:"until,omitzero"`
	// Asked is when the question was sent that told it of our ticket and that
	// it has answered.
	Asked time.Time `json:"asked,omitzero"`
}

// Queue is the queue of drains in the control core.
type Queue struct {
	Configured bool `json:"configured,omitempty"`
	// Current: our own entry stands, and Before was read after it was written.
	Current bool `json:"current,omitempty"`
	// Before are the POPs whose entries are older than ours. It only shrinks.
	Before []POPID `json:"before,omitempty"`
}

// Queued reports whether the limits on concurrent drains are set.
func (l Limits) Queued() bool { return l.DrainPOPs > 0 || l.DrainShare > 0 }

// takeTurn brings the POP's place up to date before anything is decided.
func (r *round) takeTurn(ts []target) {
	t := &r.state.Turn
	if !r.in.Limits.Queued() {
		*t = Turn{}
		return
	}
	wants, force := r.drains(ts)
	if !t.Held && !force && r.in.Overloaded() != "" {
		wants = false // it could not begin, and must not keep others waiting
	}
	switch {
	case !wants && t.Held && r.returning(ts):
		return // what it drained is not back yet
	case !wants:
		*t = Turn{}
		return
	case t.Ticket == 0:
		*t = Turn{Ticket: 1 + highest(r.in.Fleet.Peers), Since: r.now}
	}
	t.Held = t.Held || force || r.in.Turn(*t, r.now).Ready
}

// drains reports whether an operator or a maintenance check wants any slice
// drained, and whether by force.
func (r *round) drains(ts []target) (wants, force bool) {
	for _, t := range ts {
		if t.gone {
			continue
		}
		static := t.cover || t.service.Always
		in, ok := r.intent(t, static)
		switch {
		case ok && in.Kind == IntentDrain:
			wants, force = true, force || in.Force
		case !ok && !static && r.health(t).Maintenance:
			wants = true
		}
	}
	return wants, force
}

// returning reports whether a slice waits only for time to be announced again.
func (r *round) returning(ts []target) bool {
	return slices.ContainsFunc(ts, func(t target) bool {
		s := r.state.Slices[t.slice]
		h := r.health(t).Verdict
		return !t.gone && !s.Stance.Announced() && s.Served && (h == Up || h == Degraded)
	})
}

// waitsTurn reports whether drains must not begin here yet.
func (r *round) waitsTurn() bool { return r.in.Limits.Queued() && !r.state.Turn.Held }

// meanwhile is what is wanted of a slice whose drain waits its turn: what
// would be without the drain, where that changes anything or the slice is not
// announced. Otherwise the drain is the wish, and its guard says what it waits
// for.
func (r *round) meanwhile(t target, s *SliceState, h Health, better time.Time, static bool) (wish, bool) {
	var w wish
	in, asked := r.intent(t, static, IntentPin, IntentHold)
	switch {
	case asked:
		w = r.wantIntent(t, s, h, in, static)
	case static:
		w = r.wantStatic(t, s)
	default:
		s.Drain = time.Time{}
		w = r.wantHealth(t, s, h, better)
	}
	return w, w.stance != s.Stance || !s.Stance.Announced()
}

func highest(peers []Peer) (n uint64) {
	for _, p := range peers {
		n = max(n, p.Turn.Ticket)
	}
	return n
}

// Standing is what the limits on concurrent drains say of a POP's place.
type Standing struct {
	Ready bool
	// Ask: others have not answered a question asked since the ticket yet.
	Ask    bool
	Detail string // for people: who drains until when, how many are before us
}

// Turn says whether a POP with that ticket may drain now.
func (in *Input) Turn(own Turn, now time.Time) Standing {
	var w waiting
	w.total = cmp.Or(in.Capacity, 1)
	for _, p := range in.Fleet.Peers {
		w.add(in, own, p, now)
	}
	mine := cmp.Or(in.Capacity, 1)
	if q := in.Queue; q.Configured && q.Current {
		w.core(in, q)
	}
	room := w.room(in.Limits, mine)
	isolated := in.Core.Isolated(in.Limits, now)
	switch {
	case in.Queue.Configured && !in.Queue.Current && (!isolated || !w.asked):
		return Standing{Ask: true, Detail: w.String() + w.also("the control core has not taken our place yet")}
	case room && len(w.unanswered) == 0:
		return Standing{Ready: true}
	}
	detail := w.String()
	if len(w.unanswered) > 0 {
		detail += w.also(strings.Join(w.unanswered, ", ") + " to answer")
	}
	return Standing{Ask: len(w.unanswered) > 0, Detail: detail}
}

// waiting counts who is in the way.
type waiting struct {
	out        []string // POPs that drain, or count as draining, with why
	before     int      // POPs that wait with a lower ticket
	n          int      // all of them
	capacity   float64  // of all of them
	total      float64
	unanswered []string
	asked      bool // there is a POP that answers questions
	names      map[POPID]bool
}

func (w *waiting) add(in *Input, own Turn, p Peer, now time.Time) {
	weight := cmp.Or(p.Capacity, 1)
	w.total += weight
	status := !p.Asked.IsZero() || p.Turn.Known
	w.asked = w.asked || status && p.Fresh(in.Limits, now)
	shows := ""
	for _, s := range p.Slices {
		if s.Stance.Action == Drain {
			shows = string(p.POP) + " drains"
		}
	}
	until := ""
	if !p.Turn.Until.IsZero() {
		until = " until " + p.Turn.Until.UTC().Format("2006-01-02 15:04 MST")
	}
	switch {
	case !p.Fresh(in.Limits, now):
		w.count(p.POP, weight, string(p.POP)+" is not heard and counts as draining")
	case p.Turn.Held:
		w.count(p.POP, weight, string(p.POP)+" drains"+until)
	case shows != "":
		w.count(p.POP, weight, shows+until)
	case p.Turn.Ticket > 0 && (p.Turn.Ticket < own.Ticket || p.Turn.Ticket == own.Ticket && p.POP < in.POP):
		w.before++
		w.count(p.POP, weight, "")
	case p.Turn.Known && !p.Turn.Asked.After(own.Since), !p.Turn.Known && status && !p.Asked.After(own.Since):
		w.unanswered = append(w.unanswered, string(p.POP))
	}
}

// core counts the POPs before us in the core's queue that nobody else told of.
func (w *waiting) core(in *Input, q Queue) {
	for _, id := range q.Before {
		if id == in.POP || w.names[id] {
			continue
		}
		weight := 1.0
		for _, p := range in.Fleet.Peers {
			if p.POP == id {
				weight = cmp.Or(p.Capacity, 1)
			}
		}
		w.count(id, weight, string(id)+" is before us in the control core's queue")
	}
}

func (w *waiting) count(id POPID, weight float64, what string) {
	if w.names == nil {
		w.names = map[POPID]bool{}
	}
	w.names[id] = true
	w.n++
	w.capacity += weight
	if what != "" {
		w.out = append(w.out, what)
	}
}

// room reports whether one more may drain. Where nobody does, one always may.
func (w *waiting) room(l Limits, mine float64) bool {
	if w.n == 0 {
		return true
	}
	return (l.DrainPOPs <= 0 || w.n < l.DrainPOPs) && (l.DrainShare <= 0 || w.capacity+mine <= l.DrainShare*w.total+1e-9)
}

func (w *waiting) String() string {
	parts := slices.Clone(w.out)
	if w.before > 0 {
		parts = append(parts, fmt.Sprintf("%d before you", w.before))
	}
	return "waiting: " + strings.Join(parts, ", ")
}

// also joins one more reason to String.
func (w *waiting) also(s string) string {
	if w.n == 0 {
		return s
	}
	return ", " + s
}
