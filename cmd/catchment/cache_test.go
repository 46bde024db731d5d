package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

func cacheWorld(t *testing.T) (socket string, c *apitest.Cache) {
	t.Helper()
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, c = filepath.Join(dir, "s"), apitest.CacheWorld()
	b := apitest.World()
	share := 0.921
	b.POP.Cache = &api.CacheSummary{State: api.CacheLeaving, Detail: "192.0.2.1", Connections: 812, Requests: 120000, FromStore: &share, Objects: 81000, Sites: 2}
	serveAPI(t, api.Options{Socket: socket, Backend: b, Cache: c, Logger: slog.New(slog.DiscardHandler)})
	return socket, c
}

// TestCacheCommands: what people see of the cache server.
func TestCacheCommands(t *testing.T) {
	socket, c := cacheWorld(t)
	film := "http://www.example.com/film.mp4"
	for _, tc := range []struct {
		name   string
		status int
		args   []string
	}{
		{"cache-status", 0, []string{"cache"}},
		{"cache-show", 0, []string{"cache", "show", film}},
		{"cache-show-nothing", 0, []string{"cache", "show", "http://www.example.com/other"}},
		{"cache-show-json", 0, []string{"cache", "show", film, "-j"}},
		{"cache-show-no-url", 1, []string{"cache", "show", "/film.mp4"}},
		{"cache-trace", 0, []string{"cache", "trace", film, "--header", "Range: bytes=0-99", "--method", "HEAD"}},
		{"cache-purges", 0, []string{"cache", "purges"}},
		{"cache-purge-nothing", 2, []string{"cache", "purge"}},
		{"cache-purge-two", 2, []string{"cache", "purge", film, "--all"}},
		{"cache-purge", 0, []string{"cache", "purge", film, "--soft", "--why", "ticket 4711"}},
		{"cache-purge-tag", 0, []string{"cache", "purge", "--tag", "article-17", "--site", "www"}},
		{"cache-purge-json", 0, []string{"cache", "purge", "--all", "-j"}},
		{"cache-help", 0, []string{"cache", "--help"}},
	} {
		status, out, errs := catchment(t.Context(), socket, tc.args...)
		if status != tc.status {
			t.Errorf("%s: status %d, want %d: %s", tc.name, status, tc.status, errs)
		}
		golden(t, tc.name, strings.ReplaceAll(uid.ReplaceAllString("$ catchment "+strings.Join(tc.args, " ")+"\n"+out+errs, "uid N"), socket, "SOCKET"))
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
