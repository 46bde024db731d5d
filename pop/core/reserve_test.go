package core

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestGrant(t *testing.T) {
	bits := func(n int64) Amount { return Amount{Bits: n} }
	held := func(from, slice string, a Amount) Held {
		return Held{Reservation: Reservation{From: from, To: "B", Slice: slice, Amount: a}}
	}
	room := func(a Amount) *Room { return &Room{Free: a} }
	for _, c := range []struct {
		name string
		room *Room
		held []Held
		ask  Reservation
		want Code
	}{
		{"fits", room(bits(10)), nil, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(10)}, ""},
		{"one too much", room(bits(10)), nil, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(11)}, Denied},
		{"others count", room(bits(10)), []Held{held("C", "s", bits(5))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(6)}, Denied},
		{"own other slice counts", room(bits(10)), []Held{held("A", "x", bits(5))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(6)}, Denied},
		{"own is replaced", room(bits(10)), []Held{held("A", "s", bits(5))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(10)}, ""},
		{"smaller in a room that shrank", room(bits(3)), []Held{held("A", "s", bits(5)), held("C", "s", bits(5))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(4)}, ""},
		{"smaller without a room", nil, []Held{held("A", "s", bits(5))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(4)}, ""},
		{"no room", nil, nil, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(1)}, Denied},
		{"another dimension", room(bits(10)), nil, Reservation{From: "A", To: "B", Slice: "s", Amount: Amount{Bits: 1, Flows: 1}}, Denied},
		{"unbounded dimension", room(Amount{Bits: 10, Flows: Unbounded}), []Held{held("C", "s", Amount{Flows: Unbounded})}, Reservation{From: "A", To: "B", Slice: "s", Amount: Amount{Bits: 1, Flows: 5}}, ""},
		{"sums do not overflow", room(Amount{Bits: math.MaxInt64 - 1}), []Held{held("C", "s", bits(math.MaxInt64-1))}, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(math.MaxInt64)}, Denied},
		{"nothing", room(bits(10)), nil, Reservation{From: "A", To: "B", Slice: "s", Amount: Amount{}}, Invalid},
		{"less than nothing", room(bits(10)), nil, Reservation{From: "A", To: "B", Slice: "s", Amount: bits(-1)}, Invalid},
		{"its own room", room(bits(10)), nil, Reservation{From: "B", To: "B", Slice: "s", Amount: bits(1)}, ""},
		{"another's book", room(bits(10)), nil, Reservation{From: "A", To: "C", Slice: "s", Amount: bits(1)}, Invalid},
		{"odd name", room(bits(10)), nil, Reservation{From: "A/x", To: "B", Slice: "s", Amount: bits(1)}, Invalid},
	} {
		err := Book{To: "B", Room: c.room, Held: c.held}.Grant(c.ask)
		if c.want == "" && err != nil || c.want != "" && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestReservationEnds: the room comes back with the lease, and with Release,
// and passes into the room's measure when it is settled.
func TestReservationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := NewMemory(Options{}), t.Context()
		l, err := c.Grant(ctx, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		offer := func(free int64, settled ...Held) {
			t.Helper()
			if _, err := c.Offer(ctx, bob, "FRA", Room{Free: Amount{Bits: free}}, l.ID, settled...); err != nil {
				t.Fatal(err)
			}
		}
		left := func(want int64) {
			t.Helper()
			if b, err := c.Book(ctx, "FRA"); err != nil || b.Left().Bits != want {
				t.Errorf("left is %+v, want %d: %v", b.Left(), want, err)
			}
		}
		r := Reservation{From: "LON", To: "FRA", Slice: "192.0.2.0/24", Amount: Amount{Bits: 8}}
		offer(10)
		if _, err := c.Reserve(ctx, ann, r, 3*time.Second); err != nil {
			t.Fatal(err)
		}
		left(2)
		if _, err := c.Reserve(ctx, ann, Reservation{From: "AMS", To: "FRA", Slice: "192.0.2.0/24", Amount: Amount{Bits: 3}}, 3*time.Second); !errors.Is(err, Denied) {
			t.Errorf("more than is left: %v", err)
		}
		time.Sleep(4 * time.Second)
		left(10)
		h, err := c.Reserve(ctx, ann, r, 3*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Release(ctx, ann, []Held{h}); err != nil {
			t.Fatal(err)
		}
		left(10)
		if _, err = c.Extend(ctx, h); !errors.Is(err, NotFound) {
			t.Errorf("extended after the release: %v", err)
		}
		if h, err = c.Reserve(ctx, ann, r, 3*time.Second); err != nil {
			t.Fatal(err)
		}
		offer(2, h)
		left(2)
		if _, err := c.Offer(ctx, bob, "FRA", Room{}, l.ID, h); !errors.Is(err, Conflict) {
			t.Errorf("settled twice: %v", err)
		}
		if err := c.Revoke(ctx, l.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Reserve(ctx, ann, r, 3*time.Second); !errors.Is(err, Denied) {
			t.Errorf("of a receiver that is silent: %v", err)
		}
	})
}

// TestTake: a step toward several POPs, with a claim and a rule of the
// caller's, is taken whole or not at all.
func TestTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ctx := NewMemory(Options{Limits: wide}), t.Context()
		claim, scope := Key{KindResponse, "claim LON web"}, Key{KindResponse, "claims web"}
		lease, err := c.Grant(ctx, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, pop := range []string{"FRA", "AMS"} {
			if _, err := c.Offer(ctx, bob, pop, Room{Free: Amount{Bits: 10}}, lease.ID); err != nil {
				t.Fatal(err)
			}
		}
		step := Step{
			Want:  []Reservation{{From: "LON", To: "FRA", Slice: "web", Amount: Amount{Bits: 8}}, {From: "LON", To: "AMS", Slice: "web", Amount: Amount{Bits: 8}}},
			TTL:   time.Minute,
			Also:  []Op{{Key: claim, Value: raw(`2`)}},
			Scope: []Key{scope},
		}
		tries := 0
		step.Admit = func(ctx context.Context, revision int64) error {
			if tries++; tries == 1 { // another step of the scope comes first
				_, err := c.Put(ctx, bob, scope, raw(`1`), Any)
				return err
			}
			return nil
		}
		held, err := c.Take(ctx, ann, step)
		if err != nil || len(held) != 2 || tries != 2 {
			t.Fatalf("%+v after %d tries: %v", held, tries, err)
		}
		refusedSteps(t, c, step)
		if all, rev, err := c.Reservations(ctx); err != nil || len(all) != 2 || all[0].To != "AMS" || all[0].Revision > rev {
			t.Errorf("in force: %+v at %d, %v", all, rev, err)
		}
		if _, err := c.Put(ctx, bob, Key{KindReservation, "FRA/NYC/x"}, raw(`{"to":"AMS"}`), Any); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Reserve(ctx, ann, Reservation{From: "NYC", To: "FRA", Slice: "y", Amount: Amount{Bits: 1}}, time.Minute); !errors.Is(err, Corrupt) {
			t.Errorf("granted beside a reservation that cannot be read: %v", err)
		}
		if held[0], err = c.Note(ctx, ann, held[0], raw(`{"applied":1}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Second)
		if held[0], err = c.Extend(ctx, held[0]); err != nil {
			t.Errorf("extended after a note: %v", err)
		}
		time.Sleep(50 * time.Second)
		if held[1], err = c.Extend(ctx, held[1]); err != nil {
			t.Errorf("taken together, extended together: %v", err)
		}
		if err := c.Release(ctx, ann, held, Op{Key: claim, Delete: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(ctx, claim); !errors.Is(err, NotFound) {
			t.Errorf("the claim stays: %v", err)
		}
		if err := c.Release(ctx, ann, held); err != nil {
			t.Errorf("released twice: %v", err)
		}
	})
}

// refusedSteps: one receiver of two has no room; the planner's own rule.
func refusedSteps(t *testing.T, c *Memory, step Step) {
	ctx := t.Context()
	other := step
	other.Want = []Reservation{{From: "NYC", To: "AMS", Slice: "web", Amount: Amount{Bits: 1}}, {From: "NYC", To: "FRA", Slice: "web", Amount: Amount{Bits: 3}}}
	other.Also = []Op{{Key: intent("nyc"), Value: raw(`1`)}}
	if _, err := c.Take(ctx, ann, other); !errors.Is(err, Denied) {
		t.Errorf("one of two has no room: %v", err)
	}
	if b, err := c.Book(ctx, "AMS"); err != nil || len(b.Held) != 1 {
		t.Errorf("half a step: %+v, %v", b.Held, err)
	}
	other.Unoffered = true
	other.Admit = func(context.Context, int64) error { return errors.New("not today") }
	if _, err := c.Take(ctx, ann, other); !errors.Is(err, Denied) || !strings.Contains(err.Error(), "not today") {
		t.Errorf("the caller's rule: %v", err)
	}
}
