package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/server/cache"
	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/site"
)

// TestCacheComesBack: a cache server that ends by itself is an alarm and not
// the end of the daemon: it is started again, with its store, its purges and
// what it was told to leave.
func TestCacheComesBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	var mu sync.Mutex
	var rang []bool
	dir := t.TempDir()
	c := &cacheServer{
		log: slog.New(slog.DiscardHandler), pop: "LON", ready: make(chan struct{}), journal: nil,
		onAlarm: func(_ string, on bool) { mu.Lock(); defer mu.Unlock(); rang = append(rang, on) },
		cfg: cache.Config{
			Name: "LON", StateDir: dir, Front: front.Options{Listen: []front.Listen{{Address: addr}}},
			Sites: []site.Config{{Name: "www", Hosts: []string{"*"}, Upstream: site.Upstream{Origins: []site.Origin{{URL: "http://127.0.0.1:1"}}}}},
		},
	}
	c.cfg.Store.Dir, c.cfg.Store.RAM, c.cfg.Store.Disk = filepath.Join(dir, "store"), 16<<20, 64<<20
	if err := c.make(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-c.Ready()
	get := func() string {
		resp, err := http.Get("http://" + addr + "/.well-known/catchment/health")
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return fmt.Sprintf("%d %s close %v", resp.StatusCode, b, resp.Close)
	}
	if got := get(); got != "200 ok\n close false" {
		t.Fatal(got)
	}
	p, err := c.server().Purge(ctx, cache.Purge{All: true, By: "test"})
	if err != nil {
		t.Fatal(err)
	}
	c.leave([]netip.Addr{netip.MustParseAddr("127.0.0.1")})
	http.DefaultClient.CloseIdleConnections()
	if err := c.server().Drain(t.Context()); err != nil { // behind its back
		t.Fatal(err)
	}
	patiently := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited %v for %s", patience, what)
			}
		}
	}
	patiently("the alarm", func() bool { return len(c.alarms()) == 1 })
	if st := c.status(); st.State != api.CacheFailed || st.Detail == "" {
		t.Errorf("%+v", st)
	}
	patiently("its return", func() bool { return get() == "200 ok\n close true" })
	patiently("the end of the alarm", func() bool { return len(c.alarms()) == 0 })
	if list, err := c.CachePurges(ctx, 0); err != nil || len(list) != 1 || list[0].ID != uint64(p.ID) {
		t.Errorf("purges %+v, %v", list, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(rang) != 2 || !rang[0] || rang[1] {
		t.Errorf("alarms %v", rang)
	}
}
