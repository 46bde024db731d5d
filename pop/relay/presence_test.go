package relay

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

func pops(list []Presence) (out []string) {
	for _, p := range list {
		out = append(out, p.POP)
	}
	return out
}

func payload(n *Node, pop string) string {
	for _, p := range n.Fleet() {
		if p.POP == pop {
			return string(p.Payload)
		}
	}
	return ""
}

// speaker makes payloads that a test sets.
type speaker struct {
	mu   sync.Mutex
	said Said
	fail error
}

func (s *speaker) set(payload string, asks bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said.Payload, s.said.Asks, s.said.Urgent = []byte(payload), asks, asks
}

func (s *speaker) say(context.Context) (Said, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said.Sequence++
	return s.said, s.fail
}

// TestPresence: what a POP says is everywhere soon, with an age that is never
// too low and not much too high, and goes a few seconds after its POP.
func TestPresence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.net.delay = func(string, string) time.Duration { return 20 * time.Millisecond }
		says := &speaker{said: Said{Boot: "one"}}
		w.add("LON", nil)
		w.add("AMS", nil, "LON")
		w.add("FRA", nil, "AMS")
		w.add("NYC", nil, "LON")
		w.add("SFO", func(o *Options) { o.Presence = says.say }, "NYC")
		all := []string{"AMS", "FRA", "LON", "NYC", "SFO"}
		time.Sleep(5 * time.Second)
		for _, p := range all {
			if got := pops(w.node[p].Fleet()); !slices.Equal(got, all) {
				t.Errorf("%s hears %v", p, got)
			}
		}
		says.set("now", false)
		w.node["SFO"].Tell()
		began := time.Now()
		took := until(t, time.Second, "FRA has heard", func() bool { return payload(w.node["FRA"], "SFO") == "now" })
		if took > 400*time.Millisecond {
			t.Errorf("over four hops of 20 ms: %v", took)
		}
		for _, p := range w.node["FRA"].Fleet() {
			if p.POP == "SFO" && (p.Made.After(began) || began.Sub(p.Made) > 100*time.Millisecond || p.From != "AMS") {
				t.Errorf("made %v before it was made, by %s", began.Sub(p.Made), p.From)
			}
		}
		w.stop["SFO"]()
		time.Sleep(4 * time.Second)
		if payload(w.node["FRA"], "SFO") == "" {
			t.Error("gone before its time")
		}
		time.Sleep(1500 * time.Millisecond)
		if got := pops(w.node["FRA"].Fleet()); slices.Contains(got, "SFO") {
			t.Errorf("after its time: %v", got)
		}
		for _, p := range all[:4] {
			if st := w.node[p].Status(); st.Refused[Forged]+st.Refused[Malformed]+st.Refused[Misplaced] != 0 {
				t.Errorf("%s refused %v", p, st.Refused)
			}
		}
	})
}

// TestStalled: what was held up on its way is as old as it is.
func TestStalled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		heard := make(map[string]time.Duration)
		var mu sync.Mutex
		quiet := func(o *Options) { o.Silence = 20 * time.Second }
		w.add("LON", func(o *Options) {
			o.OnPresence = func(p Presence) { mu.Lock(); heard[p.POP] = max(heard[p.POP], time.Since(p.Made)); mu.Unlock() }
		})
		w.add("AMS", quiet, "LON")
		time.Sleep(3 * time.Second)
		w.net.cut("AMS", "LON", true)
		time.Sleep(4500 * time.Millisecond)
		mu.Lock()
		clear(heard)
		mu.Unlock()
		w.net.cut("AMS", "LON", false)
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if heard["AMS"] < 3*time.Second {
			t.Errorf("held up for 4.5 s, and said to be at most %v old", heard["AMS"])
		}
	})
}

// TestAcknowledged: an answer is of a payload that was made when the question
// was known.
func TestAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.net.delay = func(string, string) time.Duration { return 20 * time.Millisecond }
		says := &speaker{said: Said{Boot: "one"}}
		var mu sync.Mutex
		knows := Ack{}
		answers := Said{Boot: "life"}
		var acks []Presence
		w.add("LON", nil)
		w.add("AMS", func(o *Options) {
			o.Presence = says.say
			o.OnPresence = func(p Presence) {
				mu.Lock()
				defer mu.Unlock()
				if p.POP == "FRA" {
					acks = append(acks, p)
				}
			}
		}, "LON")
		w.add("FRA", func(o *Options) {
			o.OnPresence = func(p Presence) {
				mu.Lock()
				defer mu.Unlock()
				if p.POP == "AMS" {
					knows = Ack{p.POP, p.Boot, p.Sequence}
				}
			}
			o.Presence = func(context.Context) (Said, error) {
				mu.Lock()
				defer mu.Unlock()
				answers.Sequence++
				answers.Payload = fmt.Append(nil, knows.Sequence)
				return answers, nil
			}
		}, "LON")
		time.Sleep(5 * time.Second)
		mu.Lock()
		for _, p := range acks {
			if len(p.Acks) != 0 {
				t.Errorf("nobody asked: %+v", p)
			}
		}
		acks = nil
		mu.Unlock()
		says.set("I am leaving", true)
		began := time.Now()
		w.node["AMS"].Tell()
		took := until(t, time.Second, "an acknowledgement", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(acks) > 0 && len(acks[len(acks)-1].Acks) > 0
		})
		if took > 400*time.Millisecond {
			t.Errorf("after %v", took)
		}
		time.Sleep(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		for _, p := range acks {
			for _, a := range p.Acks {
				var n uint64
				fmt.Sscan(string(p.Payload), &n)
				if a.POP != "AMS" || a.Boot != "one" || n < a.Sequence {
					t.Errorf("acknowledges %+v and knew of %d", a, n)
				}
			}
		}
		if time.Since(began) < 5*time.Second {
			t.Error("no test")
		}
	})
}

// says makes a presence as pop would, signed by another where given.
func says(pop, boot string, sequence uint64, payload, by string) (*pb.Statement, *pb.Presence) {
	ph, ch := sha256.Sum256([]byte(payload)), sha256.Sum256([]byte(by))
	st := &pb.Statement{Pop: pop, Boot: boot, Sequence: sequence, Ttl: 5000, PayloadHash: ph[:], CertificateHash: ch[:]}
	b, _ := proto.Marshal(st)
	return st, &pb.Presence{Statement: b, Signature: proofOf(by, b), Certificate: []byte(by), Payload: []byte(payload)}
}

func TestRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newClock()
		tab := newTable(trusting("LON"), c, Limits{POPs: 3, Payloads: 1000}.withDefaults())
		a, b := newLink("AMS", false), newLink("FRA", false)
		time.Sleep(time.Minute)
		now := func(ago time.Duration) int64 { return c.now() - ago.Microseconds() }
		try := func(what string, want error, l *link, ago time.Duration, pop, boot string, seq uint64, payload, by string) {
			t.Helper()
			st, p := says(pop, boot, seq, payload, by)
			if _, err := tab.take(st, p, now(ago), l); !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		try("first", nil, a, 0, "AMS", "x", 5, "p", "AMS")
		try("in another's name", Forged, a, 0, "FRA", "x", 5, "p", "AMS")
		try("again", Overtaken, a, 0, "AMS", "x", 5, "p", "AMS")
		try("older", Overtaken, b, 0, "AMS", "x", 4, "p", "AMS")
		try("newer, by another way", nil, b, 0, "AMS", "x", 6, "q", "AMS")
		try("too old", Expired, a, 6*time.Second, "AMS", "x", 7, "p", "AMS")
		time.Sleep(time.Second)
		try("new life", nil, a, 0, "AMS", "y", 1, "p", "AMS")
		try("old life, held up", Overtaken, b, time.Second, "AMS", "x", 7, "p", "AMS")
		time.Sleep(10 * time.Millisecond)
		try("old life, said to be fresh", nil, b, 0, "AMS", "x", 8, "p", "AMS") // the link's fault
		time.Sleep(10 * time.Millisecond)
		try("new life goes on", nil, a, 0, "AMS", "y", 2, "p", "AMS")
		try("old life again", Overtaken, b, 0, "AMS", "x", 8, "p", "AMS")
		st, p := says("AMS", "y", 9, "p", "AMS")
		p.Payload = []byte("other")
		if _, err := tab.take(st, p, now(0), a); !errors.Is(err, Malformed) {
			t.Errorf("another payload than signed: %v", err)
		}
		st, p = says("AMS", "y", 9, "p", "AMS")
		p.Statement = append(p.Statement, 0x38, 1) // asks
		if _, err := tab.take(st, p, now(0), a); !errors.Is(err, Forged) {
			t.Errorf("changed on the way: %v", err)
		}
		try("two", nil, a, 0, "B", "x", 1, "p", "B")
		try("three", nil, a, 0, "C", "x", 1, "p", "C")
		try("four", TooMany, a, 0, "D", "x", 1, "p", "D")
		try("large", TooMany, a, 0, "B", "x", 2, string(make([]byte, 1000)), "B")
		if got := pops(tab.fleet()); !slices.Equal(got, []string{"AMS", "B", "C"}) {
			t.Errorf("fleet %v", got)
		}
		time.Sleep(6 * time.Second)
		try("four, when there is room", nil, a, 0, "D", "x", 1, "p", "D")
		if got := pops(tab.fleet()); !slices.Equal(got, []string{"D"}) || tab.size > 200 {
			t.Errorf("fleet %v, %d bytes", got, tab.size)
		}
	})
}

// TestMisplaced: a child does not speak of its parents, nor of us.
func TestMisplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := line(t)
		defer w.end()
		n, l := w.node["AMS"], newLink("FRA", false)
		l.timing.take(n.clock.now(), 1, uint64(n.clock.now()))
		time.Sleep(time.Second)
		banned := func(pop string) bool { path, _ := n.above(); return slices.Contains(path, pop) }
		before := n.Status().Refused[Misplaced]
		for _, pop := range []string{"AMS", "LON"} {
			_, p := says(pop, "forged", 1, "p", pop)
			beat := &pb.Beat{Clock: 2, Echo: uint64(n.clock.now()), Presences: []*pb.Presence{p}}
			if err := n.hear(l, beat, banned); err != nil {
				t.Error(err)
			}
		}
		if got := n.Status().Refused[Misplaced] - before; got != 2 {
			t.Errorf("%d refused", got)
		}
		for _, p := range n.Fleet() {
			if p.Boot == "forged" {
				t.Errorf("taken: %+v", p)
			}
		}
	})
}

// TestTiming: whatever the delays, what is learned of the other's clock never
// makes something younger than it is.
func TestTiming(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ours := newClock()
		time.Sleep(time.Hour)
		theirs := newClock() // an hour behind
		var us, them timing
		for i := range 200 {
			there, back := time.Duration(i*7919%400)*time.Millisecond, time.Duration(i*104729%900)*time.Millisecond
			sent, echo := ours.now(), us.echo()
			time.Sleep(there)
			them.take(theirs.now(), uint64(sent), echo)
			made, c := ours.now(), theirs.now()
			echo = them.echo()
			time.Sleep(back)
			now := ours.now()
			us.take(now, uint64(c), echo)
			got, ok := us.made(now, uint64(c), 0)
			if !ok || got > made || made-got > (there+10*time.Millisecond).Microseconds()+1 && i == 0 {
				t.Fatalf("round %d: made %d µs after it was, %v", i, got-made, ok)
			}
			time.Sleep(time.Second)
		}
		got, _ := us.made(ours.now(), uint64(theirs.now()), 0)
		if ours.now()-got > (20 * time.Millisecond).Microseconds() {
			t.Errorf("after many rounds a fresh one is said to be %d µs old", ours.now()-got)
		}
	})
}
