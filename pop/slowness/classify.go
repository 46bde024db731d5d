package slowness

import (
	"fmt"
	"math"
	"net/netip"
	"time"
)

// Sample is one transfer, or a part of one, in the words of the kernel's
// tcp_info, from when the client had the first byte.
type Sample struct {
	Client  netip.Addr
	Bytes   uint64        // acknowledged by the client
	Elapsed time.Duration // in which they were
	// Busy is the part of it in which there was something to send
	// (tcpi_busy_time), Receiver the part of Busy in which the client's window
	// was the limit (tcpi_rwnd_limited).
	Busy, Receiver time.Duration
	Peak           uint64 // highest delivery rate measured, bytes a second (tcpi_delivery_rate); 0: not known
	// Looks is how often the transfer was looked at on the way. Only by that are
	// known: Speed, the most that was taken between two looks, in bytes a second;
	// Quiet, the part of Busy between looks of which the second found nothing more
	// taken; and Window, the mean room that the client had, in bytes.
	Looks       int
	Speed       uint64
	Quiet       time.Duration
	Window      uint64
	RTT, MinRTT time.Duration
	Sent, Again uint64 // segments sent, and of them sent again
	// AppLimited: what was measured last was measured while the server had too
	// little to send (tcpi_delivery_rate_app_limited).
	AppLimited bool
	// Pace is how much the server itself sends at most, bytes a second
	// (SO_MAX_PACING_RATE); 0: no limit.
	Pace uint64
}

// Class says what limits a client.
type Class uint8

// Classes. Slow in the sense of steering are PathSlow and ReceiverSlow: such a
// client is not served better from near by. A lossy path is not among them,
// since each loss costs a round trip, which is longest from afar; and a full
// buffer is a matter of one session (policy/redirect), not of a network.
const (
	Unclear      Class = iota // too little was sent to say
	Fast                      // took more than the threshold, or all there was
	PathSlow                  // below the threshold, the network on the way is the limit
	ReceiverSlow              // below the threshold, the client reads slowly all the time
	BufferFull                // the client could take more, and waits with a full buffer
	Lossy                     // below the threshold since much is lost
	classes
)

var classNames = [classes]string{"unclear", "fast", "path-slow", "receiver-slow", "buffer-full", "lossy"}

func (c Class) String() string { return classNames[min(c, classes-1)] }

// MarshalText writes the word of String.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the word of String.
func (c *Class) UnmarshalText(b []byte) error {
	for i, n := range classNames {
		if n == string(b) {
			*c = Class(i)
			return nil
		}
	}
	return fmt.Errorf("class %q: not known", b)
}

// Slow reports whether a client of this class is slow wherever it is served from.
func (c Class) Slow() bool { return c == PathSlow || c == ReceiverSlow }

// Limits are where classes end.
type Limits struct {
	// Slow is the rate in bytes a second that the POP could send to anybody: who
	// takes less is slow. Default 625,000 (5 Mbit/s).
	Slow uint64
	// Loss is the share of segments sent again from which a slow path counts as
	// lossy. Default 0.015.
	Loss float64
	// Least is how much a sample must have, in bytes and, to be slow, in time.
	// Default 64 KiB and 200 ms.
	LeastBytes uint64
	LeastTime  time.Duration
}

func (l *Limits) defaults() {
	if l.Slow == 0 {
		l.Slow = 625_000
	}
	if l.Loss == 0 {
		l.Loss = 0.015
	}
	if l.LeastBytes == 0 {
		l.LeastBytes = 64 << 10
	}
	if l.LeastTime == 0 {
		l.LeastTime = 200 * time.Millisecond
	}
}

// What tells one limit from another.
const (
	limited = 0.4 // share of busy time from which the receiver is the limit
	inside  = 0.6 // share of its window in flight from which it is, too: a sender that paces itself seldom fills it
	bursts  = 2.5 // how much faster than on average a client took data whose pauses are those of a full buffer
	pauses  = 0.4 // share of busy time from which a client makes pauses; half of it if it takes data in bursts, too
	enough  = 3   // looks by which that is known
)

// ownLimit is the share of the server's own pace from which that is the limit,
// and firstWindow what a connection may send in its first round trip (RFC 6928).
const (
	ownLimit    = 0.7
	firstWindow = 10 * 1448
)

// Rate is how fast the client took what there was, in bytes a second: time in
// which there was nothing to send does not count.
func (s *Sample) Rate() float64 {
	t := s.Busy
	if t <= 0 || t > s.Elapsed {
		t = s.Elapsed
	}
	if t <= 0 {
		return 0
	}
	return float64(s.Bytes) / t.Seconds()
}

// steady is Rate without the time that slow start takes even on a path that
// gives slow bytes a second: a short transfer over a long path is no slow one.
func (s *Sample) steady(slow float64) float64 {
	rtt := s.MinRTT.Seconds()
	if rtt == 0 {
		rtt = s.RTT.Seconds()
	}
	rate, left, lost := s.Rate(), float64(s.Bytes), 0.0
	for w := float64(firstWindow); left > 0 && w < slow*rtt; w *= 2 {
		n := min(left, w)
		left, lost = left-n, lost+rtt-n/slow // a whole round trip, however little it is of
	}
	if rate == 0 || lost <= 0 {
		return rate
	}
	lost += rtt // acknowledgements that are held back
	t := float64(s.Bytes) / rate
	return float64(s.Bytes) / max(t-lost, t/1000)
}

// Loss is the share of segments that were sent again.
func (s *Sample) Loss() float64 {
	if s.Sent == 0 {
		return 0
	}
	return min(1, float64(s.Again)/float64(s.Sent))
}

// Limited is the share of busy time in which the receiver was the limit.
func (s *Sample) Limited() float64 {
	if s.Busy <= 0 {
		return 0
	}
	return min(1, float64(s.Receiver)/float64(s.Busy))
}

// Classify says what limits the client, and how sure that is: 0.5 on the border
// between two classes, toward 1 far from it.
func (l Limits) Classify(s *Sample) (Class, float64) {
	l.defaults()
	slow := float64(l.Slow)
	if s.Bytes < l.LeastBytes || s.Elapsed < l.LeastTime && s.Rate() < slow {
		return Unclear, 1
	}
	rate := s.steady(slow)
	waits := sure(s.Limited(), limited, 0.1)
	under := sure(slow, rate, 0.3*slow)
	if rate < slow && s.Pace > 0 && s.Rate() >= ownLimit*float64(s.Pace) {
		return Unclear, 1 // we are the limit
	}
	if full := s.full(slow); full >= 0.5 && waits >= 0.5 {
		return BufferFull, min(waits, full)
	}
	held := max(waits, sure(s.flight(), inside, 0.1))
	switch {
	case rate >= slow && 2*max(s.Rate(), float64(s.Peak)) < slow:
		return Unclear, 1 // all of it may have been slow start, and need not
	case rate >= slow:
		return Fast, 1 - under
	case held >= 0.5 && !s.deep():
		return ReceiverSlow, min(held, under)
	case s.Loss() >= l.Loss && !s.queued():
		return Lossy, min(under, sure(s.Loss(), l.Loss, l.Loss/2))
	case !s.queued() && s.AppLimited && float64(s.Peak) >= slow:
		return Fast, sure(float64(s.Peak), slow, 0.3*slow) // small pieces, each of them some round trips, and faster within
	case !s.queued() && (s.AppLimited || float64(s.Peak) >= 2*slow):
		return Unclear, 1 // small pieces
	default:
		return PathSlow, min(under, max(1-held, 0.5))
	}
}

// full is how sure it is that the client makes pauses, in which it could take
// data and does not.
func (s *Sample) full(slow float64) float64 {
	burst := float64(s.Peak)
	if s.Looks >= enough {
		burst = float64(s.Speed)
	}
	is := 0.0
	if burst >= slow {
		is = sure(burst/max(s.Rate(), 1), bursts, 0.5)
	}
	if s.Looks < enough || s.Busy <= 0 {
		return is
	}
	quiet := float64(s.Quiet) / float64(s.Busy)
	return max(sure(quiet, pauses, 0.1), min(is, sure(quiet, pauses/2, 0.1)))
}

// flight is the share of the client's room that was in flight: with 1 the room
// is the limit. 0: not known.
func (s *Sample) flight() float64 {
	if s.Window == 0 {
		return 0
	}
	return min(1, s.Rate()*s.RTT.Seconds()/float64(s.Window))
}

// queued reports whether the path holds a queue: then what is lost is lost by
// the sender filling it, and the path is slow rather than lossy.
func (s *Sample) queued() bool { return s.waited(30 * time.Millisecond) }

// deep reports whether the path holds so much that the client's window is all
// in a queue: then that it is full says nothing of the client. What the client
// acknowledges late (200 ms at most, mostly 40) looks like a queue, too.
func (s *Sample) deep() bool { return s.waited(150 * time.Millisecond) }

func (s *Sample) waited(least time.Duration) bool {
	return s.MinRTT > 0 && s.RTT >= 2*s.MinRTT && s.RTT-s.MinRTT >= least
}

// sure is the logistic of how far x is above at.
func sure(x, at, scale float64) float64 { return 1 / (1 + math.Exp((at-x)/scale)) }
