package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core/host"
)

// origin is where the configuration comes from: a file, and with core.config
// the control core beneath it.
type origin struct {
	path    string
	stderr  io.Writer
	fetched *host.Configs // nil: all is in the file
}

// errNothingFetched: the file is right, and the rest of the configuration has
// never come.
var errNothingFetched = errors.New("the rest of the configuration comes from the core (core.config), and nothing has been fetched yet")

// read reads the configuration as it is now. With errNothingFetched it returns
// what the file says alone.
func (s *origin) read() (*config.Config, error) {
	o := judged()
	o.Partial = true
	own, err := config.Load(s.path, o)
	if err != nil || !own.Core.Config {
		return own, err
	}
	if s.fetched == nil {
		if s.fetched, err = host.OpenConfigs(own.Core.Dir, string(own.POP), logger(own.Log, s.stderr)); err != nil {
			return nil, err
		}
	}
	if s.fetched.Layers() == nil {
		return own, errNothingFetched
	}
	return s.whole()
}

// boot is read for a start: what the core brought last and what is wrong gives
// way to what was in force before.
func (s *origin) boot() (*config.Config, error) {
	cfg, err := s.read()
	if err != nil && s.fetched != nil && s.fetched.GiveUp(err) {
		return s.read()
	}
	return cfg, err
}

// whole puts the file over what was fetched.
func (s *origin) whole() (*config.Config, error) {
	own, err := config.OwnLayer(s.path)
	if err != nil {
		return nil, err
	}
	text, err := config.Compose(append(s.fetched.Layers(), own)...)
	if err != nil {
		return nil, err
	}
	cfg, err := config.Parse(strings.NewReader(text), "yaml", judged())
	if err != nil {
		return nil, fmt.Errorf("%s over the fleet's configuration: %w", s.path, err)
	}
	return cfg, nil
}

// first waits for the first configuration that the core has for this POP, at
// a POP that has none yet. It returns nil without an error when it is told to
// end.
func (s *origin) first(own *config.Config) (*config.Config, error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := logger(own.Log, s.stderr)
	log.Info("waiting for the fleet's configuration", "pop", own.POP)
	tell("waiting for the fleet's configuration")
	c := newCrew(ctx)
	h := host.New(own.Core, string(own.POP), log)
	r := relayOf(own, h, nil, log)
	c.start(h)
	if r != nil {
		c.start(r)
	}
	c.start(patient{})
	var cfg *config.Config
	err := s.fetched.First(ctx, h, func() (err error) {
		cfg, err = s.whole()
		return err
	})
	if err = errors.Join(err, c.join()); ctx.Err() != nil {
		return nil, nil
	}
	return cfg, err
}

// patient keeps systemd from losing patience with a start that waits.
type patient struct{}

func (patient) Run(ctx context.Context) error {
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	for {
		daemon.SdNotify(false, "EXTEND_TIMEOUT_USEC=60000000")
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (patient) String() string { return "patience" }

// follow takes over the fleet's configuration as it changes.
type follow struct{ d *parts }

func (follow) String() string { return "configuration" }

func (f follow) Run(ctx context.Context) error {
	f.d.origin.fetched.Watch(func() []string { return f.d.unwell(ctx) })
	f.d.origin.fetched.Follow(ctx, f.d.core, func(ctx context.Context, by string) (bool, error) {
		_, err := f.d.controller.Reload(ctx, by)
		return errors.As(err, new(restartNeeded)), err
	})
	return nil
}

// unwell is what is wrong at this POP now, apart from its core: alarms, and
// slices that are off the air because of their checks.
func (d *parts) unwell(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	st, err := d.controller.Status(ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, al := range st.Alarms {
		if al.Name == "core" || al.Name == "core-lost" {
			continue
		}
		word := "alarm " + al.Name
		if al.Slice.Prefix().IsValid() {
			word += " of " + al.Slice.String()
		}
		out = append(out, word)
	}
	for _, s := range st.Slices() {
		if !s.Stance.Announced() && s.Reason.Code == policy.CheckDown {
			out = append(out, s.Slice.String()+" is not announced, its checks are down")
		}
	}
	return out
}

// restartNeeded is a configuration that is right and that a running daemon
// cannot take over.
type restartNeeded struct{ error }

func (r restartNeeded) Unwrap() error { return r.error }
