package relay

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/catchment/catchment/pop/core"
)

func TestSum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []sum
	var total sum
	for i := range 100 {
		s := hashOf(some(fmt.Sprint("k", i), "v", int64(1+rng.IntN(9))))
		if i%10 == 0 {
			s = sum{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)} // carries all the way
		}
		all, total = append(all, s), total.plus(s)
	}
	if back, ok := sumOf(total.bytes()); !ok || back != total {
		t.Error("bytes and back")
	}
	if _, ok := sumOf(make([]byte, 31)); ok {
		t.Error("31 bytes")
	}
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, s := range all {
		total = total.minus(s)
	}
	if total != (sum{}) {
		t.Errorf("what is left is %v", total)
	}
	a := some("ab", "c", 7)
	for what, b := range map[string]core.RawPair{
		"key": some("a", "bc", 7), "value": some("ab", "d", 7), "revision": some("ab", "c", 8),
		"created": {Key: "ab", Value: []byte("c"), Created: 2, Revision: 7}, "lease": {Key: "ab", Value: []byte("c"), Created: 1, Revision: 7, Lease: 1},
	} {
		if hashOf(a) == hashOf(b) {
			t.Errorf("another %s has the same hash", what)
		}
	}
}

// model is all states a replica has had.
type model struct {
	states map[int64]map[string]core.RawPair
	now    int64
}

// step makes a random change and the state after it.
func (m *model) step(rng *rand.Rand) (from, to int64, list []core.RawChange) {
	from, to = m.now, m.now+1+int64(rng.IntN(3))
	next := map[string]core.RawPair{}
	for k, v := range m.states[from] {
		next[k] = v
	}
	for _, i := range rng.Perm(20)[:rng.IntN(4)] {
		k := fmt.Sprintf("/%02d", i)
		old, had := next[k]
		if had && rng.IntN(3) == 0 {
			delete(next, k)
			list = append(list, core.RawChange{RawPair: core.RawPair{Key: k, Revision: to}, Deleted: true})
			continue
		}
		p := core.RawPair{Key: k, Value: fmt.Append(nil, rng.IntN(1000)), Created: to, Revision: to}
		if had {
			p.Created = old.Created
		}
		next[k] = p
		list = append(list, core.RawChange{RawPair: p})
	}
	for r := from; r < to; r++ {
		m.states[r] = m.states[from]
	}
	m.states[to], m.now = next, to
	return from, to, list
}

func samePairs(got []core.RawPair, want map[string]core.RawPair) bool {
	if len(got) != len(want) || !slices.IsSortedFunc(got, byKey) {
		return false
	}
	for _, p := range got {
		if w := want[p.Key]; w.Revision != p.Revision || w.Created != p.Created || !bytes.Equal(w.Value, p.Value) {
			return false
		}
	}
	return true
}

// TestReplica plays random changes: every revision in the log can be read as
// it was, others can go on from it, and a second replica that does has the same.
func TestReplica(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	m := &model{states: map[int64]map[string]core.RawPair{1: {}}, now: 1}
	l := Limits{Steps: 30}.withDefaults()
	r, second := newReplica(l), newReplica(l)
	r.reset(position{core: "c", revision: 1}, map[string]core.RawPair{})
	at := position{}
	compacted, other := 0, 0
	for range 600 {
		from, to, list := m.step(rng)
		if err := r.apply(from, to, list, nil); err != nil {
			t.Fatal(err)
		}
		whole(t, r)
		for revision := range m.states {
			p, err := r.read(core.RawQuery{From: "/", To: "0", Revision: revision})
			switch {
			case revision < r.oldest && errors.Is(err, core.Compacted):
				compacted++
			case err != nil || revision < r.oldest || !samePairs(p.Pairs, m.states[revision]):
				t.Fatalf("at %d of %d to %d: %v, %v", revision, r.oldest, r.revision, p.Pairs, err)
			}
			one, err := r.read(core.RawQuery{From: "/07", Revision: revision})
			if w, ok := m.states[revision]["/07"]; err == nil && (ok != (len(one.Pairs) == 1) || ok && one.Pairs[0].Revision != w.Revision) {
				t.Fatalf("/07 at %d: %v", revision, one.Pairs)
			}
		}
		if rng.IntN(20) > 0 {
			continue // the second one is told now and then
		}
		steps, end, how := r.after(at, int64(1+rng.IntN(500)))
		if how == another {
			other++
			var items []core.RawPair
			at, items = r.snapshot()
			second.reset(at, index(items))
			continue
		}
		for _, d := range deltasOf(at, steps, end).Deltas {
			list, hash, err := changesOf(d)
			if err == nil {
				err = second.apply(d.From, d.To, list, &hash)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if at = second.position(); at != end || how != goOn {
			t.Fatalf("at %v, want %v", at, end)
		}
	}
	if compacted == 0 || other < 5 {
		t.Errorf("%d reads compacted, %d snapshots: no test", compacted, other)
	}
	p, err := r.read(core.RawQuery{From: "/", To: "0", Limit: 3})
	if err != nil || len(p.Pairs) != 3 || !p.More {
		t.Errorf("a page: %v, %v", p, err)
	}
}

func index(list []core.RawPair) map[string]core.RawPair {
	out := map[string]core.RawPair{}
	for _, p := range list {
		out[p.Key] = p
	}
	return out
}

func TestApplyRefuses(t *testing.T) {
	r := newReplica(Limits{State: 10}.withDefaults())
	p := some("a", "1", 3)
	r.reset(position{"c", 5, hashOf(p)}, index([]core.RawPair{p}))
	before := r.position()
	put := func(k, v string) []core.RawChange { return []core.RawChange{{RawPair: some(k, v, 6)}} }
	wrong := hashOf(p)
	for what, err := range map[string]error{
		"a gap":          r.apply(6, 7, put("b", "1"), nil),
		"backward":       r.apply(5, 5, put("b", "1"), nil),
		"another hash":   r.apply(5, 6, put("b", "1"), &wrong),
		"too much":       r.apply(5, 6, put("b", "123456789"), nil),
		"one key twice":  r.apply(5, 6, append(put("b", "1"), put("b", "2")...), nil),
		"twice, deleted": r.apply(5, 6, append(put("a", "1"), core.RawChange{RawPair: core.RawPair{Key: "a"}, Deleted: true}), nil),
	} {
		if err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if r.position() != before || len(r.log) != 0 {
		t.Error("what was not taken changed something")
	}
	whole(t, r)
}
