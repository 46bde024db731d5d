package host

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core"
)

var quiet = slog.New(slog.DiscardHandler)

// lab is a fleet over a core in memory, in a synctest bubble: a member that
// operators ask, and POPs that take their configuration from it.
type lab struct {
	t     *testing.T
	core  *core.Memory
	admin Admin
	pops  map[string]*pop
}

// pop is a POP that takes what it gets, unless told otherwise.
type pop struct {
	mu      sync.Mutex
	configs *Configs
	refuse  error
	restart bool
	wrong   []string // what its health says
	reloads int
	stop    func()
}

func newLab(t *testing.T, names ...string) *lab {
	l := &lab{t: t, core: core.NewMemory(core.Options{Limits: core.Limits{Rate: 1e6, Burst: 1e6}}), pops: map[string]*pop{}}
	l.admin = Admin{Host: Over(l.core.Core, "LON", quiet), Judge: func(string, bool) error { return nil }}
	l.run(l.admin.Host.runRollouts)
	l.put("fleet", "a: 0")
	for _, name := range names {
		c, err := OpenConfigs(t.TempDir(), name, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Begin(); err != nil {
			t.Fatal(err)
		}
		p := &pop{configs: c}
		c.Watch(func() []string { p.mu.Lock(); defer p.mu.Unlock(); return p.wrong })
		h := Over(l.core.Core, name, quiet)
		p.stop = l.run(func(ctx context.Context) {
			c.Follow(ctx, h, func(context.Context, string) (bool, error) {
				p.mu.Lock()
				defer p.mu.Unlock()
				if p.refuse != nil {
					return p.restart, p.refuse
				}
				p.reloads++
				return false, nil
			})
		})
		l.pops[name] = p
	}
	l.settle(5 * time.Second)
	return l
}

// now tells a POP something.
func (p *pop) now(f func(*pop)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// run runs f until the returned function, or the end of the test, ends it.
func (l *lab) run(f func(context.Context)) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	stop := func() { cancel(); <-done }
	l.t.Cleanup(stop)
	return stop
}

func (l *lab) settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (l *lab) change(verb string, c api.CoreChange) (api.CoreResult, error) {
	c.Why = "test"
	return l.admin.CoreChange(context.Background(), verb, "ann", c)
}

func (l *lab) put(name, text string, stages ...string) int64 {
	l.t.Helper()
	r, err := l.change("put", api.CoreChange{Name: name, Text: text, Stages: stages, Wait: api.Duration(time.Minute)})
	if err != nil {
		l.t.Fatal(err)
	}
	return r.Number
}

// have are the texts that the POPs have in force, by name.
func (l *lab) have() string {
	var out []string
	for name, p := range l.pops {
		text := "nothing"
		if layers := p.configs.Layers(); len(layers) > 0 {
			text = layers[0].Text
		}
		out = append(out, name+" "+text)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (l *lab) want(have, state, because string) {
	l.t.Helper()
	if got := l.have(); got != have {
		l.t.Errorf("have %q, want %q", got, have)
	}
	r, err := l.admin.CoreRollout(context.Background())
	if err != nil || r.State != state || !strings.Contains(r.Because, because) {
		l.t.Errorf("%s: %q, want %s: %q (%v)", r.State, r.Because, state, because, err)
	}
}

// TestRollout: a change goes stage by stage, waits at each, and is done.
func TestRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "A", "B", "C", "D")
		if got := l.have(); got != "A a: 0, B a: 0, C a: 0, D a: 0" {
			t.Fatal(got)
		}
		l.put("fleet", "a: 1", "B", "50%")
		l.settle(10 * time.Second)
		l.want("A a: 0, B a: 1, C a: 0, D a: 0", "going", "well, for 1m0s")
		if _, err := l.change("put", api.CoreChange{Name: "fleet", Text: "a: 2"}); code(err) != api.Refused {
			t.Errorf("a change while one is on its way: %v", err)
		}
		l.settle(time.Minute)
		l.want("A a: 1, B a: 1, C a: 0, D a: 0", "going", "well")
		r, err := l.admin.CoreRollout(t.Context())
		if err != nil || len(r.Stages) != 3 || r.Stages[0].State != "done" || r.Stages[1].State != "now" || r.Stages[2].State != "later" || r.Stages[2].POPs != nil {
			t.Errorf("%+v, %v", r, err)
		}
		l.settle(time.Minute + 10*time.Second)
		l.want("A a: 1, B a: 1, C a: 1, D a: 1", "going", "well")
		l.settle(time.Minute + 10*time.Second)
		l.want("A a: 1, B a: 1, C a: 1, D a: 1", "done", "all is well")
		for name, p := range l.pops {
			if p.reloads != 2 {
				t.Errorf("%s has reloaded %d times", name, p.reloads)
			}
		}
		if n := l.put("fleet", "a: 2"); n != 3 {
			t.Errorf("the next one is %d", n)
		}
		l.settle(5 * time.Second)
		l.want("A a: 2, B a: 2, C a: 2, D a: 2", "done", "")
	})
}

// TestRolloutGoesBack: what a POP refuses, or is worse with, goes back
// everywhere by itself, whoever moves it on.
func TestRolloutGoesBack(t *testing.T) {
	for name, c := range map[string]struct {
		hurt    func(p *pop)
		because string
		reloads int // of B
	}{
		"refused": {func(p *pop) { p.refuse = errors.New("no such neighbor") }, "B refuses it: no such neighbor", 1},
		"worse":   {func(p *pop) { p.wrong = append(p.wrong, "alarm blast") }, "B is worse with it: alarm blast", 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, "A", "B", "C")
				l.run(Over(l.core.Core, "NYC", quiet).runRollouts)                    // another member
				l.pops["B"].now(func(p *pop) { p.wrong = []string{"alarm journal"} }) // which it had before
				l.put("fleet", "a: 1", "A", "B")
				l.settle(10 * time.Second)
				l.want("A a: 1, B a: 0, C a: 0", "going", "well")
				if name == "refused" {
					l.pops["B"].now(c.hurt)
				}
				l.settle(time.Minute)
				if name == "worse" {
					l.want("A a: 1, B a: 1, C a: 0", "going", "well")
					l.pops["B"].now(c.hurt)
				}
				l.settle(10 * time.Second)
				l.want("A a: 0, B a: 0, C a: 0", "rolled-back", c.because)
				if n := l.pops["B"].reloads; n != c.reloads {
					t.Errorf("B has reloaded %d times", n)
				}
				cfg, err := l.admin.CoreConfig(t.Context())
				if err != nil || cfg.Number != 3 || !strings.Contains(cfg.Why, c.because) {
					t.Errorf("%+v, %v", cfg, err)
				}
				for _, p := range cfg.POPs {
					if p.Number != 3 || p.Refused != "" {
						t.Errorf("%+v", p)
					}
				}
			})
		})
	}
}

// TestRolloutWaits: a POP that is silent, or needs a restart, is waited for;
// an operator ends the waiting either way.
func TestRolloutWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "A", "B")
		l.pops["A"].now(func(p *pop) { p.refuse, p.restart = errors.New("bgp.global: needs a restart"), true })
		l.put("fleet", "a: 1", "A")
		l.settle(time.Hour)
		l.want("A a: 0, B a: 0", "going", "waits for A, which needs a restart")
		if _, err := l.change("abort", api.CoreChange{}); err != nil {
			t.Error(err)
		}
		l.settle(10 * time.Second)
		l.want("A a: 0, B a: 0", "rolled-back", "aborted by operator ann at LON: test")
		l.pops["A"].now(func(p *pop) { p.refuse = nil })
		l.pops["A"].stop()
		l.put("fleet", "a: 2", "A")
		l.settle(time.Hour)
		l.want("A a: 0, B a: 0", "going", "waits for A, which does not have it yet")
		if _, err := l.change("finish", api.CoreChange{}); err != nil {
			t.Error(err)
		}
		l.settle(10 * time.Second)
		l.want("A a: 0, B a: 2", "done", "finished by operator ann at LON: test")
		if _, err := l.change("finish", api.CoreChange{}); code(err) != api.NotFound {
			t.Errorf("finished twice: %v", err)
		}
		for _, stages := range [][]string{{"Z"}, {"0%"}, {"200%"}, {"x%"}} {
			if _, err := l.change("put", api.CoreChange{Name: "fleet", Text: "a: 3", Stages: stages}); err == nil {
				t.Errorf("stages %q are taken", stages)
			}
		}
	})
}

func code(err error) api.Code {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// TestStartThatFails: what a start failed with is not tried again, what waits
// for a restart is tried once, and what was in force stays until then.
func TestStartThatFails(t *testing.T) {
	dir := t.TempDir()
	open := func() *Configs {
		t.Helper()
		c, err := OpenConfigs(dir, "A", quiet)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	config := func(n int64, text string) *Fetched {
		return &Fetched{Number: n, Layers: layersOf(text)}
	}
	c := open()
	if c.Layers() != nil {
		t.Fatal("a configuration from nowhere")
	}
	begin(t, c)
	c.take(t.Context(), config(1, "one"), func(context.Context, string) (bool, error) { return false, nil })
	c.take(t.Context(), config(2, "two"), func(context.Context, string) (bool, error) { return true, errors.New("needs a restart") })
	if s := c.State(); s.Number != 1 || s.Newest != 2 || !s.Restart || c.Layers()[0].Text != "one" {
		t.Errorf("%+v, %v", s, c.Layers())
	}
	if c = open(); c.Layers()[0].Text != "two" {
		t.Error("what waits for a restart is not tried")
	}
	if again := open(); again.Layers()[0].Text != "two" {
		t.Error("to look changes what is there")
	}
	begin(t, c) // and this start dies
	if c = open(); c.Layers()[0].Text != "one" {
		t.Error("what a start failed with is tried again")
	}
	begin(t, c)
	c.Booted()
	c.take(t.Context(), config(2, "two"), func(context.Context, string) (bool, error) { t.Error("tried again"); return false, nil })
	if s := c.State(); s.Number != 1 || s.Newest != 2 || s.Refused == "" {
		t.Errorf("%+v", s)
	}
	c.take(t.Context(), config(3, "three"), func(context.Context, string) (bool, error) { return true, errors.New("needs a restart") })
	c = open()
	begin(t, c)
	c.Booted()
	if s := c.State(); s.Number != 3 || s.Refused != "" || open().Layers()[0].Text != "three" {
		t.Errorf("%+v", s)
	}
}

// TestFirstStartThatFails: with nothing to go back to, it is tried again; what
// is wrong is waited out.
func TestFirstStartThatFails(t *testing.T) {
	dir := t.TempDir()
	first := &Fetched{Number: 1, Layers: layersOf("one")}
	for range 2 {
		c, err := OpenConfigs(dir, "A", quiet)
		if err != nil {
			t.Fatal(err)
		}
		if c.Layers() == nil {
			c.trial = first // as First does
		}
		if c.Layers()[0].Text != "one" {
			t.Errorf("%v", c.Layers())
		}
		begin(t, c) // and this start dies
	}
	c, err := OpenConfigs(dir, "A", quiet)
	if err != nil {
		t.Fatal(err)
	}
	if !c.GiveUp(errors.New("wrong")) || c.Layers() != nil || c.GiveUp(errors.New("wrong")) {
		t.Errorf("%v", c.Layers())
	}
}

func begin(t *testing.T, c *Configs) {
	t.Helper()
	if err := c.Begin(); err != nil {
		t.Fatal(err)
	}
}

func layersOf(text string) []config.Layer {
	return []config.Layer{{Name: "fleet", Format: "yaml", Text: text}}
}
