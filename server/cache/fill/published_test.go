package fill

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestPublishedUnderWay: who finds an object as soon as it can be found reads
// along and asks the upstream for nothing, whatever it holds by then.
func TestPublishedUnderWay(t *testing.T) {
	for name, etag := range map[string]string{"no validator": "", "validator": `"a"`} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{body: bytesOf(1, 1000), etag: etag, piece: 100, pace: time.Second}
				g := New(Options{})
				defer g.Close()
				f := s.storing(256, nil)
				judge := f.Judge
				read := make(chan error, 1)
				f.Judge = func(h *Head) Verdict {
					v := judge(h)
					if n := len(g.flights); n != 0 {
						t.Errorf("%d flights before the verdict", n)
					}
					v.Publish = func() error {
						src := s.source()
						src.Validator = ValidatorOf(h.Header)
						hit := g.Flight(v.object, src)
						go func() {
							defer hit.Release()
							got, err := readAll(t.Context(), hit, 0, -1)
							if err == nil && !bytes.Equal(got, s.body) {
								err = errors.New("other bytes")
							}
							read <- err
						}()
						synctest.Wait() // it has looked
						return nil
					}
					return v
				}
				out, err := g.Lead(t.Context(), Key{1}, f)
				if err != nil || out.Kind != Stored {
					t.Fatal(out, err)
				}
				got, err := readAll(t.Context(), out.Flight, 0, -1)
				if err != nil || !bytes.Equal(got, s.body) {
					t.Errorf("leader: %d bytes, %v", len(got), err)
				}
				if err := <-read; err != nil {
					t.Errorf("who found it: %v", err)
				}
				out.Close()
				if got := s.requests(); !slices.Equal(got, []string{""}) {
					t.Errorf("asked %q", got)
				}
			})
		})
	}
}

// TestNotPublished: the leader gets the response of what cannot be published, the
// others are let go, and nothing is left of the flight.
func TestNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(1, 1000), etag: `"a"`, delay: time.Second}
		g := New(Options{})
		defer g.Close()
		f := s.storing(256, nil)
		judge := f.Judge
		var obj *object
		f.Judge = func(h *Head) Verdict {
			v := judge(h)
			obj = v.value.(*object)
			v.Publish = func() error { return errors.New("full") }
			return v
		}
		kinds := make(chan Kind, 2)
		for range 2 {
			go func() {
				out, err := g.Lead(t.Context(), Key{1}, f)
				if err != nil || out.Reason != "full" {
					t.Errorf("%+v, %v", out, err)
				}
				if out.Kind == Passed {
					if got, err := io.ReadAll(out.Response.Body); err != nil || !bytes.Equal(got, s.body) {
						t.Errorf("%d bytes, %v", len(got), err)
					}
				}
				out.Close()
				kinds <- out.Kind
			}()
		}
		if a, b := <-kinds, <-kinds; min(a, b) != Passed || max(a, b) != Released {
			t.Errorf("%v and %v", a, b)
		}
		synctest.Wait()
		if st := g.Stats(); st.Flights != 0 || st.Running != 0 || obj.references() != 0 {
			t.Errorf("%+v, %d references", st, obj.references())
		}
	})
}
