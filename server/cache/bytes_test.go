package cache

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"sync"
	"testing"

	"github.com/catchment/catchment/server/cache/store"
)

const mib = 1 << 20

// kinds runs a test with a store in RAM and one on disk, on the fast path and without it.
func kinds(t *testing.T, f func(t *testing.T, change func(*Config))) {
	t.Run("ram", func(t *testing.T) { f(t, func(c *Config) { c.Store = store.Options{RAM: 512 << 20} }) })
	t.Run("disk", func(t *testing.T) {
		f(t, func(c *Config) { c.Store = store.Options{RAM: 8 << 20, Disk: 1 << 30, Dir: t.TempDir()} })
	})
	t.Run("general", func(t *testing.T) {
		f(t, func(c *Config) { c.Store = store.Options{RAM: 512 << 20}; c.Front.NoFast = true })
	})
}

// TestColdRange asks 1 kB of a large object that nobody asked for before: the origin is asked for its chunks only, they are
// stored, and what follows adds what is missing and no more.
func TestColdRange(t *testing.T) {
	kinds(t, func(t *testing.T, change func(*Config)) {
		r := newRig(t, change)
		body := content(20*mib, 1)
		r.origin.answer(file(body, `Etag: "v1"`, "Cache-Control: max-age=3600"))
		want := func(path, spec string, from, to int) got {
			t.Helper()
			g := r.get(path, "Range: bytes="+spec)
			if g.StatusCode != 206 || !bytes.Equal(g.body, body[from:to]) {
				t.Fatalf("%s: status %d, %d bytes (%s)", spec, g.StatusCode, len(g.body), g.Header.Get("Cache-Status"))
			}
			g.check(t, fmt.Sprintf("Content-Range: bytes %d-%d/%d", from, to-1, len(body)), fmt.Sprintf("Content-Length: %d", to-from), `Etag: "v1"`)
			return g
		}
		at := func() int64 { return r.cost() }

		want("/a", "5000000-5000999", 5000000, 5001000)
		if n := at(); n > 2*mib {
			t.Errorf("a cold range of 1 kB cost %d bytes", n)
		}
		before := at()
		if g := want("/a", "5000000-5000999", 5000000, 5001000); !g.hit() {
			t.Errorf("not a hit: %s", g.Header.Get("Cache-Status"))
		}
		want("/a", "5000500-5000509", 5000500, 5000510)
		if at() != before {
			t.Errorf("a stored range cost %d bytes more", at()-before)
		}
		want("/a", "-1000", 20*mib-1000, 20*mib)
		if n := at() - before; n > 3*mib {
			t.Errorf("the last 1000 bytes cost %d", n)
		}
		// All of it: everything comes once.
		if g := r.get("/a"); !bytes.Equal(g.body, body) {
			t.Fatalf("whole: status %d, %d bytes, %v", g.StatusCode, len(g.body), g.err)
		}
		if n := at(); n > 21*mib {
			t.Errorf("all parts together cost %d bytes of %d", n, len(body))
		}
		eventually(t, "the object is whole", func() bool { return r.get("/a", "Range: bytes=0-0", "Cache-Control: only-if-cached").StatusCode == 206 })
		before = at()
		if g := r.get("/a"); !bytes.Equal(g.body, body) || !g.hit() || at() != before {
			t.Errorf("the joined object is no hit: %s, cost %d", g.Header.Get("Cache-Status"), at()-before)
		}
	})
}

// TestHalves asks for both halves and then for the whole, and for parts in one answer.
func TestHalves(t *testing.T) {
	kinds(t, func(t *testing.T, change func(*Config)) {
		r := newRig(t, change)
		body := content(4*mib, 2)
		r.origin.answer(file(body, `Etag: "v1"`, "Cache-Control: max-age=3600", "Content-Type: video/mp4"))
		first := r.get("/a", "Range: bytes=0-2097151")
		second := r.get("/a", "Range: bytes=2097152-")
		if !bytes.Equal(append(first.body, second.body...), body) {
			t.Fatal("the halves are not the whole")
		}
		cost := r.cost()
		whole := r.get("/a")
		if !bytes.Equal(whole.body, body) {
			t.Fatalf("whole: %d bytes", len(whole.body))
		}
		if n := r.cost(); n != cost || n > 4*mib {
			t.Errorf("the halves cost %d, the whole %d more", cost, n-cost)
		}
		multi := r.get("/a", "Range: bytes=10-19, 3000000-3000999, -5")
		checkParts(t, multi, body, [][2]int{{10, 20}, {3000000, 3001000}, {4*mib - 5, 4 * mib}})
	})
}

// TestMultiRangeOfPartial asks for several ranges of which only some are stored.
func TestMultiRangeOfPartial(t *testing.T) {
	r := newRig(t, nil)
	body := content(12*mib, 3)
	r.origin.answer(file(body, `Etag: "v1"`, "Cache-Control: max-age=3600"))
	checkParts(t, r.get("/a", "Range: bytes=0-9, 11000000-11000009"), body, [][2]int{{0, 10}, {11000000, 11000010}})
	if n := r.cost(); n > 4*mib {
		t.Errorf("two ranges of 10 bytes cost %d", n)
	}
	cost := r.cost()
	checkParts(t, r.get("/a", "Range: bytes=100-109,11000020-11000029"), body, [][2]int{{100, 110}, {11000020, 11000030}})
	if r.cost() != cost {
		t.Error("stored parts were fetched again")
	}
	if g := r.get("/a", "Range: bytes=99999999-"); g.StatusCode != 416 {
		t.Errorf("status %d, not 416", g.StatusCode)
	} else {
		g.check(t, fmt.Sprintf("Content-Range: bytes */%d", len(body)))
	}
}

func checkParts(t *testing.T, g got, body []byte, want [][2]int) {
	t.Helper()
	if g.StatusCode != 206 {
		t.Fatalf("status %d, %q (%s)", g.StatusCode, g.body[:min(len(g.body), 100)], g.Header.Get("Cache-Status"))
	}
	typ, params, err := mime.ParseMediaType(g.Header.Get("Content-Type"))
	if err != nil || typ != "multipart/byteranges" {
		t.Fatalf("Content-Type %q", g.Header.Get("Content-Type"))
	}
	mr := multipart.NewReader(bytes.NewReader(g.body), params["boundary"])
	for _, w := range want {
		p, err := mr.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(p)
		if cr := p.Header.Get("Content-Range"); cr != fmt.Sprintf("bytes %d-%d/%d", w[0], w[1]-1, len(body)) || !bytes.Equal(b, body[w[0]:w[1]]) {
			t.Errorf("part %s of %d bytes, want %v", cr, len(b), w)
		}
	}
	if _, err := mr.NextPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
}

// TestIfRange: the right validator gives the part, another one the whole.
func TestIfRange(t *testing.T) {
	r := newRig(t, nil)
	body := content(3*mib, 4)
	r.origin.answer(file(body, `Etag: "v1"`, "Cache-Control: max-age=3600"))
	for i := range 2 { // cold and stored
		if g := r.get("/a", "Range: bytes=5-9", `If-Range: "v1"`); g.StatusCode != 206 || !bytes.Equal(g.body, body[5:10]) {
			t.Errorf("round %d: same version: %d, %d bytes", i, g.StatusCode, len(g.body))
		}
		if g := r.get("/a", "Range: bytes=5-9", `If-Range: "v0"`); g.StatusCode != 200 || !bytes.Equal(g.body, body) {
			t.Errorf("round %d: other version: %d, %d bytes", i, g.StatusCode, len(g.body))
		}
		if g := r.get("/a", "Range: bytes=5-9", `If-Range: W/"v1"`); g.StatusCode != 200 {
			t.Errorf("round %d: weak: %d", i, g.StatusCode)
		}
	}
}

// TestNoValidator: parts of what has no strong validator are never joined; the object is fetched whole.
func TestNoValidator(t *testing.T) {
	r := newRig(t, nil)
	body := content(3*mib, 5)
	r.origin.answer(file(body, "Cache-Control: max-age=3600"))
	for i := range 3 {
		if g := r.get("/a", "Range: bytes=2000000-2000009"); g.StatusCode != 206 || !bytes.Equal(g.body, body[2000000:2000010]) {
			t.Errorf("request %d: %d, %d bytes", i, g.StatusCode, len(g.body))
		}
	}
	eventually(t, "whole", func() bool { return r.get("/a", "Range: bytes=0-4").hit() })
	r.origin.asked()
	if g := r.get("/a", "Range: bytes=5-9"); !g.hit() || len(r.origin.asked()) != 0 {
		t.Error("not stored as a whole")
	}
}

// TestCrowd sends thirty clients to one cold object: one fetch, and all read along while it comes.
func TestCrowd(t *testing.T) {
	kinds(t, func(t *testing.T, change func(*Config)) {
		r := newRig(t, change)
		body := content(4*mib, 6)
		var entered sync.WaitGroup
		entered.Add(1)
		halfway, rest := make(chan struct{}), make(chan struct{})
		r.origin.answer(func(w http.ResponseWriter, q *http.Request) {
			entered.Wait()
			setFields(w.Header(), []string{`Etag: "v1"`, "Cache-Control: max-age=3600", fmt.Sprintf("Content-Length: %d", len(body))})
			w.Write(body[:2*mib])
			http.NewResponseController(w).Flush()
			close(halfway)
			<-rest
			w.Write(body[2*mib:])
		})
		const clients = 30
		var first, all sync.WaitGroup
		first.Add(clients)
		for range clients {
			all.Go(func() {
				resp, err := r.client.Get(r.url + "/a")
				if err != nil {
					t.Error(err)
					first.Done()
					return
				}
				defer resp.Body.Close()
				b := make([]byte, len(body))
				_, err = io.ReadFull(resp.Body, b[:mib])
				first.Done() // a quarter is here while the origin holds back the half
				if err == nil {
					_, err = io.ReadFull(resp.Body, b[mib:])
				}
				if err != nil || !bytes.Equal(b, body) {
					t.Errorf("body differs, %v", err)
				}
			})
		}
		eventually(t, "all wait", func() bool { return r.s.fills.Stats().Waiting == clients })
		entered.Done()
		<-halfway
		first.Wait()
		close(rest)
		all.Wait()
		if n := len(r.origin.asked()); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

// TestUncacheableCrowd: ten clients for an answer that may not be stored are let go as soon as that is known, and later
// ones do not wait for one another.
func TestUncacheableCrowd(t *testing.T) {
	r := newRig(t, nil)
	const clients = 10
	start, gate := make(chan struct{}, 100), make(chan struct{})
	var once sync.Once
	r.origin.answer(func(w http.ResponseWriter, q *http.Request) {
		once.Do(func() {
			eventually(t, "nine wait for the first", func() bool { return r.s.fills.Stats().Waiting == clients })
		})
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		start <- struct{}{}
		<-gate // no body ends before all have begun
		io.WriteString(w, "x")
	})
	round := func() {
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				if g := r.get("/a"); string(g.body) != "x" {
					t.Errorf("body %q", g.body)
				}
			})
		}
		for range clients {
			<-start
		}
		close(gate)
		all.Wait()
	}
	round()
	gate = make(chan struct{})
	round() // known by now: nobody leads
	if n := len(r.origin.asked()); n != 2*clients {
		t.Errorf("%d fetches for %d requests", n, 2*clients)
	}
}

// TestLeaderLeaves: the client that began a fill goes; the fill goes on for the others.
func TestLeaderLeaves(t *testing.T) {
	r := newRig(t, nil)
	body := content(2*mib, 7)
	rest := make(chan struct{})
	r.origin.answer(func(w http.ResponseWriter, q *http.Request) {
		setFields(w.Header(), []string{`Etag: "v1"`, "Cache-Control: max-age=3600", fmt.Sprintf("Content-Length: %d", len(body))})
		w.Write(body[:mib])
		http.NewResponseController(w).Flush()
		<-rest
		w.Write(body[mib:])
	})
	leader, err := r.client.Get(r.url + "/a")
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(leader.Body, make([]byte, 1000))
	follower, err := r.client.Get(r.url + "/a")
	if err != nil {
		t.Fatal(err)
	}
	leader.Body.Close() // breaks the connection
	close(rest)
	b, err := io.ReadAll(follower.Body)
	follower.Body.Close()
	if err != nil || !bytes.Equal(b, body) {
		t.Errorf("the follower got %d bytes, %v", len(b), err)
	}
	if n := len(r.origin.asked()); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// TestContentTag: with etag: content the tag comes from the content, is the same in every cache, and the origin's goes on to
// be good in conditions.
func TestContentTag(t *testing.T) {
	var tags []string
	for i, etag := range []string{`Etag: "node-1"`, `Etag: "node-2"`} {
		r := newRig(t, func(c *Config) { c.Sites[0].Cache.ETag = "content" })
		r.origin.answer(file([]byte("the same everywhere"), etag, "Cache-Control: max-age=3600"))
		r.get("/a")
		eventually(t, "whole", func() bool { return r.get("/a").hit() })
		g := r.get("/a")
		tags = append(tags, g.Header.Get("Etag"))
		for _, tag := range []string{tags[i], etag[6:]} {
			if g := r.get("/a", "If-None-Match: "+tag); g.StatusCode != 304 {
				t.Errorf("If-None-Match: %s gives %d", tag, g.StatusCode)
			}
			if g := r.get("/a", "Range: bytes=0-2", "If-Range: "+tag); g.StatusCode != 206 {
				t.Errorf("If-Range: %s gives %d", tag, g.StatusCode)
			}
		}
	}
	if tags[0] != tags[1] || tags[0] == "" {
		t.Errorf("tags %q", tags)
	}
}

// TestLargerThanStore: a body of unknown length that the store stops taking goes on to its clients, who began with what it took.
func TestLargerThanStore(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Store = store.Options{RAM: 16 * mib} })
	body := content(12*mib, 9)
	r.origin.answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		for at := 0; at < len(body); at += mib {
			w.Write(body[at : at+mib])
			http.NewResponseController(w).Flush()
		}
	})
	for range 2 {
		g := r.get("/a")
		if g.StatusCode != 200 || g.err != nil || !bytes.Equal(g.body, body) {
			t.Fatalf("status %d, %d of %d bytes, %v", g.StatusCode, len(g.body), len(body), g.err)
		}
	}
	if n := r.s.fills.Stats().Relayed; n == 0 {
		t.Error("nothing was passed on past the store: the test shows nothing")
	}
}
