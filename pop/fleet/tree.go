package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/policy"
)

// Tree is the source of what others carry to us and from us: a relay that
// proves who said what, keeps its order and tells its age. What is said is
// what an Exchange says, numbered together with it, so that the two can be
// mixed. A POP that is not configured is in the state from its first word on.
//
// A statement is believed in all it says: it is ordered by its number, and
// Made bounds its age. That its POP knew of our own it proves by
// acknowledging one; only that moves Peer.Asked, as an answer does.
type Tree struct {
	f     *Fleet
	voice *Exchange

	mu    sync.Mutex
	told  []said                     // our last statements, oldest first
	asked map[policy.POPID]time.Time // of the last of ours that each has acknowledged
	wake  func()                     // makes a statement now; nil: nobody would carry it
}

type said struct {
	sequence uint64
	asked    time.Time
}

// Limits of a Tree.
const (
	maxTold   = 256               // statements of ours that can be acknowledged
	maxMet    = 1024              // POPs that are known by it alone
	metLasts  = time.Hour         // after which one that is silent makes room
	fewEnough = 64                // POPs up to which everybody acknowledges everything
	anybody   = policy.POPID("*") // to whom statements are
)

// Saying is a statement of ours.
type Saying struct {
	Boot     string
	Sequence uint64
	Body     []byte
	Asks     bool // everybody is to acknowledge it
	Urgent   bool // and at once
}

// Hearing is a statement of another POP. Whoever calls vouches for all but
// Body.
type Hearing struct {
	POP      policy.POPID
	Boot     string
	Sequence uint64
	Made     time.Time // by our own monotonic clock, no later than it was
	Body     []byte
	// AckBoot and Ack name the statement of ours that it acknowledges; 0: none.
	AckBoot string
	Ack     uint64
}

// Tree is the source for a relay; nil where Config.Tree is not set.
func (f *Fleet) Tree() *Tree { return f.tree }

func newTree(f *Fleet, voice *Exchange) *Tree {
	return &Tree{f: f, voice: voice, asked: map[policy.POPID]time.Time{}}
}

// Wake sets what has a statement made now.
func (t *Tree) Wake(wake func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wake = wake
}

func (t *Tree) poke() {
	t.mu.Lock()
	wake := t.wake
	t.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// Say makes a statement. It knows of everything that Hear was given before.
func (t *Tree) Say(ctx context.Context) (Saying, error) {
	asked := time.Now()
	body, err := t.voice.speak(ctx, anybody, takes{true, true, true}, t.f.take)
	if err != nil {
		return Saying{}, err
	}
	var m Message
	if err := json.Unmarshal(body, &m); err != nil {
		return Saying{}, fmt.Errorf("own status: %w", err)
	}
	out := Saying{Boot: m.Boot, Sequence: m.Sequence}
	m.Boot, m.Sequence = "", 0 // said beside it: a body that says the same is the same
	if out.Body, err = json.Marshal(m); err != nil {
		return Saying{}, fmt.Errorf("own status: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told = append(t.told, said{out.Sequence, asked}); len(t.told) > maxTold {
		t.told = t.told[1:]
	}
	for _, last := range t.asked {
		out.Urgent = out.Urgent || t.voice.inDoubt(last)
	}
	out.Asks = out.Urgent || len(t.asked) <= fewEnough
	return out, nil
}

// Hear takes a statement in. The error is a Refusal, or says what is wrong
// with the body.
func (t *Tree) Hear(h Hearing) error {
	m, err := decodeTold(h)
	if err != nil {
		t.voice.refused.add(Malformed)
		return errors.Join(Malformed, err)
	}
	e := Carried{Message: m, Made: h.Made, At: time.Now(), Asked: t.question(h)}
	return t.voice.refuse(t.f.take(e))
}

// question is when that was asked for which a statement acknowledges.
func (t *Tree) question(h Hearing) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.told, func(s said) bool { return s.sequence == h.Ack })
	if i < 0 || h.AckBoot != t.voice.boot {
		return time.Time{}
	}
	return t.told[i].asked
}

// awaited reports whether an event is the first answer of a POP to a question
// of Poke.
func (t *Tree) awaited(e Event) bool {
	c, ok := e.(Carried)
	if !ok {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	last, known := t.asked[c.From]
	if !known && len(t.asked) >= maxMet {
		clear(t.asked)
	}
	if c.Asked.After(last) || !known {
		t.asked[c.From] = c.Asked
	}
	return !c.Asked.IsZero() && t.voice.inDoubt(last) && !t.voice.inDoubt(c.Asked)
}

// decodeTold reads the body of a statement, and puts back what is said beside it.
func decodeTold(h Hearing) (Message, error) {
	if len(h.Body) > maxBody {
		return Message{}, TooLarge
	}
	var m Message
	d := json.NewDecoder(bytes.NewReader(h.Body))
	if err := d.Decode(&m); err != nil { // fields of newer versions are left out
		return Message{}, fmt.Errorf("statement: %w", err)
	}
	if m.From != h.POP || m.To != anybody {
		return Message{}, fmt.Errorf("statement of %s: says that it is of %q, to %q", h.POP, m.From, m.To)
	}
	m.Boot, m.Sequence = h.Boot, h.Sequence
	if err := m.validate(); err != nil {
		return Message{}, fmt.Errorf("statement of %s: %w", h.POP, err)
	}
	for i := range m.Slices {
		m.Slices[i].Reason = tidy(m.Slices[i].Reason)
	}
	return m, nil
}

// Carried is a statement that came through a tree.
type Carried struct {
	Message
	Made  time.Time // no later than it was
	At    time.Time // when it came
	Asked time.Time // of our statement that it acknowledges; zero: none
}

func (e Carried) apply(s *State) (bool, error) {
	if e.From == s.POP {
		return false, WrongPOP
	}
	p := s.meet(e.From, e.At)
	switch {
	case p == nil:
		return false, UnknownPOP
	case slices.Contains(p.retired, e.Boot):
		return false, Replayed
	case e.Boot == p.boot && e.Sequence <= p.sequence:
		return false, Overtaken
	// Another life of its daemon: it is the newer one if it spoke after all
	// that we had heard.
	case e.Boot != p.boot && !e.Made.After(p.Told):
		return false, Overtaken
	}
	if e.Boot != p.boot {
		p.boot, p.bootAt = e.Boot, e.At
	}
	back := p.Heard.IsZero() || s.Stale > 0 && e.At.Sub(p.Heard) > s.Stale
	p.sequence, p.Told = e.Sequence, e.At
	if e.Made.After(p.Heard) {
		p.Heard = e.Made
	}
	switch {
	case e.Asked.After(p.Asked):
		p.Asked = e.Asked
	case p.Asked.IsZero():
		p.Asked = s.began // it answers questions, and has not answered one of ours
	}
	p.hear(e.Message, e.Made)
	back = p.learn(e.Message, e.Asked, e.At, !e.Asked.IsZero()) || back
	return p.replace(e.Slices, e.At) || back, nil
}

// meet is the peer of that name, which a tree may bring unasked. It makes room
// by those that it brought and that have been silent for long.
func (s *State) meet(id policy.POPID, now time.Time) *PeerState {
	if p := s.peer(id); p != nil {
		p.Tree = true
		return p
	}
	s.Peers = slices.DeleteFunc(s.Peers, func(p PeerState) bool {
		return p.Tree && !p.Status && !p.RIB && now.Sub(p.Told) > metLasts
	})
	if len(s.Peers) >= maxMet {
		return nil
	}
	p := newPeer(id, 1)
	p.Tree = true
	s.Peers = append(s.Peers, p)
	return &s.Peers[len(s.Peers)-1]
}
