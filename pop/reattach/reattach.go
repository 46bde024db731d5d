// Package reattach measures how long clients need that were sent to another POP:
// from the redirect until that POP has answered them. The POP that sends a client
// gives the redirect a mark; the other one tells which marks it has seen, and how
// long ago; so no clock of one is compared with that of another, and what is
// measured is the time that it took or a little more (that of one message between
// them).
//
// Its Book is bounded, and a mark counts once and only where it was given: a
// client cannot make up a time. It decides nothing.
package reattach

import (
	"crypto/rand"
	"encoding/base32"
	"sync"
	"time"
)

// Seen is a mark of another POP with which a client came here.
type Seen struct {
	POP  string        // that has sent it
	Mark string        // of the redirect
	Age  time.Duration // since it was answered here
}

// Bounds.
const (
	given    = 4096             // marks that are waited for
	patience = 30 * time.Second // who has not come by then has left
	told     = 64               // marks of others that are told
	tell     = 10 * time.Second // how long
	slots    = 12               // of observations that are kept
	slot     = 5 * time.Minute
)

// Book keeps marks and times. Its methods may be called from anywhere.
type Book struct {
	mu   sync.Mutex
	sent map[string]sent
	here []here
	to   map[string]*observed

	expired time.Time // when it was looked last who has left
}

type sent struct {
	to string
	at time.Time
}

type here struct {
	pop, mark string
	at        time.Time
}

// observed are times of one POP.
type observed struct {
	worst [slots]time.Duration
	since time.Time // of the first slot
	n     uint64
	lost  uint64
}

// New makes an empty one.
func New() *Book { return &Book{sent: map[string]sent{}, to: map[string]*observed{}} }

// Send gives a redirect to a POP its mark. Where very many are waited for, some are not measured.
func (b *Book) Send(to string, now time.Time) (mark string) {
	var raw [10]byte
	_, _ = rand.Read(raw[:]) // it never fails
	mark = base32.StdEncoding.EncodeToString(raw[:])
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sent) >= given && now.Sub(b.expired) > time.Second {
		b.expire(now)
	}
	if len(b.sent) < given {
		b.sent[mark] = sent{to, now}
	}
	return mark
}

// expire forgets who has not come.
func (b *Book) expire(now time.Time) {
	b.expired = now
	for m, s := range b.sent {
		if now.Sub(s.at) > patience {
			delete(b.sent, m)
			b.of(s.to).lost++
		}
	}
}

func (b *Book) of(pop string) *observed {
	o := b.to[pop]
	if o == nil {
		o = new(observed)
		b.to[pop] = o
	}
	return o
}

// Come notes that a client was answered here that another POP has sent.
func (b *Book) Come(from, mark string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.here) == told { // the oldest has been told the most often
		b.here = append(b.here[:0], b.here[1:]...)
	}
	b.here = append(b.here, here{from, mark, now})
}

// Tell are the marks to tell the others now.
func (b *Book) Tell(now time.Time) (out []Seen) {
	b.mu.Lock()
	defer b.mu.Unlock()
	keep := b.here[:0]
	for _, h := range b.here {
		if now.Sub(h.at) <= tell {
			keep = append(keep, h)
			out = append(out, Seen{h.pop, h.mark, now.Sub(h.at)})
		}
	}
	b.here = keep
	return out
}

// Hear takes in what a POP has told, at the time it did.
func (b *Book) Hear(from string, seen []Seen, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range seen {
		s, ok := b.sent[x.Mark]
		if !ok || s.to != from {
			continue
		}
		delete(b.sent, x.Mark)
		o := b.of(from)
		if took := at.Sub(s.at) - x.Age; took <= patience {
			o.note(max(0, took), at)
		} else {
			o.lost++
		}
	}
	b.expire(at)
}

// note keeps one time.
func (o *observed) note(took time.Duration, now time.Time) {
	o.turn(now)
	o.worst[0] = max(o.worst[0], took)
	o.n++
}

// turn makes room for the present.
func (o *observed) turn(now time.Time) {
	if o.since.IsZero() || now.Sub(o.since) > slots*slot {
		o.worst, o.since = [slots]time.Duration{}, now
	}
	for now.Sub(o.since) > slot {
		copy(o.worst[1:], o.worst[:])
		o.worst[0], o.since = 0, o.since.Add(slot)
	}
}

// Times are what is known of one POP.
type Times struct {
	Worst    time.Duration // of the last hour
	Measured uint64        // clients, since the start
	Lost     uint64        // that were not seen there within 30 s
}

// Times of a POP.
func (b *Book) Times(pop string, now time.Time) (t Times) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.to[pop]
	if o == nil {
		return t
	}
	o.turn(now)
	for _, w := range o.worst {
		t.Worst = max(t.Worst, w)
	}
	t.Measured, t.Lost = o.n, o.lost
	return t
}
