package get

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// origin serves one object badly.
type origin struct {
	*httptest.Server
	mu      sync.Mutex
	content []byte
	tag     string
	extra   http.Header
	plain   bool // no Content-Length, no ranges
	// fault says what becomes of request n (0 the first): after how many bytes
	// it is cut or falls silent; below 0 it is answered with status -n.
	fault func(n int) (after int, silent bool)
	asked []string // Range of each request
}

func serve(t *testing.T, content []byte, fault func(n int) (int, bool)) *origin {
	o := &origin{content: content, tag: `"v1"`, fault: fault, extra: http.Header{}}
	o.Server = httptest.NewServer(o)
	t.Cleanup(func() { o.CloseClientConnections(); o.Close() })
	return o
}

const never = 1 << 62

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	n, content, tag := len(o.asked), o.content, o.tag
	o.asked = append(o.asked, r.Header.Get("Range"))
	after, silent := never, false
	if o.fault != nil {
		after, silent = o.fault(n)
	}
	for k, v := range o.extra {
		w.Header()[k] = v
	}
	plain := o.plain
	o.mu.Unlock()
	if after < 0 {
		w.WriteHeader(-after)
		return
	}
	w.Header().Set("Cache-Status", fmt.Sprintf("Origin; fwd=miss, POP%d; hit", n))
	f := &faulty{w, r, after, silent}
	if plain {
		w.WriteHeader(200)
		f.Write(content)
		return
	}
	w.Header().Set("ETag", tag)
	http.ServeContent(f, r, "x.bin", time.Time{}, bytes.NewReader(content))
}

func (o *origin) set(content []byte, tag string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.content, o.tag = content, tag
}

type faulty struct {
	http.ResponseWriter
	r      *http.Request
	left   int
	silent bool
}

func (f *faulty) Write(b []byte) (int, error) {
	n := min(len(b), f.left)
	f.left -= n
	if n, err := f.ResponseWriter.Write(b[:n]); err != nil {
		return n, err
	}
	if n < len(b) {
		http.NewResponseController(f.ResponseWriter).Flush()
		if f.silent {
			<-f.r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

func some(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	r.Read(b)
	return b
}

// events collects those of a transport.
type events struct {
	mu   sync.Mutex
	list []Event
}

func (e *events) add(v Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, v)
}

func (e *events) kinds() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, v := range e.list {
		out = append(out, string(v.Kind))
	}
	return strings.Join(out, " ")
}

func fetch(t *testing.T, o Options, url string) ([]byte, error) {
	t.Helper()
	c := http.Client{Transport: New(o)}
	resp, err := c.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// first makes a fault of the first request only.
func first(after int, silent bool) func(int) (int, bool) {
	return func(n int) (int, bool) {
		if n == 0 {
			return after, silent
		}
		return never, false
	}
}

// TestGoesOn: what can happen to a download, what its reader notices, and what
// is told of it.
func TestGoesOn(t *testing.T) {
	content := some(300_000, 1)
	for _, c := range []struct {
		name   string
		fault  func(int) (int, bool)
		events string
		ranges []string
	}{
		{"nothing", nil, "started", []string{""}},
		{"it is cut", first(100_000, false), "started broken resumed", []string{"", "bytes=100000-"}},
		{"it falls silent", first(100_000, true), "started stalled resumed", []string{"", "bytes=100000-"}},
		{"it is cut before the first byte", first(0, false), "started broken resumed", []string{"", "bytes=0-"}},
		{"it is cut three times", func(n int) (int, bool) {
			return []int{100_000, 50_000, 50_000, never}[n], false
		}, "started broken resumed broken resumed broken resumed", []string{"", "bytes=100000-", "bytes=150000-", "bytes=200000-"}},
		{"the other POP is busy for a while", func(n int) (int, bool) {
			return []int{100_000, -503, -502, never}[n], false
		}, "started broken failed failed resumed", []string{"", "bytes=100000-", "bytes=100000-", "bytes=100000-"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := serve(t, content, c.fault)
			var e events
			got, err := fetch(t, Options{Stall: 50 * time.Millisecond, OnEvent: e.add}, o.URL)
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%d bytes, equal %v, %v", len(got), bytes.Equal(got, content), err)
			}
			if k := strings.ReplaceAll(e.kinds(), " stalled awake", ""); k != c.events {
				t.Errorf("told of %s, want %s", e.kinds(), c.events)
			}
			if !slices.Equal(o.asked, c.ranges) && !strings.Contains(e.kinds(), "awake") {
				t.Errorf("asked for %q, want %q", o.asked, c.ranges)
			}
			for _, v := range e.list {
				if v.Kind == Resumed && (v.POP == "" || v.POP == "POP0" || v.Addr == "" || v.Gap <= 0) {
					t.Errorf("%+v", v)
				}
			}
		})
	}
}

// TestRedial: an attempt that gets no connection, as while a route is on its
// way, is begun anew, also where the silent connection stays silent, and at once
// where that ends.
func TestRedial(t *testing.T) {
	content := some(300_000, 7)
	for _, silent := range []bool{true, false} {
		o := serve(t, content, first(100_000, true))
		var dials atomic.Int32
		again := http.DefaultTransport.(*http.Transport).Clone()
		again.DisableKeepAlives = true
		lost := make(chan struct{})
		again.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials.Add(1) > 1 {
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}
			close(lost) // a SYN that nobody gets
			<-ctx.Done()
			return nil, ctx.Err()
		}
		stall := 20 * time.Millisecond
		if !silent {
			stall = 200 * time.Millisecond
			go func() {
				<-lost
				o.CloseClientConnections()
			}()
		}
		got, err := fetch(t, Options{Again: again, Stall: stall}, o.URL)
		if err != nil || !bytes.Equal(got, content) || dials.Load() < 2 {
			t.Errorf("silent %v: %d bytes, %v, %d dials", silent, len(got), err, dials.Load())
		}
	}
}

// TestRange: a range that was asked for is resumed within itself.
func TestRange(t *testing.T) {
	content := some(300_000, 1)
	o := serve(t, content, first(1000, false))
	req, _ := http.NewRequest(http.MethodGet, o.URL, nil)
	req.Header.Set("Range", "bytes=1000-199999")
	resp, err := (&http.Client{Transport: New(Options{})}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, content[1000:200_000]) || resp.StatusCode != 206 {
		t.Errorf("%d bytes, %v, %s", len(got), err, resp.Status)
	}
	if want := []string{"bytes=1000-199999", "bytes=2000-199999"}; !slices.Equal(o.asked, want) {
		t.Errorf("asked for %q, want %q", o.asked, want)
	}
}

// TestNotResumed: what cannot be resumed safely is left as it was, with its
// error.
func TestNotResumed(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*origin)
	}{
		{"a weak tag", func(o *origin) { o.tag = `W/"v1"` }},
		{"no validator", func(o *origin) { o.plain = true }},
		{"ranges are refused", func(o *origin) { o.extra.Set("Accept-Ranges", "none") }},
	} {
		o := serve(t, some(300_000, 1), first(1000, false))
		c.edit(o)
		if c.name == "ranges are refused" {
			o.plain, o.extra["Etag"] = true, []string{`"v1"`}
		}
		if got, err := fetch(t, Options{}, o.URL); !errors.Is(err, io.ErrUnexpectedEOF) || len(o.asked) != 1 {
			t.Errorf("%s: %d bytes, %v, %d requests", c.name, len(got), err, len(o.asked))
		}
	}
}

// TestNeverMixed: when there is another version a body ends, with what was
// right of the first.
func TestNeverMixed(t *testing.T) {
	old := some(300_000, 1)
	for name, next := range map[string]func(*origin){
		"another tag":  func(o *origin) { o.set(some(300_000, 2), `"v2"`) },
		"gone":         func(o *origin) { o.fault = func(int) (int, bool) { return -404, false } },
		"another size": func(o *origin) { o.set(some(200_000, 2), `"v1"`) },
		"much shorter": func(o *origin) { o.set(some(50_000, 2), `"v1"`) },
	} {
		o := serve(t, old, first(100_000, false))
		var once sync.Once
		got, err := fetch(t, Options{OnEvent: func(e Event) {
			if e.Kind == Broken {
				once.Do(func() { next(o) })
			}
		}}, o.URL)
		if !errors.Is(err, ErrChanged) || !bytes.Equal(got, old[:100_000]) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

// TestSlowIsNotDead: a server that pauses is not left if it speaks before the
// other connection does.
func TestSlowIsNotDead(t *testing.T) {
	var requests atomic.Int32
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		if requests.Add(1) > 1 { // the rival never answers
			close(release)
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Length", "2")
		w.Write([]byte("a"))
		w.(http.Flusher).Flush()
		<-release
		w.Write([]byte("b"))
	}))
	defer s.Close()
	var e events
	got, err := fetch(t, Options{Stall: 10 * time.Millisecond, OnEvent: e.add}, s.URL)
	if err != nil || string(got) != "ab" || e.kinds() != "started stalled awake" {
		t.Errorf("%q, %v, %s", got, err, e.kinds())
	}
}

// TestGivesUp: without a byte for too long there is an error, which says what
// was tried; and a context ends it at once.
func TestGivesUp(t *testing.T) {
	o := serve(t, some(300_000, 1), func(n int) (int, bool) {
		if n == 0 {
			return 1000, false
		}
		return -503, false
	})
	got, err := fetch(t, Options{Patience: 200 * time.Millisecond}, o.URL)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "503") || len(got) != 1000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, serve(t, some(300_000, 1), first(1000, true)).URL, nil)
	resp, err := New(Options{Stall: time.Hour}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(resp.Body, make([]byte, 1000))
	cancel()
	if _, err := resp.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
		t.Error("a closed body is read")
	}
}

// TestUnknownLength: without a length the end is where the server ends, also
// when all of it had come before the connection broke.
func TestUnknownLength(t *testing.T) {
	content := some(100_000, 3)
	var n atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		if n.Add(1) > 1 {
			http.ServeContent(w, r, "x.bin", time.Time{}, bytes.NewReader(content))
			return
		}
		w.Write(content)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	got, err := fetch(t, Options{}, s.URL)
	if err != nil || !bytes.Equal(got, content) || n.Load() != 2 {
		t.Errorf("%d bytes, %v, %d requests", len(got), err, n.Load())
	}
}

// TestEndsByClosing: where the end of an answer is that of its connection, it is
// asked for more, since one that broke looks the same.
func TestEndsByClosing(t *testing.T) {
	content := some(100_000, 3)
	for _, c := range []struct {
		name     string
		first    int // bytes of the first answer
		ranges   bool
		requests int
	}{{"whole", 100_000, true, 2}, {"broken", 60_000, true, 2}, {"whole, and no ranges", 100_000, false, 2}} {
		var n atomic.Int32
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) > 1 && c.ranges {
				w.Header().Set("ETag", `"v1"`)
				http.ServeContent(w, r, "x.bin", time.Time{}, bytes.NewReader(content))
				return
			}
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(buf, "HTTP/1.0 200 OK\r\nETag: \"v1\"\r\n\r\n%s", content[:c.first])
			buf.Flush()
		}))
		got, err := fetch(t, Options{}, s.URL)
		s.Close()
		if err != nil || !bytes.Equal(got, content) || int(n.Load()) != c.requests {
			t.Errorf("%s: %d bytes, %v, %d requests", c.name, len(got), err, n.Load())
		}
	}
}

// TestRandomFaults: whatever happens, a body is a prefix of the version that
// it began with, and all of it where there is no error.
func TestRandomFaults(t *testing.T) {
	versions := [][]byte{some(200_000, 4), some(200_000, 5), some(150_000, 6)}
	var wg sync.WaitGroup
	for seed := range 40 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(seed), 7))
			var mu sync.Mutex
			o := serve(t, versions[0], func(int) (int, bool) {
				mu.Lock()
				defer mu.Unlock()
				switch r.IntN(6) {
				case 0:
					return -503, false
				case 1:
					return never, false
				}
				return r.IntN(120_000), r.IntN(4) == 0
			})
			change := seed%4 == 0
			got, err := fetch(t, Options{Stall: 20 * time.Millisecond, OnEvent: func(e Event) {
				mu.Lock()
				defer mu.Unlock()
				if change && e.Kind == Broken && r.IntN(3) == 0 {
					n := r.IntN(3)
					go o.set(versions[n], fmt.Sprintf(`"v%d"`, n+1))
				}
			}}, o.URL)
			if err != nil && len(got) == 0 {
				return // refused from the start
			}
			if strings.HasPrefix(string(versions[0]), string(got)) && (err == nil) == (len(got) == len(versions[0])) && (err == nil || change && errors.Is(err, ErrChanged)) {
				return
			}
			if err == nil && len(got) == 0 && o.asked[0] == "" {
				return // answered with 503 at once: that is the caller's
			}
			t.Errorf("seed %d: %d bytes, %v", seed, len(got), err)
		})
	}
	wg.Wait()
}

// TestFile: what a file has in the end, and what stays for the next time.
func TestFile(t *testing.T) {
	content := some(3_000_000, 8)
	sum := sha256.Sum256(content)
	repr := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	path := filepath.Join(t.TempDir(), "x")
	o := serve(t, content, first(1_000_000, false))
	o.extra.Set("Repr-Digest", repr)
	tr := New(Options{Patience: 300 * time.Millisecond})
	var last, size int64
	job := Job{URL: o.URL, Path: path, OnProgress: func(done, of int64) { last, size = done, of }}
	res, err := tr.File(t.Context(), job)
	if err != nil || res.Bytes != 3_000_000 || res.Resyncs != 1 || res.Checked != "Repr-Digest sha-256" || !slices.Equal(res.POPs, []string{"POP0", "POP1"}) || last != 3_000_000 || size != last {
		t.Errorf("%+v, %v, progress %d of %d", res, err, last, size)
	}
	same(t, path, content)

	// All is lost after a while; the next call goes on.
	o.fault = func(n int) (int, bool) { return map[bool]int{true: 1_200_000, false: -503}[n == 2], false }
	if _, err := tr.File(t.Context(), job); err == nil {
		t.Fatal("no error")
	}
	if b, _ := os.ReadFile(path + ".part"); !bytes.Equal(b, content[:1_200_000]) {
		t.Errorf("%d bytes stay", len(b))
	}
	o.fault = nil
	o.asked = nil
	if res, err = tr.File(t.Context(), job); err != nil || res.Kept != 1_200_000 || !slices.Equal(o.asked, []string{"bytes=1200000-"}) {
		t.Errorf("%+v, %v, asked for %q", res, err, o.asked)
	}
	same(t, path, content)

	// Begun, and then it is another one.
	os.WriteFile(path+".part", content[:500_000], 0o600)
	os.WriteFile(path+".part.json", fmt.Appendf(nil, `{"url":%q,"validator":"\"v1\"","size":3000000}`, o.URL), 0o600)
	other := some(2_000_000, 9)
	o.set(other, `"v2"`)
	o.extra.Del("Repr-Digest")
	if res, err = tr.File(t.Context(), job); err != nil || res.Kept != 0 || res.Bytes != 2_000_000 {
		t.Errorf("%+v, %v", res, err)
	}
	same(t, path, other)

	for name, d := range map[string]func(*Job){
		"the server's digest is another": func(*Job) { o.extra.Set("Repr-Digest", repr) },
		"ours is another":                func(j *Job) { j.SHA256 = sum[:] },
	} {
		j := job
		d(&j)
		if _, err := tr.File(t.Context(), j); !errors.Is(err, ErrDigest) {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(path + ".part"); len(b) > 0 {
			t.Errorf("%s: %d bytes of it stay", name, len(b))
		}
		same(t, path, other)
	}
}

// TestFileNothing: a download of which nothing came leaves nothing behind, and
// two of the same file at once are not possible.
func TestFileNothing(t *testing.T) {
	content := some(1_000_000, 11)
	path := filepath.Join(t.TempDir(), "x")
	o := serve(t, content, func(int) (int, bool) { return -404, false })
	tr := New(Options{})
	if _, err := tr.File(t.Context(), Job{URL: o.URL, Path: path}); err == nil || err.Error() != "the server says 404 Not Found" {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
		t.Errorf("it leaves %q", left)
	}

	o.fault = nil
	var second error
	once := sync.OnceFunc(func() { _, second = tr.File(t.Context(), Job{URL: o.URL, Path: path}) })
	if _, err := tr.File(t.Context(), Job{URL: o.URL, Path: path, OnProgress: func(int64, int64) { once() }}); err != nil || !errors.Is(second, ErrBusy) {
		t.Errorf("%v; the second: %v", err, second)
	}
	same(t, path, content)
}

// TestParallel: parts over several connections, which are cut too.
func TestParallel(t *testing.T) {
	content := some(3_000_001, 10)
	path := filepath.Join(t.TempDir(), "x")
	o := serve(t, content, func(n int) (int, bool) {
		if n == 2 || n == 3 {
			return 100_000, n == 3
		}
		return never, false
	})
	job := Job{URL: o.URL, Path: path, Parallel: 4}
	tr := New(Options{Stall: 50 * time.Millisecond, Patience: 500 * time.Millisecond})
	res, err := tr.File(t.Context(), job)
	if err != nil || res.Bytes != 3_000_001 || res.Resyncs < 2 {
		t.Errorf("%+v, %v", res, err)
	}
	same(t, path, content)

	// One part is never to be had: what is whole from the beginning stays.
	o.fault = func(int) (int, bool) { return never, false }
	o.mu.Lock()
	o.asked = nil
	o.mu.Unlock()
	block := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Range"), "bytes=1536433-") {
			w.WriteHeader(503)
			return
		}
		o.ServeHTTP(w, r)
	})
	s := httptest.NewServer(block)
	defer s.Close()
	job.URL = s.URL
	if _, err := tr.File(t.Context(), job); err == nil {
		t.Fatal("no error")
	}
	b, _ := os.ReadFile(path + ".part")
	if len(b) > 1_536_433 || !bytes.HasPrefix(content, b) {
		t.Errorf("%d bytes stay, of the object %v", len(b), bytes.HasPrefix(content, b))
	}
	same(t, path, content)
}

// TestParallelKilled: a process that is ended without a word while parts come
// leaves a file with a hole. The next call takes nothing behind it for there,
// though the file is as long as the object and no digest says otherwise.
func TestParallelKilled(t *testing.T) {
	content := some(12_000_001, 10)
	o := serve(t, content, nil)
	var open atomic.Bool
	const held = 3_786_433 // where the second of four parts begins, after the head
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Header.Get("Range"), fmt.Sprintf("bytes=%d-", held)) && !open.Load() {
			<-r.Context().Done()
			return
		}
		o.ServeHTTP(w, r)
	}))
	defer s.Close()
	dir := t.TempDir()
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	left := int64(2*held - headLen - held) // as long as each of the parts
	job := Job{URL: s.URL, Path: filepath.Join(dir, "x"), Parallel: 4, OnProgress: func(done, size int64) {
		if done < size-left {
			return
		}
		for _, name := range []string{".part", ".part.json"} { // as they are when nobody can tidy up
			b, err := os.ReadFile(filepath.Join(dir, "x"+name))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "killed"+name), b, 0o600)
			}
			if err != nil {
				t.Error(err)
			}
		}
		kill()
	}}
	if _, err := New(Options{}).File(ctx, job); err == nil {
		t.Fatal("it was whole without a part")
	}
	if st, err := os.Stat(filepath.Join(dir, "killed.part")); err != nil || st.Size() != int64(len(content)) {
		t.Fatalf("no hole: %v, %v", st, err)
	}
	open.Store(true)
	for _, parallel := range []int{4, 1} {
		job := Job{URL: s.URL, Path: filepath.Join(dir, fmt.Sprint("again", parallel)), Parallel: parallel}
		for _, name := range []string{".part", ".part.json"} {
			b, err := os.ReadFile(filepath.Join(dir, "killed"+name))
			if err == nil {
				err = os.WriteFile(job.Path+name, b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if res, err := New(Options{}).File(t.Context(), job); err != nil || res.Bytes != int64(len(content)) {
			t.Errorf("over %d connections: %+v, %v", parallel, res, err)
		}
		same(t, job.Path, content)
	}
}

// TestParallelSure: what is without a hole is not fetched again after such an
// end.
func TestParallelSure(t *testing.T) {
	d := &download{job: Job{Path: filepath.Join(t.TempDir(), "x")}, state: begun{Validator: `"v1"`, Size: 40 << 20}}
	f, err := openPart(d.job.Path + ".part")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d.file = f
	if err := f.Truncate(40 << 20); err != nil {
		t.Fatal(err)
	}
	if err := d.sure(true, 0); err != nil {
		t.Fatal(err)
	}
	p := &progress{d: d, ends: map[int64]int64{0: 0, 20 << 20: 20 << 20}}
	p.tell(20<<20, 40<<20)
	p.tell(0, 9<<20)
	if have := (&download{job: d.job, file: f}).recall(); have != 9<<20 {
		t.Errorf("%d bytes are taken for there", have)
	}
	p.tell(0, 20<<20)
	if have := (&download{job: d.job, file: f}).recall(); have != 40<<20 {
		t.Errorf("%d bytes are taken for there", have)
	}
}

// TestParallelHTTP2: parts come over as many connections as were wished, also
// from a server with which one would do for all requests.
func TestParallelHTTP2(t *testing.T) {
	content := some(4_000_001, 10)
	var conns atomic.Int64
	var second atomic.Int64 // requests by HTTP/2
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		second.Add(int64(r.ProtoMajor - 1))
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "x.bin", time.Time{}, bytes.NewReader(content))
	}))
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	defer s.Close()
	path := filepath.Join(t.TempDir(), "x")
	res, err := New(Options{Base: s.Client().Transport}).File(t.Context(), Job{URL: s.URL, Path: path, Parallel: 3})
	if err != nil || conns.Load() != 3 || second.Load() == 0 {
		t.Errorf("%+v, %v, over %d connections, %d requests by HTTP/2", res, err, conns.Load(), second.Load())
	}
	same(t, path, content)
}

func same(t *testing.T, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file has %d bytes, %v, want %d", len(got), err, len(want))
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-9/10", "bytes */10", "bytes 5-9/*", "Bytes 1-1/2", "bytes 9-0/10", "bytes -1-5/9", "bytes 0-9/5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := parseContentRange(s)
		switch {
		case !ok:
		case c.first >= 0 && (c.last < c.first || c.size >= 0 && c.last >= c.size):
			t.Errorf("%q is taken for %+v", s, c)
		case c.first < 0 && (c.first != -1 || c.last != -1 || c.size < 0):
			t.Errorf("%q is taken for %+v", s, c)
		}
	})
}

// FuzzAnswer: whatever the head of an answer says, a body goes on with it only at
// the byte that was asked for, of the same version, and not beyond its end.
func FuzzAnswer(f *testing.F) {
	f.Add(206, "bytes 10-19/20", `"a"`, "", "", "", "LON; hit", int64(10), int64(20), int64(20), true)
	f.Add(200, "", `W/"a"`, "Mon, 02 Jan 2006 15:04:05 GMT", "Mon, 02 Jan 2006 16:04:05 GMT", "", "a, \"b\";x", int64(0), int64(-1), int64(-1), false)
	f.Add(416, "bytes */20", "", "", "", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:, sha-512=:x:", "(a b)", int64(20), int64(-1), int64(-1), false)
	f.Fuzz(func(t *testing.T, status int, span, tag, modified, date, digest, caches string, offset, end, size int64, ranged bool) {
		h := http.Header{"Content-Range": {span}, "Etag": {tag}, "Last-Modified": {modified}, "Date": {date}, "Repr-Digest": {digest}, "Cache-Status": {caches}}
		resp := &http.Response{StatusCode: status, Header: h, ContentLength: size}
		POP(h)
		if d := digestOf(h.Values("Repr-Digest")); len(d.value) != map[string]int{"": 0, "sha-256": 32, "sha-512": 64}[d.name] {
			t.Errorf("%q is taken for %+v", digest, d)
		}
		if w, ok := resumable(&http.Request{Method: http.MethodGet}, resp); ok && (w.validator == "" || w.start < 0 || w.end >= 0 && w.end < w.start || strings.HasPrefix(w.validator, "W/")) {
			t.Errorf("%+v is taken for %+v", h, w)
		}
		if offset < 0 || end >= 0 && end <= offset || size >= 0 && end > size {
			return // nobody asks that
		}
		w := window{validator: `"a"`, end: end, size: size, ranged: ranged}
		complete, err := w.goesOn(resp, offset)
		c, ok := parseContentRange(span)
		switch {
		case err != nil:
		case complete && (status != 416 || end >= 0 || c.size != offset):
			t.Errorf("%d with %q is taken for the end at %d", status, span, offset)
		case !complete && (status != 206 || !ok || c.first != offset || end >= 0 && c.last >= end || validator(h) != "" && validator(h) != w.validator):
			t.Errorf("%d with %q is taken for what is missing from %d on", status, span, offset)
		}
	})
}
