package core

import (
	"sync"
	"time"
)

// Limits bound what writers can do. Zero fields take the defaults.
type Limits struct {
	Value  int     // bytes of one stored object, with who and why; default 256 KiB
	Txn    int     // bytes of one transaction; default 1 MiB, well below the engine's 1.5
	Ops    int     // writes in one transaction; default 100
	Rate   float64 // writes a second of one writer; default 20
	Burst  int     // that may come at once; default 100
	Writer int     // writers remembered; default 1024
}

func (l Limits) withDefaults() Limits {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&l.Value, 256<<10)
	set(&l.Txn, 1<<20)
	set(&l.Ops, 100)
	set(&l.Burst, 100)
	set(&l.Writer, 1024)
	if l.Rate <= 0 {
		l.Rate = 20
	}
	return l
}

// throttle is a token bucket per writer.
type throttle struct {
	rate    float64
	burst   float64
	most    int
	mu      sync.Mutex
	writers map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newThrottle(l Limits) *throttle {
	return &throttle{rate: l.Rate, burst: float64(l.Burst), most: l.Writer, writers: map[string]bucket{}}
}

// take takes n tokens of a writer, or says how long until there are enough.
// What is refused costs nothing.
func (t *throttle) take(who string, n int, now time.Time) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b, known := t.writers[who]
	if !known {
		if len(t.writers) >= t.most {
			t.forget(now)
		}
		b = bucket{t.burst, now}
	}
	b = t.filled(b, now)
	// A transaction larger than the burst passes on a full bucket and leaves a debt.
	if need := min(float64(n), t.burst); b.left < need {
		t.writers[who] = b
		return time.Duration((need - b.left) / t.rate * float64(time.Second)), false
	}
	b.left -= float64(n)
	t.writers[who] = b
	return 0, true
}

func (t *throttle) filled(b bucket, now time.Time) bucket {
	if d := now.Sub(b.at).Seconds(); d > 0 {
		b.left = min(t.burst, b.left+d*t.rate)
	}
	b.at = now
	return b
}

// forget drops the writers whose buckets are full again, and if that is none,
// the one that wrote longest ago: whoever invents names gains a burst each,
// bounded memory is what this keeps.
func (t *throttle) forget(now time.Time) {
	oldest, when := "", now
	for who, b := range t.writers {
		if t.filled(b, now).left >= t.burst {
			delete(t.writers, who)
		} else if !b.at.After(when) {
			oldest, when = who, b.at
		}
	}
	if len(t.writers) >= t.most {
		delete(t.writers, oldest)
	}
}
