package fleet

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
)

// besideAfter is how long the RIB must have shown a POP's route while we
// announced the same slice before its absence means anything.
const besideAfter = time.Minute

// maxRetired bounds how many superseded boot identifiers are remembered.
const maxRetired = 32

// Refusal is why a message was not taken in. Its values are stable: they
// label counters.
type Refusal string

func (r Refusal) Error() string { return "refused: " + string(r) }

// Refusals.
const (
	Forged     Refusal = "forged"      // no proof, or a wrong one
	Malformed  Refusal = "malformed"   // proved, but no message
	TooLarge   Refusal = "too-large"   // more than 4 MiB
	UnknownPOP Refusal = "unknown-pop" // proved, from a POP that is not configured
	WrongPOP   Refusal = "wrong-pop"   // meant for another POP, or answered by one
	Replayed   Refusal = "replayed"    // from a life of the daemon that is over
	Overtaken  Refusal = "overtaken"   // something newer came from that POP meanwhile
)

// State is all that is known of the fleet. Take changes it, View reads it; it
// is not safe for use by several goroutines (Fleet is).
type State struct {
	POP   policy.POPID
	Stale time.Duration // age at which a status is no longer preferred to the RIB; 0: never
	Peers []PeerState   // all configured, whether heard or not

	tree  bool                         // a tree brings POPs that are not configured
	began time.Time                    // when there was no question yet
	own   map[policy.SliceID]time.Time // what we announce, since when
	paths map[pathKey]route
}

// PeerState is another POP in the State.
type PeerState struct {
	POP      policy.POPID
	Capacity float64
	Status   bool // asked by Exchange
	RIB      bool // has a site community
	Tree     bool // a tree has brought something of it

	Heard, Asked time.Time // of the last answer that was believed
	Told         time.Time // when the last message of any kind was taken in

	boot     string
	bootAt   time.Time // when boot was first heard
	sequence uint64
	retired  []string
	claims   map[policy.SliceID]claim
	beside   map[policy.SliceID]bool      // the RIB has shown it beside ours
	lost     map[policy.SliceID]time.Time // since when the RIB no longer shows it
	shown    bool                         // the RIB has shown something of it
	about    *About                       // its last word on itself; nil: none yet
	aboutAt  time.Time
	turn     policy.PeerTurn // believed
	load     *heard          // its last word on what it carries; nil: none yet

	memo memo
}

// memo keeps what View and Peers made of a peer until an event changes it. The
// maps are never changed after, so that readers may share them: a decision
// then costs the same whether a POP has ten slices or ten thousand.
type memo struct {
	status, rib map[policy.SliceID]policy.PeerSlice
	words       []Claim // last words, by prefix
}

// claim is what we believe of a slice, and the peer's last word on it, which
// may say more than we believe.
type claim struct {
	Claim
	last      Claim
	downSince time.Time
	stanceAt  time.Time // since when last has its stance
	backAt    time.Time // when it was last announced in full after it was not
}

type pathKey struct {
	neighbor netip.Addr
	id       uint32
	prefix   netip.Prefix
}

type route struct {
	pop          policy.POPID
	since        time.Time
	drain, stale bool
}

// Event is something that a source learned.
type Event interface {
	apply(*State) (changed bool, err error)
}

// AskedUs is a peer's question: what it says of itself can only weaken.
type AskedUs struct {
	Message
	At time.Time
}

// Answered is a peer's answer to our own question.
type Answered struct {
	Message
	Asked time.Time // when we began to ask
	At    time.Time
	Told  bool // the question said what we are (About)
}

// Own is what we said of ourselves.
type Own struct {
	Slices []Claim
	At     time.Time
}

// Take takes in an event. The error is a Refusal if the event has nothing to
// say any more; changed means that a decision might come out otherwise.
func (s *State) Take(e Event) (changed bool, err error) {
	changed, err = e.apply(s)
	switch e := e.(type) {
	case AskedUs:
		s.forget(e.From, changed)
	case Answered:
		s.forget(e.From, changed)
	case Carried:
		s.forget(e.From, changed)
	default:
		for i := range s.Peers {
			if changed && s.Peers[i].RIB {
				s.Peers[i].memo = memo{}
			}
		}
	}
	return changed, err
}

// forget drops the memo of a peer that said something. Beside the RIB even the
// time at which it was said counts.
func (s *State) forget(id policy.POPID, changed bool) {
	if p := s.peer(id); p != nil && (changed || p.RIB) {
		p.memo = memo{}
	}
}

func (s *State) peer(id policy.POPID) *PeerState {
	for i := range s.Peers {
		if s.Peers[i].POP == id {
			return &s.Peers[i]
		}
	}
	return nil
}

func (e AskedUs) apply(s *State) (bool, error) {
	p := s.peer(e.From)
	switch {
	case p == nil || !p.Status:
		return false, UnknownPOP
	case slices.Contains(p.retired, e.Boot):
		return false, Replayed
	case e.Boot == p.boot && e.Sequence <= p.sequence:
		return false, Overtaken
	}
	if e.Boot != p.boot {
		p.boot, p.bootAt = e.Boot, e.At
	}
	p.sequence, p.Told = e.Sequence, e.At
	changed := p.learn(e.Message, time.Time{}, e.At, false)
	return p.weaken(e.Slices, e.At) || changed, nil
}

func (e Answered) apply(s *State) (bool, error) {
	p := s.peer(e.From)
	switch {
	case p == nil:
		return false, UnknownPOP
	case slices.Contains(p.retired, e.Boot):
		return false, Replayed
	// A question of another life came in while ours was on its way: the
	// answer may be older than that, and orders of two lives do not compare.
	case p.bootAt.After(e.Asked), e.Boot == p.boot && e.Sequence <= p.sequence, e.Asked.Before(p.Asked):
		return false, Overtaken
	}
	if e.Boot != p.boot {
		p.retire()
		p.boot, p.bootAt = e.Boot, e.At
	}
	back := p.Heard.IsZero() || s.Stale > 0 && e.At.Sub(p.Heard) > s.Stale
	p.sequence, p.Told, p.Heard, p.Asked = e.Sequence, e.At, e.At, e.Asked
	p.hear(e.Message, e.Asked)
	told := e.Asked
	if !e.Told {
		told = time.Time{}
	}
	back = p.learn(e.Message, told, e.At, true) || back
	return p.replace(e.Slices, e.At) || back, nil
}

// retire remembers a boot identifier that a newer one has replaced.
func (p *PeerState) retire() {
	if p.boot == "" {
		return
	}
	if p.retired = append(p.retired, p.boot); len(p.retired) > maxRetired {
		p.retired = p.retired[1:]
	}
}

// replace believes all that an answer says.
func (p *PeerState) replace(said []Claim, now time.Time) bool {
	fresh := make(map[policy.SliceID]claim, len(said))
	for _, c := range said {
		fresh[c.Slice] = since(p.claims[c.Slice], c, c, now)
	}
	return p.hold(fresh)
}

// hold takes claims in, and tells whether a decision might come out otherwise.
func (p *PeerState) hold(fresh map[policy.SliceID]claim) bool {
	changed := !maps.EqualFunc(p.claims, fresh, claim.equal)
	if !maps.EqualFunc(p.claims, fresh, func(a, b claim) bool { return a.last.Reason == b.last.Reason }) {
		p.memo.words = nil
	}
	p.claims = fresh
	return changed
}

// weaken takes of what a question says only what is weaker than what we hold;
// a slice that is not mentioned is not announced.
func (p *PeerState) weaken(said []Claim, now time.Time) bool {
	fresh := make(map[policy.SliceID]claim, len(said))
	for id := range p.claims {
		fresh[id] = claim{}
	}
	for _, c := range said {
		fresh[c.Slice] = claim{Claim: c}
	}
	for id, c := range fresh {
		fresh[id] = since(p.claims[id], weaker(p.claims[id].Claim, c.Claim, id), c.Claim, now)
	}
	return p.hold(fresh)
}

// weaker is the weaker half of each field. The zero claim is withdrawn and
// unknown: what was never heard of is not announced.
func weaker(held, said Claim, id policy.SliceID) Claim {
	w := Claim{Slice: id, Stance: held.Stance, Verdict: held.Verdict, Leaving: held.Leaving || said.Leaving}
	if said.Stance.Less(held.Stance) {
		w.Stance = said.Stance
	}
	if strength(said.Verdict) < strength(held.Verdict) {
		w.Verdict = said.Verdict
	}
	w.Failing = slices.Concat(held.Failing, said.Failing)
	slices.Sort(w.Failing)
	w.Failing = slices.Compact(w.Failing)
	return w
}

// strength orders verdicts from down to up.
func strength(v policy.Verdict) int {
	return map[policy.Verdict]int{policy.Unknown: 1, policy.Degraded: 2, policy.Up: 3}[v]
}

func since(held claim, c, last Claim, now time.Time) claim {
	n := claim{Claim: c, last: last, stanceAt: held.stanceAt, backAt: held.backAt}
	if last.Stance.Action == policy.Announce && (held.stanceAt.IsZero() || held.last.Stance.Action != policy.Announce) {
		n.backAt = now
	}
	if n.stanceAt.IsZero() || held.last.Stance != last.Stance {
		n.stanceAt = now
	}
	if c.Verdict == policy.Down {
		if n.downSince = held.downSince; n.downSince.IsZero() {
			n.downSince = now
		}
	}
	return n
}

func (c claim) equal(o claim) bool {
	return c.Claim.equal(o.Claim) && c.last.equal(o.last) && c.downSince.Equal(o.downSince)
}

// equal compares what decisions depend on.
func (c Claim) equal(o Claim) bool {
	return c.Slice == o.Slice && c.Stance == o.Stance && c.Verdict == o.Verdict && c.Leaving == o.Leaving && slices.Equal(c.Failing, o.Failing)
}

func (e Own) apply(s *State) (bool, error) {
	own := make(map[policy.SliceID]time.Time, len(e.Slices))
	for _, c := range e.Slices {
		if !c.Stance.Announced() {
			continue
		}
		own[c.Slice] = e.At
		if t, ok := s.own[c.Slice]; ok {
			own[c.Slice] = t
		}
	}
	s.own = own
	changed := false
	for key, r := range s.paths {
		id := policy.SliceID(key.prefix)
		ours, ok := own[id]
		if p := s.peer(r.pop); ok && p != nil && !r.stale && e.At.Sub(ours) >= besideAfter && e.At.Sub(r.since) >= besideAfter {
			changed = changed || !p.beside[id]
			p.beside[id] = true
		}
	}
	return changed, nil
}
