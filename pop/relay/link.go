package relay

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"slices"

	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// link is one connection's share of presence: what was told and heard on it.
// The goroutine that sends owns told and cursor, the one that receives heard.
type link struct {
	pop    string // at the other end
	parent bool   // it is above us
	timing timing
	cursor uint64 // version of the table up to which all is told
	told   map[string]attached
	heard  map[string]attached
	size   int64 // of heard
}

// attached are the large parts of a presence, which are sent again only when
// they change.
type attached struct{ certificate, payload []byte }

func newLink(pop string, parent bool) *link {
	return &link{pop: pop, parent: parent, told: map[string]attached{}, heard: map[string]attached{}}
}

// mostBeat is how many bytes of presences go into one beat; what is left
// follows in the next.
const mostBeat = 256 << 10

// at is the version of the last change.
func (t *table) at() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.version
}

// collect is what changed since the last call and did not come from the other
// end, the oldest change first. The cursor stays behind at() when not all fits.
func (t *table) collect(l *link) (out []*pb.Presence) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.cursor == t.version {
		return nil
	}
	t.expire()
	var news []*entry
	for pop, e := range t.entries {
		switch {
		case e.gone:
			delete(l.told, pop)
		case e.version > l.cursor && (e.via == nil || e.via.pop != l.pop):
			news = append(news, e)
		}
	}
	slices.SortFunc(news, func(a, b *entry) int { return cmp.Compare(a.version, b.version) })
	now, size := t.clock.now(), 0
	for _, e := range news {
		p := l.tell(e, now)
		n := len(p.Statement) + len(p.Signature) + len(p.Certificate) + len(p.Payload)
		if size += n; size > mostBeat && len(out) > 0 {
			return out
		}
		l.told[e.pop] = attached{e.wire.certificate, e.wire.payload}
		l.cursor = e.version
		out = append(out, p)
	}
	l.cursor = t.version
	return out
}

// tell is an entry without what the other end has.
func (l *link) tell(e *entry, now int64) *pb.Presence {
	p := &pb.Presence{Statement: e.wire.statement, Signature: e.wire.signature, Age: uint64(max(0, now-e.made))}
	has, ok := l.told[e.pop]
	if !ok || !bytes.Equal(has.certificate, e.wire.certificate) {
		p.Certificate = e.wire.certificate
	}
	if !ok || !bytes.Equal(has.payload, e.wire.payload) {
		p.Payload = e.wire.payload
	}
	return p
}

// errTooMuch ends a connection whose other end tells more than is remembered.
var errTooMuch = errors.New("presences of more POPs, or larger ones, than allowed")

// hear takes in the presences of a beat. banned are POPs that the other end
// cannot speak of.
func (n *Node) hear(l *link, beat *pb.Beat, banned func(pop string) bool) error {
	now := n.clock.now()
	l.timing.take(now, beat.Clock, beat.Echo)
	for _, p := range beat.Presences {
		st, err := parse(p.Statement)
		if err != nil {
			n.table.refuse(err)
			continue
		}
		if err := l.complete(st, p, n.opt.Limits); err != nil {
			return err
		}
		if banned(st.Pop) {
			n.table.refuse(Misplaced)
			continue
		}
		made, ok := l.timing.made(now, beat.Clock, p.Age)
		if !ok {
			continue // not until both clocks have been compared
		}
		got, err := n.table.take(st, p, made, l)
		if err != nil {
			n.log.Debug("relay: presence not taken", "from", l.pop, "of", st.Pop, "err", err)
			continue
		}
		if n.opt.OnPresence != nil {
			n.opt.OnPresence(got)
		}
		n.table.handed(got)
		if st.Asks && st.Urgent {
			n.Tell()
		}
	}
	return nil
}

// nothing is the hash of an empty payload.
var nothing = sha256.Sum256(nil)

// complete puts back what was left out because it had been told before.
func (l *link) complete(st *pb.Statement, p *pb.Presence, most Limits) error {
	has := l.heard[st.Pop]
	if len(p.Certificate) == 0 {
		p.Certificate = has.certificate
	}
	if len(p.Payload) == 0 && !bytes.Equal(st.PayloadHash, nothing[:]) {
		p.Payload = has.payload
	}
	l.heard[st.Pop] = attached{p.Certificate, p.Payload}
	l.size += int64(len(p.Certificate) + len(p.Payload) - len(has.certificate) - len(has.payload))
	if len(l.heard) > 2*most.POPs || l.size > 2*most.Payloads {
		return errTooMuch
	}
	return nil
}
