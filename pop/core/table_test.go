package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

type lamp struct {
	Watts int `json:"watts"`
}

func lampCheck(_ string, l lamp) error {
	if l.Watts < 0 {
		return errors.New("it makes no light")
	}
	return nil
}

func TestTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := NewMemory(Options{Limits: wide}), t.Context()
		lamps := NewTable(c.Core, KindResponse, lampCheck)
		var seen []map[string]Item[lamp]
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			done <- lamps.Follow(ctx, "", func(m map[string]Item[lamp], _ int64) error { seen = append(seen, m); return nil })
		}()
		a, err := lamps.Put(ctx, ann, "a", lamp{1}, Absent)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lamps.Put(ctx, ann, "a", lamp{-1}, If(a.Revision)); !errors.Is(err, Invalid) {
			t.Errorf("written unchecked: %v", err)
		}
		synctest.Wait()
		if _, err := c.Put(ctx, ann, Key{KindResponse, "b"}, raw(`{"watts":-4}`), Any); err != nil {
			t.Fatal(err)
		}
		if _, err := lamps.Get(ctx, "b"); !errors.Is(err, Corrupt) {
			t.Errorf("read unchecked: %v", err)
		}
		items, _, broken, err := lamps.List(ctx, "")
		if err != nil || len(items) != 1 || items[0].V.Watts != 1 || !slices.Equal(broken, []Key{{KindResponse, "b"}}) {
			t.Errorf("list: %+v, %v, %v", items, broken, err)
		}
		synctest.Wait()
		if _, err := lamps.Delete(ctx, ann, "a", Any); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cancel()
		<-done
		if n := len(seen); n < 3 || len(seen[n-1]) != 0 || seen[n-2]["a"].V.Watts != 1 {
			t.Errorf("followed: %+v", seen)
		}
	})
}

// TestRates: a writer that runs wild is held back, the others are not, and it
// may write again after the time it was told.
func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := NewMemory(Options{Limits: Limits{Rate: 10, Burst: 5, Writer: 8}}), t.Context()
		var err error
		n := 0
		for ; err == nil; n++ {
			_, err = c.Put(ctx, ann, intent("x"), raw(`1`), Any)
		}
		var e *Error
		if n != 6 || !errors.As(err, &e) || e.Code != Limited || e.Retry <= 0 || e.Retry > time.Second/10 {
			t.Fatalf("write %d: %v", n, err)
		}
		if _, err := c.Put(ctx, bob, intent("x"), raw(`1`), Any); err != nil {
			t.Errorf("another writer: %v", err)
		}
		time.Sleep(e.Retry)
		if _, err := c.Put(ctx, ann, intent("x"), raw(`1`), Any); err != nil {
			t.Errorf("after the wait: %v", err)
		}
		for i := range 100 {
			if _, err := c.Put(ctx, Write{fmt.Sprint(i), "x"}, intent("x"), raw(`1`), Any); err != nil {
				t.Fatal(err)
			}
		}
		if len(c.rates.writers) > 8 {
			t.Errorf("%d writers are remembered", len(c.rates.writers))
		}
	})
}

// TestOutage: while the core is away nothing passes but old reads, and a watch
// goes on where it was.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := NewMemory(Options{Limits: wide}), t.Context()
		if _, err := c.Put(ctx, ann, intent("1"), raw(`1`), Any); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(ctx)
		var got []Batch
		done := make(chan error, 1)
		go func() {
			done <- c.Watch(ctx, All(KindIntent), 0, func(b Batch) error { got = append(got, b); return nil })
		}()
		synctest.Wait()
		c.Fail(errors.New("away"))
		if _, err := c.Put(ctx, ann, intent("2"), raw(`1`), Any); !errors.Is(err, Unavailable) {
			t.Errorf("write: %v", err)
		}
		if _, err := c.Get(ctx, intent("1")); !errors.Is(err, Unavailable) {
			t.Errorf("read: %v", err)
		}
		if _, err := c.Get(ctx, intent("1"), Stale()); err != nil {
			t.Errorf("old read: %v", err)
		}
		time.Sleep(time.Hour)
		c.Fail(nil)
		if _, err := c.Put(ctx, ann, intent("2"), raw(`1`), Any); err != nil {
			t.Fatal(err)
		}
		time.Sleep(mostPause)
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("watch ends with %v", err)
		}
		if len(got) != 2 || got[1].Snapshot || got[1].Events[0].Key != intent("2") {
			t.Errorf("heard %+v", got)
		}
	})
}

// FuzzDecode: whatever is stored, reading it says so or gives what was
// written; nothing panics, and what is granted stays within the room.
func FuzzDecode(f *testing.F) {
	for _, v := range []string{`1`, `{"from":"A","to":"B","slice":"s","amount":{"bits":1}}`, `{"free":{"bits":9223372036854775807}}`, `{"number":1,"objects":{"a":{"version":3}}}`} {
		b, err := encode(ann, time.Unix(0, 0), raw(v))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"v":1,"value":null}`))
	f.Fuzz(func(t *testing.T, stored []byte) {
		e, err := decode(stored)
		if err != nil {
			if !errors.Is(err, Corrupt) {
				t.Errorf("%v", err)
			}
			return
		}
		again, err := encode(Write{e.Who, e.Why}, e.At, e.Value)
		if err != nil {
			t.Fatalf("decoded and not encoded: %v", err)
		}
		if e2, err := decode(again); err != nil || e2.Who != e.Who || e2.Why != e.Why {
			t.Errorf("%q became %q, %v", stored, again, err)
		}
		o := Object{Value: e.Value}
		var m Manifest
		var tr Trust
		var tok tokenRecord
		for _, v := range []any{&m, &tr, &tok, &Version{}, &Joined{}} {
			if err := o.Into(v); err != nil && !errors.Is(err, Corrupt) {
				t.Errorf("%T: %v", v, err)
			}
		}
		tr.Believe(tr.Bundle)
		fuzzGrant(t, e.Value)
	})
}

func fuzzGrant(t *testing.T, v json.RawMessage) {
	var r Reservation
	var room Room
	if json.Unmarshal(v, &r) != nil || json.Unmarshal(v, &room) != nil || room.Free.check() != nil {
		return
	}
	b := Book{To: r.To, Room: &room, Held: []Held{{Reservation: Reservation{From: "x", To: r.To, Slice: "x", Amount: Amount{Bits: math.MaxInt64, Flows: 1}}}}}
	if r.Name() != b.Held[0].Name() && b.Grant(r) == nil && !r.Amount.Plus(b.Taken()).Within(room.Free) {
		t.Errorf("%+v granted of %+v", r, room)
	}
}
