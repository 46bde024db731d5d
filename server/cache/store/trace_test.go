package store

import (
	"container/list"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// trace is the synthetic load of the research note: Zipf 0.9 over objects of
// lognormal size, a slow drift of what is popular, and 30 % of requests for
// objects that never come back.
type trace struct {
	ids   []uint32
	sizes []int64
	bytes int64 // of all objects that are asked for
}

func newTrace(objects, requests int) *trace {
	rnd := rand.New(rand.NewPCG(1, 2))
	popular := objects * 7 / 10
	cdf := make([]float64, popular)
	sum := 0.0
	for i := range cdf {
		sum += math.Pow(float64(i+1), -0.9)
		cdf[i] = sum
	}
	t := &trace{sizes: make([]int64, objects+requests)}
	for i := range t.sizes {
		t.sizes[i] = min(max(100, int64(math.Exp(9+1.5*rnd.NormFloat64()))), 16<<20)
	}
	seen := make([]bool, len(t.sizes))
	fresh := uint32(objects)
	order := make([]uint32, popular) // object by rank
	for i := range order {
		order[i] = uint32(i)
	}
	for i := range requests {
		if a, b := rnd.IntN(popular), rnd.IntN(popular); i%20 == 0 {
			order[a], order[b] = order[b], order[a]
		}
		id := fresh
		if rnd.Float64() < 0.7 {
			x := rnd.Float64() * sum
			lo, hi := 0, popular-1
			for lo < hi {
				if mid := (lo + hi) / 2; cdf[mid] < x {
					lo = mid + 1
				} else {
					hi = mid
				}
			}
			id = order[lo]
		} else {
			fresh++
		}
		t.ids = append(t.ids, id)
		if !seen[id] {
			seen[id] = true
			t.bytes += t.sizes[id]
		}
	}
	return t
}

// lru returns the hit ratio of an LRU by bytes: the yardstick.
func (t *trace) lru(room int64) float64 {
	at := map[uint32]*list.Element{}
	var order list.List
	used, hits := int64(0), 0
	for _, id := range t.ids {
		if e := at[id]; e != nil {
			hits++
			order.MoveToFront(e)
			continue
		}
		at[id] = order.PushFront(id)
		for used += t.sizes[id]; used > room; {
			old := order.Remove(order.Back()).(uint32)
			delete(at, old)
			used -= t.sizes[old]
		}
	}
	return float64(hits) / float64(len(t.ids))
}

// fifo returns the hit ratio of the queue of this package, alone.
func (t *trace) fifo(room int64) float64 {
	nodes := make([]node, len(t.sizes)+1)
	freq := make([]uint8, len(nodes))
	f := fifo{at: func(n uint32) *node { return &nodes[n] }, cap: room}
	hash := func(n uint32) uint64 { return (uint64(n) + 1) * 0x9e3779b97f4a7c15 }
	hits := 0
	for _, id := range t.ids {
		n := id + 1
		if nodes[n].queue != noQueue {
			hits++
			freq[n] = min(freq[n]+1, 3)
			continue
		}
		freq[n] = 0
		f.add(n, hash(n), t.sizes[id])
		for f.bytes() > room {
			v := f.victim()
			stays, left := f.judge(v, hash(v), freq[v])
			if freq[v] = left; stays && nodes[v].queue != mainQueue {
				panic("stays but not in the main queue")
			}
		}
	}
	return float64(hits) / float64(len(t.ids))
}

// TestHitRatio holds the eviction beside LRU on the trace and prints both.
func TestHitRatio(t *testing.T) {
	n, reqs := 400_000, 600_000
	if testing.Short() {
		n, reqs = 60_000, 120_000
	}
	tr := newTrace(n, reqs)
	fmt.Printf("hit ratio by objects, %d requests, %.1f GB asked for\n%8s %8s %8s\n", len(tr.ids), float64(tr.bytes)/1e9, "room", "lru", "ours")
	for _, percent := range []int64{1, 5, 20} {
		room := tr.bytes * percent / 100
		lru, ours := tr.lru(room), tr.fifo(room)
		fmt.Printf("%7d%% %8.3f %8.3f\n", percent, lru, ours)
		limit := lru + 0.02
		verdict := "met"
		if ours < limit {
			verdict = "missed"
		}
		fmt.Printf("goal cache-hit-ratio-%dpct %.3f %.3f %s\n", percent, ours, limit, verdict)
		if ours <= lru {
			t.Errorf("at %d %%: hit ratio %.3f, LRU has %.3f", percent, ours, lru)
		}
	}
}

// TestHitRatioOfStore sends the head of the trace through whole stores, in
// RAM and on disk, and compares with the queue alone: what the tiers add
// (overhead, segments, evictions late by a batch) must not cost the hit ratio.
func TestHitRatioOfStore(t *testing.T) {
	tr := newTrace(4_000, 20_000)
	for i := range tr.sizes {
		tr.sizes[i] = min(tr.sizes[i], 40_000) / 4
	}
	tr.bytes = 0
	seen := map[uint32]bool{}
	for _, id := range tr.ids {
		if !seen[id] {
			seen[id] = true
			tr.bytes += tr.sizes[id] + overhead
		}
	}
	room := tr.bytes / 5
	lru := tr.lru(room)
	for name, opt := range map[string]Options{
		"ram":  {RAM: room},
		"disk": {RAM: room / 20, Disk: room, Dir: t.TempDir()},
	} {
		s, err := Open(opt)
		if err != nil {
			t.Fatal(err)
		}
		hits := 0
		body := make([]byte, 1<<20)
		for i, id := range tr.ids {
			if opt.Dir != "" && i%500 == 0 {
				s.disk.housekeeping(time.Now())
			}
			objs := s.Lookup(key(int(id)), nil)
			if len(objs) > 0 {
				hits++
				objs[0].Release()
				continue
			}
			put(t, s, int(id), body[:tr.sizes[id]])
		}
		ratio := float64(hits) / float64(len(tr.ids))
		st := s.Stats()
		t.Logf("%s: hit ratio %.3f, LRU %.3f; %+v", name, ratio, lru, st)
		if ratio < lru*0.97 {
			t.Errorf("%s: hit ratio %.3f, LRU has %.3f", name, ratio, lru)
		}
		if opt.Dir != "" && (st.Disk > opt.Disk || st.DiskEvicted == 0 || st.Reclaimed == 0) {
			t.Errorf("quota %d: %+v", opt.Disk, st)
		}
		if opt.Dir == "" && st.RAM > opt.RAM {
			t.Errorf("quota %d: %+v", opt.RAM, st)
		}
		s.Close()
	}
}

// put stores a whole object under a key.
func put(t testing.TB, s *Store, k int, body []byte) {
	t.Helper()
	meta := fmt.Appendf(nil, "%d", k)
	o, err := s.Create(key(k), New{Meta: meta, Stamp: stamp(meta), Size: int64(len(body))})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Release()
	if _, err := o.WriteAt(body, 0); err != nil {
		t.Fatal(err)
	}
	if err := o.Complete(int64(len(body))); err != nil {
		t.Fatal(err)
	}
}
