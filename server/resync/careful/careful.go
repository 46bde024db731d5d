// Package careful says how far a flow that comes from another POP may jump
// over slow start, whether the jump was right, and what is learned of it.
//
// It is Careful Resume (RFC 9959) made stricter, because that RFC advises
// against a reuse of saved parameters where an anycast address may have
// reached another site: not a window is carried over but a rate, so that the
// round trip of the new path counts; only a part of it is used, which is
// earned by each pair of POPs and client network and halved when it was too
// much (a network that has not jumped yet begins with what its pair of POPs has
// earned by others); a ticket is good once and for seconds; there is a ceiling; and nothing
// happens at all unless the service says so.
//
// It is pure: no clock, no socket, no goroutine. Package jump does what it
// says to sockets.
package careful

import (
	"cmp"
	"fmt"
	"time"
)

// Ticket is what the former POP has measured of the flow.
type Ticket struct {
	Rate uint64        // bytes a second that were delivered
	RTT  time.Duration // smoothed, on the path to that POP
	At   time.Time     // when, by our clock and no later than it was
	// ClientLimited: the client's window was the limit and not the path. What
	// the path could take is then not known, but that much it took.
	ClientLimited bool
}

// Path is what is known of the new flow before its first byte: of the
// handshake, and of what it has sent before on the same connection.
type Path struct {
	RTT time.Duration // smoothed
	// Least is the least round trip to the client's network of late
	// (Earned.Least): a longer one now is a queue. 0: not known.
	Least   time.Duration
	Window  uint64 // congestion window, bytes
	MSS     uint64
	Retrans uint32 // segments sent again so far
	Peer    uint64 // the client's receive window, bytes; 0: not known
	// Measures: as in Info.
	Measures bool
}

// Limits bound all jumps. The zero value means the defaults.
type Limits struct {
	Lifetime time.Duration // of a ticket; 30 s
	Window   uint64        // largest window to jump to, bytes; 8 MiB
	Rate     uint64        // largest rate, bytes a second; 1.25e9
	// Stretch: with a round trip longer than so many times the former one the
	// path is another (RFC 9959 §4.2); 10.
	Stretch float64
	// Stated is the largest rate by a client's word alone, bytes a second;
	// 2.5e6 (20 Mbit/s).
	Stated uint64
}

func (l Limits) withDefaults() Limits {
	return Limits{cmp.Or(l.Lifetime, 30*time.Second), cmp.Or(l.Window, 8<<20), cmp.Or(l.Rate, 1_250_000_000), cmp.Or(l.Stretch, 10), cmp.Or(l.Stated, 2_500_000)}
}

// Reason says why a flow does not jump, or how a jump ended: stable words for
// metrics and journal.
type Reason string

// Reasons not to jump.
const (
	Allowed   Reason = ""
	NoTicket  Reason = "no-ticket"  // nothing is known of the flow
	Expired   Reason = "expired"    // the ticket is too old
	Lossy     Reason = "lossy"      // the new path has lost segments already
	FarAway   Reason = "far-away"   // the new path is so much longer that it is another
	NoGain    Reason = "no-gain"    // slow start begins where the jump would end
	Busy      Reason = "busy"       // others fill the path, and the flow finds its share by measuring
	NotEarned Reason = "not-earned" // jumps between these POPs for this network were wrong too often
)

// Jump is where a flow begins.
type Jump struct {
	Window uint64 // bytes
	Rate   uint64 // bytes a second, the pace of the first round trip
	// Most is the pace from when some of it has arrived and no queue grows: the
	// whole of the former rate, which the flow may grow to but not beyond until
	// the path has been measured.
	Most uint64
	// Part of the former rate that Window is: what may be used, or less where a
	// ceiling or the client's window is lower.
	Part float64
}

// busy is the part that may be used where the round trip shows a queue: others
// have what the former flow had, and slow start would take its time to take it
// from them. One that measures (BBR) does not jump there: it takes what it has
// found so quickly for what is free, and a CUBIC flow beside it keeps but 0.7 to
// 0.95 of what it would. queueing is how much of a queue says nothing.
const (
	busy     = 0.25
	queueing = 2 * time.Millisecond
)

// grain: a checkpoint says a rate rounded down by as much as an eighth. What
// is sent unseen stays at the lower end; what the path has begun to acknowledge
// may reach the upper.
const grain = 9.0 / 8

// Plan says how far a flow may jump with a part of what it had, in 0 to 1.
func (l Limits) Plan(t Ticket, p Path, part float64, now time.Time) (Jump, Reason) {
	l = l.withDefaults()
	switch age := now.Sub(t.At); {
	case t.Rate == 0 || t.RTT <= 0 || p.RTT <= 0 || p.MSS == 0:
		return Jump{}, NoTicket
	case age > l.Lifetime || age < -time.Second:
		return Jump{}, Expired
	case p.Retrans > 0:
		return Jump{}, Lossy
	case float64(p.RTT) > l.Stretch*float64(t.RTT) && p.RTT > 50*time.Millisecond:
		return Jump{}, FarAway
	case !(part > 0):
		return Jump{}, NotEarned
	}
	rtt := p.RTT
	if p.Least > 0 {
		rtt = min(rtt, p.Least)
	}
	former := float64(min(t.Rate, l.Rate))
	rate, most := min(part, 1)*former, uint64(min(grain*former, float64(l.Rate)))
	if p.RTT > rtt*5/4+queueing { // somebody else fills the path
		if p.Measures {
			return Jump{}, Busy
		}
		rate = min(part, busy) * former
		most = uint64(2 * rate)
	}
	j := Jump{Window: uint64(rate * rtt.Seconds()), Rate: uint64(rate), Most: most}
	j.Window = min(j.Window, l.Window)
	if p.Peer > 0 {
		j.Window = min(j.Window, p.Peer)
	}
	if j.Window <= p.Window+p.MSS {
		return Jump{}, NoGain
	}
	j.Part = float64(j.Window) / (former * rtt.Seconds())
	return j, Allowed
}

// Info is a look at the flow after its jump (tcp_info).
type Info struct {
	Acked uint64 // bytes, since the connection began
	// Delivered is the same with what was acknowledged out of order (SACK, RFC
	// 2018); 0: the kernel does not say.
	Delivered uint64
	Window    uint64 // of congestion, bytes; 0: not known
	Out       uint64 // bytes sent and not acknowledged
	Retrans   uint32 // segments sent again, in all
	Lost      uint32 // segments that count as lost now
	RTT       time.Duration
	Rate      uint64 // of delivery, by the kernel's last sample, bytes a second; 0: not known
	// Measures: the flow's congestion control goes by what it measures and
	// knows no threshold (BBR).
	Measures bool
}

// Phase of a jump, after RFC 9959 §4.
type Phase uint8

// Phases.
const (
	// Unvalidated: some of what was sent beyond slow start is not acknowledged.
	Unvalidated Phase = iota
	// Validated: all of it arrived, and nothing was lost.
	Validated
	// Retreated: something was lost.
	Retreated
	// Ended: there was not enough to send to know.
	Ended
)

func (p Phase) String() string {
	return [...]string{"unvalidated", "validated", "retreated", "ended"}[min(int(p), 3)]
}

// Action is what is to be done after a look.
type Action struct {
	// Window, if not 0, is what the window must come down to now (the safe
	// retreat of RFC 9959 §4.5, or no more growth because of a queue), and the
	// threshold of slow start with it.
	Window uint64
	// Only, if not 0, is what the window becomes, with the threshold as it is.
	Only uint64
	// Threshold, if not 0, is that of slow start from now on: at the end of a
	// retreat it is known what the path took.
	Threshold uint64
	// Rate, if not 0, is what the pace is bounded to from now on.
	Rate uint64
	// Lift: the pace need not be bounded any more.
	Lift bool
}

// Watch follows a jump to its end.
type Watch struct {
	jump  Jump
	start Info
	began time.Time
	phase Phase
	ended time.Time // of the phase Unvalidated
	begun bool      // the pace was let grow to all of the former rate
	full  bool      // a queue has grown since
	done  bool
	// fastest is the largest rate, bytes a second, that was seen until the end of
	// Unvalidated, first the first acknowledgement.
	fastest float64
	first   mark
}

// NewWatch begins with the look just before the jump.
func NewWatch(j Jump, before Info, now time.Time) *Watch {
	return &Watch{jump: j, start: before, began: now}
}

// Phase is where the jump is.
func (w *Watch) Phase() Phase { return w.phase }

// planned is how much of its rate must be seen of a flight that goes as planned:
// the kernel and we see it by jerks.
const planned = 0.8

// Proved reports whether what was acknowledged of the flight came as fast as it
// was to be sent, so that the path has shown that it takes so much. A client
// with a small window lets it grow only while it reads: what it gets piece by
// piece proves nothing.
func (w *Watch) Proved() bool {
	return w.phase == Validated && w.fastest >= planned*float64(w.jump.Rate)
}

// measure notes how fast what comes back of the flight does, by the kernel and
// by our own looks: the kernel counts a flight that begins after silence from
// its beginning on, and so takes it for half as fast.
func (w *Watch) measure(i Info, acked uint64, now time.Time) {
	w.fastest = max(w.fastest, float64(i.Rate))
	switch {
	case acked == 0:
	case w.first.at.IsZero():
		w.first = mark{acked, now}
	default:
		bytes, took := acked-min(acked, w.first.acked), now.Sub(w.first.at)
		if bytes >= w.jump.Window/4 && took >= w.start.RTT/4 {
			w.fastest = max(w.fastest, float64(bytes)/took.Seconds())
		}
	}
}

// mark is how far a flow had got at a time.
type mark struct {
	acked uint64
	at    time.Time
}

// paceFor is for how many round trips the pace stays bounded once all is
// validated: until the congestion control has measured the path itself.
const paceFor = 3

// patience is after how many round trips without an end the flow had nothing
// more to send.
const patience = 10

// Next is how long after a look at now the next one is due: what comes back of
// a flight comes after a round trip, and is then looked at a few times in each.
func (w *Watch) Next(rtt time.Duration, now time.Time) time.Duration {
	rtt = max(rtt, time.Millisecond)
	step, due := min(max(rtt/8, time.Millisecond), 50*time.Millisecond), w.began.Add(rtt)
	if !w.begun && now.Sub(w.began) < 2*rtt {
		// Until something is back the flow keeps to its first pace. The round
		// trip of a handshake may be longer than the next one.
		step, due = max(rtt/32, time.Millisecond), w.began.Add(rtt*3/4)
	}
	return max(step, min(due.Sub(now), rtt))
}

// Look takes a look at the flow. done: nothing more is to be looked at.
func (w *Watch) Look(i Info, now time.Time) (a Action, done bool) {
	rtt := max(i.RTT, time.Millisecond)
	acked := i.Acked - min(i.Acked, w.start.Acked)
	late := now.Sub(w.began) > patience*rtt
	switch w.phase {
	case Unvalidated:
		w.measure(i, acked, now)
		w.unvalidated(&a, i, acked, late, now)
	case Validated:
		if !w.done && now.Sub(w.ended) >= paceFor*rtt {
			w.done, a.Lift = true, true
		}
	case Retreated:
		// RFC 9959 §4.5: once all of the flight has been acknowledged or was
		// sent again, half of what arrived of it is the threshold.
		if !w.done && (acked >= w.jump.Window || late) {
			w.done, a.Threshold, a.Lift = true, w.arrived(i)/2, true
		}
	}
	if w.phase <= Validated && !w.begun && !w.done && acked > 0 && i.RTT <= w.start.RTT*9/8+queueing {
		w.begun, a.Rate = true, w.jump.Most // and no queue grows
	}
	w.window(&a, i, acked)
	return a, w.done
}

// window says what becomes of the window of a flow that lost nothing.
func (w *Watch) window(a *Action, i Info, acked uint64) {
	queue := i.RTT > w.start.RTT+min(max(w.start.RTT/8, 4*time.Millisecond), 16*time.Millisecond)
	switch {
	case w.phase > Validated || !w.begun || i.Window == 0 || w.full:
	case queue && !i.Measures:
		// The path is full, as HyStart judges (RFC 9406 §4.2) but at once: with
		// what is under way slow start is over.
		w.full, a.Window = true, min(i.Window, max(i.Out, w.jump.Window))
	case a.Lift && !i.Measures && i.Window > max(i.Out, w.jump.Window):
		a.Only = max(i.Out, w.jump.Window) // the pace kept the rest of it unused: not all at once (RFC 7661)
	case w.phase == Unvalidated && !w.done:
		a.Only = w.grown(i, acked)
	}
}

// grown is the window that slow start makes of what was acknowledged (RFC 5681
// §3.1), up to what the former rate takes, where it is notably more than there
// is: BBR does not grow before it has measured a whole round trip.
func (w *Watch) grown(i Info, acked uint64) uint64 {
	most := uint64(float64(w.jump.Most) * w.start.RTT.Seconds())
	to := min(w.jump.Window+acked, max(most, w.jump.Window))
	if to <= i.Window+w.jump.Window/32 {
		return 0
	}
	return to
}

// arrived is what arrived of the flight, in order or not.
func (w *Watch) arrived(i Info) uint64 {
	return min(i.Delivered-min(i.Delivered, w.start.Delivered), w.jump.Window)
}

// unvalidated is a look at a flow whose first flight is under way.
func (w *Watch) unvalidated(a *Action, i Info, acked uint64, late bool, now time.Time) {
	switch {
	case i.Retrans > w.start.Retrans || i.Lost > 0:
		w.phase, w.ended = Retreated, now
		// What arrived of the first flight is what the path took so far: half
		// of it is safe.
		a.Window, a.Rate = max(max(min(acked, w.jump.Window), w.arrived(i))/2, 1), max(w.jump.Rate/2, 1)
		if i.Delivered == 0 { // a kernel that does not say how it ends
			w.done, a.Rate, a.Lift = true, 0, true
		}
	case acked >= w.jump.Window:
		w.phase, w.ended = Validated, now
	case late && i.Out == 0:
		w.phase, w.ended = Ended, now
		w.done, a.Lift = true, true
	}
}

func (j Jump) String() string {
	return fmt.Sprintf("window %d bytes, %d bytes/s, then up to %d", j.Window, j.Rate, j.Most)
}
