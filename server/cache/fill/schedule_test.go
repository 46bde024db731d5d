package fill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// world is a cache of one key, as simple as can be, over an origin that changes
// and fails at random. What anybody reads has to be bytes of one version: that of
// the object read from.
type world struct {
	t    *testing.T
	g    *Group
	s    *server
	rng  *rand.Rand
	mode int // 0: strong tags, 1: none

	mu       sync.Mutex
	object   *object // nil: nothing stored
	whole    map[*object]Sum
	versions map[uint64][]byte // the right bytes, by object
	good     int               // reads to the end
	bad      int
}

func (w *world) rand(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

// change gives the origin a new version.
func (w *world) change() {
	body := bytesOf(w.rng.Uint64(), 1+w.rng.IntN(3000))
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.body, w.s.etag = body, ""
	if w.mode == 0 {
		w.s.etag = fmt.Sprintf(`"%d"`, w.rng.Uint64())
	}
}

func (w *world) source() Source {
	src := w.s.source()
	src.Whole = func(o Object, sum Sum) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.whole[o.(*object)] = sum
	}
	return src
}

// follow gives a flight to read from, of what is stored or of a new fill.
func (w *world) follow(ctx context.Context, span *Span) (*Flight, func(), error) {
	w.mu.Lock()
	if o := w.object; o != nil && o.found() {
		src := w.source()
		src.Validator = ValidatorOf(o.meta.Header)
		f := w.g.Flight(o, src)
		w.mu.Unlock()
		return f, f.Release, nil
	}
	w.mu.Unlock()
	out, err := w.g.Lead(ctx, Key{}, Fetch{Source: w.source(), Range: span, ChunkSize: 64, Judge: func(h *Head) Verdict {
		if h.Status != 200 && h.Status != 206 || h.Total < 0 && h.Status == 206 {
			return Pass("status", nil)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		o := newObject(h.Total, 64)
		o.meta = h.Response
		w.versions[o.id] = h.Body.(*stream).body
		o.Hold() // what is stored
		if w.object != nil {
			w.object.Release()
		}
		w.object = o
		return Store(o, nil)
	}})
	if err != nil {
		return nil, nil, err
	}
	if out.Kind != Stored {
		out.Close()
		return nil, nil, errors.Join(errors.New(out.Kind.String()), out.Err)
	}
	return out.Flight, out.Close, nil
}

// client reads a random part at a random speed, and may leave.
func (w *world) client() {
	first := int64(w.rand(2500))
	last := first + int64(w.rand(900))
	switch w.rand(4) {
	case 0:
		first, last = 0, -1
	case 1:
		last = -1
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Duration(w.rand(60_000))*time.Millisecond)
	defer cancel()
	span := &Span{first, last}
	if w.rand(2) == 0 {
		span = nil
	}
	f, done, err := w.follow(ctx, span)
	if err != nil {
		w.count(false)
		return
	}
	defer done()
	r := f.Reader(first, last)
	defer r.Close()
	r.Context = ctx
	var got []byte
	b := make([]byte, 1+w.rand(300))
	slow := w.rand(3) * 100
	for err == nil {
		var n int
		n, err = r.Read(b)
		got = append(got, b[:n]...)
		time.Sleep(time.Duration(w.rand(1+slow)) * time.Millisecond)
	}
	w.check(f.Object().(*object), got, first, last, err)
}

func (w *world) count(good bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if good {
		w.good++
	} else {
		w.bad++
	}
}

func (w *world) check(o *object, got []byte, first, last int64, err error) {
	w.mu.Lock()
	version := w.versions[o.id]
	w.mu.Unlock()
	end := int64(len(version))
	if last >= 0 {
		end = min(end, last+1)
	}
	want := version[min(first, end):end]
	switch {
	case !bytes.HasPrefix(want, got):
		w.t.Errorf("object %d from %d: %d bytes are not of its version", o.id, first, len(got))
	case err == io.EOF && len(got) != len(want):
		w.t.Errorf("object %d from %d: a good end after %d of %d bytes", o.id, first, len(got), len(want))
	}
	w.count(err == io.EOF)
}

func (w *world) run() {
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(w.client)
		time.Sleep(time.Duration(w.rand(700)) * time.Millisecond)
		if w.rand(12) == 0 {
			w.mu.Lock()
			w.change()
			w.mu.Unlock()
		}
		if w.rand(10) == 0 { // purged
			w.mu.Lock()
			if w.object != nil {
				w.object.Release()
				w.object = nil
			}
			w.mu.Unlock()
		}
	}
	wg.Wait()
	time.Sleep(10 * time.Minute)
	synctest.Wait()
}

func TestRandomSchedules(t *testing.T) {
	good, bad, whole, resumed, changed := 0, 0, 0, uint64(0), uint64(0)
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			w := &world{t: t, rng: rng, mode: int(seed % 4 / 3), whole: map[*object]Sum{}, versions: map[uint64][]byte{}}
			w.s = &server{
				piece: 1 + rng.IntN(200), pace: time.Duration(rng.IntN(200)) * time.Millisecond,
				delay: time.Duration(rng.IntN(500)) * time.Millisecond, noRanges: rng.IntN(6) == 0, noLength: rng.IntN(4) == 0,
			}
			for range 40 {
				w.s.breaks = append(w.s.breaks, int64(rng.IntN(1500)-1000))
			}
			w.g = New(Options{Join: 1 + rng.IntN(6), Ahead: rng.IntN(4), Jump: 1 + rng.IntN(6), Abandon: float64(rng.IntN(2)) / 2})
			w.change()
			w.run()
			for o, sum := range w.whole {
				v := w.versions[o.id]
				if !o.Whole() || sum.SHA256 != sha256.Sum256(v) || sum.Root != treeOf(v) || sum.Size != int64(len(v)) || !bytes.Equal(o.data, v) {
					t.Errorf("seed %d: object %d is not its version", seed, o.id)
				}
			}
			st := w.g.Stats()
			if st.Running != 0 || st.Waiting != 0 || st.Flights != 0 || st.Panics != 0 || st.Relayed != 0 || len(w.g.limit.names) != 0 {
				t.Errorf("seed %d: left over: %+v", seed, st)
			}
			w.g.Close()
			if o := w.object; o != nil && o.references() != 1 {
				t.Errorf("seed %d: %d references", seed, o.references())
			}
			good, bad, whole = good+w.good, bad+w.bad, whole+len(w.whole)
			resumed, changed = resumed+st.Resumed, changed+st.Changed
		})
	}
	t.Logf("%d reads to the end, %d not; %d objects whole, %d resumes, %d changes seen", good, bad, whole, resumed, changed)
	if good < bad || whole < 60 || resumed < 20 || changed < 10 {
		t.Error("too little happened")
	}
}
