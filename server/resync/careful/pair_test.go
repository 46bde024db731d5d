package careful

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// nth is one of many client networks.
func nth(n int) Between {
	return Between{"LON", "FRA", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), 0}), 24)}
}

// TestPair: what new networks begin with after others have jumped.
func TestPair(t *testing.T) {
	right, wrong := End{Validated, 1, true}, End{Phase: Retreated}
	many := func(n int, how End) (out []End) {
		for range n {
			out = append(out, how)
		}
		return out
	}
	mixed := func(n int) (out []End) {
		for range 20 {
			out = append(append(out, many(n, right)...), wrong)
		}
		return out
	}
	for _, c := range []struct {
		name  string
		jumps []End // each of another network
		want  float64
	}{
		{"nothing has jumped", nil, first},
		{"a few were right", many(rights-1, right), first},
		{"enough were right", many(rights, right), first * raise},
		{"and as many again", many(2*rights, right), mostFirst},
		{"and however many", many(10*rights, right), mostFirst},
		{"not as much was used", many(100, End{Validated, 0.44, true}), first},
		{"as much was used as these may, but no more is known for the next step", many(100, End{Validated, first, true}), first * raise},
		{"it was not sent at once", many(100, End{Phase: Validated, Part: 1}), first},
		{"there was not enough to send", many(100, End{Phase: Ended, Part: 1}), first},
		{"one was too much", append(many(rights-1, right), wrong, right), first * raise},
		{"two were too much", append(many(2*rights, right), wrong, wrong), first},
		{"two, long ago", append(append(many(2, wrong), many(2*rights, right)...), many(10, right)...), mostFirst},
		{"one of twenty was too much", mixed(19), first},
		{"one of forty was", mixed(39), mostFirst},
	} {
		e := NewEarned(10_000)
		for i, how := range c.jumps {
			e.Begin(nth(i), t0)
			e.End(nth(i), how, t0)
		}
		if got := e.Part(nth(60_000), t0); got != c.want {
			t.Errorf("%s: a new network begins with %g, want %g: %+v", c.name, got, c.want, e.Pairs())
		}
		if got := e.Part(Between{"FRA", "LON", nth(1).Net}, t0); got != first {
			t.Errorf("%s: the other way it begins with %g", c.name, got)
		}
	}
}

// TestPairOfOne: however often one network jumps, it is one voice, its last.
func TestPairOfOne(t *testing.T) {
	e := NewEarned(100)
	for range 1000 {
		e.End(nth(1), End{Validated, 1, true}, t0)
	}
	if got := e.Part(nth(2), t0); got != first {
		t.Errorf("a new network begins with %g", got)
	}
	for range 1000 {
		e.End(nth(1), End{Phase: Retreated}, t0)
	}
	for i := range rights {
		e.End(nth(10+i), End{Validated, 1, true}, t0)
	}
	if got := e.Part(nth(2), t0); got != first*raise {
		t.Errorf("with the bad luck of one network others begin with %g", got)
	}
}

// TestClientsWord: what clients say of themselves earns nothing for others.
func TestClientsWord(t *testing.T) {
	e := NewEarned(1000)
	for i := range 200 {
		b := nth(i)
		b.From = FromClient
		e.End(b, End{Validated, 1, true}, t0)
	}
	if got := e.Part(Between{FromClient, "FRA", nth(500).Net}, t0); got != first || len(e.Pairs()) != 0 {
		t.Errorf("it begins with %g, %+v", got, e.Pairs())
	}
}

// TestOwnCounts: what a network has earned or lost itself goes before what its
// pair of POPs has.
func TestOwnCounts(t *testing.T) {
	e := NewEarned(1000)
	e.End(nth(0), End{Phase: Retreated}, t0)
	for i := range 3 * rights {
		e.End(nth(1+i), End{Validated, 1, true}, t0)
	}
	if got := e.Part(nth(0), t0); got != first/2 {
		t.Errorf("a network that had too much begins with %g", got)
	}
	if got := e.Part(nth(500), t0); got != mostFirst {
		t.Errorf("a new one begins with %g", got)
	}
	e.End(nth(500), End{Phase: Retreated}, t0)
	if got := e.Part(nth(500), t0); got != mostFirst/2 {
		t.Errorf("after a retreat from %g it is %g", mostFirst, got)
	}
}

// TestRestore: what a pair of POPs had earned outlives the daemon for a while,
// and is lost as before by two that were too much.
func TestRestore(t *testing.T) {
	e := NewEarned(1000)
	for i := range 2 * rights {
		e.End(nth(i), End{Validated, 1, true}, t0)
	}
	good := e.Pairs()
	with := func(edit func(*LearnedPair)) []LearnedPair {
		l := good[0]
		edit(&l)
		return []LearnedPair{l}
	}
	for _, c := range []struct {
		name string
		all  []LearnedPair
		at   time.Duration
		want float64
	}{
		{"as it was", good, 0, mostFirst},
		{"after a week", good, PairKeep, mostFirst},
		{"after more", good, PairKeep + 1, first},
		{"of the future", good, -1, first},
		{"more than can be earned", with(func(l *LearnedPair) { l.Part = 7 }), 0, mostFirst},
		{"no number", with(func(l *LearnedPair) { l.Part = math.NaN() }), 0, first},
		{"less than all begin with", with(func(l *LearnedPair) { l.Part = 0.1 }), 0, first},
		{"of another pair", with(func(l *LearnedPair) { l.To = "AMS" }), 0, first},
		{"nothing", nil, 0, first},
	} {
		e := NewEarned(1000)
		now := t0.Add(c.at)
		e.Restore(c.all, now)
		if got := e.Part(nth(500), now); got != c.want {
			t.Errorf("%s: a network begins with %g, want %g", c.name, got, c.want)
		}
		for i := range 2 {
			e.End(nth(600+i), End{Phase: Retreated}, now)
		}
		if got := e.Part(nth(501), now); got != first {
			t.Errorf("%s: after two that were too much with %g", c.name, got)
		}
	}
	e = NewEarned(1000)
	e.Restore([]LearnedPair{{Pair: Pair{FromClient, "FRA"}, Part: 0.75, At: t0}}, t0)
	for i := range 2 * maxPairs {
		e.Restore([]LearnedPair{{Pair: Pair{fmt.Sprint("P", i), "FRA"}, Part: 0.75, At: t0}}, t0)
	}
	if n := len(e.Pairs()); n != maxPairs || e.pairs[Pair{FromClient, "FRA"}] != nil {
		t.Errorf("%d pairs", n)
	}
}

// TestPairInvariants: whatever jumps come, what is kept is bounded, and nothing
// begins with less than first or more than mostFirst; it is more than first
// only where nearly all that spoke last were right.
func TestPairInvariants(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 26))
	e := NewEarned(500)
	said := map[Pair]map[netip.Prefix]bool{} // the last voice of each network
	for range 100_000 {
		b := nth(r.IntN(300))
		b.From = fmt.Sprint("P", r.IntN(1200))
		if r.IntN(4) > 0 {
			b.From = fmt.Sprint("P", r.IntN(3))
		}
		how := End{Phase: Phase(r.IntN(4)), Part: r.Float64(), Proved: r.IntN(4) > 0}
		before := e.Part(Between{b.From, "FRA", netip.Prefix{}}, t0)
		e.End(b, how, t0)
		p := b.pair()
		if said[p] == nil {
			said[p] = map[netip.Prefix]bool{}
		}
		if how.Phase == Retreated {
			said[p][b.Net] = false
		} else if how.Phase == Validated && how.Proved && how.Part >= enough*before {
			said[p][b.Net] = true
		}
		now := e.Part(Between{b.From, "FRA", netip.Prefix{}}, t0)
		if now < first || now > mostFirst {
			t.Fatalf("a network begins with %g", now)
		}
		if now > before {
			n := 0
			for _, ok := range said[p] {
				if ok {
					n++
				}
			}
			if n < rights || how.Phase != Validated {
				t.Fatalf("%g became %g by %+v, and %d networks were right", before, now, how, n)
			}
		}
		if len(e.pairs) > maxPairs || len(e.pairs[p].said()) > voters || e.Len() > 500 {
			t.Fatalf("%d pairs, %d votes, %d networks", len(e.pairs), len(e.pairs[p].said()), e.Len())
		}
	}
	if len(e.pairs) != maxPairs {
		t.Errorf("%d pairs of 1200", len(e.pairs))
	}
}

func (v *pair) said() []vote {
	if v == nil {
		return nil
	}
	return v.votes
}
