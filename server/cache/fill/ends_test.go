package fill

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/server/cache/origin"
)

func sha(b []byte) string {
	h := sha256.Sum256(b)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(h[:]) + ":"
}

// ending is what becomes of a body that breaks, lies or changes.
type ending struct {
	name  string
	s     *server
	err   error       // of the reader
	kind  origin.Kind // if err is an *origin.Error
	asked []string    // behind the first
	read  int         // bytes a reader gets; -1: all
}

func endings(body []byte) []ending {
	return []ending{
		{name: "whole", s: &server{etag: `"a"`}, read: -1},
		{name: "no validator", s: &server{}, read: -1},
		{name: "unknown length", s: &server{noLength: true}, read: -1},
		{name: "breaks, goes on", s: &server{etag: `"a"`, breaks: []int64{330}}, asked: []string{"bytes=330-999"}, read: -1},
		{name: "breaks thrice", s: &server{etag: `"a"`, breaks: []int64{330, 330, 330}}, asked: []string{"bytes=330-999", "bytes=660-999", "bytes=990-999"}, read: -1},
		{name: "breaks, unknown length", s: &server{etag: `"a"`, noLength: true, breaks: []int64{330}}, asked: []string{"bytes=330-"}, read: -1},
		{name: "breaks for good", s: &server{etag: `"a"`, breaks: []int64{330, 0, 0, 0, 0, 0, 0, 0}}, kind: origin.KindTruncated, asked: []string{"bytes=330-999", "bytes=330-999", "bytes=330-999"}, read: 330},
		{name: "breaks, weak", s: &server{etag: `W/"a"`, breaks: []int64{330}}, kind: origin.KindTruncated, read: 330},
		{name: "breaks, no ranges", s: &server{etag: `"a"`, noRanges: true, breaks: []int64{330}}, asked: []string{"bytes=330-999"}, read: -1},
		{name: "breaks, says none", s: &server{etag: `"a"`, header: http.Header{"Accept-Ranges": {"none"}}, breaks: []int64{330}}, kind: origin.KindTruncated, read: 330},
		{name: "breaks, then 500", s: &server{etag: `"a"`, breaks: []int64{330}, lie: func(h http.Header, status *int) {
			if *status == 206 {
				*status = 500
			}
		}}, err: &StatusError{}, asked: []string{"bytes=330-999", "bytes=330-999", "bytes=330-999"}, read: 330},
		{name: "right digest", s: &server{header: http.Header{"Repr-Digest": {sha(body)}}}, read: -1},
		{name: "wrong digest", s: &server{header: http.Header{"Repr-Digest": {sha(body[1:])}}}, err: ErrDigest, read: 900},
		{name: "wrong digest, unknown length", s: &server{noLength: true, header: http.Header{"Content-Digest": {sha(body[1:])}}}, err: ErrDigest, read: 1000},
		{name: "wrong MD5, which is not looked at", s: &server{header: http.Header{"Content-Md5": {"1B2M2Y8AsgTpgAmY7PhCfg=="}}}, read: -1},
		{name: "digest not readable", s: &server{header: http.Header{"Repr-Digest": {"sha-256=x"}, "Content-Md5": {"?"}}}, read: -1},
		{name: "total lies", s: &server{etag: `"a"`, breaks: []int64{330}, lie: func(h http.Header, status *int) {
			if *status == 206 {
				h.Set("Content-Range", "bytes 330-999/1001")
			}
		}}, err: ErrChanged, asked: []string{"bytes=330-999"}, read: 330},
		{name: "range lies", s: &server{etag: `"a"`, breaks: []int64{330}, lie: func(h http.Header, status *int) {
			if *status == 206 {
				h.Set("Content-Range", "bytes 340-1009/*")
			}
		}}, err: ErrPart, asked: []string{"bytes=330-999", "bytes=330-999", "bytes=330-999"}, read: 330},
		{name: "another ETag", s: &server{etag: `"a"`, breaks: []int64{330}, lie: func(h http.Header, status *int) {
			if *status == 206 {
				h.Set("Etag", `"b"`)
			}
		}}, err: ErrChanged, asked: []string{"bytes=330-999"}, read: 330},
	}
}

func TestEnds(t *testing.T) {
	body := bytesOf(3, 1000)
	for _, test := range endings(body) {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := test.s
				s.body, s.piece, s.pace = body, 100, time.Second
				g := New(Options{})
				defer g.Close()
				out, err := g.Lead(t.Context(), Key{}, s.storing(128, nil))
				if err != nil || out.Kind != Stored {
					t.Fatalf("%+v, %v", out, err)
				}
				defer out.Close()
				o := out.Value.(*object)
				for range 2 { // the second one comes when all is over
					got, err := readAll(t.Context(), out.Flight, 0, -1)
					if test.read < 0 && (err != nil || !bytes.Equal(got, body)) || test.read >= 0 && (err == nil || !bytes.Equal(got, body[:test.read])) {
						t.Fatalf("read %d bytes, %v", len(got), err)
					}
					var e *origin.Error
					var status *StatusError
					switch {
					case test.err != nil && errors.As(test.err, &status):
						if !errors.As(err, &status) || status.Status != 500 {
							t.Errorf("error %v", err)
						}
					case test.err != nil && !errors.Is(err, test.err), test.err == nil && test.read >= 0 && (!errors.As(err, &e) || e.Kind != test.kind):
						t.Errorf("error %v", err)
					}
					synctest.Wait()
					asked := s.requests()[1:]
					if test.read >= 0 && len(asked) > len(test.asked) { // the second reader asked again
						asked = asked[:len(test.asked)]
					}
					if !slices.Equal(asked, test.asked) {
						t.Errorf("asked %q", asked)
					}
					if o.Whole() != (test.read < 0) {
						t.Errorf("whole %v", o.Whole())
					}
				}
			})
		})
	}
}

func TestVersionChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{body: bytesOf(4, 1000), etag: `"a"`}
		g := New(Options{})
		defer g.Close()
		o, f := s.partial(g, 100)
		defer f.Release()
		if err := f.Ensure(t.Context(), 0, 99); err != nil {
			t.Fatal(err)
		}
		s.body, s.etag = bytesOf(5, 1000), `"b"`
		if got, err := readAll(t.Context(), f, 50, 150); !errors.Is(err, ErrChanged) || !bytes.Equal(got, bytesOf(4, 1000)[50:100]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if !errors.Is(o.Err(), ErrChanged) || g.Stats().Changed != 1 {
			t.Errorf("object %v, %+v", o.Err(), g.Stats())
		}
	})
}

func TestNoValidator(t *testing.T) {
	g := New(Options{})
	defer g.Close()
	s := &server{body: bytesOf(4, 1000)}
	_, f := s.partial(g, 100)
	defer f.Release()
	if _, err := readAll(t.Context(), f, 0, -1); !errors.Is(err, ErrNoValidator) {
		t.Error(err)
	}
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// TestWithoutDigests: what is not wanted is not computed; what the origin gives is
// checked all the same.
func TestWithoutDigests(t *testing.T) {
	for _, test := range []struct {
		opt       Options
		sum, tree bool
	}{{Options{}, true, true}, {Options{NoTree: true}, true, false}, {Options{NoDigest: true}, false, false}} {
		synctest.Test(t, func(t *testing.T) {
			s := &server{body: bytesOf(3, 1000)}
			g := New(test.opt)
			defer g.Close()
			told := false
			read := func() error {
				f := s.storing(128, nil)
				f.Source.Whole = func(_ Object, sum Sum) {
					told = true
					if (sum.SHA256 == sha256.Sum256(s.body)) != test.sum || (sum.Root == treeOf(s.body)) != test.tree || sum.Size != 1000 {
						t.Errorf("%+v: sum %+v", test.opt, sum)
					}
				}
				out, err := g.Lead(t.Context(), Key{}, f)
				if err != nil {
					t.Fatal(err)
				}
				defer out.Close()
				_, err = readAll(t.Context(), out.Flight, 0, -1)
				synctest.Wait()
				if sum := out.Flight.Sum(); err == nil && (sum != nil) != test.sum {
					t.Errorf("%+v: sum %+v", test.opt, sum)
				}
				return err
			}
			if err := read(); err != nil || !told {
				t.Error(err, told)
			}
			s.header = http.Header{"Repr-Digest": {sha(s.body)}}
			if err := read(); err != nil {
				t.Error(err)
			}
			s.header = http.Header{"Repr-Digest": {sha(nil)}}
			if err := read(); !errors.Is(err, ErrDigest) {
				t.Error(err)
			}
		})
	}
}
