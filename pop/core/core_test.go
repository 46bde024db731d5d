package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	ann  = Write{Who: "operator ann", Why: "a test"}
	bob  = Write{Who: "operator bob", Why: "another test"}
	wide = Limits{Rate: 1e6, Burst: 1e6}
)

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func intent(name string) Key { return Key{KindIntent, name} }

// deadline is for steps that take milliseconds on an idle machine.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// start runs a core for the length of a test and fails it if Run does.
func start(t *testing.T, c *Core) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func waitReady(t *testing.T, c *Core) {
	select {
	case <-c.Ready():
	case <-deadline(t).Done():
		t.Fatal("not ready")
	}
}

// logTo shows warnings of the engine with the test's own output.
func logTo(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
}

// quick heartbeats of a core that is alone make its first election so.
const quick = 20 * time.Millisecond

func alone(t *testing.T, dir string, o Options) *Core {
	o.Log = logTo(t)
	c, err := NewEmbedded(Embedded{Dir: dir, Heartbeat: quick, noSync: true, MinFree: 1}, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestEngines holds every rule against the model and against the real thing.
func TestEngines(t *testing.T) {
	t.Parallel()
	rules := []struct {
		name string
		test func(*testing.T, *Core)
	}{
		{"objects", objects}, {"conditions", conditions}, {"transactions", transactions}, {"lists", lists},
		{"history", history}, {"watch", watches}, {"compacted", compacted}, {"leases", leases}, {"refusals", refusals},
	}
	t.Run("memory", func(t *testing.T) {
		for _, r := range rules {
			t.Run(r.name, func(t *testing.T) { r.test(t, NewMemory(Options{Limits: wide}).Core) })
		}
	})
	t.Run("embedded", func(t *testing.T) {
		engine := alone(t, t.TempDir(), Options{})
		start(t, engine)
		waitReady(t, engine)
		for i, r := range rules {
			o := Options{Root: fmt.Sprintf("/%d/", i), Limits: wide}
			t.Run(r.name, func(t *testing.T) { r.test(t, newCore(engine.engine, o.withDefaults())) })
		}
	})
}

func objects(t *testing.T, c *Core) {
	ctx, k := deadline(t), intent("drain LON")
	if _, err := c.Get(ctx, k); !errors.Is(err, NotFound) {
		t.Fatalf("get of nothing: %v", err)
	}
	put, err := c.Put(ctx, ann, k, raw(`{"a": 1}`), Absent)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(ctx, k)
	if err != nil || string(got.Value) != `{"a":1}` && string(got.Value) != `{"a": 1}` {
		t.Fatalf("got %s, %v", got.Value, err)
	}
	if got.Write != ann || got.Revision != put.Revision || got.Created != put.Revision || got.Key != k || time.Since(got.At) > time.Minute {
		t.Errorf("got %+v, put %+v", got, put)
	}
	again, err := c.Put(ctx, bob, k, raw(`2`), If(got.Revision))
	if err != nil {
		t.Fatal(err)
	}
	got, err = c.Get(ctx, k, Stale())
	if err != nil || got.Write != bob || got.Created != put.Revision || got.Revision != again.Revision || again.Revision <= put.Revision {
		t.Errorf("after the second write: %+v, %v", got, err)
	}
	if _, err := c.Delete(ctx, ann, k, If(again.Revision)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ctx, k); !errors.Is(err, NotFound) {
		t.Errorf("after the delete: %v", err)
	}
	if old, err := c.Get(ctx, k, At(put.Revision)); err != nil || old.Write != ann {
		t.Errorf("at its first revision: %+v, %v", old, err)
	}
}

func conditions(t *testing.T, c *Core) {
	ctx, k := deadline(t), intent("x")
	one, err := c.Put(ctx, ann, k, raw(`1`), Absent)
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err = c.Put(ctx, ann, k, raw(`2`), Absent); !errors.Is(err, Conflict) || !errors.As(err, &e) || e.Revision != one.Revision || e.Key != "intent/x" {
		t.Errorf("second create: %v", err)
	}
	if _, err = c.Put(ctx, ann, k, raw(`2`), If(one.Revision-1)); !errors.Is(err, Conflict) {
		t.Errorf("put on an old revision: %v", err)
	}
	if _, err = c.Delete(ctx, ann, k, If(one.Revision+7)); !errors.Is(err, Conflict) {
		t.Errorf("delete on another revision: %v", err)
	}
	if _, err = c.Delete(ctx, ann, intent("none"), If(3)); !errors.Is(err, Conflict) || !errors.As(err, &e) || e.Revision != 0 {
		t.Errorf("delete of what is not there: %v", err)
	}
	if _, err = c.Delete(ctx, ann, intent("none"), Any); err != nil {
		t.Errorf("delete of anything: %v", err)
	}
	if got, err := c.Get(ctx, k); err != nil || string(got.Value) != "1" {
		t.Errorf("what was refused happened: %s, %v", got.Value, err)
	}
}

func transactions(t *testing.T, c *Core) {
	ctx := deadline(t)
	rev, err := c.Txn(ctx, ann, []Cond{{intent("a"), Absent}, {intent("b"), Absent}},
		[]Op{{Key: intent("a"), Value: raw(`1`)}, {Key: intent("b"), Value: raw(`1`)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"a", "b"} {
		if o, err := c.Get(ctx, intent(n)); err != nil || o.Revision != rev {
			t.Errorf("%s at %d, want %d: %v", n, o.Revision, rev, err)
		}
	}
	_, err = c.Txn(ctx, ann, []Cond{{intent("a"), If(rev)}, {intent("b"), If(rev + 1)}},
		[]Op{{Key: intent("a"), Delete: true}, {Key: intent("c"), Value: raw(`1`)}})
	var e *Error
	if !errors.Is(err, Conflict) || !errors.As(err, &e) || e.Key != "intent/b" {
		t.Errorf("a condition of two fails: %v", err)
	}
	if s, err := c.List(ctx, All(KindIntent)); err != nil || len(s.Objects) != 2 {
		t.Errorf("half a transaction happened: %+v, %v", s, err)
	}
	if w, err := c.Blame(ctx, rev); err != nil || w != ann {
		t.Errorf("blame: %v, %v", w, err)
	}
}

func lists(t *testing.T, c *Core) {
	ctx := deadline(t)
	const n = pageSize + 7
	for from := 0; from < n; from += 100 {
		var ops []Op
		for i := from; i < min(from+100, n); i++ {
			ops = append(ops, Op{Key: Key{KindResponse, fmt.Sprintf("LON/%05d", i)}, Value: raw(`1`)})
		}
		if _, err := c.Txn(ctx, ann, nil, ops); err != nil {
			t.Fatal(err)
		}
	}
	rev, err := c.Txn(ctx, ann, nil, []Op{{Key: Key{KindResponse, "LONDON/1"}, Value: raw(`1`)}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.List(ctx, Under(KindResponse, "LON"))
	if err != nil || len(s.Objects) != n || s.Revision < rev {
		t.Fatalf("%d objects at %d, want %d at %d or later: %v", len(s.Objects), s.Revision, n, rev, err)
	}
	if !slices.IsSortedFunc(s.Objects, func(a, b Object) int { return strings.Compare(a.Key.Name, b.Key.Name) }) {
		t.Error("not sorted")
	}
	if s, err = c.List(ctx, All(KindResponse), Stale()); err != nil || len(s.Objects) != n+1 {
		t.Errorf("all: %d, %v", len(s.Objects), err)
	}
}

func history(t *testing.T, c *Core) {
	ctx := deadline(t)
	var revs []int64
	for i := range 5 {
		o, err := c.Put(ctx, ann, intent("h"), raw(fmt.Sprint(i)), Any)
		if err != nil {
			t.Fatal(err)
		}
		revs = append(revs, o.Revision)
	}
	for i, r := range revs {
		if s, err := c.List(ctx, All(KindIntent), At(r)); err != nil || len(s.Objects) != 1 || string(s.Objects[0].Value) != fmt.Sprint(i) || s.Revision != r {
			t.Errorf("at %d: %+v, %v", r, s, err)
		}
	}
	if err := c.Compact(ctx, revs[3]); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(ctx, intent("h"), At(revs[2])); !errors.Is(err, Compacted) {
		t.Errorf("before the compaction: %v", err)
	}
	if o, err := c.Get(ctx, intent("h"), At(revs[3])); err != nil || string(o.Value) != "3" {
		t.Errorf("at the compaction: %s, %v", o.Value, err)
	}
}

func leases(t *testing.T, c *Core) {
	ctx := deadline(t)
	l, err := c.Grant(ctx, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(l.Until); left > l.TTL || left < l.TTL/4 {
		t.Errorf("believed for %v of %v", left, l.TTL)
	}
	h := listen(t, c, All(KindPresence), 0)
	h.next(t)
	if _, err := c.Txn(ctx, ann, nil, []Op{{Key: Key{KindPresence, "LON"}, Value: raw(`1`), Lease: l.ID}, {Key: Key{KindPresence, "FRA"}, Value: raw(`1`), Lease: l.ID}}); err != nil {
		t.Fatal(err)
	}
	h.next(t)
	if l, err = c.Renew(ctx, l); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, bob, Key{KindPresence, "FRA"}, raw(`2`), Any); err != nil {
		t.Fatal(err) // it belongs to no lease now
	}
	h.next(t)
	if b := h.next(t); len(b.Events) != 1 || !b.Events[0].Deleted || b.Events[0].Key.Name != "LON" || b.Events[0].Object.Who != WhoLease {
		t.Errorf("lease over: %+v", b)
	}
	if time.Now().Before(l.Until) {
		t.Errorf("it went %v before its holder stopped to believe in it", time.Until(l.Until))
	}
	if _, err := c.Renew(ctx, l); !errors.Is(err, NotFound) {
		t.Errorf("renewal of what is over: %v", err)
	}
	if _, err := c.Txn(ctx, ann, nil, []Op{{Key: Key{KindPresence, "X"}, Value: raw(`1`), Lease: l.ID}}); !errors.Is(err, NotFound) {
		t.Errorf("write under what is over: %v", err)
	}
	holds(t, c, h)
}

func holds(t *testing.T, c *Core, h *heard) {
	ctx, cancel := context.WithCancel(deadline(t))
	done := make(chan error, 1)
	go func() { done <- c.Hold(ctx, ann, Key{KindPresence, "AMS"}, raw(`1`), 3*time.Second) }()
	b := h.next(t)
	if len(b.Events) != 1 || b.Events[0].Key.Name != "AMS" {
		t.Fatalf("held: %+v", b)
	}
	if err := c.Revoke(ctx, b.Events[0].Object.Lease); err != nil {
		t.Fatal(err)
	}
	if b := h.next(t); !b.Events[0].Deleted {
		t.Fatalf("revoked: %+v", b)
	}
	if b := h.next(t); b.Events[0].Deleted {
		t.Fatalf("taken anew: %+v", b)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if b := h.next(t); !b.Events[0].Deleted {
		t.Errorf("let go: %+v", b)
	}
}

func refusals(t *testing.T, c *Core) {
	ctx := deadline(t)
	big := raw(`"` + strings.Repeat("x", 256<<10) + `"`)
	var many []Op
	for i := range 101 {
		many = append(many, Op{Key: intent(fmt.Sprint(i)), Value: raw(`1`)})
	}
	var fat []Op
	for i := range 5 {
		fat = append(fat, Op{Key: intent(fmt.Sprint(i)), Value: big[:250<<10]})
		fat[i].Value = raw(string(fat[i].Value) + `"`)
	}
	put := func(w Write, k Key, v json.RawMessage) func() error {
		return func() error { _, err := c.Put(ctx, w, k, v, Any); return err }
	}
	for name, r := range map[string]struct {
		code Code
		do   func() error
	}{
		"no who":      {Invalid, put(Write{Why: "x"}, intent("x"), raw(`1`))},
		"no why":      {Invalid, put(Write{Who: "x"}, intent("x"), raw(`1`))},
		"long why":    {TooLarge, put(Write{"x", strings.Repeat("x", 2000)}, intent("x"), raw(`1`))},
		"no name":     {Invalid, put(ann, intent(""), raw(`1`))},
		"odd name":    {Invalid, put(ann, intent("a\x00b"), raw(`1`))},
		"long name":   {TooLarge, put(ann, intent(strings.Repeat("x", 600)), raw(`1`))},
		"odd kind":    {Invalid, put(ann, Key{"a/b", "x"}, raw(`1`))},
		"no JSON":     {Invalid, put(ann, intent("x"), raw(`{`))},
		"big value":   {TooLarge, put(ann, intent("x"), big)},
		"many":        {TooLarge, func() error { _, err := c.Txn(ctx, ann, nil, many); return err }},
		"much":        {TooLarge, func() error { _, err := c.Txn(ctx, ann, nil, fat); return err }},
		"twice":       {Invalid, func() error { _, err := c.Txn(ctx, ann, nil, []Op{many[0], many[0]}); return err }},
		"nothing":     {Invalid, func() error { _, err := c.Txn(ctx, ann, nil, nil); return err }},
		"not absent":  {Invalid, func() error { _, err := c.Delete(ctx, ann, intent("x"), Absent); return err }},
		"short lease": {Invalid, func() error { _, err := c.Grant(ctx, time.Millisecond); return err }},
		"future":      {Invalid, func() error { _, err := c.Get(ctx, intent("x"), At(1<<40)); return err }},
	} {
		if err := r.do(); !errors.Is(err, r.code) {
			t.Errorf("%s: %v, want %s", name, err, r.code)
		}
	}
	if s, err := c.List(ctx, All(KindIntent)); err != nil || len(s.Objects) != 0 {
		t.Errorf("what was refused happened: %d, %v", len(s.Objects), err)
	}
}
