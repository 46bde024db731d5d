package cache_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/catchment/catchment/server/cache"
	"github.com/catchment/catchment/server/cache/site"
)

// hooked runs a server whose site has these hooks.
func hooked(t *testing.T, o *source, hooks ...site.Hook) *cache.Server {
	t.Helper()
	chain, err := site.NewChain(hooks...)
	if err != nil {
		t.Fatal(err)
	}
	c := cache.Config{Sites: []site.Config{o.customer("a", "a.example"), o.customer("b", "b.example")}}
	c.Store.RAM = 16 << 20
	s, err := cache.New(cache.Options{Config: c, Hooks: map[string]*site.Chain{"a": chain}})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, s)
	return s
}

func at(stage site.Stage, f func(v *site.View) error) site.Hook {
	return site.Hook{Name: "test", Stage: stage, Handler: site.HandlerFunc(func(_ context.Context, v *site.View) error { return f(v) })}
}

func TestHookStages(t *testing.T) {
	o := newSource(t)
	var stages []string
	note := func(stage site.Stage) site.Hook {
		return at(stage, func(v *site.View) error {
			stages = append(stages, stage.String())
			if v.Site.Name != "a" || v.Host != "a.example" || v.Header == nil || v.URL.Path != "/x" || v.Method != "GET" {
				t.Errorf("%s: %+v", stage, v)
			}
			if stage >= site.FillResponse && v.Status != 200 || stage == site.Miss && v.Reason != "uri-miss" {
				t.Errorf("%s: status %d, reason %q", stage, v.Status, v.Reason)
			}
			return nil
		})
	}
	s := hooked(t, o, note(site.ClientRequest), note(site.Miss), note(site.FillRequest), note(site.FillResponse), note(site.ClientResponse))
	do(s, "GET", "http://b.example/x")
	if len(stages) != 0 {
		t.Errorf("another site's request met %v", stages)
	}
	for _, want := range []string{"client-request miss fill-request fill-response client-response", "client-request client-response"} {
		stages = nil
		if got := do(s, "GET", "http://a.example/x"); got.status != 200 || got.body != "0" {
			t.Errorf("%+v", got)
		}
		if got := strings.Join(stages, " "); got != want {
			t.Errorf("met %s, want %s", got, want)
		}
	}
}

func TestHookChanges(t *testing.T) {
	o := newSource(t)
	var sent http.Header
	o.look = func(r *http.Request) { sent = r.Header.Clone() }
	s := hooked(t, o,
		at(site.ClientRequest, func(v *site.View) error {
			v.URL.Path = strings.Replace(v.URL.Path, "/old/", "/new/", 1)
			v.Header.Set("X-Client", "1")
			v.Notes["seen"] = "yes"
			return nil
		}),
		at(site.FillRequest, func(v *site.View) error {
			v.Header.Set("X-Fill", "1")
			v.Header.Set("Range", "bytes=0-0")
			return nil
		}),
		at(site.FillResponse, func(v *site.View) error {
			v.Header.Set("Cache-Control", "max-age=60")
			v.Header.Set("Content-Length", "99")
			v.Header.Set("X-Stored", "1")
			return nil
		}),
		at(site.ClientResponse, func(v *site.View) error {
			v.Header.Set("X-Note", v.Notes["seen"])
			v.Header.Set("Content-Length", "99")
			v.Header.Del("Etag")
			if v.Status == 200 {
				v.Status = 203
			}
			return nil
		}))
	for i := range 2 {
		got := do(s, "GET", "http://a.example/old/x")
		if got.status != 203 || got.body != "0" || got.header.Get("X-Note") != "yes" || got.header.Get("Content-Length") != "1" ||
			got.header.Get("X-Stored") != "1" || got.header.Get("Cache-Control") != "max-age=60" || got.header.Get("Etag") != "" {
			t.Errorf("%d: %+v", i, got)
		}
	}
	if o.asked.Load() != 1 || o.last() != "a.example/new/x" || sent.Get("X-Client") != "1" || sent.Get("X-Fill") != "1" || sent.Get("Range") != "" {
		t.Errorf("asked %d times, last for %s with %v", o.asked.Load(), o.last(), sent)
	}
	// What the last hook does is not stored, and a part stays a part.
	if got := do(s, "GET", "http://a.example/new/x", "Range", "bytes=0-0"); got.status != 206 || got.header.Get("Content-Range") != "bytes 0-0/1" || got.body != "0" {
		t.Errorf("range: %+v", got)
	}
	if got := do(s, "GET", "http://a.example/new/x", "If-None-Match", `"0"`); got.status != 304 || got.body != "" {
		t.Errorf("304: %+v", got)
	}
}

func TestHookAnswers(t *testing.T) {
	for stage, asked := range map[site.Stage]int64{
		site.ClientRequest: 0, site.Miss: 0, site.FillRequest: 0, site.FillResponse: 2, site.ClientResponse: 1,
	} {
		o := newSource(t)
		s := hooked(t, o, at(stage, func(v *site.View) error {
			v.Answer(site.Reply{Status: 403, Header: http.Header{"X-Mine": {"1"}, "Content-Length": {"1"}}, Body: []byte("hello")})
			return nil
		}))
		for i := range 2 {
			got := do(s, "GET", "http://a.example/x")
			if got.status != 403 || got.body != "hello" || got.header.Get("X-Mine") != "1" || got.header.Get("Cache-Control") != "no-store" || got.header.Get("Content-Length") != "5" {
				t.Errorf("%s, %d: %+v", stage, i, got)
			}
		}
		if got := do(s, "HEAD", "http://a.example/x"); got.status != 403 || got.body != "" {
			t.Errorf("%s, HEAD: %+v", stage, got)
		}
		if n := o.asked.Load(); n < asked || n > asked+1 { // HEAD may ask once more
			t.Errorf("%s: the origin was asked %d times", stage, n)
		}
	}
}

func TestHookFails(t *testing.T) {
	for stage, want := range map[site.Stage]int{
		site.ClientRequest: 500, site.Miss: 500, site.FillRequest: 502, site.FillResponse: 502, site.ClientResponse: 500,
	} {
		for _, open := range []bool{false, true} {
			h := at(stage, func(v *site.View) error {
				v.Header.Set("X-Spoiled", "1")
				return errors.New("boom")
			})
			want := want
			if open {
				h.OnError, want = site.FailOpen, 200
			}
			got := do(hooked(t, newSource(t), h), "GET", "http://a.example/x")
			if got.status != want || got.header.Get("X-Spoiled") != "" {
				t.Errorf("%s, open %v: %+v", stage, open, got)
			}
		}
	}
}

// The body of a POST reaches the origin past hooks.
func TestHookPost(t *testing.T) {
	o := newSource(t)
	var body string
	o.look = func(r *http.Request) { b, _ := io.ReadAll(r.Body); body = string(b) }
	s := hooked(t, o, at(site.ClientRequest, func(v *site.View) error { v.Header.Set("X", "1"); return nil }),
		at(site.FillRequest, func(v *site.View) error { return nil }))
	if got := doBody(s, "POST", "http://a.example/x", "hello"); got.status != 200 || body != "hello" {
		t.Errorf("%+v, the origin got %q", got, body)
	}
}

// A response that came into the store between the lookup and the fetch is served: the origin is not asked again.
func TestLandedMeanwhile(t *testing.T) {
	o := newSource(t)
	var s *cache.Server
	var asked, inner atomic.Int32
	o.look = func(*http.Request) { asked.Add(1) }
	s = hooked(t, o, at(site.Miss, func(*site.View) error {
		if inner.Add(1) == 1 { // between: another request fetches the same
			if got := do(s, "GET", "http://a.example/x"); got.status != 200 || got.body != "0" {
				t.Errorf("inner: %+v", got)
			}
		}
		return nil
	}))
	got := do(s, "GET", "http://a.example/x")
	if cs := got.header.Get("Cache-Status"); got.status != 200 || got.body != "0" || !strings.Contains(cs, "hit") || strings.Contains(cs, "fwd") {
		t.Errorf("%+v", got)
	}
	if asked.Load() != 1 {
		t.Errorf("the origin was asked %d times", asked.Load())
	}
}
