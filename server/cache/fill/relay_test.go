package fill

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestStoreFails: what the store does not take goes on to those who read.
func TestStoreFails(t *testing.T) {
	for _, test := range []struct {
		name string
		opt  Options
		s    *server
		good bool
	}{
		{"no relay", Options{Relay: -1}, &server{etag: `"a"`}, false},
		{"relay", Options{Relay: 150}, &server{}, true},
		{"unknown length", Options{Relay: 150}, &server{noLength: true}, true},
		{"goes on by Range", Options{Relay: 150}, &server{etag: `"a"`, breaks: []int64{730}}, true},
		{"breaks", Options{Relay: 150}, &server{breaks: []int64{730}}, false},
		{"wrong digest", Options{Relay: 150}, &server{header: http.Header{"Repr-Digest": {sha([]byte("x"))}}}, false},
		{"too many", Options{Relays: -1}, &server{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := test.s
				s.body, s.piece, s.pace = bytesOf(4, 1000), 100, time.Second
				g := New(test.opt)
				defer g.Close()
				f := s.storing(64, nil)
				f.Judge = func(h *Head) Verdict { o := newObject(h.Total, 64); o.most = 450; return Store(o, o) }
				out, err := g.Lead(t.Context(), Key{}, f)
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				for i := range 3 {
					wg.Go(func() {
						r := out.Flight.Reader(int64(i*100), -1)
						defer r.Close()
						var got []byte
						b := make([]byte, 77)
						var err error
						for n := 0; err == nil; got = append(got, b[:n]...) {
							n, err = r.Read(b)
							time.Sleep(time.Duration(i) * time.Second)
						}
						want := s.body[i*100:]
						if test.good && (err != io.EOF || !bytes.Equal(got, want)) || !test.good && (err == io.EOF || !bytes.HasPrefix(want, got)) {
							t.Errorf("reader %d: %d bytes, %v", i, len(got), err)
						}
					})
				}
				wg.Wait()
				o := out.Value.(*object)
				if o.Whole() || !errors.Is(o.Err(), ErrStore) {
					t.Errorf("object: %v", o.Err())
				}
				out.Close()
				synctest.Wait()
				if st := g.Stats(); st.Relaying != 0 || st.Flights != 0 || st.Running != 0 || (st.Relayed == 1) != (test.opt.Relay > 0) || o.references() != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// TestStoreRefusesPart: the store takes no more just as a part far ahead comes.
// Who reads from the front gets all, past the store.
func TestStoreRefusesPart(t *testing.T) {
	for _, fails := range []bool{true, false} { // the store's object fails with the first byte it refuses
		synctest.Test(t, func(t *testing.T) {
			s := &server{body: bytesOf(4, 4000), etag: `"a"`, piece: 100, pace: time.Second}
			g := New(Options{Jump: 4, Ahead: -1, Relay: 500})
			defer g.Close()
			f := s.storing(100, nil)
			f.Judge = func(h *Head) Verdict { o := newObject(h.Total, 100); o.most, o.fails = 1900, fails; return Store(o, o) }
			out, err := g.Lead(t.Context(), Key{}, f)
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			all.Go(func() {
				if got, err := readAll(t.Context(), out.Flight, 0, -1); err != nil || !bytes.Equal(got, s.body) {
					t.Errorf("from the front: %d bytes, %v", len(got), err)
				}
			})
			time.Sleep(5*time.Second + time.Second/2)
			if got, err := readAll(t.Context(), out.Flight, 2000, 2099); err == nil || len(got) > 0 {
				t.Errorf("far ahead: %d bytes, %v", len(got), err)
			}
			all.Wait()
			out.Close()
			synctest.Wait()
			if st := g.Stats(); st.Relayed != 1 || st.Relaying != 0 || st.Flights != 0 || st.Running != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestRelayWaits: a reader that stands still is left behind, one that does not
// know of relays is told.
func TestRelayWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(4, 1000), piece: 100, pace: time.Second}
		g := New(Options{Relay: 150, RelayWait: time.Minute})
		defer g.Close()
		f := s.storing(64, nil)
		f.Judge = func(h *Head) Verdict { o := newObject(h.Total, 64); o.most = 450; return Store(o, o) }
		out, err := g.Lead(t.Context(), Key{}, f)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		still := out.Flight.Reader(0, -1)
		defer still.Close()
		start := time.Now()
		if got, err := readAll(t.Context(), out.Flight, 0, -1); err != nil || !bytes.Equal(got, s.body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if d := time.Since(start); d < time.Minute || d > 2*time.Minute {
			t.Errorf("took %v", d)
		}
		if got, err := io.ReadAll(still); !errors.Is(err, ErrStore) || !bytes.Equal(got, s.body[:400]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		late := out.Flight.Reader(950, -1)
		defer late.Close()
		if _, n, err := late.Next(t.Context()); err != ErrRelay || n != 0 {
			t.Error(n, err)
		}
		if err := out.Flight.Ensure(t.Context(), 0, -1); err == nil {
			t.Error("a body that is not stored is said to be there")
		}
	})
}
