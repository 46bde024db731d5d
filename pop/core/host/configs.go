package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core"
)

// Part is a config object: a piece of a configuration as somebody wrote it.
type Part struct {
	Format string `json:"format"` // yaml or toml
	Text   string `json:"text"`
}

// Fetched is the fleet's configuration as far as it concerns one POP.
type Fetched struct {
	Number   int64          `json:"number"` // of the manifest
	Revision int64          `json:"revision"`
	Who      string         `json:"who"`
	Why      string         `json:"why"`
	Layers   []config.Layer `json:"layers"`
}

// same reports whether the POP would notice no difference.
func (f *Fetched) same(o *Fetched) bool {
	return f != nil && o != nil && slices.Equal(f.Layers, o.Layers)
}

// LayersOf are the parts that concern a POP: the fleet's ("fleet", then
// "fleet/..." by name), and over them its own ("pop/NAME", "pop/NAME/...").
func LayersOf(pop string, objects []core.Object) ([]config.Layer, error) {
	var out []config.Layer
	for _, root := range []string{"fleet", "pop/" + pop} {
		for _, o := range objects {
			if o.Key.Name != root && !strings.HasPrefix(o.Key.Name, root+"/") {
				continue
			}
			var p Part
			if err := o.Into(&p); err != nil {
				return nil, err
			}
			out = append(out, config.Layer{Name: o.Key.Name, Format: p.Format, Text: p.Text})
		}
	}
	return out, nil
}

// Configs keeps the fleet's configuration of a POP on disk, so that it starts
// without the core, and takes over what comes new.
//
//	good.json    in force, and what the next start begins with
//	next.json    right, but takes a restart: the next start tries it
//	trying.json  what a start tries; found there at a start, the last one failed with it
type Configs struct {
	dir, pop string
	log      *slog.Logger

	mu     sync.Mutex
	good   *Fetched
	trial  *Fetched // being judged, or tried by this start
	failed *Fetched // a start failed with it
	state  api.CoreApplied
	health func() []string
	before []string  // what was wrong before the one in force was
	taken  time.Time // when that was; zero: before this start
}

// Watch names who says what is wrong at this POP now, in words that stay the
// same while it does. What is wrong after a configuration was taken over and
// was not before is reported to the fleet.
func (c *Configs) Watch(health func() []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.health = health
}

// worseFor is how long what goes wrong is put down to the configuration.
const worseFor = time.Hour

// compare notes what has gone wrong since the configuration is in force.
func (c *Configs) compare() {
	c.mu.Lock()
	health, before, taken := c.health, c.before, c.taken
	c.mu.Unlock()
	var worse []string
	if health != nil && !taken.IsZero() && time.Since(taken) < worseFor {
		worse = slices.DeleteFunc(slices.Clone(health()), func(w string) bool { return slices.Contains(before, w) })
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken == taken {
		c.state.Worse = worse
	}
}

// OpenConfigs reads what is on disk, and changes nothing there. dir is core.dir.
func OpenConfigs(dir, pop string, log *slog.Logger) (*Configs, error) {
	c := &Configs{dir: filepath.Join(dir, "config"), pop: pop, log: log.With("part", "core"), state: api.CoreApplied{POP: pop}}
	var found [4]*Fetched
	for i, name := range []string{"good", "next", "trying", "failed"} {
		var err error
		if found[i], err = c.load(name); err != nil {
			c.log.Error("a configuration of the fleet on disk cannot be read", "err", err)
		}
	}
	next := found[1]
	c.good, c.failed = found[0], found[3]
	if found[2] != nil {
		c.failed = found[2]
	}
	switch {
	case next != nil && !next.same(c.failed):
		c.trial = next
	case c.good == nil: // there is nothing to go back to: it may not have been the reason
		c.trial, c.failed = c.failed, nil
	}
	if c.good != nil {
		c.state.Number = c.good.Number
	}
	return c, nil
}

// Begin notes on disk what this start tries, and what the last one failed
// with. The state directory must be this process's.
func (c *Configs) Begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	if c.failed != nil {
		c.log.Error("a start failed with a configuration of the fleet, or it was refused: it is not tried again", "number", c.failed.Number)
		if err := c.save("failed", c.failed); err != nil {
			return err
		}
	}
	err := c.remove("trying")
	if c.trial != nil {
		err = c.save("trying", c.trial)
	}
	return errors.Join(err, c.remove("next"))
}

func (c *Configs) remove(name string) error {
	if err := os.Remove(c.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (c *Configs) file(name string) string { return filepath.Join(c.dir, name+".json") }

// load returns nil where there is none.
func (c *Configs) load(name string) (*Fetched, error) {
	b, err := os.ReadFile(c.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var f Fetched
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.file(name), err)
	}
	return &f, nil
}

func (c *Configs) save(name string, f *Fetched) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return writeFile(c.file(name), b)
}

// Layers are those of what is tried, else of what is in force; nil: nothing has
// been fetched yet.
func (c *Configs) Layers() []config.Layer {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range []*Fetched{c.trial, c.good} {
		if f != nil {
			return f.Layers
		}
	}
	return nil
}

// GiveUp drops what this start tries, because it is wrong, and reports whether
// there was such a thing.
func (c *Configs) GiveUp(why error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trial == nil {
		return false
	}
	c.log.Error("the fleet's new configuration is refused", "number", c.trial.Number, "err", why)
	c.failed, c.trial = c.trial, nil
	return true
}

// Booted notes that the daemon serves with what it began with.
func (c *Configs) Booted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trial != nil {
		c.settle(c.trial)
		c.trial = nil
		if err := c.remove("trying"); err != nil {
			c.log.Error("what the start tried is not put away", "err", err)
		}
	}
}

// settle makes f the one in force.
func (c *Configs) settle(f *Fetched) {
	c.good = f
	c.state = api.CoreApplied{POP: c.pop, Number: f.Number, Newest: f.Number, At: time.Now()}
	for _, stale := range []string{"next", "failed"} {
		if err := c.remove(stale); err != nil {
			c.log.Error("an older configuration is not put away", "err", err)
		}
	}
	c.failed = nil
	if err := c.save("good", f); err != nil {
		c.log.Error("the fleet's configuration is in force and not on disk: a start without the core would begin with an older one", "err", err)
	}
}

// State is what became of the fleet's configuration here.
func (c *Configs) State() api.CoreApplied {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Apply has the daemon take over what Layers says now; by is who and why. An
// error means that nothing has changed, restart that it takes one.
type Apply func(ctx context.Context, by string) (restart bool, err error)

// take takes what was fetched over, or notes why not.
func (c *Configs) take(ctx context.Context, f *Fetched, apply Apply) {
	c.mu.Lock()
	switch {
	case f.same(c.good):
		if c.state.Number != f.Number || c.state.Newest != f.Number || c.state.Refused != "" {
			c.settle(f)
		}
		c.mu.Unlock()
		return
	case f.same(c.failed):
		c.state.Newest, c.state.Refused = f.Number, cmpRefused(c.state.Refused)
		c.mu.Unlock()
		return
	case c.state.Newest == f.Number && c.state.Refused != "":
		c.mu.Unlock()
		return
	}
	c.trial = f
	health := c.health
	c.mu.Unlock()
	var before []string
	if health != nil {
		before = health()
	}
	restart, err := apply(ctx, fmt.Sprintf("core: config %d by %s: %s", f.Number, f.Who, f.Why))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trial = nil
	switch {
	case err == nil:
		c.log.Info("the fleet's configuration is in force", "number", f.Number, "by", f.Who, "why", f.Why)
		c.settle(f)
		c.before, c.taken = before, time.Now()
	case ctx.Err() != nil:
	default:
		c.state.Newest, c.state.Refused, c.state.Restart, c.state.At = f.Number, err.Error(), restart, time.Now()
		if restart {
			err = c.save("next", f)
		}
		c.log.Warn("the fleet's configuration is not taken over", "number", f.Number, "restart", restart, "err", c.state.Refused, "disk", err)
	}
}

func cmpRefused(s string) string {
	if s == "" {
		return "the daemon did not start with it"
	}
	return s
}
