package careful

import (
	"container/list"
	"net/netip"
	"time"
)

// Between names what jumps are earned by: the POP that the flow comes from, to
// the one that it comes to, for the clients of a network.
type Between struct {
	From, To string
	Net      netip.Prefix
}

// NetOf is the network that a client belongs to: its /24 or /48.
func NetOf(client netip.Addr) netip.Prefix {
	client = client.Unmap()
	bits := 48
	if client.Is4() {
		bits = 24
	}
	p, err := client.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// The parts of a former rate that may be used.
const (
	first = 0.5   // at first: RFC 9959 §4.3 uses half of the window
	raise = 1.25  // after a jump that was right
	least = 0.1   // with less there is nothing to gain
	again = first // after Rest
)

// Rest is how long nothing jumps once the part was halved below the least.
const Rest = time.Hour

// Earned keeps what is learned; its size is bounded, those not asked for the
// longest are forgotten, which only makes the next jump of them a first one.
// It is not safe for concurrent use.
type Earned struct {
	max   int
	of    map[Between]*list.Element // of *earned
	old   *list.List                // the newest in front
	pairs map[Pair]*pair
}

type earned struct {
	between Between
	part    float64   // 0: nothing is known of the network, its pair of POPs counts
	rest    time.Time // until then nothing jumps; zero: it may
	// flights are jumps that have not ended: a second one must not use the
	// same room before the first has shown that it is there (RFC 9959 §4.2).
	flights int
	since   time.Time // of the last jump
	least   time.Duration
	leastAt time.Time
}

// NewEarned keeps at most max.
func NewEarned(max int) *Earned {
	return &Earned{max: max, of: map[Between]*list.Element{}, old: list.New(), pairs: map[Pair]*pair{}}
}

func (e *Earned) get(b Between) *earned {
	if at := e.of[b]; at != nil {
		e.old.MoveToFront(at)
		return at.Value.(*earned)
	}
	if e.old.Len() >= e.max {
		last := e.old.Back()
		delete(e.of, last.Value.(*earned).between)
		e.old.Remove(last)
	}
	v := &earned{between: b}
	e.of[b] = e.old.PushFront(v)
	return v
}

// stuck is after how long a jump whose end was never told counts as ended.
const stuck = time.Minute

// Part is how much of the former rate may be used now, 0: nothing. Jumps that
// are under way share it.
func (e *Earned) Part(b Between, now time.Time) float64 {
	v := e.get(b)
	if v.flights > 0 && now.Sub(v.since) > stuck {
		v.flights = 0
	}
	if !v.rest.IsZero() {
		if now.Before(v.rest) {
			return 0
		}
		v.rest, v.part = time.Time{}, again
	}
	return e.part(v) / float64(1+v.flights)
}

// part is what a network has earned, or what its pair of POPs has for those
// that have not jumped yet.
func (e *Earned) part(v *earned) float64 {
	if v.part == 0 {
		return e.begins(v.between.pair())
	}
	return v.part
}

// leastFor is how long the least round trip counts: routes change.
const leastFor = 10 * time.Minute

// Least notes the round trip of a handshake and returns the least of late.
func (e *Earned) Least(b Between, rtt time.Duration, now time.Time) time.Duration {
	v := e.get(b)
	if rtt > 0 && (v.least == 0 || rtt <= v.least || now.Sub(v.leastAt) > leastFor) {
		v.least, v.leastAt = rtt, now
	}
	return v.least
}

// Begin notes a jump.
func (e *Earned) Begin(b Between, now time.Time) {
	v := e.get(b)
	v.flights++
	v.since = now
}

// End is how a jump ended.
type End struct {
	Phase Phase
	// Part of the former rate that was used (Jump.Part).
	Part float64
	// Proved: that much was under way at once (Watch.Proved), so that the path
	// has shown that it takes it.
	Proved bool
}

// enough is how much of a part must have been used to show that it is right:
// the rest is rounding, to bytes and segments.
const enough = 0.9

// shows reports whether a jump has shown that a part is right.
func (x End) shows(part float64) bool {
	return x.Phase == Validated && x.Proved && x.Part >= enough*part
}

// End notes how a jump ended. Only what a jump has shown is earned: one that
// shared its room with others, or that the client's window or a ceiling kept
// small, says nothing of more.
func (e *Earned) End(b Between, x End, now time.Time) {
	v := e.get(b)
	v.flights = max(0, v.flights-1)
	e.vote(b, x, now)
	v.part = e.part(v)
	switch {
	case x.shows(v.part):
		v.part = min(1, v.part*raise)
	case x.Phase == Retreated:
		if v.part /= 2; v.part < least {
			v.rest = now.Add(Rest)
		}
	}
}

// Learned is what was earned by a pair of POPs and a client network.
type Learned struct {
	Between
	Part  float64   // of a former rate that may be used
	Rest  time.Time // until then nothing jumps; zero: it may
	Since time.Time // of the last jump
}

// Last is what was learned where jumps were last, at most n, the latest use
// first.
func (e *Earned) Last(n int) (out []Learned) {
	for at := e.old.Front(); at != nil && len(out) < n; at = at.Next() {
		if v := at.Value.(*earned); !v.since.IsZero() {
			out = append(out, Learned{v.between, v.part, v.rest, v.since})
		}
	}
	return out
}

// Len is how many are kept.
func (e *Earned) Len() int { return e.old.Len() }
