package cachetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/catchment/catchment/lab/await"
)

// tally counts what became of requests; the first words of what was wrong are
// kept.
type tally struct {
	mu    sync.Mutex
	n     [3]int
	words []string
}

func (t *tally) add(g got, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n[g]++
	if g == wrong {
		t.words = append(t.words, err.Error())
	}
}

func (t *tally) count(g got) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[g]
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d right, %d refused", t.n[right], t.n[refused])
}

// into adds the wrong ones to those of the fault.
func (t *tally) into(h *harm) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h.wrong = append(h.wrong, t.words...)
}

// shelf is a set of paths: many small, some over a chunk.
func shelf(n int) []string {
	var out []string
	for i := range n {
		size := []int{1_000, 7_000, 60_000, 70_000, 300_000, 1 << 20, 1<<20 + 1, 3_500_000}[i%8]
		out = append(out, fmt.Sprintf("/ware/%d/%d", i, size))
	}
	return out
}

// customers ask for random paths, wholes and pieces, until the context ends.
func customers(ctx context.Context, n int, addr func() string, paths []string, t *tally) (wait func()) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			client := newClient(20 * time.Second)
			defer client.CloseIdleConnections()
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for ctx.Err() == nil {
				path, first, last := choose(rng, paths)
				g, err := grab(ctx, client, addr(), path, first, last)
				if ctx.Err() != nil && g == refused {
					return
				}
				t.add(g, err)
				if g == refused {
					_ = await.Lapse(ctx, 5*time.Millisecond) // no spinning on a server that is down
				}
			}
		})
	}
	return wg.Wait
}

// choose is a path and the whole of it, or one time in three a piece.
func choose(rng *rand.Rand, paths []string) (path string, first, last int64) {
	path = paths[rng.IntN(len(paths))]
	w, err := newWare(path, 0)
	if err != nil || rng.IntN(3) > 0 {
		return path, 0, -1
	}
	first = rng.Int64N(w.size)
	return path, first, first + rng.Int64N(w.size-first)
}

// each asks for all paths once.
func each(ctx context.Context, addr string, paths []string) *tally {
	var t tally
	client := newClient(20 * time.Second)
	defer client.CloseIdleConnections()
	for _, p := range paths {
		t.add(grab(ctx, client, addr, p, 0, -1))
	}
	return &t
}

// originDies: half of the answers break off; no short one may be served as
// whole, then or later.
func originDies(h *harm) error {
	r, err := h.start(nil)
	if err != nil {
		return err
	}
	defer r.Stop()
	paths := shelf(h.pick(400, 64))
	h.origin.cut.Store(50)
	ctx, cancel := context.WithTimeout(h.ctx, time.Duration(h.pick(15, 1))*time.Second)
	defer cancel()
	var during tally
	customers(ctx, 8, func() string { return r.HTTP }, paths, &during)()
	h.origin.cut.Store(0)
	after := each(h.ctx, r.HTTP, paths)
	h.note("while it breaks: %s; afterwards: %s", &during, after)
	during.into(h)
	after.into(h)
	if n := after.count(refused); n > 0 {
		h.bad("%d requests refused though the origin is well again", n)
	}
	return r.Alive()
}

// originGone: stored objects are served without an origin, others refused,
// and all is well when it is back.
func originGone(h *harm) error {
	r, err := h.start(nil)
	if err != nil {
		return err
	}
	defer r.Stop()
	paths := shelf(h.pick(160, 32))
	stored := paths[:len(paths)/2]
	each(h.ctx, r.HTTP, stored)
	h.origin.gone.Store(true)
	with, without := each(h.ctx, r.HTTP, stored), each(h.ctx, r.HTTP, paths[len(paths)/2:])
	h.origin.gone.Store(false)
	var back *tally
	await.True(h.ctx, 15*time.Second, 100*time.Millisecond, func() bool { // health checks and holds may want a moment
		back = each(h.ctx, r.HTTP, paths)
		return back.count(refused) == 0
	})
	h.note("stored: %s; not stored: %s; when it is back: %s", with, without, back)
	for _, t := range []*tally{with, without, back} {
		t.into(h)
	}
	if n := with.count(refused); n > 0 {
		h.bad("%d stored and fresh objects refused", n)
	}
	if n := without.count(right); n > 0 {
		return errors.New("the origin was not gone")
	}
	if n := back.count(refused); n > 0 {
		h.bad("%d objects refused though the origin is back", n)
	}
	return r.Alive()
}
