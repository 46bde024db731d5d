package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestConcurrent lets many goroutines fill, follow, refresh, replace and
// delete the same few objects in a store that is too small for them, with the
// background at work: what anybody reads is of one version.
func TestConcurrent(t *testing.T) {
	steps := 400
	if testing.Short() {
		steps = 120
	}
	for _, opt := range []Options{
		{RAM: 16 << 20},
		{RAM: 1 << 20, Disk: 9 << 20, Dir: t.TempDir(), OpenFiles: 2, segment: 256 << 10, ScrubRate: 1 << 40},
	} {
		s, err := Open(opt)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var run, work sync.WaitGroup
		run.Go(func() { s.Run(ctx) })
		if s.disk != nil {
			run.Go(func() { background(ctx, s) })
		}
		var served int
		var mu sync.Mutex
		for w := range 6 {
			work.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(w), 1))
				n := 0
				for range steps {
					n += anything(t, s, rnd)
				}
				mu.Lock()
				served += n
				mu.Unlock()
			})
		}
		work.Wait()
		stop()
		run.Wait()
		t.Logf("%d bytes read: %+v", served, s.Stats())
		if served < steps*1000 {
			t.Error("next to nothing was read")
		}
		m := &model{t: t, s: s}
		m.invariants()
		if st := s.Stats(); st.Corrupt > 0 || st.DiskErrors > 0 {
			t.Errorf("%+v", st)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// background does what takes minutes in life all the time.
func background(ctx context.Context, s *Store) {
	for i := 0; ctx.Err() == nil; i++ {
		s.disk.housekeeping(time.Now())
		s.disk.scrubShard(ctx, &s.shards[i%shardCount], 1<<40)
		if i%50 == 0 {
			s.disk.snapshot()
			s.disk.upkeep.Lock()
			s.disk.reclaim()
			s.disk.upkeep.Unlock()
		}
		s.Walk(ctx, func(Info) bool { return true })
	}
}

// anything does one thing with one of ten keys and returns how many bytes it
// read and compared.
func anything(t *testing.T, s *Store, rnd *rand.Rand) int {
	k := rnd.IntN(10)
	switch rnd.IntN(12) {
	case 0:
		s.Delete(key(k))
		return 0
	case 1, 2, 3:
		fillOne(t, s, rnd, k)
		return 0
	}
	n := 0
	for _, o := range s.Lookup(key(k), nil) {
		if rnd.IntN(8) == 0 {
			seed, size, _ := parseMeta(o.Head().Meta)
			meta := fmt.Appendf(nil, "%d:%d:%d", seed, size, rnd.IntN(1000))
			o.SetMeta(meta, stamp(meta))
		}
		n += follow(t, o)
		o.Release()
	}
	return n
}

// fillOne stores a new version, or fails it in the middle.
func fillOne(t *testing.T, s *Store, rnd *rand.Rand, k int) {
	v := &version{seed: rnd.IntN(1 << 20), size: sizes[rnd.IntN(len(sizes))]}
	meta := fmt.Appendf(nil, "%d:%d:0", v.seed, v.size)
	size := int64(v.size)
	if rnd.IntN(3) == 0 {
		size = -1
	}
	o, err := s.Create(key(k), New{Variant: uint64(rnd.IntN(2)), Meta: meta, Stamp: stamp(meta), Size: size, Private: rnd.IntN(3) == 0})
	if err != nil {
		t.Error(err)
		return
	}
	defer o.Release()
	body := v.body()
	for at := 0; at < len(body); {
		n := min(len(body)-at, 1+rnd.IntN(200_000))
		if _, err := o.WriteAt(body[at:at+n], int64(at)); err != nil {
			if !errors.Is(err, ErrTooLarge) {
				t.Error(err)
			}
			return
		}
		at += n
		if rnd.IntN(40) == 0 {
			o.Fail(io.ErrUnexpectedEOF)
			return
		}
	}
	o.Publish()
	if err := o.Complete(int64(v.size)); err != nil {
		t.Error(err)
	}
}

// follow reads an object to its end while it comes.
func follow(t *testing.T, o *Object) int {
	seed, size, err := parseMeta(o.Head().Meta)
	if err != nil || o.Head().Meta == nil {
		t.Errorf("metadata %q: %v", o.Head().Meta, err)
		return 0
	}
	want := (&version{seed: seed, size: size}).body()
	buf := make([]byte, 150_000)
	for at := 0; ; {
		ch := o.Changed()
		n, err := o.ReadAt(buf, int64(at))
		switch {
		case n > 0:
			if at+n > size || !bytes.Equal(buf[:n], want[at:at+n]) {
				t.Errorf("version %d at %d: other bytes", seed, at)
				return at
			}
			at += n
		case errors.Is(err, io.EOF) && at == size:
			return at
		case errors.Is(err, ErrNotYet) && o.Gone():
			return at // its writer may have left
		case errors.Is(err, ErrNotYet):
			select {
			case <-ch:
			case <-time.After(10 * time.Millisecond): // nobody may be at work on it
				return at
			}
		default:
			if o.Err() == nil {
				t.Errorf("version %d at %d of %d: %v", seed, at, size, err)
			}
			return at
		}
	}
}
