package core

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// heard collects batches; done ends the watch.
type heard struct {
	ch   chan Batch
	err  chan error
	stop context.CancelFunc
}

func listen(t *testing.T, c *Core, s Selector, from int64) *heard {
	ctx, cancel := context.WithCancel(t.Context())
	h := &heard{ch: make(chan Batch, 1000), err: make(chan error, 1), stop: cancel}
	go func() {
		h.err <- c.Watch(ctx, s, from, func(b Batch) error { h.ch <- b; return nil })
	}()
	t.Cleanup(func() { cancel(); <-h.err; h.err <- nil })
	return h
}

func (h *heard) next(t *testing.T) Batch {
	t.Helper()
	select {
	case b := <-h.ch:
		return b
	case <-deadline(t).Done():
		t.Fatal("nothing heard")
		return Batch{}
	}
}

func watches(t *testing.T, c *Core) {
	ctx := deadline(t)
	one, err := c.Put(ctx, ann, intent("1"), raw(`1`), Any)
	if err != nil {
		t.Fatal(err)
	}
	h := listen(t, c, All(KindIntent), 0)
	if b := h.next(t); !b.Snapshot || len(b.Events) != 1 || b.Revision < one.Revision {
		t.Errorf("first: %+v", b)
	}
	if _, err := c.Put(ctx, ann, Key{KindConfig, "other"}, raw(`1`), Any); err != nil {
		t.Fatal(err)
	}
	rev, err := c.Txn(ctx, bob, nil, []Op{{Key: intent("1"), Delete: true}, {Key: intent("2"), Value: raw(`2`)}, {Key: intent("3"), Value: raw(`3`)}})
	if err != nil {
		t.Fatal(err)
	}
	b := h.next(t)
	if b.Snapshot || b.Revision != rev || len(b.Events) != 3 {
		t.Fatalf("transaction: %+v", b)
	}
	if e := b.Events[0]; !e.Deleted || e.Key != intent("1") || e.Object.Write != bob || e.Object.Revision != rev {
		t.Errorf("delete: %+v", e)
	}
	late := listen(t, c, All(KindIntent), one.Revision)
	if b := late.next(t); b.Snapshot || b.Revision != rev || len(b.Events) != 3 {
		t.Errorf("resumed: %+v", b)
	}
	enough := errors.New("enough")
	if err := c.Watch(ctx, All(KindIntent), 0, func(Batch) error { return enough }); err != enough {
		t.Errorf("stopped by the watcher: %v", err)
	}
}

func compacted(t *testing.T, c *Core) {
	ctx := deadline(t)
	var last Object
	for i := range 4 {
		var err error
		if last, err = c.Put(ctx, ann, intent("1"), raw(fmt.Sprint(i)), Any); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Compact(ctx, last.Revision); err != nil {
		t.Fatal(err)
	}
	h := listen(t, c, All(KindIntent), last.Revision-2)
	if b := h.next(t); !b.Snapshot || len(b.Events) != 1 || string(b.Events[0].Object.Value) != "3" {
		t.Errorf("watch of compacted history: %+v", b)
	}
	ahead := listen(t, c, All(KindIntent), last.Revision+1_000_000)
	if b := ahead.next(t); !b.Snapshot || b.Revision > last.Revision+1000 {
		t.Errorf("watch from a future that is not: %+v", b)
	}
}
