package fill

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/store"
)

// real is a fill with everything real: sockets, transport and store.
type real struct {
	t     *testing.T
	g     *Group
	store *store.Store
	src   Source
}

func newReal(t *testing.T, h http.Handler) *real {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	up, err := origin.New(origin.Config{Name: "u", Origins: []origin.Server{{URL: srv.URL}}, Health: origin.Health{Failures: -1}}, origin.Env{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(store.Options{RAM: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { up.Run(ctx) })
	g := New(Options{Backoff: time.Millisecond})
	t.Cleanup(func() { g.Close(); cancel(); wg.Wait() })
	return &real{t, g, st, Source{Upstream: up, Name: "u", Request: &origin.Request{
		Method: "GET", URL: &url.URL{Path: "/x"}, Host: "www.example.com", Header: http.Header{},
	}}}
}

func (r *real) fetch(span *Span) Fetch {
	return Fetch{Source: r.src, Range: span, Found: func() bool { return r.lookup() != nil }, Judge: func(h *Head) Verdict {
		if h.Status >= 300 {
			return Pass("status", nil)
		}
		o, err := r.store.Create(store.Key{1}, store.New{Size: h.Total})
		if err != nil {
			r.t.Error(err)
			return Pass("store", nil)
		}
		return Store(FromStore(o), nil)
	}}
}

// lookup is a flight of what is stored, nil if nothing is.
func (r *real) lookup() *store.Object {
	for _, o := range r.store.Lookup(store.Key{1}, nil) {
		r.t.Cleanup(o.Release)
		return o
	}
	return nil
}

// follow is what a cache does for a whole object.
func (r *real) follow() *Flight {
	for {
		if o := r.lookup(); o != nil {
			return r.g.Flight(FromStore(o), r.src)
		}
		out, err := r.g.Lead(r.t.Context(), Key{1}, r.fetch(nil))
		switch {
		case err != nil || out.Kind != Stored && out.Kind != Found:
			r.t.Errorf("%+v, %v", out, err)
			runtime.Goexit()
		case out.Kind == Stored:
			return out.Flight
		}
	}
}

// serveParts serves body by ranges, and breaks each connection after most bytes.
func serveParts(body []byte, most int, requests *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Etag", `"v"`)
		http.ServeContent(&breaking{w, most}, r, "", time.Time{}, bytes.NewReader(body))
	}
}

type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		b.ResponseWriter.Write(p[:b.left])
		b.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	b.left -= len(p)
	return b.ResponseWriter.Write(p)
}

func TestRealFollowers(t *testing.T) {
	body := bytesOf(1, 4<<20)
	gate := make(chan struct{})
	var requests atomic.Int32
	r := newReal(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body[:100_000])
		w.(http.Flusher).Flush()
		<-gate // until everybody has the first bytes
		w.Write(body[100_000:])
	}))
	var wg, first sync.WaitGroup
	first.Add(30)
	go func() { first.Wait(); close(gate) }()
	for range 30 {
		wg.Go(func() {
			got := make([]byte, len(body))
			f := r.follow()
			defer f.Release()
			rd := f.Reader(0, -1)
			defer rd.Close()
			if _, err := io.ReadFull(rd, got[:50_000]); err != nil {
				t.Error(err)
			}
			first.Done()
			if _, err := io.ReadFull(rd, got[50_000:]); err != nil || !bytes.Equal(got, body) {
				t.Errorf("read: %v", err)
			}
			if n, err := rd.Read(got); n != 0 || err != io.EOF {
				t.Errorf("at the end: %d, %v", n, err)
			}
		})
	}
	wg.Wait()
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
	r.wantWhole(body)
}

// wantWhole waits until the store has the body, whole.
func (r *real) wantWhole(body []byte) {
	r.t.Helper()
	objs := r.store.Lookup(store.Key{1}, nil)
	if len(objs) != 1 {
		r.t.Fatalf("%d objects", len(objs))
	}
	o := objs[0]
	defer o.Release()
	for !o.Whole() {
		ch := o.Changed()
		if o.Whole() {
			break
		}
		select {
		case <-ch:
		case <-time.After(10 * time.Second):
			r.t.Fatal("not whole")
		}
	}
	got := make([]byte, len(body))
	if n, err := o.ReadAt(got, 0); n != len(body) || !bytes.Equal(got, body) {
		r.t.Errorf("stored %d bytes, %v", n, err)
	}
}

func TestRealResume(t *testing.T) {
	body := bytesOf(2, 5<<20+333)
	var requests atomic.Int32
	r := newReal(t, serveParts(body, 1_500_000, &requests))
	out, err := r.g.Lead(t.Context(), Key{1}, r.fetch(nil))
	if err != nil || out.Kind != Stored {
		t.Fatalf("%+v, %v", out, err)
	}
	defer out.Close()
	got, err := readAll(t.Context(), out.Flight, 0, -1)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if n := requests.Load(); n != 4 {
		t.Errorf("%d requests", n)
	}
	r.wantWhole(body)
}

func TestRealRange(t *testing.T) {
	body := bytesOf(3, 5<<20+333)
	var requests atomic.Int32
	var sent atomic.Int64
	parts := serveParts(body, len(body), &requests)
	r := newReal(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		parts(&counting{w, &sent}, req)
	}))
	read := func(f *Flight, first, last int64) {
		t.Helper()
		got, err := readAll(t.Context(), f, first, last)
		end := int64(len(body))
		if last >= 0 {
			end = last + 1
		}
		if err != nil || !bytes.Equal(got, body[first:end]) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	}
	out, err := r.g.Lead(t.Context(), Key{1}, r.fetch(&Span{3_000_000, 3_000_999}))
	if err != nil || out.Kind != Stored {
		t.Fatalf("%+v, %v", out, err)
	}
	read(out.Flight, 3_000_000, 3_000_999)
	if err := out.Flight.Ensure(t.Context(), 2<<20, 3<<20-1); err != nil { // its chunk
		t.Error(err)
	}
	out.Close()
	if n := sent.Load(); n != 1<<20 {
		t.Errorf("cold 1 kB: %d bytes from the origin", n)
	}
	objs := r.store.Lookup(store.Key{1}, nil)
	src := r.src
	src.Validator = Validator{ETag: `"v"`}
	f := r.g.Flight(FromStore(objs[0]), src)
	objs[0].Release()
	read(f, 0, 2_000_000)
	read(f, 2_500_000, -1)
	read(f, 0, -1)
	f.Release()
	if n := sent.Load(); n != int64(len(body)) {
		t.Errorf("%d bytes from the origin", n)
	}
	r.wantWhole(body)
}

type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// TestRealSlowReader: one who reads nothing holds up neither the fill nor others.
func TestRealSlowReader(t *testing.T) {
	body := []byte(strings.Repeat("0123456789abcdef", 1<<18))
	var requests atomic.Int32
	r := newReal(t, serveParts(body, len(body), &requests))
	out, err := r.g.Lead(t.Context(), Key{1}, r.fetch(nil))
	if err != nil || out.Kind != Stored {
		t.Fatalf("%+v, %v", out, err)
	}
	defer out.Close()
	slow := out.Flight.Reader(0, -1)
	defer slow.Close()
	if _, err := slow.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if got, err := readAll(t.Context(), out.Flight, 0, -1); err != nil || !bytes.Equal(got, body) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	r.wantWhole(body)
	if rest, err := io.ReadAll(slow); err != nil || !bytes.Equal(rest, body[1:]) {
		t.Errorf("read %d bytes, %v", len(rest), err)
	}
}
