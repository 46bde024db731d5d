package fill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// partial is an object of s's version of which nothing is there, and a flight.
func (s *server) partial(g *Group, chunk int64) (*object, *Flight) {
	o := newObject(int64(len(s.body)), chunk)
	src := s.source()
	src.Validator = Validator{ETag: s.etag}
	return o, g.Flight(o, src)
}

func TestChunksOnDemand(t *testing.T) {
	for _, test := range []struct {
		name  string
		reads [][2]int64
		want  []string
		sent  int64
	}{
		{"one byte", [][2]int64{{500, 500}}, []string{"bytes=400-499 no", "bytes=500-599"}[1:], 100},
		{"again", [][2]int64{{510, 520}, {580, 590}}, []string{"bytes=500-599"}, 100},
		{"over a border", [][2]int64{{590, 610}}, []string{"bytes=500-699"}, 200},
		{"the last", [][2]int64{{990, -1}}, []string{"bytes=900-1004"}, 105},
		{"behind the end", [][2]int64{{1000, 5000}}, []string{"bytes=1000-1004"}, 5},
		{"two halves, then all", [][2]int64{{0, 499}, {500, -1}, {0, -1}}, []string{"bytes=0-399", "bytes=400-499", "bytes=500-899", "bytes=900-1004"}, 1005},
		{"holes", [][2]int64{{300, 310}, {0, -1}}, []string{"bytes=300-399", "bytes=0-299", "bytes=400-799", "bytes=800-1004"}, 1005},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{body: bytesOf(2, 1005), etag: `"a"`}
				g := New(Options{Join: 4, Ahead: -1})
				defer g.Close()
				o, f := s.partial(g, 100)
				for _, r := range test.reads {
					end := int64(len(s.body))
					if r[1] >= 0 {
						end = min(end, r[1]+1)
					}
					got, err := readAll(t.Context(), f, r[0], r[1])
					if err != nil || !bytes.Equal(got, s.body[r[0]:end]) {
						t.Errorf("read %v: %d bytes, %v", r, len(got), err)
					}
				}
				synctest.Wait()
				if got := s.requests(); !slices.Equal(got, test.want) || s.total() != test.sent {
					t.Errorf("asked %q, %d bytes, want %q, %d", got, s.total(), test.want, test.sent)
				}
				all := s.total() == int64(len(s.body))
				if o.Whole() != all {
					t.Errorf("whole: %v", o.Whole())
				}
				if sum := f.Sum(); all && (sum == nil || sum.SHA256 != sha256.Sum256(s.body) || sum.Root != treeOf(s.body)) {
					t.Errorf("sum %+v", sum)
				}
				f.Release()
				if o.references() != 1 || g.Stats().Flights != 0 {
					t.Errorf("references %d, %+v", o.references(), g.Stats())
				}
			})
		})
	}
}

func treeOf(b []byte) [32]byte {
	var t Tree
	t.Write(b)
	return t.Root()
}

// TestNoRanges: an origin that answers a range with all: all of it is taken.
func TestNoRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(2, 1005), etag: `"a"`, noRanges: true, delay: time.Second, piece: 100, pace: time.Second}
		g := New(Options{Ahead: -1})
		defer g.Close()
		o, f := s.partial(g, 100)
		defer f.Release()
		var wg sync.WaitGroup
		for _, first := range []int64{900, 100, 500} {
			wg.Go(func() {
				if got, err := readAll(t.Context(), f, first, first+9); err != nil || !bytes.Equal(got, s.body[first:first+10]) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		time.Sleep(time.Minute)
		if !o.Whole() || !bytes.Equal(o.data, s.body) {
			t.Error("not whole")
		}
		if s.total() > 1600 { // the first pieces of the others may have come
			t.Errorf("%d bytes sent", s.total())
		}
	})
}

// TestOneFetchPerChunk: a chunk that is on its way is not asked for again.
func TestOneFetchPerChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(2, 1005), etag: `"a"`, delay: time.Second}
		g := New(Options{Ahead: -1})
		defer g.Close()
		_, f := s.partial(g, 100)
		defer f.Release()
		var wg sync.WaitGroup
		for _, r := range [][2]int64{{310, 320}, {0, 599}, {350, 360}, {450, 460}, {20, 40}} {
			wg.Go(func() {
				if got, err := readAll(t.Context(), f, r[0], r[1]); err != nil || !bytes.Equal(got, s.body[r[0]:r[1]+1]) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		want := []string{"bytes=300-399", "bytes=0-299", "bytes=400-499", "bytes=500-599"}
		if got := s.requests(); !slices.Equal(got, want) || s.total() != 600 {
			t.Errorf("asked %q, %d bytes", got, s.total())
		}
	})
}

func TestColdRange(t *testing.T) {
	for _, test := range []struct {
		span        Span
		first, last int64
		want        []string
		noRanges    bool
	}{
		{Span{250, 260}, 250, 260, []string{"bytes=200-299"}, false},
		{Span{299, 300}, 299, 300, []string{"bytes=200-399"}, false},
		{Span{950, -1}, 950, -1, []string{"bytes=900-"}, false},
		{Span{-10, 0}, 995, -1, []string{"bytes=-109"}, false},
		{Span{-104, 0}, 901, -1, []string{"bytes=-203"}, false},
		{Span{-4, 0}, 1001, -1, []string{"bytes=-103"}, false},
		{Span{-5000, 0}, 0, -1, []string{"bytes=-5099"}, false},
		{Span{250, 260}, 250, 260, []string{"bytes=200-299"}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{body: bytesOf(2, 1005), etag: `"a"`, noRanges: test.noRanges}
			g := New(Options{})
			defer g.Close()
			out, err := g.Lead(t.Context(), Key{}, s.storing(100, &test.span))
			if err != nil || out.Kind != Stored {
				t.Fatalf("%+v, %v", out, err)
			}
			defer out.Close()
			end := int64(len(s.body))
			if test.last >= 0 {
				end = test.last + 1
			}
			got, err := readAll(t.Context(), out.Flight, test.first, test.last)
			if err != nil || !bytes.Equal(got, s.body[test.first:end]) {
				t.Errorf("%+v: %d bytes, %v", test.span, len(got), err)
			}
			synctest.Wait()
			if got := s.requests(); !slices.Equal(got, test.want) {
				t.Errorf("%+v: asked %q", test.span, got)
			}
			if o := out.Value.(*object); o.Whole() != (test.noRanges || s.total() == int64(len(s.body))) {
				t.Errorf("%+v: whole %v", test.span, o.Whole())
			}
		})
	}
}

// TestJump: a reader far before a slow fill does not wait for it, and the fill
// leaves out what came that way if it is much.
func TestJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(4, 4000), etag: `"a"`, piece: 100, pace: time.Second}
		g := New(Options{Jump: 4, Join: 8})
		defer g.Close()
		out, err := g.Lead(t.Context(), Key{}, s.storing(100, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		start := time.Now()
		if got, err := readAll(t.Context(), out.Flight, 2000, 2799); err != nil || !bytes.Equal(got, s.body[2000:2800]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("waited %v", d)
		}
		if got, err := readAll(t.Context(), out.Flight, 0, -1); err != nil || !bytes.Equal(got, s.body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		time.Sleep(time.Minute)
		want := []string{"", "bytes=2000-2799", "bytes=2800-3999"}
		if got := s.requests(); !slices.Equal(got, want) || s.total() != 4000 {
			t.Errorf("asked %q, %d bytes", got, s.total())
		}
		if sum := out.Flight.Sum(); sum == nil || sum.SHA256 != sha256.Sum256(s.body) {
			t.Errorf("sum %+v", sum)
		}
	})
}

func TestAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(4, 2000), etag: `"a"`, delay: time.Second}
		g := New(Options{Ahead: 2, Join: 4})
		defer g.Close()
		_, f := s.partial(g, 100)
		defer f.Release()
		r := f.Reader(0, 1499)
		defer r.Close()
		start := time.Now()
		for want := int64(0); want < 1500; want += 50 {
			b := make([]byte, 50)
			if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, s.body[want:want+50]) {
				t.Fatalf("at %d: %v", want, err)
			}
			time.Sleep(time.Second / 2) // slower than the upstream: never waits but once
		}
		if d := time.Since(start); d != 16*time.Second {
			t.Errorf("took %v", d)
		}
		want := []string{"bytes=0-399", "bytes=400-799", "bytes=800-1199", "bytes=1200-1499"}
		if got := s.requests(); !slices.Equal(got, want) {
			t.Errorf("asked %q", got)
		}
	})
}

func TestAbandon(t *testing.T) {
	for _, test := range []struct {
		at   time.Duration // when the reader leaves
		back bool          // comes back soon
		want int64         // bytes fetched in the end
	}{
		{2 * time.Second, false, 400}, {2 * time.Second, true, 1000}, {6 * time.Second, false, 1000},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{body: bytesOf(4, 1000), etag: `"a"`, piece: 100, pace: time.Second}
			g := New(Options{Abandon: 0.5, Linger: 2 * time.Second})
			defer g.Close()
			out, err := g.Lead(t.Context(), Key{}, s.storing(100, nil))
			if err != nil {
				t.Fatal(err)
			}
			o := out.Value.(*object)
			o.Hold()
			time.Sleep(test.at + time.Millisecond)
			out.Close()
			if test.back {
				time.Sleep(time.Second)
				f := g.Flight(o, s.source())
				defer f.Release()
			}
			time.Sleep(time.Minute)
			if s.total() != test.want || o.Whole() != (test.want == 1000) || o.Err() != nil {
				t.Errorf("%+v: sent %d, whole %v, %v", test, s.total(), o.Whole(), o.Err())
			}
			if st := g.Stats(); test.want < 1000 && (st.Abandoned != 1 || st.Flights != 0) {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(4, 1000), noLength: true, piece: 100, pace: time.Second}
		g := New(Options{})
		defer g.Close()
		out, err := g.Lead(t.Context(), Key{}, s.storing(100, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := out.Flight.Size(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if n := len(out.Flight.waiters); n != 0 {
			t.Errorf("%d waiters left over", n)
		}
		if n, err := out.Flight.Size(t.Context()); n != 1000 || err != nil {
			t.Error(n, err)
		}
	})
}

func TestLimits(t *testing.T) {
	busy := ErrBusy.Error()
	for _, test := range []struct {
		wait time.Duration
		want string // of those who wait for a turn
		took time.Duration
	}{{5 * time.Second, "stored", 8 * time.Second}, {3 * time.Second, busy, 3 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{body: bytesOf(4, 10), delay: 4 * time.Second}
			g := New(Options{Fills: 3, PerUpstream: 2, Queue: 2, QueueWait: test.wait, Waiters: 2})
			var wg sync.WaitGroup
			ask := func(name string, key byte, want string, took time.Duration) {
				wg.Go(func() {
					start := time.Now()
					f := s.storing(100, nil)
					f.Source.Name = name
					out, err := g.Lead(t.Context(), Key{key}, f)
					got := fmt.Sprint(err)
					if err == nil {
						got = out.Kind.String()
						if out.Err != nil {
							got = out.Err.Error()
						}
						out.Close()
					}
					if got != want || time.Since(start) != took {
						t.Errorf("%s %d: %s after %v, want %s after %v", name, key, got, time.Since(start), want, took)
					}
				})
				synctest.Wait()
			}
			ask("a", 1, "stored", 4*time.Second)
			ask("a", 1, "stored", 4*time.Second)
			ask("a", 1, busy, 0) // waiters of one key
			ask("a", 2, "stored", 4*time.Second)
			ask("a", 3, test.want, test.took)    // two for one upstream
			ask("b", 4, "stored", 4*time.Second) // another is not held up
			ask("c", 5, test.want, test.took)    // three in all
			ask("a", 6, test.want, test.took)
			ask("a", 7, busy, 0) // queue full
			wg.Wait()
			g.Close()
			if len(g.limit.names) != 0 || g.limit.used != 0 || g.Stats().Running != 0 {
				t.Errorf("left over: %+v, %+v", g.limit.names, g.Stats())
			}
		})
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(4, 1000), etag: `"a"`, piece: 100, pace: time.Second}
		g := New(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- g.Run(ctx) }()
		out, err := g.Lead(t.Context(), Key{}, s.storing(100, nil))
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan error)
		go func() {
			_, err := readAll(t.Context(), out.Flight, 0, -1)
			read <- err
		}()
		time.Sleep(3 * time.Second)
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if err := <-read; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		out.Close()
		if _, err := g.Lead(t.Context(), Key{}, s.storing(100, nil)); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if o := out.Value.(*object); o.Err() != nil || o.references() != 0 {
			t.Errorf("object %v, %d references", o.Err(), o.references())
		}
	})
}

func TestPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(4, 1000)}
		g := New(Options{})
		defer g.Close()
		f := s.storing(100, nil)
		f.Judge = func(*Head) Verdict { panic("judge") }
		out, err := g.Lead(t.Context(), Key{}, f)
		if err != nil || out.Kind != Failed || out.Err == nil {
			t.Errorf("%+v, %v", out, err)
		}
		f = s.storing(100, nil)
		f.Source.Whole = func(Object, Sum) { panic("whole") }
		if out, err = g.Lead(t.Context(), Key{}, f); err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if got, err := readAll(t.Context(), out.Flight, 0, -1); err != nil || !bytes.Equal(got, s.body) {
			t.Error(err)
		}
		synctest.Wait()
		if st := g.Stats(); st.Panics != 2 || st.Running != 0 || out.Value.(*object).Whole() {
			t.Errorf("%+v", st)
		}
	})
}

// TestSetLimits: more turns are given at once to those who wait, fewer as those
// under way end.
func TestSetLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(4, 10), delay: time.Hour}
		g := New(Options{Fills: 1, PerUpstream: 1, Queue: 10, QueueWait: time.Minute})
		defer g.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for i := range 6 {
			f := s.storing(100, nil)
			f.Source.Name = string("aab"[i%3])
			go g.Lead(ctx, Key{byte(i)}, f)
			synctest.Wait()
		}
		for _, c := range []struct{ fills, each, running int64 }{{1, 1, 1}, {9, 1, 2}, {9, 2, 4}, {3, 3, 4}, {5, 9, 5}, {0, 0, 6}} {
			g.SetLimits(int(c.fills), int(c.each))
			synctest.Wait()
			if n := g.Stats().Running; n != c.running {
				t.Errorf("limits %d, %d: %d under way, want %d", c.fills, c.each, n, c.running)
			}
		}
	})
}
