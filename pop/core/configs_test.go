package core

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestConfigs(t *testing.T) {
	c, ctx := NewMemory(Options{Limits: wide}), deadline(t)
	s := NewConfigs(c.Core, 4)
	m, err := s.Commit(ctx, ann, Absent, Change{Name: "service/web", Value: raw(`{"p": 1}`)}, Change{Name: "guards", Value: raw(`{}`)})
	if err != nil || m.Number != 1 || len(m.Objects) != 2 || m.Objects["guards"].Version != 1 {
		t.Fatalf("first: %+v, %v", m, err)
	}
	if _, err := s.Commit(ctx, bob, Absent, Change{Name: "guards", Value: raw(`{"x":1}`)}); !errors.Is(err, Conflict) {
		t.Errorf("made for an empty config: %v", err)
	}
	same, err := s.Commit(ctx, bob, If(m.Revision), Change{Name: "guards", Value: raw(` { } `)})
	if err != nil || same.Revision != m.Revision || same.Write != ann {
		t.Errorf("nothing new: %+v, %v", same, err)
	}
	for i := 2; i <= 6; i++ {
		if m, err = s.Commit(ctx, bob, If(m.Revision), Change{Name: "service/web", Value: raw(fmt.Sprintf(`{"p":%d}`, i))}); err != nil {
			t.Fatal(err)
		}
	}
	h, err := s.History(ctx, "service/web")
	if err != nil || len(h) != 4 || h[0].Version != 3 || h[3].Version != 6 || h[3].Object.Write != bob || string(h[0].Value) != `{"p":3}` {
		t.Fatalf("history: %+v, %v", h, err)
	}
	if m, err = s.Rollback(ctx, ann, Any, "service/web", 4); err != nil || m.Objects["service/web"].Version != 7 {
		t.Fatalf("rollback: %+v, %v", m, err)
	}
	o, err := s.Get(ctx, "service/web")
	if err != nil || string(o.Value) != `{"p":4}` || o.Who != ann.Who || !strings.Contains(o.Why, "back to version 4") || o.Revision != m.Revision {
		t.Errorf("after it: %+v, %v", o, err)
	}
	if _, err := s.Rollback(ctx, ann, Any, "service/web", 1); !errors.Is(err, NotFound) {
		t.Errorf("a version too old: %v", err)
	}
	wholeConfig(t, s, m)
}

// wholeConfig rolls back over a delete and a new object.
func wholeConfig(t *testing.T, s *Configs, good Manifest) {
	ctx := deadline(t)
	bad, err := s.Commit(ctx, bob, If(good.Revision),
		Change{Name: "service/web", Delete: true}, Change{Name: "guards", Value: raw(`{"off":true}`)}, Change{Name: "new", Value: raw(`1`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, "service/web"); !errors.Is(err, NotFound) {
		t.Errorf("deleted: %v", err)
	}
	if _, err := s.Commit(ctx, bob, Any, Change{Name: "service/web", Delete: true}); !errors.Is(err, NotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	back, err := s.RollbackTo(ctx, ann, good.Number)
	if err != nil || back.Number != bad.Number+1 {
		t.Fatalf("back: %+v, %v", back, err)
	}
	list, err := s.List(ctx)
	if err != nil || len(list.Objects) != 2 || string(list.Objects[0].Value) != `{}` || string(list.Objects[1].Value) != `{"p":4}` {
		t.Errorf("back to %+v, %v", list.Objects, err)
	}
	if again, err := s.RollbackTo(ctx, ann, good.Number); err != nil || again.Revision != back.Revision {
		t.Errorf("back twice: %+v, %v", again, err)
	}
	for _, name := range []string{"", "a@b", "\n", strings.Repeat("x", 600)} {
		if _, err := s.Commit(ctx, ann, Any, Change{Name: name, Value: raw(`1`)}); err == nil {
			t.Errorf("config object %q", name)
		}
	}
	if _, err := s.Commit(ctx, ann, Any, Change{Name: "x", Value: raw(`{`)}); !errors.Is(err, Invalid) {
		t.Errorf("no JSON: %v", err)
	}
}

// TestConfigsTogether: changes made at once are all there, each a version.
func TestConfigsTogether(t *testing.T) {
	c, ctx := NewMemory(Options{Limits: wide}), deadline(t)
	s := NewConfigs(c.Core, 0)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; n < 10; {
				_, err := s.Commit(ctx, ann, Any, Change{Name: "shared", Value: raw(fmt.Sprint(i*100 + n))}, Change{Name: fmt.Sprint(i), Value: raw(fmt.Sprint(n))})
				if err == nil {
					n++
				} else if !errors.Is(err, Conflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	m, err := s.Manifest(ctx)
	if err != nil || m.Number != 40 || m.Objects["shared"].Version != 40 || m.Objects["3"].Version != 10 {
		t.Errorf("%+v, %v", m, err)
	}
}
