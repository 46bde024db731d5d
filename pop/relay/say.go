package relay

import (
	"context"
	"crypto/sha256"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/catchment/catchment/pop/lapse"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// Said is what this POP says of itself.
type Said struct {
	Boot     string // one life of the daemon
	Sequence uint64 // grows with each
	Payload  []byte
	Asks     bool // everybody is to acknowledge it
	Urgent   bool // and at once
}

// acks are of those who ask, and whose question is known here: the next ones
// in turn where they are many.
func (t *table) acks() (out []*pb.Ack) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire()
	var asking []string
	for _, pop := range slices.Sorted(maps.Keys(t.entries)) {
		if e := t.entries[pop]; !e.gone && e.via != nil && e.last.Asks && e.seen {
			asking = append(asking, pop)
		}
	}
	n := min(len(asking), maxAcks)
	for i := range n {
		last := t.entries[asking[(t.acked+i)%len(asking)]].last
		out = append(out, &pb.Ack{Pop: last.Pop, Boot: last.Boot, Sequence: last.Sequence})
	}
	t.acked += n
	return out
}

// own puts our own statement into the table.
func (t *table) own(pop string, s Said, ttl time.Duration, acks []*pb.Ack) error {
	made := t.clock.now()
	cert, sign, err := t.id.own()
	if err != nil {
		return err
	}
	ph, ch := sha256.Sum256(s.Payload), sha256.Sum256(cert)
	st := &pb.Statement{
		Pop: pop, Boot: s.Boot, Sequence: s.Sequence, Ttl: uint32(ttl.Milliseconds()),
		PayloadHash: ph[:], CertificateHash: ch[:], Asks: s.Asks, Urgent: s.Urgent, Acks: acks,
	}
	b, err := proto.Marshal(st)
	if err != nil {
		return err
	}
	sig, err := sign(b)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e, err := t.enter(st, &pb.Presence{Statement: b, Signature: sig, Certificate: cert, Payload: s.Payload})
	if err != nil {
		return err
	}
	e.made, e.via = made, nil
	t.changed(e)
	return nil
}

// speak makes our own statements until the context ends: each beat, and when
// there is something to say at once.
func (n *Node) speak(ctx context.Context) {
	mute := false
	for {
		rung := n.tell.wait()
		err := n.statement(ctx)
		if err != nil && !mute && ctx.Err() == nil {
			n.log.Warn("relay: own presence is not told", "err", err)
		}
		mute = err != nil
		if !lapse.Of(ctx, n.opt.Gap) {
			return
		}
		t := time.NewTimer(n.opt.Beat - n.opt.Beat/10 + rand.N(n.opt.Beat/5+1) - n.opt.Gap)
		select {
		case <-ctx.Done():
		case <-rung:
		case <-t.C:
		}
		t.Stop()
	}
}

func (n *Node) statement(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.opt.TTL/2)
	defer cancel()
	acks := n.table.acks() // before the payload is made: it knows of them
	n.said.Sequence++
	said := n.said
	if n.opt.Presence != nil {
		var err error
		if said, err = n.opt.Presence(ctx); err != nil {
			return err
		}
	}
	return n.table.own(n.opt.POP, said, n.opt.TTL, acks)
}

// Tell makes a statement now rather than with the next beat. It does not block.
func (n *Node) Tell() { n.tell.ring() }
