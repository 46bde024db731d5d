package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// world is an origin whose objects change under way. Version v of object i has the tag "i-v" and bytes that follow from it.
type world struct {
	versions [6]atomic.Int64
	rude     atomic.Bool // breaks one answer in ten
	n        atomic.Uint64
}

// bodies are the contents of versions made so far.
var bodies sync.Map

// bodyOf is the content of a version. Sizes differ by object, and a little by version.
func bodyOf(object, version int64) []byte {
	key := [2]int64{object, version}
	if b, ok := bodies.Load(key); ok {
		return b.([]byte)
	}
	size := []int{0, 700, 70_000, mib, 2*mib + 17, 3 * mib}[object]
	if size > 0 {
		size += int(version % 3)
	}
	b := content(size, uint64(object*1000+version))
	bodies.Store(key, b)
	return b
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	i, err := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/"), 10, 64)
	if err != nil || i < 0 || int(i) >= len(w.versions) {
		http.NotFound(rw, r)
		return
	}
	v := w.versions[i].Load()
	body := bodyOf(i, v)
	n := w.n.Add(1)
	cc := []string{"max-age=3600", "max-age=0", "max-age=60, stale-while-revalidate=60", "no-cache"}[n%4]
	fields := []string{fmt.Sprintf(`Etag: "%d-%d"`, i, v), "Cache-Control: " + cc}
	if n%5 == 0 {
		fields = append(fields, "Age: 61")
	}
	if w.rude.Load() && n%10 == 0 && len(body) > 1000 {
		short(body, len(body)/2, fields...)(rw, r)
		return
	}
	if n%7 == 0 && r.Header.Get("Range") != "" {
		r.Header.Del("Range") // an origin need not do ranges
	}
	file(body, fields...)(rw, r)
}

// TestRandom lets clients ask for parts and wholes while versions change, purges come and the origin breaks off: every
// body is, byte for byte, what its tag and its Content-Range say.
func TestRandom(t *testing.T) {
	for _, dir := range []bool{false, true} {
		t.Run(fmt.Sprintf("disk_%v", dir), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *Config) {
				c.Store = store.Options{RAM: 24 << 20}
				if dir {
					c.Store.Dir, c.Store.Disk, c.Store.RAM = t.TempDir(), 64<<20, 4<<20
				}
				c.Sites[0].Cache = site.Caching{StaleIfError: time.Hour}
			})
			w := &world{}
			w.rude.Store(true)
			r.origin.answer(w.serve)
			var good atomic.Int64
			var all sync.WaitGroup
			for c := range 6 {
				all.Go(func() {
					rnd := rand.New(rand.NewPCG(uint64(c), 99))
					for range 60 {
						r.one(t, w, rnd, &good)
					}
				})
			}
			all.Wait()
			if good.Load() < 150 {
				t.Errorf("only %d of 360 answers were whole", good.Load())
			}
			if n := r.s.Status().Panics; n > 0 {
				t.Errorf("%d panics", n)
			}
		})
	}
}

// one does one random thing, and checks it.
func (r *rig) one(t *testing.T, w *world, rnd *rand.Rand, good *atomic.Int64) {
	i := rnd.Int64N(int64(len(w.versions)))
	path := fmt.Sprintf("/%d", i)
	switch rnd.IntN(20) {
	case 0:
		w.versions[i].Add(1)
		return
	case 1:
		soft := "Catchment-Purge: hard"
		if rnd.IntN(2) == 0 {
			soft = "Catchment-Purge: soft"
		}
		r.do("PURGE", path, nil, soft)
		return
	}
	var fields []string
	size := int64(len(bodyOf(i, 0)))
	switch rnd.IntN(4) {
	case 0:
		a := rnd.Int64N(size + 2)
		fields = []string{fmt.Sprintf("Range: bytes=%d-%d", a, a+rnd.Int64N(size+2))}
	case 1:
		fields = []string{fmt.Sprintf("Range: bytes=-%d", 1+rnd.Int64N(size+2))}
	case 2:
		fields = []string{fmt.Sprintf("Range: bytes=%d-", rnd.Int64N(size+2)), fmt.Sprintf(`If-Range: "%d-%d"`, i, w.versions[i].Load())}
	}
	req, _ := http.NewRequest(http.MethodGet, r.url+path, nil)
	setFields(req.Header, fields)
	resp, err := r.client.Do(req)
	if err != nil {
		return // broken before the head was whole
	}
	defer resp.Body.Close()
	if rnd.IntN(10) == 0 {
		io.CopyN(io.Discard, resp.Body, rnd.Int64N(size+1)) // and goes
		return
	}
	b, err := io.ReadAll(resp.Body)
	if verify(t, i, resp, b, err) {
		good.Add(1)
	}
}

// verify compares an answer with the version its tag names. A body that ends early counts as broken, not as wrong, as long
// as what came of it is right.
func verify(t *testing.T, i int64, resp *http.Response, b []byte, err error) bool {
	if resp.StatusCode >= 500 {
		return false
	}
	var object, version int64
	if n, _ := fmt.Sscanf(resp.Header.Get("Etag"), `"%d-%d"`, &object, &version); n != 2 || object != i {
		t.Errorf("object %d: status %d has the tag %q", i, resp.StatusCode, resp.Header.Get("Etag"))
		return false
	}
	want := bodyOf(i, version)
	total := len(want)
	switch resp.StatusCode {
	case http.StatusPartialContent:
		var from, to, size int
		if n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); n != 3 || size != total || to >= total || from > to {
			t.Errorf("Content-Range %q of %d bytes", resp.Header.Get("Content-Range"), total)
			return false
		}
		want = want[from : to+1]
	case http.StatusRequestedRangeNotSatisfiable:
		if cr := resp.Header.Get("Content-Range"); cr != fmt.Sprintf("bytes */%d", total) {
			t.Errorf("416 with %q, not %d", cr, total)
		}
		return true
	case http.StatusOK:
	default:
		t.Errorf("status %d", resp.StatusCode)
		return false
	}
	if err != nil {
		if !bytes.HasPrefix(want, b) || !errors.Is(err, io.ErrUnexpectedEOF) && !strings.Contains(err.Error(), "reset") {
			t.Errorf("broken answer of %d bytes is wrong before its end: %v", len(b), err)
		}
		return false
	}
	if !bytes.Equal(b, want) {
		t.Errorf("object %d version %d status %d %s: %d bytes, want %d, differ at %d (%s)", i, version, resp.StatusCode,
			resp.Header.Get("Content-Range"), len(b), len(want), firstDiff(b, want), resp.Header.Get("Cache-Status"))
	}
	return true
}

func firstDiff(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
