package cachetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"

	"github.com/catchment/catchment/server/cache"
	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// serveVariable tells a program that it is to be a cache, and which.
const serveVariable = "CATCHMENT_CACHETEST_SERVE"

// profileVariable names a file for a CPU profile of the child, for those who
// want to know where its time goes.
const profileVariable = "CATCHMENT_CACHETEST_PROFILE"

// orders are what the child is to serve.
type orders struct {
	HTTP, HTTPS, Cert, Key string
	Origin                 string
	State, Store           string
	Memory, Disk           int64
}

// ServeIfAsked makes of a program that was started as the subject
// "catchment-lib" the cache server by its package, without the daemon round
// it, and never returns then. Call it first in main and in TestMain.
func ServeIfAsked() {
	raw := os.Getenv(serveVariable)
	if raw == "" {
		return
	}
	var o orders
	err := json.Unmarshal([]byte(raw), &o)
	if err == nil {
		err = o.serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cachetest: serve:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (o orders) serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	loopback := site.Access{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	cfg := cache.Config{
		Name:  "catchment",
		Front: front.Options{HTTP2: true, H2C: true, Listen: []front.Listen{{Address: o.HTTP}}, Limits: front.Limits{ConnRequest: 1e9, ConnsClient: 10000}},
		Store: store.Options{Dir: o.Store, RAM: o.Memory, Disk: o.Disk},
		Fill:  fill.Options{},
		Sites: []site.Config{{Name: "test", Hosts: []string{"*"}, Upstream: site.Upstream{Origins: []site.Origin{{URL: "http://" + o.Origin}}},
			Purge: loopback, Debug: loopback}},
		StateDir: o.State,
	}
	if o.HTTPS != "" {
		cfg.Front.Listen = append(cfg.Front.Listen, front.Listen{Address: o.HTTPS, TLS: true})
		cfg.Certificates = []front.CertFile{{Cert: o.Cert, Key: o.Key}}
	}
	s, err := cache.New(cache.Options{Config: cfg, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	if err := s.Listen(ctx); err != nil {
		return err
	}
	if name := os.Getenv(profileVariable); name != "" {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return s.Serve(ctx)
}

// catchmentLib is the cache server by its package, in a child of our own.
func catchmentLib() Subject {
	return Subject{Name: "catchment-lib", TLS: true, H2C: true, Ours: true, start: func(ctx context.Context, set Setup, r *Running) error {
		if err := r.listeners(set); err != nil {
			return err
		}
		o := orders{HTTP: r.HTTP, HTTPS: r.HTTPS, Origin: set.Origin.String(), State: filepath.Join(set.Dir, "state"), Store: set.StoreDir,
			Memory: set.Memory, Disk: set.Disk}
		if set.TLS != nil {
			o.Cert, o.Key = set.TLS.CertFile, set.TLS.KeyFile
		}
		raw, err := json.Marshal(o)
		if err = errors.Join(err, os.MkdirAll(o.State, 0o755)); err != nil {
			return err
		}
		r.env = []string{serveVariable + "=" + string(raw)}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		return r.run(ctx, set, self)
	}}
}
