package wire

import (
	"math/rand/v2"
	"time"
)

// queue is one direction: frames in the order of arrival with the time each
// is due at the other end. The due times never decrease, so a list will do. It
// is of one goroutine.
type queue struct {
	frames []frame
	free   [][]byte
	lane
}

// lane is a direction of one line.
type lane struct {
	random *rand.Rand
	idle   time.Time // when it has sent everything before
}

func newLane(seed uint64) lane { return lane{random: rand.New(rand.NewPCG(seed, seed))} }

type frame struct {
	due  time.Time
	data []byte
}

type fate int

const (
	queued fate = iota
	lost
	full
)

func newQueue(seed uint64) *queue { return &queue{lane: newLane(seed)} }

// header is what the kernel puts before a frame; it takes no time on a line.
const header = 10

// admit says when a frame of n bytes that came now is at the other end, or that
// it never is.
func (l *lane) admit(n int, c *Config, now time.Time) (due time.Time, _ fate) {
	if c.Loss > 0 && l.random.Float64() < c.Loss {
		return now, lost
	}
	leaves := now
	if c.Rate > 0 {
		start := now
		if l.idle.After(now) {
			start = l.idle
		}
		limit := c.Queue
		if limit == 0 {
			limit = defaultQueue
		}
		// What waits now, in bytes, follows from when the line will be idle.
		if waiting := int64(start.Sub(now).Seconds() * float64(c.Rate) / 8); waiting+int64(n) > int64(limit) {
			return now, full
		}
		bits := int64(max(n-header, 0)) * 8
		leaves = start.Add(time.Duration(float64(bits) / float64(c.Rate) * float64(time.Second)))
		l.idle = leaves
	}
	return leaves.Add(c.Delay), queued
}

// push takes a copy of a frame that arrived now and says what became of it.
func (q *queue) push(data []byte, c *Config, now time.Time) fate {
	due, f := q.admit(len(data), c, now)
	if f != queued {
		return f
	}
	if n := len(q.frames); n > 0 && due.Before(q.frames[n-1].due) {
		due = q.frames[n-1].due // the delay was shortened: order is kept
	}
	q.frames = append(q.frames, frame{due: due, data: append(q.buffer(len(data)), data...)})
	return queued
}

func (q *queue) buffer(n int) []byte {
	if k := len(q.free); k > 0 && cap(q.free[k-1]) >= n {
		b := q.free[k-1]
		q.free = q.free[:k-1]
		return b[:0]
	}
	return make([]byte, 0, max(n, 2048))
}

// due is how many frames at the front are due by a time, at most so many.
func (q *queue) due(now time.Time, most int) int {
	n := 0
	for n < min(len(q.frames), most) && !q.frames[n].due.After(now) {
		n++
	}
	return n
}

// drop lets go of so many frames at the front.
func (q *queue) drop(n int) {
	for i := range q.frames[:n] {
		if len(q.free) < spare {
			q.free = append(q.free, q.frames[i].data)
		}
		q.frames[i].data = nil
	}
	q.frames = q.frames[n:]
}

// spare is how many buffers are kept for later frames.
const spare = 4096
