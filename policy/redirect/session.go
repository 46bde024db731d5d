package redirect

import (
	"math"
	"time"
)

// Media is what is known of how fast a stream is played, in bytes a second.
// The zero value: nothing.
type Media struct {
	Average float64
	Peak    float64 // no second of it needs more; 0: not known
}

// Need is the most that a second of the stream may take. Without a peak it is
// taken for twice the average.
func (m Media) Need() float64 {
	switch {
	case m.Peak > 0:
		return max(m.Peak, m.Average)
	case m.Average > 0:
		return 2 * m.Average
	}
	return 0
}

// Session is one client and one stream. The zero value is a client not seen yet.
type Session struct {
	Media Media

	asked    bool
	next     int64   // the byte after the last one asked for; MaxInt64: all of it
	pos      int64   // the byte after the last one that was acknowledged
	name     string  // of the last segment
	buffer   float64 // seconds of media that the client has at least
	owed     float64 // seconds that were played, or waited for, with nothing to take them from
	at       time.Time
	speed    float64
	said     bool // the client told its buffer in the last request
	paced    time.Time
	last     time.Time
	sequence int // requests in sequence
	starved  bool
	unread   float64 // bytes in the client's socket, while its window is shut
	shut     time.Time
}

// Request is one request of the session, as far as the decision goes.
type Request struct {
	At    time.Time
	Name  string // of the object, as it is asked for
	First int64  // first byte wanted
	Last  int64  // last byte wanted; -1: to the end
	Size  int64  // of the object; -1: not known
	CMCD  CMCD
	Slow  bool // the client's network is slow (pop/slowness)
	// Via are the POPs that have sent the client here by redirects one after
	// another, the last one last; the cache server carries them in the target.
	Via []POP
}

// POP names a POP.
type POP string

// Got tells that the client has acknowledged n more bytes of media since it was
// told last of anything. When in between is not known: what is played meanwhile
// is taken from them too.
func (s *Session) Got(n int64, now time.Time) { s.GotSince(n, s.at, now) }

// GotSince is Got for bytes that may have come since an earlier time: what was
// played since, and not taken from anything yet, is taken from them.
func (s *Session) GotSince(n int64, since, now time.Time) {
	owed := 0.0
	if early := s.at.Sub(since).Seconds() * max(1, s.speed); early > 0 {
		owed = min(s.owed, early)
	}
	s.pos += max(0, n)
	if need := s.Media.Need(); need > 0 && n > 0 {
		s.buffer += max(0, float64(n)/need-owed)
		s.owed = 0
	}
	s.pass(now)
}

// Had is Got for an answer that is not that of the last request; the bytes came
// within that time.
func (s *Session) Had(n int64, within time.Duration) {
	if need := s.Media.Need(); need > 0 && n > 0 {
		s.buffer += max(0, float64(n)/need-within.Seconds()*max(1, s.speed))
	}
}

// Begins reports whether the last request was a seek, or the first: what was sent
// before it does not count.
func (s *Session) Begins() bool { return s.sequence == 0 }

// Goes reports whether a request goes on byte for byte where the last one of the
// same object stopped, or a little before it.
func (s *Session) Goes(q *Request) bool {
	return s.asked && q.First > 0 && (s.after(q, s.next) || s.after(q, s.pos))
}

// Window tells whether the client's receive window is shut (tcp_info), and how
// many bytes it holds then: those the player has not read.
func (s *Session) Window(shut bool, bytes int64, now time.Time) {
	s.pass(now)
	switch {
	case !shut:
		s.shut, s.unread = time.Time{}, 0
	case s.shut.IsZero():
		s.shut, s.unread = now, float64(bytes)
	}
}

// pass lets time go by: what is played leaves the buffer, and a player without
// anything waits.
func (s *Session) pass(now time.Time) {
	if s.at.IsZero() || now.Before(s.at) {
		s.at = now
		return
	}
	s.buffer -= now.Sub(s.at).Seconds() * max(1, s.speed)
	if s.buffer < 0 {
		s.owed, s.buffer = s.owed-s.buffer, 0
	}
	s.at = now
}

// Request takes a request in. It reports whether it is in sequence: the bytes
// after those asked for last, or the segment after the last one. A request that
// is not is a seek, or the first: of the buffer nothing is known then but what
// the client says.
func (s *Session) Request(q *Request) (inSequence bool) {
	s.pass(q.At)
	inSequence = s.asked && (s.after(q, s.next) || s.after(q, s.pos) || q.First == 0 && s.next == math.MaxInt64 && Follows(s.name, q.Name))
	if inSequence {
		s.sequence++
		if again := s.pos - q.First; q.Name == s.name && again > 0 && s.Media.Average > 0 {
			s.buffer = max(0, s.buffer-float64(again)/s.Media.Average) // it was thrown away
		}
	} else {
		s.buffer, s.sequence, s.paced = 0, 0, time.Time{}
	}
	s.asked, s.name, s.pos, s.next = true, q.Name, q.First, q.Last+1
	if q.Last < 0 || s.next == q.Size {
		s.next = math.MaxInt64 // only the next segment comes after it
	}
	s.hear(&q.CMCD)
	return inSequence
}

// after reports whether a request begins at a place of the last object, or a
// little before it.
func (s *Session) after(q *Request, at int64) bool {
	return q.Name == s.name && q.First <= at && at-q.First <= overlap
}

// overlap is how many bytes a request may ask for again and be in sequence: a
// browser whose buffer is full hangs up, throws away what it has not read, and
// asks for the rest later.
const overlap = 1 << 20

// hear takes what the client says of itself. It is a hint: a buffer longer than
// believed is not believed beyond MaxSaid.
func (s *Session) hear(c *CMCD) {
	s.said, s.starved = c.HasBuffer, c.Starved || c.Startup
	if c.Speed > 0 {
		s.speed = min(c.Speed, 16)
	}
	if c.HasBuffer {
		s.buffer = min(c.Buffer.Seconds(), maxSaid)
	}
	if c.Bitrate > 0 && s.Media.Peak == 0 && s.Media.Average == 0 {
		s.Media.Average = c.Bitrate
	}
}

// maxSaid bounds what a client may say of its buffer, in seconds.
const maxSaid = 120

// BufferAt is Buffer at a time that has come.
func (s *Session) BufferAt(now time.Time) time.Duration {
	s.pass(now)
	return s.Buffer()
}

// Buffer is how much the client has at least, in time of play.
func (s *Session) Buffer() time.Duration {
	b := s.buffer
	if need := s.Media.Need(); need > 0 && !s.shut.IsZero() {
		b = max(b, s.unread/need) // it waits in the client's kernel
	}
	return time.Duration(b * float64(time.Second))
}

// Follows reports whether the name of a segment is that of the one after
// another: the same but for one number, which is one higher.
func Follows(before, name string) bool {
	i := 0
	for i < len(before) && i < len(name) && before[i] == name[i] {
		i++
	}
	for i > 0 && digit(name[i-1]) {
		i--
	}
	a, b := number(before[i:]), number(name[i:])
	if a == "" || b == "" || before[i+len(a):] != name[i+len(b):] {
		return false
	}
	return successor(a) == b || successor(trim(a)) == b
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func number(s string) string {
	for i := range len(s) {
		if !digit(s[i]) {
			return s[:i]
		}
	}
	return s
}

func trim(s string) string {
	for len(s) > 1 && s[0] == '0' {
		s = s[1:]
	}
	return s
}

// successor adds one to a decimal number, which keeps its zeros.
func successor(s string) string {
	b := []byte(s)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] <= '9' {
			return string(b)
		}
		b[i] = '0'
	}
	return "1" + string(b)
}
