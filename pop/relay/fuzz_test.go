package relay

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/catchment/catchment/pop/core"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// idle is a node that runs nothing.
func idle(t testing.TB, l Limits) *Node {
	n, err := New(Options{
		POP: "AMS", Parents: []Parent{{"LON", "LON"}}, id: trusting("AMS"), Limits: l,
		dial: func(context.Context, Parent) (upstream, error) { return nil, errors.New("nobody") },
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// whole holds what a replica says of itself against what it has.
func whole(t *testing.T, r *replica) {
	at, items := r.snapshot()
	var hash sum
	size := int64(0)
	for _, p := range items {
		hash, size = hash.plus(hashOf(p)), size+sizeOf(p)
	}
	if hash != at.hash || size != r.size || size > r.most || at.core == "" && len(items) > 0 {
		t.Fatalf("at %v: %d objects of %d bytes, it says %d", at, len(items), size, r.size)
	}
	if _, end, how := r.after(at, 1<<20); at.core != "" && (how != goOn || end != at) {
		t.Fatalf("after its own position comes %v, %v", end, how)
	}
}

// records splits data into what writeRecord wrote.
func records[T any, M interface {
	*T
	proto.Message
}](data []byte) (out []M) {
	for r := bytes.NewReader(data); ; {
		m := M(new(T))
		if readRecord(r, m) != nil {
			return out
		}
		out = append(out, m)
	}
}

func some(key, value string, revision int64) core.RawPair {
	return core.RawPair{Key: key, Value: []byte(value), Created: 1, Revision: revision}
}

// FuzzDown: whatever a parent says, the state is what its hash says, and
// revisions of one core do not go back.
func FuzzDown(f *testing.F) {
	var seed bytes.Buffer
	p := some("a", "1", 3)
	at := position{"core", 5, hashOf(p)}
	for _, m := range []*pb.Down{
		{Message: &pb.Down_Beat{Beat: &pb.Beat{Clock: 5, Path: []string{"LON"}, Standing: pb.Standing_ROOTED, Head: 7}}},
		{Message: &pb.Down_Begin{Begin: &pb.Begin{Core: at.core, Revision: 5, Count: 1, Bytes: 2}}},
		{Message: &pb.Down_Chunk{Chunk: &pb.Chunk{Items: []*pb.Item{itemOf(p)}}}},
		{Message: &pb.Down_Done{Done: &pb.Done{Hash: at.hash.bytes()}}},
		{Message: &pb.Down_Deltas{Deltas: deltasOf(at, []step{{to: 6, list: []core.RawChange{{RawPair: some("b", "2", 6)}}, hash: at.hash.plus(hashOf(some("b", "2", 6)))}}, position{"core", 6, sum{}})}},
		{Message: &pb.Down_Deltas{Deltas: &pb.Deltas{Deltas: []*pb.Delta{{From: 6, To: 7, Deleted: []string{"b"}, Hash: at.hash.bytes()}}}}},
		{Message: &pb.Down_Redirect{Redirect: &pb.Redirect{Reason: "full"}}},
	} {
		writeRecord(&seed, m)
	}
	f.Add(seed.Bytes())
	if n := played(f, seed.Bytes(), nil); n.rep.position() != (position{"core", 7, at.hash}) {
		f.Fatalf("the seed leads to %v", n.rep.position())
	}
	f.Fuzz(func(t *testing.T, data []byte) { played(t, data, t) })
}

func played(tb testing.TB, data []byte, t *testing.T) *Node {
	n := idle(tb, Limits{State: 1 << 16, Log: 1 << 16, Steps: 3})
	s := &session{n: n, parent: Parent{"LON", "LON"}, link: newLink("LON", true), want: make(chan string, 1)}
	was := n.rep.position()
	for _, m := range records[pb.Down](data) {
		err := s.take(m)
		at := n.rep.position()
		if t != nil {
			whole(t, n.rep)
			if at.core == was.core && at.revision < was.revision {
				t.Fatalf("back from %v to %v", was, at)
			}
		}
		if was = at; err != nil {
			break
		}
	}
	return n
}

// FuzzUp: whatever a child says, only signed statements are believed, in
// bounded memory.
func FuzzUp(f *testing.F) {
	var seed bytes.Buffer
	_, p := says("FRA", "x", 1, "payload", "FRA")
	_, q := says("NYC", "x", 1, "payload", "FRA")
	writeRecord(&seed, &pb.Up{Message: &pb.Up_Beat{Beat: &pb.Beat{Clock: 1, Echo: 1, Presences: []*pb.Presence{p, q}}}})
	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		n, l := idle(t, Limits{POPs: 4, Payloads: 1 << 12}), newLink("FRA", false)
		n.clock.zero = n.clock.zero.Add(-time.Second)
		for _, m := range records[pb.Up](data) {
			if b := m.GetBeat(); b != nil && n.hear(l, b, func(pop string) bool { return pop == "AMS" }) != nil {
				break
			}
		}
		size := int64(0)
		for pop, e := range n.table.entries {
			size += e.size()
			if string(proofOf(pop, e.wire.statement)) != string(e.wire.signature) || pop == "AMS" {
				t.Fatalf("believed: %s", pop)
			}
		}
		if size != n.table.size || size > 1<<12 || len(n.table.entries) > 4 || l.size > 2<<12 {
			t.Fatalf("%d bytes, counted as %d; %d on the link", size, n.table.size, l.size)
		}
	})
}

// FuzzState: what is read from disk is what was written, or nothing.
func FuzzState(f *testing.F) {
	var b bytes.Buffer
	p := some("a", "1", 3)
	writeState(&b, position{"core", 5, hashOf(p)}, []core.RawPair{p})
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:b.Len()-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		at, items, err := readState(bytes.NewReader(data), 1<<16)
		if err != nil {
			return
		}
		r := newReplica(Limits{State: 1 << 16}.withDefaults())
		r.reset(at, items)
		whole(t, r)
		at, list := r.snapshot()
		var out bytes.Buffer
		if err := writeState(&out, at, list); err != nil {
			t.Fatal(err)
		}
		again, _, err := readState(&out, 1<<16)
		if err != nil || again != at {
			t.Fatalf("%v, %v", again, err)
		}
	})
}
