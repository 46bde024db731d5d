package relay

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// Presence is what a POP said of itself.
type Presence struct {
	POP      string
	Boot     string // one life of its daemon
	Sequence uint64 // orders what is said in one life
	// Made is when, by our own monotonic clock and not later than it was. Past
	// Made+TTL it does not count, and Fleet leaves it out.
	Made    time.Time
	TTL     time.Duration
	Payload []byte // not to be changed
	Asks    bool   // it wants to be acknowledged
	Acks    []Ack
	From    string // the POP that told us
}

// Ack names a statement that was heard before another one's payload was made.
type Ack struct {
	POP, Boot string
	Sequence  uint64
}

// Refusal is why a presence was not taken in. Its values are stable: they
// label counters.
type Refusal string

func (r Refusal) Error() string { return "refused: " + string(r) }

// Refusals.
const (
	Malformed Refusal = "malformed"
	Forged    Refusal = "forged"    // not signed by the POP it is of
	Misplaced Refusal = "misplaced" // of ourselves or our parents, from a child
	Overtaken Refusal = "overtaken" // something as new or newer is known
	Expired   Refusal = "expired"
	TooMany   Refusal = "too-many"
)

// Refusals lists them all.
func Refusals() []Refusal {
	return []Refusal{Malformed, Forged, Misplaced, Overtaken, Expired, TooMany}
}

// Limits on a statement. They bound memory.
const (
	maxStatement = 16 << 10
	maxName      = 128
	maxAcks      = 64
	maxBoots     = 8 // lives of a POP's daemon that are remembered
	maxTTL       = time.Minute
)

// entry is the last statement of a POP and what came with it.
type entry struct {
	pop     string
	made    int64 // by our clock, no later than it was; of the last one
	last    *pb.Statement
	wire    wire
	via     *link  // from which it came; nil: our own
	version uint64 // of the table, when it changed
	seen    bool   // OnPresence has returned
	boots   []life // highest sequence of each life, the latest last
	gone    bool   // expired; kept for its boots
}

// wire is what is told on unchanged.
type wire struct{ statement, signature, certificate, payload []byte }

type life struct {
	boot     string
	sequence uint64
}

// table is everybody's last statement.
type table struct {
	id    identity
	clock clock
	most  int   // POPs
	bytes int64 // of payloads
	bell  bell  // rung at each change

	mu      sync.Mutex
	version uint64
	size    int64
	entries map[string]*entry
	refused map[Refusal]uint64
	acked   int // where acks went on last time
}

func newTable(id identity, c clock, l Limits) *table {
	return &table{id: id, clock: c, most: l.POPs, bytes: l.Payloads, entries: map[string]*entry{}, refused: map[Refusal]uint64{}}
}

// parse reads a statement.
func parse(b []byte) (*pb.Statement, error) {
	st := &pb.Statement{}
	if len(b) > maxStatement || proto.Unmarshal(b, st) != nil {
		return nil, Malformed
	}
	ttl := time.Duration(st.Ttl) * time.Millisecond
	if !validName(st.Pop) || !validName(st.Boot) || st.Sequence == 0 || len(st.Acks) > maxAcks || ttl <= 0 || ttl > maxTTL {
		return nil, Malformed
	}
	return st, nil
}

// matches holds if a statement came with what it is about.
func matches(st *pb.Statement, p *pb.Presence) error {
	ph, ch := sha256.Sum256(p.Payload), sha256.Sum256(p.Certificate)
	if !bytes.Equal(ph[:], st.PayloadHash) || !bytes.Equal(ch[:], st.CertificateHash) {
		return Malformed
	}
	return nil
}

func validName(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s)
}

// take takes in what a link told, made at a time of our clock. Checks that
// cost little come first; what is signed wrong changes nothing.
func (t *table) take(st *pb.Statement, p *pb.Presence, made int64, via *link) (Presence, error) {
	if err := matches(st, p); err != nil {
		return Presence{}, t.refuse(err)
	}
	if err := t.news(st, made); err != nil {
		return Presence{}, t.refuse(err)
	}
	who, err := t.id.check(p.Certificate, p.Statement, p.Signature)
	if err != nil || who != st.Pop {
		return Presence{}, t.refuse(fmt.Errorf("%w: %s: %w", Forged, st.Pop, errOr(err, fmt.Errorf("signed by %s", who))))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.newsLocked(st, made); err != nil { // by another link meanwhile
		t.refused[Overtaken]++
		return Presence{}, err
	}
	e, err := t.enter(st, p)
	if err != nil {
		t.refused[TooMany]++
		return Presence{}, err
	}
	e.made, e.via = made, via
	t.changed(e)
	return t.show(e), nil
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func (t *table) news(st *pb.Statement, made int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newsLocked(st, made)
}

// newsLocked holds for a statement that is newer than all we know of its POP.
// Two lives are told apart by age alone, and which of them is over shows in
// who goes on.
func (t *table) newsLocked(st *pb.Statement, made int64) error {
	if t.clock.now()-made > int64(st.Ttl)*1000 {
		return Expired
	}
	e := t.entries[st.Pop]
	if e == nil {
		return nil
	}
	for _, l := range e.boots {
		if l.boot == st.Boot && st.Sequence <= l.sequence {
			return Overtaken
		}
	}
	if e.last.Boot != st.Boot && !e.gone && made <= e.made {
		return Overtaken
	}
	return nil
}

// enter puts a statement into the table, if there is room.
func (t *table) enter(st *pb.Statement, p *pb.Presence) (*entry, error) {
	t.expire()
	e := t.entries[st.Pop]
	size := t.size + int64(len(p.Payload)+len(p.Statement)+len(p.Certificate))
	if e != nil {
		size -= e.size()
	}
	if size > t.bytes || e == nil && len(t.entries) >= t.most && !t.forget() {
		return nil, TooMany
	}
	if e == nil {
		e = &entry{pop: st.Pop}
		t.entries[st.Pop] = e
	}
	t.size = size
	e.last, e.gone, e.seen = st, false, false
	e.wire = wire{p.Statement, p.Signature, p.Certificate, p.Payload}
	e.boots = slices.DeleteFunc(e.boots, func(l life) bool { return l.boot == st.Boot })
	if e.boots = append(e.boots, life{st.Boot, st.Sequence}); len(e.boots) > maxBoots {
		e.boots = e.boots[1:]
	}
	return e, nil
}

func (e *entry) size() int64 {
	return int64(len(e.wire.payload) + len(e.wire.statement) + len(e.wire.certificate))
}

// forget drops a POP that has not been heard for long, to make room.
func (t *table) forget() bool {
	for pop, e := range t.entries {
		if e.gone {
			delete(t.entries, pop)
			return true
		}
	}
	return false
}

func (t *table) changed(e *entry) {
	t.version++
	e.version = t.version
	t.bell.ring()
}

func (t *table) show(e *entry) Presence {
	p := Presence{
		POP: e.pop, Boot: e.last.Boot, Sequence: e.last.Sequence, Made: t.clock.time(e.made),
		TTL: time.Duration(e.last.Ttl) * time.Millisecond, Payload: e.wire.payload, Asks: e.last.Asks,
	}
	for _, a := range e.last.Acks {
		p.Acks = append(p.Acks, Ack{a.Pop, a.Boot, a.Sequence})
	}
	if e.via != nil {
		p.From = e.via.pop
	}
	return p
}

// handed notes that OnPresence knows a statement, so that it may be acknowledged.
func (t *table) handed(p Presence) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[p.POP]; e != nil && e.last.Boot == p.Boot && e.last.Sequence == p.Sequence {
		e.seen = true
	}
}

// fleet is everybody who counts now.
func (t *table) fleet() []Presence {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	var out []Presence
	for _, pop := range slices.Sorted(maps.Keys(t.entries)) {
		if e := t.entries[pop]; !e.gone {
			out = append(out, t.show(e))
		}
	}
	return out
}

// expire lets go of what counts no more.
func (t *table) expire() {
	now := t.clock.now()
	for _, e := range t.entries {
		if !e.gone && now-e.made > int64(e.last.Ttl)*1000 {
			t.size -= e.size()
			e.gone, e.via = true, nil
			e.wire = wire{}
		}
	}
}

// below is the POPs whose last statement came from a link.
func (t *table) below(l *link) map[string]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	out := map[string]bool{}
	for pop, e := range t.entries {
		if !e.gone && e.via == l {
			out[pop] = true
		}
	}
	return out
}

// refuse counts why something was not taken.
func (t *table) refuse(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range Refusals() {
		if errors.Is(err, r) {
			t.refused[r]++
		}
	}
	return err
}
