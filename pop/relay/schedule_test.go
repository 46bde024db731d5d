package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
)

// fates plays with a tree: nodes come and go, links are cut and slow, answers
// are lost, members lose their core, POPs write below the tree.
type fates struct {
	*world
	rng   *rand.Rand
	pops  []string
	tops  []string
	dirs  map[string]string
	mu    sync.Mutex
	did   map[string]int
	wrote map[string]int // by object: the highest value that surely is in the core
}

func (f *fates) roll(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.IntN(n)
}

func (f *fates) start(pop string) {
	var parents []string
	if !slices.Contains(f.tops, pop) {
		parents = append(slices.DeleteFunc(slices.Clone(f.pops), func(p string) bool { return p == pop || f.roll(2) == 0 }), f.tops[f.roll(len(f.tops))])
		for i := range parents {
			j := f.roll(len(parents))
			parents[i], parents[j] = parents[j], parents[i]
		}
	}
	steps, keeps := 20+f.roll(200), f.roll(2) == 0
	f.mu.Lock()
	defer f.mu.Unlock()
	f.add(pop, func(o *Options) {
		o.Limits.Steps, o.Depth = steps, 12
		if keeps && len(parents) > 0 {
			o.Dir = f.dirs[pop]
		}
	}, parents...)
}

// writer writes below the tree, watches there, and holds what it sees against
// what must be.
func (f *fates) writer(ctx context.Context, pop string) {
	for ctx.Err() == nil {
		f.mu.Lock()
		n := f.node[pop]
		f.mu.Unlock()
		c := core.NewFollower(n.Engine(), core.Options{Limits: wide, Timeout: 5 * time.Second})
		life, cancel := context.WithTimeout(ctx, time.Duration(5+f.roll(20))*time.Second)
		var wg sync.WaitGroup
		wg.Go(func() { c.Run(life) })
		wg.Go(func() { f.watch(life, c, pop) })
		for life.Err() == nil {
			f.write(life, c, pop)
			lapse.Of(life, time.Duration(f.roll(1000))*time.Millisecond)
		}
		cancel()
		wg.Wait()
	}
}

// write counts an object of its own up by compare and set.
func (f *fates) write(ctx context.Context, c *core.Core, pop string) {
	k := key(pop)
	v, when := 0, core.Absent
	o, err := c.Get(ctx, k)
	switch {
	case err == nil:
		o.Into(&v)
		when = core.If(o.Revision)
	case !errors.Is(err, core.NotFound):
		return
	}
	f.mu.Lock()
	if sure := f.wrote[pop]; v < sure {
		f.t.Errorf("%s reads %d after %d was acknowledged", pop, v, sure)
	}
	f.mu.Unlock()
	_, err = c.Put(ctx, core.Write{Who: "pop " + pop, Why: "counts"}, k, fmt.Append(nil, v+1), when)
	var e *core.Error
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.did["written"]++
		f.wrote[pop] = v + 1
	case errors.As(err, &e) && e.Uncertain:
		f.did["uncertain"]++
	case errors.Is(err, core.Conflict):
		f.did["conflict"]++
	default:
		f.did["refused"]++
	}
}

// watch holds that revisions only go up, and that each state is the core's.
func (f *fates) watch(ctx context.Context, c *core.Core, pop string) {
	known, state := int64(0), map[string]int64{}
	c.Watch(ctx, core.All(core.KindConfig), 0, func(b core.Batch) error {
		if b.Revision <= known && !b.Snapshot || b.Revision < known {
			f.t.Errorf("%s: revision %d after %d", pop, b.Revision, known)
		}
		known = b.Revision
		if b.Snapshot {
			clear(state)
		}
		for _, e := range b.Events {
			state[e.Key.Name] = e.Object.Revision
		}
		f.mu.Lock()
		f.did["batches"]++
		f.mu.Unlock()
		truth, err := f.core.List(context.Background(), core.All(core.KindConfig), core.Stale(), core.At(b.Revision))
		if err != nil {
			f.t.Errorf("%s at revision %d: %v", pop, b.Revision, err)
			return nil
		}
		for _, o := range truth.Objects {
			if state[o.Key.Name] != o.Revision {
				f.t.Errorf("%s at revision %d: %s is of %d, and not of %d", pop, b.Revision, o.Key.Name, o.Revision, state[o.Key.Name])
			}
		}
		return nil
	})
}

// fate does one thing to the tree.
func (f *fates) fate() {
	a, b := f.pops[f.roll(len(f.pops))], append(f.pops, f.tops...)[f.roll(len(f.pops)+len(f.tops))]
	switch f.roll(10) {
	case 0, 1, 2:
		f.net.cut(a, b, true)
	case 3, 4, 5:
		f.net.cut(a, b, false)
	case 6, 7:
		f.stop[b]()
		time.Sleep(time.Duration(f.roll(4000)) * time.Millisecond)
		f.start(b)
	case 8:
		f.core.Fail(errors.New("no quorum"))
		time.Sleep(time.Duration(f.roll(8000)) * time.Millisecond)
		f.core.Fail(nil)
	case 9:
		st, _ := f.core.Status(context.Background())
		f.put("other", int(st.Revision))
	}
}

// schedules is how many TestSchedules plays.
var schedules = "6"

// TestSchedules plays random fates, heals everything, and wants all to be one
// tree with one state soon after.
func TestSchedules(t *testing.T) {
	if raced {
		t.Skip("see bubble")
	}
	did := map[string]int{}
	seeds, err := strconv.ParseUint(cmp.Or(os.Getenv("CATCHMENT_RELAY_SCHEDULES"), schedules), 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range seeds {
		dirs := map[string]string{}
		pops := []string{"A", "B", "C", "D", "E", "F"}
		for _, p := range pops {
			dirs[p] = t.TempDir()
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { play(t, seed, pops, dirs, did) })
		})
	}
	t.Log(did)
	for _, what := range []string{"written", "uncertain", "batches", "snapshots", "switches"} {
		if did[what] < 5 {
			t.Errorf("only %d %s: no test", did[what], what)
		}
	}
	if did["mismatches"] != 0 {
		t.Errorf("%d states did not have the hash that was told", did["mismatches"])
	}
}

func play(t *testing.T, seed uint64, pops []string, dirs map[string]string, did map[string]int) {
	w := newWorld(t)
	f := &fates{world: w, rng: rand.New(rand.NewPCG(seed, 6)), pops: pops, tops: []string{"X", "Y"}, dirs: dirs, did: did, wrote: map[string]int{}}
	defer w.end()
	w.net.delay = func(string, string) time.Duration { return time.Duration(10+f.roll(60)) * time.Millisecond }
	w.net.lose = func(string, string) bool { return f.roll(15) == 0 }
	for _, p := range append(slices.Clone(pops), f.tops...) {
		f.start(p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, p := range pops {
		wg.Go(func() { f.writer(ctx, p) })
	}
	for range 40 {
		f.fate()
		time.Sleep(time.Duration(f.roll(3000)) * time.Millisecond)
	}
	cancel()
	wg.Wait()
	w.net.mu.Lock()
	clear(w.net.cuts)
	w.net.mu.Unlock()
	w.net.heal.ring()
	f.put("last", 1)
	w.same(time.Minute, append(slices.Clone(pops), f.tops...)...)
	until(t, 2*time.Minute, "all are rooted and hear all", func() bool {
		for _, p := range pops {
			if st := w.node[p].Status(); st.Standing != Rooted || len(st.Path) > 12 {
				return false
			}
		}
		return true
	})
	for _, n := range w.node {
		c := n.Status().Counts
		did["snapshots"] += int(c.Received)
		did["switches"] += int(c.Switches)
		did["mismatches"] += int(c.Mismatches)
	}
}
