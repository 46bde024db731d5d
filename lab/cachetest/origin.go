package cachetest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// origin answers what a check has laid down for a path, and remembers what it
// was asked. It knows single ranges, conditions and nothing else, so that it
// is easy to see that it is right.
type origin struct {
	mu    sync.Mutex
	at    map[string]*resource
	asked map[string][]ask
}

// ask is one request that reached the origin.
type ask struct {
	method, rang, etag, since string
	sent                      int64 // bytes of the body
	at                        time.Time
}

// resource is what a path has; a check may change it between requests under
// origin.change.
type resource struct {
	body     []byte
	etag     string
	modified time.Time
	header   http.Header
	status   int           // 0: 200
	wait     time.Duration // until the head
	during   time.Duration // over which the body is spread
	noRange  bool          // answers 200 to ranges
	chunked  bool          // no Content-Length
	cut      int           // bytes after which the connection is broken; 0: never
	broken   bool          // the connection is closed without an answer
	answer   http.HandlerFunc
}

func newOrigin() *origin {
	return &origin{at: map[string]*resource{}, asked: map[string][]ask{}}
}

func (o *origin) put(path string, r resource) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at[path] = &r
}

func (o *origin) change(path string, f func(*resource)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := *o.at[path]
	f(&next)
	o.at[path] = &next
}

// asks returns what was asked of a path so far.
func (o *origin) asks(path string) []ask {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked[path])
}

// sent is the bytes of bodies sent for a path.
func (o *origin) sent(path string) (n int64) {
	for _, a := range o.asks(path) {
		n += a.sent
	}
	return n
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.URL.RequestURI()
	o.mu.Lock()
	res := o.at[key]
	if res == nil {
		res = o.at[r.URL.Path]
	}
	n := len(o.asked[key])
	o.asked[key] = append(o.asked[key], ask{r.Method, r.Header.Get("Range"), r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since"), 0, time.Now()})
	o.mu.Unlock()
	if res == nil {
		http.NotFound(w, r)
		return
	}
	count := func(b int) {
		o.mu.Lock()
		o.asked[key][n].sent += int64(b)
		o.mu.Unlock()
	}
	res.serve(w, r, count)
}

func (res *resource) serve(w http.ResponseWriter, r *http.Request, count func(int)) {
	select {
	case <-time.After(res.wait):
	case <-r.Context().Done():
		return
	}
	if res.broken {
		panic(http.ErrAbortHandler)
	}
	if res.answer != nil {
		res.answer(w, r)
		return
	}
	h := w.Header()
	for k, v := range res.header {
		h[k] = v
	}
	if res.etag != "" {
		h.Set("ETag", res.etag)
	}
	if !res.modified.IsZero() {
		h.Set("Last-Modified", res.modified.UTC().Format(http.TimeFormat))
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	if !res.noRange {
		h.Set("Accept-Ranges", "bytes")
	}
	if res.status != 0 && res.status != 200 {
		w.WriteHeader(res.status)
		n, _ := w.Write(res.body)
		count(n)
		return
	}
	if res.unchanged(r) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := res.body
	if first, last, ok := res.span(r); ok {
		if first >= len(body) {
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", len(body)))
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(body)))
		body = body[first : last+1]
		h.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(http.StatusPartialContent)
	} else if !res.chunked {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	if r.Method != http.MethodHead {
		res.write(w, r, body, count)
	}
}

// write sends the body in pieces, spread over the time it shall take.
func (res *resource) write(w http.ResponseWriter, r *http.Request, body []byte, count func(int)) {
	const piece = 32 << 10
	rc := http.NewResponseController(w)
	pieces := max(1, (len(body)+piece-1)/piece)
	began := time.Now()
	if res.during > 0 {
		_ = rc.Flush()
	}
	for i := range pieces {
		if res.during > 0 {
			select {
			case <-time.After(time.Until(began.Add(res.during * time.Duration(i+1) / time.Duration(pieces)))):
			case <-r.Context().Done():
				return
			}
		}
		part := body[i*piece : min(len(body), (i+1)*piece)]
		if res.cut > 0 && i*piece+len(part) >= res.cut {
			n, _ := w.Write(part[:max(0, res.cut-i*piece)])
			count(n)
			_ = rc.Flush()
			panic(http.ErrAbortHandler)
		}
		n, err := w.Write(part)
		count(n)
		if err != nil {
			return
		}
		if res.during > 0 || res.chunked {
			_ = rc.Flush()
		}
	}
}

func (res *resource) unchanged(r *http.Request) bool {
	if v := r.Header.Get("If-None-Match"); v != "" {
		return res.etag != "" && strings.Contains(v, strings.TrimPrefix(res.etag, "W/"))
	}
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	return err == nil && !res.modified.IsZero() && !res.modified.Truncate(time.Second).After(since)
}

// span is a single range, as far as If-Range allows.
func (res *resource) span(r *http.Request) (first, last int, ok bool) {
	v, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	if !ok || res.noRange || r.Method != http.MethodGet || strings.Contains(v, ",") {
		return 0, 0, false
	}
	if c := r.Header.Get("If-Range"); c != "" && c != res.etag && c != res.modified.UTC().Format(http.TimeFormat) {
		return 0, 0, false
	}
	a, b, _ := strings.Cut(v, "-")
	last = len(res.body) - 1
	if a == "" {
		n, err := strconv.Atoi(b)
		return max(0, len(res.body)-n), last, err == nil && n > 0
	}
	first, err := strconv.Atoi(a)
	if err != nil {
		return 0, 0, false
	}
	if b != "" {
		n, err := strconv.Atoi(b)
		if err != nil || n < first {
			return 0, 0, false
		}
		last = min(last, n)
	}
	return first, last, true
}

// content is n bytes that cannot be taken for those of another seed.
func content(seed string, n int) []byte {
	out := make([]byte, n+8)
	src := rand.NewChaCha8(sha256.Sum256([]byte(seed)))
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(out[i:], src.Uint64())
	}
	return out[:n]
}
