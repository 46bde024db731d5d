package api_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// startCache serves a POP with a cache server.
func startCache(t *testing.T, c api.Cache) *api.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "c.sock")
	srv, err := api.New(api.Options{Socket: socket, Backend: apitest.World(), Cache: c, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Run(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-srv.Ready()
	client := api.NewClient(socket)
	t.Cleanup(client.Close)
	return client
}

// TestCacheCalls: what the cache server says arrives, and what it is asked.
func TestCacheCalls(t *testing.T) {
	world := apitest.CacheWorld()
	c, ctx := startCache(t, world), t.Context()
	if s, err := c.CacheStatus(ctx); err != nil || !reflect.DeepEqual(s, world.State) {
		t.Errorf("status: %v\n got %+v\nwant %+v", err, s, world.State)
	}
	q := api.CacheQuery{URL: "http://www.example.com/film.mp4", Headers: []string{"Range: bytes=0-1", "Accept: */*"}}
	if o, err := c.CacheShow(ctx, q); err != nil || !reflect.DeepEqual(o, world.Objects[q.URL]) {
		t.Errorf("show: %+v, %v", o, err)
	}
	q.Method = "HEAD"
	if tr, err := c.CacheTrace(ctx, q); err != nil || tr.Method != "HEAD" || tr.Would != "hit" {
		t.Errorf("trace: %+v, %v", tr, err)
	}
	if got := world.Asked[len(world.Asked)-1]; !reflect.DeepEqual(got, q) {
		t.Errorf("asked %+v, want %+v", got, q)
	}
	p, err := c.CachePurge(ctx, api.CachePurge{Tag: "a b", Site: "www", Soft: true, Why: " new text "})
	if err != nil || p.Kind != "tag" || p.Why != "new text" || !strings.HasPrefix(p.By, "uid ") {
		t.Errorf("purge: %+v, %v", p, err)
	}
	if list, err := c.CachePurges(ctx, 2); err != nil || len(list) != 2 || !reflect.DeepEqual(list[0], p) {
		t.Errorf("purges: %+v, %v", list, err)
	}
}

// TestCacheRefuses: what makes no sense does not reach the cache server, and a
// purge of two things is no purge.
func TestCacheRefuses(t *testing.T) {
	world := apitest.CacheWorld()
	c, ctx := startCache(t, world), t.Context()
	before := len(world.Purged)
	for name, p := range map[string]api.CachePurge{
		"nothing":     {},
		"two":         {URL: "http://a/", All: true},
		"no URL":      {URL: "/a.css"},
		"not HTTP":    {Prefix: "ftp://a/"},
		"site alone":  {URL: "http://a/", Site: "www"},
		"host URL":    {Host: "http://a/"},
		"long":        {Tag: strings.Repeat("x", 17<<10)},
		"why of two":  {All: true, Why: "a\nb"},
		"prefix bare": {Prefix: "http://"},
	} {
		var e *api.Error
		if _, err := c.CachePurge(ctx, p); !errors.As(err, &e) || e.Code != api.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(world.Purged) != before {
		t.Errorf("purged: %+v", world.Purged)
	}
	for name, q := range map[string]api.CacheQuery{
		"no URL": {}, "path": {URL: "/x"}, "header": {URL: "http://a/", Headers: []string{"x"}}, "lines": {URL: "http://a/", Headers: []string{"a: b\r\nc: d"}},
	} {
		var e *api.Error
		if _, err := c.CacheShow(ctx, q); !errors.As(err, &e) || e.Code != api.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.CachePurges(ctx, 1<<20); err == nil {
		t.Error("any number of purges")
	}
	if len(world.Asked) != 0 {
		t.Errorf("asked: %+v", world.Asked)
	}
}

// TestNoCache: a POP without a cache server says so, to every call.
func TestNoCache(t *testing.T) {
	c, _ := start(t, apitest.World())
	ctx := t.Context()
	_, status := c.CacheStatus(ctx)
	_, purge := c.CachePurge(ctx, api.CachePurge{All: true})
	_, purges := c.CachePurges(ctx, 0)
	_, show := c.CacheShow(ctx, api.CacheQuery{URL: "http://a/"})
	_, trace := c.CacheTrace(ctx, api.CacheQuery{URL: "http://a/"})
	for name, err := range map[string]error{"status": status, "purge": purge, "purges": purges, "show": show, "trace": trace} {
		var e *api.Error
		if !errors.As(err, &e) || e.Code != api.NotFound || !strings.Contains(e.Message, "cache.listen") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
