package cache_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache"
	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/site"
)

func TestPurges(t *testing.T) {
	o := newSource(t)
	o.header.Set("Surrogate-Key", "t1 t2")
	o.header.Set("Cache-Groups", `"g1"`)
	c, other := o.customer("a", "a.example"), o.customer("b", "b.example")
	c.Cache.TagHeaders = []string{"Surrogate-Key"}
	c.Purge.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	s := start(t, cache.Config{Sites: []site.Config{c, other}})
	const object = "http://a.example/dir/x?q=1"
	hit := func() string { return do(s, "GET", object).body }
	for _, p := range []cache.Purge{
		{URL: object}, {Prefix: "http://a.example/dir/"}, {Host: "a.example"}, {Host: "A.example"}, {Tag: "t2"}, {Tag: "g1", Site: "a"}, {Site: "a"}, {All: true},
	} {
		for _, p.Soft = range []bool{false, true} {
			before := hit()
			o.version.Add(1)
			if now := hit(); now != before {
				t.Fatalf("%+v: not a hit before it", p)
			}
			b := do(s, "GET", "http://b.example/dir/x?q=1").body
			if _, err := s.Purge(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if now := hit(); now != fmt.Sprint(o.version.Load()) {
				t.Errorf("%+v: got version %s, want %d", p, now, o.version.Load())
			}
			if now := do(s, "GET", "http://b.example/dir/x?q=1").body; !p.All && now != b {
				t.Errorf("%+v: another customer's object was purged", p)
			}
		}
	}
	for _, p := range []cache.Purge{{URL: "http://a.example/dir/x"}, {Prefix: "http://a.example/dir/y"}, {Tag: "t"}, {Site: "b"}, {Tag: "t1", Site: "b"}, {Host: "b.example"}} {
		before := hit()
		o.version.Add(1)
		if _, err := s.Purge(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if now := hit(); now != before {
			t.Errorf("%+v has purged %s", p, object)
		}
	}
	if _, err := s.Purge(t.Context(), cache.Purge{}); err == nil {
		t.Error("a purge of nothing is taken")
	}
	before := hit()
	o.version.Add(1)
	if got := do(s, "PURGE", "http://b.example/dir/x?q=1"); got.status != 403 {
		t.Errorf("PURGE where nobody may: %+v", got)
	}
	if got := do(s, "PURGE", object); got.status != 200 || hit() == before {
		t.Errorf("PURGE: %+v", got)
	}
}

// A purge of an alias purges what is stored under the canonical host.
func TestPurgeOfAliasHost(t *testing.T) {
	o := newSource(t)
	c := o.customer("a", "a.example", "alias.example")
	c.Key.Host = "a.example"
	s := start(t, cache.Config{Sites: []site.Config{c}})
	for _, host := range []string{"alias.example", "a.example:80"} {
		do(s, "GET", "http://alias.example/")
		o.version.Add(1)
		if _, err := s.Purge(t.Context(), cache.Purge{Host: host}); err != nil {
			t.Fatal(err)
		}
		if got := do(s, "GET", "http://a.example/").body; got != fmt.Sprint(o.version.Load()) {
			t.Errorf("%s: version %s after the purge, want %d", host, got, o.version.Load())
		}
	}
}

// A fill that began before the purge: its own client gets what it asked for,
// but neither who comes later, nor who comes while it still runs.
func TestPurgeDuringFill(t *testing.T) {
	o := newSource(t)
	s := start(t, cache.Config{Sites: []site.Config{o.customer("a", "a.example")}})
	o.gate, o.held = make(chan struct{}), make(chan struct{}, 8)
	gate := o.gate
	first := make(chan answer, 1)
	go func() { first <- do(s, "GET", "http://a.example/") }()
	<-o.held
	o.version.Add(1)
	if _, err := s.Purge(t.Context(), cache.Purge{All: true}); err != nil {
		t.Fatal(err)
	}
	during := make(chan answer, 1)
	go func() { during <- do(s, "GET", "http://a.example/") }()
	// Either it asks the origin by itself at once, or once the fill it waits
	// for turns out to be too old.
	select {
	case <-o.held:
	case <-time.After(200 * time.Millisecond):
	}
	o.mu.Lock()
	o.gate = nil
	o.mu.Unlock()
	close(gate)
	if got := <-first; got.body != "0" {
		t.Errorf("who asked before: %+v", got)
	}
	if got := <-during; got.body != "1" {
		t.Errorf("who asked after the purge, while the fill ran: %+v", got)
	}
	if got := do(s, "GET", "http://a.example/"); got.body != "1" {
		t.Errorf("who asked after the fill: %+v", got)
	}
}

// A storm of purges beside many clients: nobody who asks after a purge has
// returned gets what was older than it, and nobody asks for a part of what is on its way already.
func TestPurgeStorm(t *testing.T) {
	o := newSource(t)
	var parts atomic.Int64
	o.look = func(r *http.Request) { parts.Add(int64(len(r.Header["Range"]))) }
	s := start(t, cache.Config{Sites: []site.Config{o.customer("a", "a.example")}})
	var floor atomic.Int64 // the version that every answer has at least
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var answers, hits atomic.Int64
	for g := range 6 {
		wg.Go(func() {
			for ctx.Err() == nil {
				least := floor.Load()
				got := do(s, "GET", fmt.Sprintf("http://a.example/dir/%d", g%3))
				version, err := strconv.ParseInt(got.body, 10, 64)
				if got.status != 200 || err != nil || version < least {
					t.Errorf("got %d %q, want version %d or later: %s", got.status, got.body, least, got.header.Get("Cache-Status"))
					return
				}
				answers.Add(1)
				if strings.Contains(got.header.Get("Cache-Status"), "hit") {
					hits.Add(1)
				}
			}
		})
	}
	kinds := []cache.Purge{{All: true}, {Host: "a.example"}, {Prefix: "http://a.example/di"}, {Site: "a"}, {All: true, Soft: true}}
	for i := range 120 {
		version := o.version.Add(1)
		if _, err := s.Purge(ctx, kinds[i%len(kinds)]); err != nil {
			t.Error(err)
		}
		floor.Store(version)
		for want := answers.Load() + 10; answers.Load() < want && !t.Failed(); {
			time.Sleep(50 * time.Microsecond)
		}
	}
	cancel()
	wg.Wait()
	t.Logf("%d answers, %d hits, origin asked %d times, %d of them for parts", answers.Load(), hits.Load(), o.asked.Load(), parts.Load())
	if parts.Load() != 0 {
		t.Error("asked for parts of what was being fetched whole")
	}
	if hits.Load() == 0 {
		t.Error("nothing was ever a hit: the test shows nothing")
	}
}

// Purges hold over a restart of a cache with a disk, also where their journal is gone.
func TestPurgesOverRestart(t *testing.T) {
	o := newSource(t)
	dir, state := t.TempDir(), t.TempDir()
	c := cache.Config{Sites: []site.Config{o.customer("a", "a.example")}, StateDir: state}
	c.Store.Dir = dir
	s, stop := startStop(t, c)
	do(s, "GET", "http://a.example/kept")
	do(s, "GET", "http://a.example/gone")
	o.version.Add(1)
	if _, err := s.Purge(t.Context(), cache.Purge{URL: "http://a.example/gone"}); err != nil {
		t.Fatal(err)
	}
	stop()
	s, stop = startStop(t, c)
	if got := do(s, "GET", "http://a.example/gone").body; got != "1" {
		t.Errorf("purged before the restart: version %s", got)
	}
	if got := do(s, "GET", "http://a.example/kept").body; got != "0" {
		t.Errorf("not purged: version %s", got)
	}
	stop()
	c.StateDir = t.TempDir() // the journal is lost
	s, stop = startStop(t, c)
	defer stop()
	o.version.Add(1)
	if got := do(s, "GET", "http://a.example/gone").body; got != "2" {
		t.Errorf("without the journal: version %s, want it asked for anew", got)
	}
}

// What was purged can be seen, newest first.
func TestListOfPurges(t *testing.T) {
	o := newSource(t)
	s := start(t, cache.Config{Sites: []site.Config{o.customer("a", "a.example")}})
	for i := range 3 {
		if _, err := s.Purge(t.Context(), cache.Purge{Tag: fmt.Sprint(i), By: "me", Why: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.Purges(2)
	if err != nil || len(list) != 2 || list[0].Tag != "2" || list[0].Kind != purge.Tag || list[0].Who != "me" {
		t.Errorf("%+v, %v", list, err)
	}
}

// A body that is too long is refused however it is sent, and the origin stores none of it.
func TestBodyLimit(t *testing.T) {
	o := newSource(t)
	c := o.customer("a", "a.example")
	c.Limits.MaxBody = 10
	s := start(t, cache.Config{Sites: []site.Config{c}})
	for _, known := range []bool{true, false} {
		for body, want := range map[string]int{"0123456789": 200, "0123456789a": 413} {
			var rd io.Reader = strings.NewReader(body)
			if !known {
				rd = io.MultiReader(rd)
			}
			r := httptest.NewRequest("POST", "http://a.example/", rd)
			r.RequestURI = "/"
			if !known {
				r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
			}
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%d bytes, length known %v: %d, want %d", len(body), known, w.Code, want)
			}
		}
	}
}

// A soft purge while a validation runs: what upstream confirmed before it is
// not what it holds after it.
func TestSoftPurgeDuringValidation(t *testing.T) {
	o := newSource(t)
	s := start(t, cache.Config{Sites: []site.Config{o.customer("a", "a.example")}})
	soft := func() {
		if _, err := s.Purge(t.Context(), cache.Purge{All: true, Soft: true}); err != nil {
			t.Fatal(err)
		}
	}
	do(s, "GET", "http://a.example/")
	soft()
	o.mu.Lock()
	o.gate, o.held = make(chan struct{}), make(chan struct{}, 8)
	gate := o.gate
	o.mu.Unlock()
	first, during := make(chan answer, 1), make(chan answer, 1)
	go func() { first <- do(s, "GET", "http://a.example/") }()
	<-o.held // the origin is about to confirm version 0
	o.version.Add(1)
	soft()
	checks := s.Status().Purges.Checks
	go func() { during <- do(s, "GET", "http://a.example/") }()
	for s.Status().Purges.Checks == checks { // until it has met the second purge
		time.Sleep(time.Millisecond)
	}
	o.mu.Lock()
	o.gate = nil
	o.mu.Unlock()
	close(gate)
	if got := <-first; got.body != "0" && got.body != "1" {
		t.Errorf("who asked before: %+v", got)
	}
	if got := <-during; got.body != "1" {
		t.Errorf("who asked after the purge: %+v", got)
	}
	if got := do(s, "GET", "http://a.example/"); got.body != "1" {
		t.Errorf("later: %+v", got)
	}
}
