package wire

import (
	"math/rand/v2"
	"sync"
	"time"
)

// queue is one direction: frames in the order of arrival with the time each
// is due at the other end. The due times never decrease, so a list will do.
type queue struct {
	mu     sync.Mutex
	more   sync.Cond
	frames []frame
	free   [][]byte
	closed bool
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

func newQueue(seed uint64) *queue {
	q := &queue{lane: newLane(seed)}
	q.more.L = &q.mu
	return q
}

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
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return full
	}
	due, f := q.admit(len(data), c, now)
	if f != queued {
		return f
	}
	if n := len(q.frames); n > 0 && due.Before(q.frames[n-1].due) {
		due = q.frames[n-1].due // the delay was shortened: order is kept
	}
	q.frames = append(q.frames, frame{due: due, data: append(q.buffer(len(data)), data...)})
	q.more.Signal()
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

// pop waits for the next frame; false when the queue is closed.
func (q *queue) pop() (frame, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.frames) == 0 && !q.closed {
		q.more.Wait()
	}
	if q.closed {
		return frame{}, false
	}
	f := q.frames[0]
	q.frames = q.frames[1:]
	return f, true
}

func (q *queue) release(b []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.free) < 64 {
		q.free = append(q.free, b)
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Broadcast()
}
