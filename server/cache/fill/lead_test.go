package fill

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/server/cache/origin"
)

// readAll reads a part of an outcome's object as a client would.
func readAll(ctx context.Context, f *Flight, first, last int64) ([]byte, error) {
	r := f.Reader(first, last)
	defer r.Close()
	r.Context = ctx
	return io.ReadAll(r)
}

func TestFollowersReadAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(1, 4000), etag: `"a"`, delay: 200 * time.Millisecond, piece: 100, pace: 25 * time.Millisecond}
		g := New(Options{})
		defer g.Close()
		var wg sync.WaitGroup
		start := time.Now()
		first := make([]time.Duration, 30)
		var obj *object
		for i := range 30 {
			wg.Go(func() {
				out, err := g.Lead(t.Context(), Key{1}, s.storing(256, nil))
				if err != nil {
					t.Error(err)
					return
				}
				defer out.Close()
				if out.Kind != Stored || out.Value != any(out.Flight.Object()) {
					t.Errorf("outcome %+v", out)
				}
				if out.Leader {
					obj = out.Value.(*object)
				}
				r := out.Flight.Reader(0, -1)
				defer r.Close()
				b := make([]byte, 1)
				if _, err := r.Read(b); err != nil {
					t.Error(err)
				}
				first[i] = time.Since(start)
				rest, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(append(b, rest...), s.body) {
					t.Errorf("read %d bytes, %v", len(rest)+1, err)
				}
			})
		}
		wg.Wait()
		for _, d := range first {
			if d != 225*time.Millisecond {
				t.Errorf("first byte after %v", d)
			}
		}
		time.Sleep(time.Second) // the end of the body
		synctest.Wait()
		if n := len(s.requests()); n != 1 {
			t.Errorf("%d requests", n)
		}
		if !obj.Whole() || obj.references() != 0 {
			t.Errorf("object whole %v, references %d", obj.Whole(), obj.references())
		}
		if st := g.Stats(); st.Leads != 1 || st.Joined != 29 || st.Running != 0 || st.Waiting != 0 || st.Flights != 0 || st.Whole != 1 || st.Bytes != 4000 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestUncacheableFreesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(1, 1000), delay: 500 * time.Millisecond}
		g := New(Options{})
		defer g.Close()
		var wg sync.WaitGroup
		start := time.Now()
		leaders := 0
		for range 10 {
			wg.Go(func() {
				f := s.storing(256, nil)
				f.Judge = func(*Head) Verdict { return Pass("private", 7) }
				out, err := g.Lead(t.Context(), Key{1}, f)
				if err != nil {
					t.Error(err)
					return
				}
				if out.Kind == Released {
					if out.Reason != "private" || out.Value != 7 || out.Response != nil {
						t.Errorf("outcome %+v", out)
					}
					out.Close()
					if out, err = g.Pass(t.Context(), s.source()); err != nil {
						t.Error(err)
						return
					}
				} else {
					leaders++
				}
				defer out.Close()
				if b, err := io.ReadAll(out.Response.Body); err != nil || !bytes.Equal(b, s.body) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d != time.Second || leaders != 1 || len(s.requests()) != 10 {
			t.Errorf("took %v, %d leaders, %d requests", d, leaders, len(s.requests()))
		}
		if st := g.Stats(); st.Released != 9 || st.Running != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestLeaderLeaves(t *testing.T) {
	for _, kind := range []Kind{Stored, Passed} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{body: bytesOf(1, 1000), etag: `"a"`, delay: time.Second, piece: 100, pace: time.Second}
			g := New(Options{})
			defer g.Close()
			var obj *object
			f := s.storing(256, nil)
			store := f.Judge
			f.Judge = func(h *Head) Verdict {
				if kind == Passed {
					return Pass("no", nil)
				}
				v := store(h)
				obj = v.value.(*object)
				return v
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			defer cancel()
			if _, err := g.Lead(ctx, Key{1}, f); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if kind == Stored && (!obj.Whole() || !bytes.Equal(obj.data, s.body) || obj.references() != 0) {
				t.Errorf("object not filled: %+v", obj)
			}
			if st := g.Stats(); st.Running != 0 || st.Flights != 0 {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

func TestFailureIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options{})
		defer g.Close()
		down := &origin.Error{Kind: origin.KindConnect, From: origin.From{Name: "o"}, Err: errors.New("refused")}
		f := Fetch{Source: Source{Request: &origin.Request{}, Upstream: doer(func(context.Context, *origin.Request) (*origin.Response, error) {
			time.Sleep(time.Second)
			return nil, down
		})}}
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				out, err := g.Lead(t.Context(), Key{1}, f)
				if err != nil || out.Kind != Failed || !errors.Is(out.Err, down) || out.From.Name != "o" || out.Waited != time.Second {
					t.Errorf("%+v, %v", out, err)
				}
			})
		}
		wg.Wait()
		if st := g.Stats(); st.Leads != 1 || st.Failed != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

type doer func(context.Context, *origin.Request) (*origin.Response, error)

func (d doer) Do(ctx context.Context, r *origin.Request) (*origin.Response, error) { return d(ctx, r) }

func TestWaitWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(1, 1000), piece: 100, pace: time.Second}
		g := New(Options{})
		defer g.Close()
		f := s.storing(256, nil)
		store := f.Judge
		f.Judge = func(h *Head) Verdict { v := store(h); v.WaitWhole = 1000; return v }
		out, err := g.Lead(t.Context(), Key{1}, f)
		if err != nil || out.Sum == nil || out.Sum.SHA256 != sha256.Sum256(s.body) || out.Waited < 10*time.Second {
			t.Fatalf("%+v, %v", out, err)
		}
		if b, err := readAll(t.Context(), out.Flight, 0, -1); err != nil || !bytes.Equal(b, s.body) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		out.Close()
		s.breaks = []int64{-1, 500}
		out, err = g.Lead(t.Context(), Key{1}, f)
		if err != nil || out.Kind != Failed || origin.KindOf(out.Err) != origin.KindTruncated {
			t.Errorf("%+v, %v", out, err)
		}
		out.Close()
	})
}

// TestFinishedByAnother: all bytes of a body are there, its end is not seen yet,
// and a client that met the object in the store begins to make it whole. Those
// who wait for the whole object wait for that, and do not take it for broken.
func TestFinishedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(1, 1000), etag: `"a"`}
		g := New(Options{})
		defer g.Close()
		f := s.storing(256, nil)
		f.Source.Upstream = doer(func(ctx context.Context, r *origin.Request) (*origin.Response, error) {
			resp, err := s.Do(ctx, r)
			resp.Body = &lateEnd{ReadCloser: resp.Body, after: time.Second}
			return resp, err
		})
		var obj *object
		store := f.Judge
		f.Judge = func(h *Head) Verdict {
			v := store(h)
			obj = v.value.(*object)
			v.WaitWhole = 1000
			return v
		}
		f.Source.Whole = func(Object, Sum) { time.Sleep(2 * time.Second) }
		done := make(chan *Outcome, 1)
		go func() {
			out, err := g.Lead(t.Context(), Key{1}, f)
			if err != nil {
				t.Error(err)
			}
			done <- out
		}()
		time.Sleep(time.Second / 2)
		synctest.Wait() // what Judge has set is seen
		if obj.Available(0) != obj.Size() || obj.Whole() {
			t.Fatalf("%d bytes, whole %v", obj.Available(0), obj.Whole())
		}
		hit := g.Flight(obj, f.Source)
		out := <-done
		if out.Kind != Stored || out.Err != nil || !obj.Whole() || out.Sum == nil || out.Waited != 2500*time.Millisecond {
			t.Errorf("%v after %v: %v; whole %v", out.Kind, out.Waited, out.Err, obj.Whole())
		}
		out.Close()
		hit.Release()
		synctest.Wait()
		if st := g.Stats(); st.Flights != 0 || st.Running != 0 || obj.references() != 0 {
			t.Errorf("%+v, %d references", st, obj.references())
		}
	})
}

// lateEnd tells the end of a body some time after its last byte.
type lateEnd struct {
	io.ReadCloser
	after time.Duration
	ended bool
}

func (l *lateEnd) Read(p []byte) (int, error) {
	if l.ended {
		time.Sleep(l.after)
		return 0, io.EOF
	}
	n, err := l.ReadCloser.Read(p)
	if err == io.EOF && n > 0 {
		l.ended, err = true, nil
	}
	return n, err
}
