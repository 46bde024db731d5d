package main

import (
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

func cacheWorld(t *testing.T) (socket string, c *apitest.Cache) {
	t.Helper()
	c = apitest.CacheWorld()
	b := apitest.World()
	share := 0.921
	b.POP.Cache = &api.CacheSummary{State: api.CacheLeaving, Detail: "192.0.2.1", Connections: 812, Requests: 120000, FromStore: &share, Objects: 81000, Sites: 2}
	return serveWorld(t, api.Options{Backend: b, Cache: c}), c
}

// TestCacheCommands: what people see of the cache server.
func TestCacheCommands(t *testing.T) {
	socket, c := cacheWorld(t)
	film := "http://www.example.com/film.mp4"
	for _, c := range []commandCase{
		{"cache-status", 0, socket, []string{"cache"}},
		{"cache-show", 0, socket, []string{"cache", "show", film}},
		{"cache-show-nothing", 0, socket, []string{"cache", "show", "http://www.example.com/other"}},
		{"cache-show-json", 0, socket, []string{"cache", "show", film, "-j"}},
		{"cache-show-no-url", 1, socket, []string{"cache", "show", "/film.mp4"}},
		{"cache-trace", 0, socket, []string{"cache", "trace", film, "--header", "Range: bytes=0-99", "--method", "HEAD"}},
		{"cache-purges", 0, socket, []string{"cache", "purges"}},
		{"cache-purge-nothing", 2, socket, []string{"cache", "purge"}},
		{"cache-purge-two", 2, socket, []string{"cache", "purge", film, "--all"}},
		{"cache-purge", 0, socket, []string{"cache", "purge", film, "--soft", "--why", "ticket 4711"}},
		{"cache-purge-tag", 0, socket, []string{"cache", "purge", "--tag", "article-17", "--site", "www"}},
		{"cache-purge-json", 0, socket, []string{"cache", "purge", "--all", "-j"}},
		{"cache-help", 0, socket, []string{"cache", "--help"}},
	} {
		c.run(t)
	}
	if got := c.Asked[len(c.Asked)-1]; got.Method != "HEAD" || len(got.Headers) != 1 || got.URL != film {
		t.Errorf("asked %+v", got)
	}
	_, out, _ := catchment(t.Context(), socket, "status")
	if want := "Cache server: serves, and lets clients go; 812 connections, 120k requests, 92 % from the store; 81000 objects of 2 sites; 192.0.2.1"; !strings.Contains(out, want) {
		t.Errorf("status without %q:\n%s", want, out)
	}
	if _, out, _ := catchment(t.Context(), socket, "__complete", "cache", "purge", "--site", ""); !strings.Contains(out, "www\nshop\n") {
		t.Errorf("--site completes %q", out)
	}
}
