package core

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// The arithmetic of reservations: pure, and the only place that says yes.
//
// A receiver offers room: what it can take beyond what it carries. The others
// reserve of it. A reservation is granted against a book, the state of one
// receiver at one revision, and the grant is written only if the room and the
// ledger of that receiver, and the asker's own former reservation, are still
// the ones of the book (compare and set). So between reading and writing
// nothing was granted and no room was lowered; reservations of others can only
// have ended meanwhile, which makes room. That is why the order in which POPs
// ask does not matter. (The own one counts too: what is made smaller without
// room for it must not have ended meanwhile, or it is a new grant.)
//
// No wall clock takes part. Rooms and reservations are under leases of the
// core: it counts their time from when it granted them, the holder counts a
// tenth less from before it asked (Lease.Until), so the holder always stops
// to believe before the core lets go, whatever their clocks say. A new leader
// of the core starts leases anew, which only makes them longer.

// Amount is load: whole numbers, so that sums are exact.
type Amount struct {
	Bits     int64 `json:"bits,omitempty"`     // a second
	Requests int64 `json:"requests,omitempty"` // a second
	Flows    int64 `json:"flows,omitempty"`    // connections
}

// String is the amount as people read it.
func (a Amount) String() string {
	one := func(n int64, unit string) string {
		if n == Unbounded {
			return "any " + unit
		}
		return fmt.Sprintf("%d %s", n, unit)
	}
	return one(a.Bits, "bit/s") + ", " + one(a.Requests, "requests/s") + ", " + one(a.Flows, "flows")
}

// Unbounded in a room means: not what limits this receiver.
const Unbounded = math.MaxInt64

func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// Plus is the sum; it stops at the largest number and never turns negative.
func (a Amount) Plus(b Amount) Amount {
	return Amount{add(a.Bits, b.Bits), add(a.Requests, b.Requests), add(a.Flows, b.Flows)}
}

// Within reports whether a is at most b in everything that b bounds.
func (a Amount) Within(b Amount) bool {
	in := func(x, y int64) bool { return y == Unbounded || x <= y }
	return in(a.Bits, b.Bits) && in(a.Requests, b.Requests) && in(a.Flows, b.Flows)
}

// minus is what is left of b after a, at least zero.
func (a Amount) minus(b Amount) Amount {
	sub := func(x, y int64) int64 {
		if x == Unbounded {
			return x
		}
		return max(0, x-y)
	}
	return Amount{sub(a.Bits, b.Bits), sub(a.Requests, b.Requests), sub(a.Flows, b.Flows)}
}

func (a Amount) check() error {
	if a.Bits < 0 || a.Requests < 0 || a.Flows < 0 {
		return fail(Invalid, "amount %+v is negative", a)
	}
	return nil
}

// Room is what a receiver can take beyond what it carries now, and beyond
// what it keeps for itself. Only the receiver writes it.
type Room struct {
	Free Amount `json:"free"`
	// Carries is the load it was measured at, for people and for the journal.
	Carries Amount `json:"carries"`
}

// Reservation: From may move Amount of a slice toward To while it holds it.
// There is one for each three of From, To and Slice; to reserve again replaces
// it. Who takes a slice back reserves its own room: then From and To are one.
type Reservation struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Slice  string `json:"slice"`
	Amount Amount `json:"amount"`
	// Detail is the planner's own: it is stored and not looked at.
	Detail json.RawMessage `json:"detail,omitempty"`
}

// Name is the reservation's key without its kind: TO/FROM/SLICE.
func (r Reservation) Name() string { return r.To + "/" + r.From + "/" + r.Slice }

func (r Reservation) key() Key { return Key{KindReservation, r.Name()} }

func (r Reservation) check() error {
	for _, pop := range []string{r.From, r.To} {
		if pop == "" || strings.Contains(pop, "/") {
			return fail(Invalid, "reservation from %q to %q: want names of POPs", r.From, r.To)
		}
	}
	switch {
	case r.Slice == "":
		return fail(Invalid, "a reservation is for a slice")
	case len(r.Detail) > 0 && !json.Valid(r.Detail):
		return fail(Invalid, "the detail of a reservation is not JSON")
	case r.Amount == Amount{}:
		return fail(Invalid, "a reservation of nothing")
	}
	if err := r.Amount.check(); err != nil {
		return err
	}
	return r.key().check()
}

// Book is one receiver at one revision.
type Book struct {
	To       string
	Revision int64
	Room     *Room  // nil: it offers none
	Held     []Held // in force

	room, ledger int64 // revisions of the objects the grant depends on
}

// Held is a reservation in force.
type Held struct {
	Reservation
	Revision int64 // of the grant
	Lease    Lease // ours only if we made it; of others only its ID
}

// own is the revision of what the same POP holds for the same slice; 0: nothing.
func (b Book) own(r Reservation) int64 {
	for _, h := range b.Held {
		if h.Name() == r.Name() {
			return h.Revision
		}
	}
	return 0
}

// Taken is the sum of what is held.
func (b Book) Taken() Amount {
	var sum Amount
	for _, h := range b.Held {
		sum = sum.Plus(h.Amount)
	}
	return sum
}

// Left is what can still be reserved.
func (b Book) Left() Amount {
	if b.Room == nil {
		return Amount{}
	}
	return b.Room.Free.minus(b.Taken())
}

// Grant says whether reservations toward the book's receiver can be had, all
// of them together. One that the same POP holds for the same slice is
// replaced; making all smaller is always granted, also when the receiver has
// lowered its room below what it had promised.
func (b Book) Grant(want ...Reservation) error {
	sum, smaller := Amount{}, true
	names := map[string]bool{}
	for _, r := range want {
		switch err := r.check(); {
		case err != nil:
			return err
		case r.To != b.To:
			return fail(Invalid, "reservation toward %s in the book of %s", r.To, b.To)
		case names[r.Name()]:
			return fail(Invalid, "reservation %s is asked for twice", r.Name())
		}
		names[r.Name()] = true
		sum = sum.Plus(r.Amount)
		i := slices.IndexFunc(b.Held, func(h Held) bool { return h.Name() == r.Name() })
		smaller = smaller && i >= 0 && r.Amount.Within(b.Held[i].Amount)
	}
	if smaller {
		return nil
	}
	asked := sum
	for _, h := range b.Held {
		if !names[h.Name()] {
			sum = sum.Plus(h.Amount)
		}
	}
	switch {
	case b.Room == nil:
		return fail(Denied, "%s offers no room", b.To)
	case !sum.Within(b.Room.Free):
		return fail(Denied, "%s has no room for %v: %v free, of which %v is taken", b.To, asked, b.Room.Free, b.Taken())
	}
	return nil
}
