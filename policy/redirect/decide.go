package redirect

import (
	"cmp"
	"slices"
	"time"
)

// Action is what is done with a request.
type Action uint8

// Actions.
const (
	Serve    Action = iota // here, as fast as it goes
	Pace                   // here, at Verdict.Rate
	Redirect               // 302 to Verdict.To
	Move                   // 301 to Verdict.To
)

var actionNames = [...]string{"serve", "pace", "redirect", "move"}

func (a Action) String() string { return actionNames[min(a, Move)] }

// Verdict is what is decided, and why.
type Verdict struct {
	Do   Action
	Rate float64 // bytes a second, with Pace
	To   POP     // with Redirect and Move
	// Why is the rule that had the last word: a name of Never, or one of
	// "near", "paced", "waiting", "full buffer", "slow network".
	Why string
}

// Options say how much is dared. Zero values are the defaults said.
type Options struct {
	Self POP
	// Reattach is the shortest time that a client is taken to need until data
	// flows from another POP; what was observed counts if it is longer; 1 s.
	Reattach time.Duration
	// PaceFrom is the buffer from which a stream is paced; 10 s. PaceFor is how
	// long it must have been paced before a redirect; 4 s.
	PaceFrom, PaceFor time.Duration
	// Times are the paces as multiples of what the stream needs: with a buffer of
	// PaceFrom, and with a full one of 30 s; 3 and 1.5.
	Times [2]float64
	// LeastRest is how many bytes must be left for a redirect to pay; 1 MiB.
	LeastRest int64
	// Wait is the least time between redirects of a session; 2 s.
	Wait time.Duration
	// MoveSlow sends clients of slow networks away by 301, at their first request.
	MoveSlow bool
}

func (o *Options) defaults() {
	o.Reattach, o.PaceFrom = cmp.Or(o.Reattach, time.Second), cmp.Or(o.PaceFrom, 10*time.Second)
	o.PaceFor, o.Wait = cmp.Or(o.PaceFor, 4*time.Second), cmp.Or(o.Wait, 2*time.Second)
	o.LeastRest = cmp.Or(o.LeastRest, 1<<20)
	o.Times[0], o.Times[1] = cmp.Or(o.Times[0], 3), cmp.Or(o.Times[1], 1.5)
}

// World is what is known of the POPs at the time of a request.
type World struct {
	// Pressure: this POP wants to send less. Without it all are served here.
	Pressure bool
	// Stopped: the ceiling on harm is reached (policy/cost).
	Stopped bool
	// Target is a cheaper POP; empty: there is none. Ready: it takes clients.
	Target POP
	Ready  bool
	// Bound: the client could not follow to another host.
	Bound bool
	// Worst is the longest time observed until data flowed again at the target.
	Worst time.Duration
	// Rate is what the client's network takes from the target at least, in bytes
	// a second (a low quantile); 0: not known.
	Rate float64
}

// ask is all that a rule looks at.
type ask struct {
	o   *Options
	s   *Session
	q   *Request
	w   *World
	seq bool
}

// Rest is how many bytes are wanted; -1: not known.
func (q *Request) Rest() int64 {
	switch {
	case q.Last >= 0:
		return q.Last - q.First + 1
	case q.Size >= 0:
		return q.Size - q.First
	}
	return -1
}

// reattach is the time until data flows from the target, at worst.
func (a *ask) reattach() time.Duration { return max(a.o.Reattach, a.w.Worst) }

// Rule is something that is never done.
type Rule struct {
	Name string
	// broken reports whether a redirect would break it.
	broken func(a *ask) bool
	// first: the rule is about streams that play, and does not keep a client of a
	// slow network from being sent away before it plays.
	first bool
}

// Never are the rules that every redirect is asked against, in this order.
var Never = [...]Rule{
	{"stopped", func(a *ask) bool { return a.w.Stopped }, false},
	{"no-target", func(a *ask) bool { return a.w.Target == "" || !a.w.Ready || a.w.Target == a.o.Self }, false},
	{"bound", func(a *ask) bool { return a.w.Bound }, false},
	{"circle", func(a *ask) bool { return slices.Contains(a.q.Via, a.w.Target) }, false},
	{"twice", func(a *ask) bool { return len(a.q.Via) > 0 }, false},
	{"no-pressure", func(a *ask) bool { return !a.w.Pressure }, false},
	{"little-left", func(a *ask) bool { return a.q.Rest() < a.o.LeastRest }, false},
	{"seek", func(a *ask) bool { return !a.seq }, true},
	{"starved", func(a *ask) bool { return a.s.starved }, true},
	{"not-paced", func(a *ask) bool { return a.s.paced.IsZero() || a.q.At.Sub(a.s.paced) < a.o.PaceFor }, true},
	{"too-soon", func(a *ask) bool { return !a.s.last.IsZero() && a.q.At.Sub(a.s.last) < a.o.Wait }, false},
	{"buffer", func(a *ask) bool { return a.s.Buffer() < 2*a.reattach() }, true},
	{"target-slow", targetSlow, true},
}

// targetSlow: the target must be known to send half again what the stream needs,
// or what is asked for must be there before half of the buffer is played. Where
// nothing is known of the path it is taken for one that carries a tenth of the
// need, and the whole buffer must outlast that.
func targetSlow(a *ask) bool {
	need := a.s.Media.Need()
	if need <= 0 {
		return true
	}
	if a.w.Rate >= 1.5*need {
		return false
	}
	rate, part := a.w.Rate, 0.5
	if rate <= 0 {
		rate, part = need/10, 1
	}
	return a.reattach().Seconds()+float64(a.q.Rest())/rate > part*a.s.Buffer().Seconds()
}

// Decide answers a request that the session has not taken in yet.
func (o Options) Decide(s *Session, q *Request, w *World) Verdict {
	o.defaults()
	opening := !s.asked
	a := ask{&o, s, q, w, s.Request(q)}
	if o.MoveSlow && q.Slow && opening && q.First == 0 { // who begins elsewhere goes on with something, or seeks
		if _, no := a.forbidden(true); !no {
			return Verdict{Do: Move, To: w.Target, Why: "slow network"}
		}
	}
	rate := s.pace(&a, a.seq)
	why, no := a.forbidden(false)
	if !no {
		s.last = q.At
		return Verdict{Do: Redirect, To: w.Target, Why: "full buffer"}
	}
	if rate > 0 {
		return Verdict{Do: Pace, Rate: rate, Why: why}
	}
	return Verdict{Do: Serve, Why: why}
}

// Pacing says at which rate the answer under way is sent from now on; 0: as fast
// as it goes. It is asked again and again while bytes are sent, since the buffer
// grows and falls meanwhile.
func (o Options) Pacing(s *Session, now time.Time, w *World) float64 {
	o.defaults()
	s.pass(now)
	return s.pace(&ask{o: &o, s: s, q: &Request{At: now}, w: w}, s.asked)
}

// Ruling is one of Never, asked.
type Ruling struct {
	Rule   string
	Broken bool // it forbids a redirect
}

// Rulings are all of Never, asked about a request that the session has taken in:
// what Decide would have said, rule by rule.
func (o Options) Rulings(s *Session, q *Request, w *World, inSequence bool) (out []Ruling) {
	o.defaults()
	a := ask{&o, s, q, w, inSequence}
	for i := range Never {
		out = append(out, Ruling{Never[i].Name, Never[i].broken(&a)})
	}
	return out
}

// forbidden names the first rule that a redirect would break.
func (a *ask) forbidden(before bool) (why string, no bool) {
	for i := range Never {
		if r := &Never[i]; !(before && r.first) && r.broken(a) {
			return r.Name, true
		}
	}
	return "", false
}

// pace is the rate at which the request is sent; 0: as fast as it goes. The
// fuller the buffer, the slower, and never slower than the stream needs.
func (s *Session) pace(a *ask, may bool) float64 {
	need, have := s.Media.Need()*max(1, s.speed), s.Buffer()
	if !a.w.Pressure || a.w.Stopped || need <= 0 || have < a.o.PaceFrom || !may || s.starved {
		s.paced = time.Time{}
		return 0
	}
	if s.paced.IsZero() {
		s.paced = a.q.At
	}
	const full = 30 * time.Second
	part := 1.0
	if a.o.PaceFrom < full {
		part = min(1, float64(have-a.o.PaceFrom)/float64(full-a.o.PaceFrom))
	}
	return need * max(1.2, a.o.Times[0]+(a.o.Times[1]-a.o.Times[0])*part)
}
