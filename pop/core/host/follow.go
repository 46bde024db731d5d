package host

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
)

// reportKey is where a POP says what became of the configuration.
func reportKey(pop string) core.Key {
	return core.Key{Kind: core.KindReport, Name: pop + "/config"}
}

// Follow takes over the fleet's configuration as it changes, until ctx ends,
// and tells the fleet what became of it.
func (c *Configs) Follow(ctx context.Context, h *Host, apply Apply) {
	news := make(chan struct{}, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { h.listen(ctx, core.Selector{Kind: core.KindManifest, Prefix: "config"}, news) })
	wg.Go(func() { h.listen(ctx, core.All(core.KindRollout), news) })
	again := time.NewTicker(2 * time.Second)
	defer again.Stop()
	var told *api.CoreApplied
	fresh := false   // what is there has been taken, or refused
	trouble := false // it cannot be read, and that was said
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
			fresh = false
		case <-again.C:
		}
		if !fresh {
			f, err := h.fetch(ctx, c.pop)
			if err != nil {
				if !trouble && ctx.Err() == nil {
					h.log.Warn("the fleet's configuration cannot be read, it stays as it is until it can", "err", err)
				}
				trouble = true
				continue
			}
			if fresh, trouble = true, false; f != nil {
				c.take(ctx, f, apply)
			}
		}
		c.compare()
		now := c.State()
		if now.Refused != "" {
			h.wrong("config", fmt.Sprintf("the fleet's configuration %d is not in force here: %s", now.Newest, now.Refused))
		} else {
			h.right("config")
		}
		if told == nil || !reflect.DeepEqual(*told, now) {
			if err := h.tell(ctx, reportKey(c.pop), now, "what became of the configuration"); err == nil {
				told = &now
			}
		}
	}
}

// First waits for the fleet's first configuration of this POP that pleases
// judge, which is asked with it in place of Layers.
func (c *Configs) First(ctx context.Context, h *Host, judge func() error) error {
	for first := true; ; first = false {
		if !first && !lapse.Of(ctx, probeEvery) {
			return ctx.Err()
		}
		if ok, _ := h.Reachable(); !ok {
			continue
		}
		f, err := h.fetch(ctx, c.pop)
		if err != nil || f == nil || f.same(c.failed) {
			continue
		}
		c.mu.Lock()
		c.trial = f
		c.mu.Unlock()
		if err = judge(); err == nil {
			return nil
		}
		h.log.Error("the fleet's configuration is refused, waiting for another", "number", f.Number, "err", err)
		c.mu.Lock()
		c.failed, c.trial = f, nil
		c.state = api.CoreApplied{POP: c.pop, Newest: f.Number, Refused: err.Error(), At: time.Now()}
		c.mu.Unlock()
		if err := h.tell(ctx, reportKey(c.pop), c.State(), "what became of the configuration"); err != nil {
			h.log.Warn("the fleet is not told", "err", err)
		}
	}
}

// listen says that something under a selector has changed, at first too.
func (h *Host) listen(ctx context.Context, s core.Selector, news chan<- struct{}) {
	for {
		err := h.core.Watch(ctx, s, 0, func(core.Batch) error {
			select {
			case news <- struct{}{}:
			default:
			}
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		h.log.Debug("not watched", "what", s, "err", err)
		if !lapse.Of(ctx, time.Second) {
			return
		}
	}
}

// fetch reads the configuration for a POP at one revision; nil: there is none.
func (h *Host) fetch(ctx context.Context, pop string) (*Fetched, error) {
	configs := core.NewConfigs(h.core, 0)
	list, err := configs.List(ctx)
	if err != nil {
		return nil, err
	}
	if len(list.Broken) > 0 {
		return nil, fmt.Errorf("objects that cannot be read: %v", list.Broken)
	}
	m, err := configs.Manifest(ctx, core.At(list.Revision))
	if err != nil {
		return nil, err
	}
	r, err := h.rolloutNow(ctx, core.At(list.Revision))
	if err != nil {
		return nil, err
	}
	if r != nil && r.V.before(pop, m.Number) {
		if m, list.Objects, err = configs.Then(ctx, r.V.From); err != nil {
			return nil, err
		}
	}
	f := &Fetched{Number: m.Number, Revision: m.Revision, Who: m.Who, Why: m.Why}
	if f.Layers, err = LayersOf(pop, list.Objects); err != nil || len(f.Layers) == 0 {
		return nil, err
	}
	return f, nil
}

// tell writes an object of this POP's own.
func (h *Host) tell(ctx context.Context, k core.Key, v any, why string) error {
	value, err := core.Marshal(v)
	if err != nil {
		return err
	}
	_, err = h.core.Put(ctx, h.Write(why), k, value, core.Any)
	if err != nil && !errors.Is(err, core.Unavailable) {
		h.log.Warn("the fleet is not told", "key", k, "err", err)
	}
	return err
}
