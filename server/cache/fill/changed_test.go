package fill

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// change gives the origin another version; what is under way goes on with the old one.
func (s *server) change(body []byte, etag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body, s.etag = body, etag
}

// TestChangedAhead: a part far before a fill meets another version at the origin.
// What the fill still brings is good for those who read the old version; the
// object is found no more, and nothing else is asked for.
func TestChangedAhead(t *testing.T) {
	for _, test := range []struct {
		name   string
		breaks []int64
		most   int64 // of the store
		read   int   // of the old version
	}{
		{"the fill ends well", nil, 0, 4000},
		{"the fill breaks", []int64{3000}, 0, 3000},
		{"the store takes no more", nil, 900, 4000},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old := bytesOf(4, 4000)
				s := &server{body: old, etag: `"a"`, piece: 100, pace: time.Second, breaks: test.breaks}
				g := New(Options{Jump: 4, Ahead: -1, Linger: time.Second})
				defer g.Close()
				f := s.storing(100, nil)
				f.Judge = func(h *Head) Verdict { o := newObject(h.Total, 100); o.most = test.most; return Store(o, o) }
				out, err := g.Lead(t.Context(), Key{}, f)
				if err != nil {
					t.Fatal(err)
				}
				o := out.Value.(*object)
				o.Hold()
				var all sync.WaitGroup
				read := func(first int) {
					all.Go(func() {
						got, err := readAll(t.Context(), out.Flight, int64(first), -1)
						if !bytes.Equal(got, old[first:test.read]) || (err == nil) != (test.read == len(old)) || err != nil && !errors.Is(err, ErrChanged) {
							t.Errorf("from %d: %d bytes, %v", first, len(got), err)
						}
					})
				}
				read(0)
				time.Sleep(5*time.Second + time.Second/2)
				s.change(bytesOf(5, 4000), `"b"`)
				anew := out.Flight.Reader(2000, -1)
				anew.Anew = true
				asked := time.Now()
				if _, n, err := anew.Next(t.Context()); !errors.Is(err, ErrChanged) || time.Since(asked) > 0 {
					t.Errorf("who could begin anew: %d, %v after %v", n, err, time.Since(asked))
				}
				anew.Close()
				if o.found() {
					t.Error("the old version can be found")
				}
				if test.most == 0 { // of what is passed on, only who has read all from the front gets all
					read(2500)
				}
				all.Wait()
				out.Close()
				synctest.Wait()
				whole := test.read == len(old) && test.most == 0
				if o.Whole() != whole || whole && !bytes.Equal(o.data, old) || test.most == 0 && !whole && !errors.Is(o.Err(), ErrChanged) {
					t.Errorf("whole %v, %v", o.Whole(), o.Err())
				}
				if got := s.requests(); !slices.Equal(got, []string{"", "bytes=2000-3599"}) {
					t.Errorf("asked %q", got)
				}
				if st := g.Stats(); st.Changed != 1 || st.Flights != 0 || st.Running != 0 || st.Relaying != 0 || o.references() != 1 {
					t.Errorf("%+v, %d references", st, o.references())
				}
			})
		})
	}
}

// TestChangedBetweenParts: of parts under way each may end, whichever of them is
// the last; what none of them brings is lost.
func TestChangedBetweenParts(t *testing.T) {
	for _, slow := range []int64{0, 1000} {
		synctest.Test(t, func(t *testing.T) {
			old := bytesOf(4, 3000)
			s := &server{body: old, etag: `"a"`, piece: 50, pace: time.Second}
			g := New(Options{Join: 2, Ahead: -1})
			defer g.Close()
			o, f := s.partial(g, 100)
			var all sync.WaitGroup
			read := func(first, last int64, want int) {
				all.Go(func() {
					got, err := readAll(t.Context(), f, first, last)
					if !bytes.Equal(got, old[first:first+int64(want)]) || (err == nil) != (want == int(last+1-first)) || err != nil && !errors.Is(err, ErrChanged) {
						t.Errorf("%d to %d: %d bytes, %v", first, last, len(got), err)
					}
				})
				synctest.Wait()
			}
			read(slow, slow+99, 100)
			read(1000-slow, 1000-slow+399, 200) // two chunks are under way
			s.change(bytesOf(5, 3000), `"b"`)
			read(2000, 2099, 0)
			if o.found() || o.Err() != nil {
				t.Errorf("found %v, %v", o.found(), o.Err())
			}
			all.Wait()
			synctest.Wait()
			if !errors.Is(o.Err(), ErrChanged) {
				t.Errorf("when nothing can come any more: %v", o.Err())
			}
			f.Release()
			if st := g.Stats(); st.Flights != 0 || o.references() != 1 {
				t.Errorf("%+v, %d references", st, o.references())
			}
		})
	}
}

// TestChangedUnread: a version that nobody reads and nobody will find is given up.
func TestChangedUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(4, 4000), etag: `"a"`, piece: 100, pace: time.Second}
		g := New(Options{Jump: 4, Ahead: -1})
		defer g.Close()
		out, err := g.Lead(t.Context(), Key{}, s.storing(100, nil))
		if err != nil {
			t.Fatal(err)
		}
		s.change(bytesOf(5, 4000), `"b"`)
		r := out.Flight.Reader(2000, -1)
		r.Anew = true
		if _, err := io.ReadAll(r); !errors.Is(err, ErrChanged) {
			t.Error(err)
		}
		r.Close()
		out.Close()
		time.Sleep(10 * time.Second)
		if st := g.Stats(); s.total() > 500 || st.Flights != 0 || st.Abandoned != 1 {
			t.Errorf("%d bytes sent, %+v", s.total(), st)
		}
	})
}
