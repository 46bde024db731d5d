package core

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
)

// MaxReservation is the longest time a reservation lasts without renewal.
const MaxReservation = 10 * time.Minute

// attempts at a compare and set before the asker hears of the conflict.
const attempts = 8

func roomKey(pop string) Key { return Key{KindRoom, pop} }

// ledgerKey is written by each grant toward a POP, so that two grants cannot
// be made from the same book. It is not under the reservations' prefix TO/.
func ledgerKey(pop string) Key { return Key{KindReservation, pop} }

// Book reads what a POP offers and what is reserved of it, at one revision.
func (c *Core) Book(ctx context.Context, to string, reads ...Read) (Book, error) {
	s, err := c.List(ctx, Under(KindReservation, to), reads...)
	if err != nil {
		return Book{}, about(err, "book", to)
	}
	b := Book{To: to, Revision: s.Revision}
	if len(s.Broken) > 0 {
		return Book{}, about(fail(Corrupt, "reservation %v cannot be read: nothing is granted", s.Broken), "book", to)
	}
	for _, o := range s.Objects {
		h, err := heldOf(o)
		if err != nil {
			return Book{}, about(err, "book", to)
		}
		b.Held = append(b.Held, h)
	}
	if b.ledger, err = c.at(ctx, ledgerKey(to), s.Revision, nil); err != nil {
		return Book{}, about(err, "book", to)
	}
	var room Room
	if b.room, err = c.at(ctx, roomKey(to), s.Revision, &room); err != nil {
		return Book{}, about(err, "book", to)
	}
	if b.room != 0 {
		if err := room.Free.check(); err != nil {
			return Book{}, about(fail(Corrupt, "room of %s: %w", to, err), "book", to)
		}
		b.Room = &room
	}
	return b, nil
}

// heldOf reads a reservation; one that cannot be read must stop all grants.
func heldOf(o Object) (Held, error) {
	h := Held{Revision: o.Revision, Lease: Lease{ID: o.Lease}}
	if err := o.Into(&h.Reservation); err != nil {
		return h, err
	}
	if h.Name() != o.Key.Name || h.check() != nil {
		return h, fail(Corrupt, "%s says %+v: nothing is granted", o.Key, h.Reservation)
	}
	return h, nil
}

// Reservations are all that are in force, toward whomever, at one revision.
func (c *Core) Reservations(ctx context.Context, reads ...Read) ([]Held, int64, error) {
	s, err := c.List(ctx, All(KindReservation), reads...)
	if err != nil {
		return nil, 0, about(err, "reservations", "")
	}
	if len(s.Broken) > 0 {
		return nil, 0, about(fail(Corrupt, "%v cannot be read", s.Broken), "reservations", "")
	}
	var out []Held
	for _, o := range s.Objects {
		if !strings.Contains(o.Key.Name, "/") {
			continue // a ledger
		}
		h, err := heldOf(o)
		if err != nil {
			return nil, 0, about(err, "reservations", "")
		}
		out = append(out, h)
	}
	return out, s.Revision, nil
}

// at reads an object of a former revision into v, and returns the revision of
// its last change before; 0: there was none.
func (c *Core) at(ctx context.Context, k Key, revision int64, v any) (int64, error) {
	o, err := c.Get(ctx, k, At(revision))
	switch {
	case errors.Is(err, NotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case v == nil:
		return o.Revision, nil
	}
	return o.Revision, o.Into(v)
}

// Step is what one POP takes at once: all of it at one revision, or nothing.
type Step struct {
	Want []Reservation // toward one or several POPs
	TTL  time.Duration // of all of them; Extend makes it last
	// Also are writes made with them, a claim for example; under no lease
	// unless they name one.
	Also []Op
	// Scope are objects that each step of the same scope writes: between
	// Admit and the write no other of that scope has been made. (The
	// receivers of Want are such scopes by themselves.)
	Scope []Key
	// Admit is the caller's own rule, asked once for each attempt with the
	// revision at which to look at the core; nil: none.
	Admit func(ctx context.Context, revision int64) error
	// Unoffered: do not hold Want against the rooms that receivers offer;
	// Admit alone knows what room there is.
	Unoffered bool
}

// Take takes a step, or says Denied. Do not act on what is held after its
// Lease.Until. If the error is Uncertain nothing is held that would not end
// with the time, but what is in Also may have been written.
func (c *Core) Take(ctx context.Context, w Write, s Step) ([]Held, error) {
	for _, r := range s.Want {
		if err := r.check(); err != nil {
			return nil, about(err, "take", r.Name())
		}
	}
	if len(s.Want) == 0 || s.TTL > MaxReservation {
		return nil, about(fail(Invalid, "%d reservations for %v: want some, for at most %v", len(s.Want), s.TTL, MaxReservation), "take", "")
	}
	l, err := c.Grant(ctx, s.TTL)
	if err != nil {
		return nil, about(err, "take", s.Want[0].Name())
	}
	var rev int64
	for range attempts {
		if rev, err = c.take(ctx, w, s, l); !errors.Is(err, Conflict) {
			break
		}
	}
	if err != nil {
		c.letGo(context.WithoutCancel(ctx), l)
		return nil, about(err, "take", s.Want[0].Name())
	}
	var out []Held
	for _, r := range s.Want {
		out = append(out, Held{Reservation: r, Revision: rev, Lease: l})
	}
	return out, nil
}

// take is one compare and set.
func (c *Core) take(ctx context.Context, w Write, s Step, l Lease) (int64, error) {
	to := map[string][]Reservation{}
	for _, r := range s.Want {
		to[r.To] = append(to[r.To], r)
	}
	var reads []Read // all books at the revision of the first
	var revision int64
	var conds []Cond
	ops := append([]Op(nil), s.Also...)
	for _, pop := range slices.Sorted(maps.Keys(to)) {
		b, err := c.Book(ctx, pop, reads...)
		if err != nil {
			return 0, err
		}
		revision, reads = b.Revision, []Read{At(b.Revision)}
		if !s.Unoffered {
			if err := b.Grant(to[pop]...); err != nil {
				return 0, err
			}
		}
		conds = append(conds, Cond{roomKey(pop), If(b.room)}, Cond{ledgerKey(pop), If(b.ledger)})
		ops = append(ops, Op{Key: ledgerKey(pop), Value: mustJSON(map[string]string{"last": to[pop][0].Name()})})
		for _, r := range to[pop] {
			conds = append(conds, Cond{r.key(), If(b.own(r))})
			ops = append(ops, Op{Key: r.key(), Value: mustJSON(r), Lease: l.ID})
		}
	}
	for _, k := range s.Scope {
		rev, err := c.at(ctx, k, revision, nil)
		if err != nil {
			return 0, err
		}
		conds = append(conds, Cond{k, If(rev)})
		ops = append(ops, Op{Key: k, Value: mustJSON(map[string]string{"last": s.Want[0].Name()})})
	}
	if s.Admit != nil {
		if err := s.Admit(ctx, revision); err != nil {
			return 0, &Error{Code: Denied, Err: err}
		}
	}
	return c.Txn(ctx, w, conds, ops)
}

// Reserve takes one reservation of the room that its receiver offers.
func (c *Core) Reserve(ctx context.Context, w Write, r Reservation, ttl time.Duration) (Held, error) {
	held, err := c.Take(ctx, w, Step{Want: []Reservation{r}, TTL: ttl})
	if err != nil {
		return Held{}, about(err, "reserve", r.Name())
	}
	return held[0], nil
}

// Extend makes a reservation, and all that were taken with it, last their time
// again. NotFound: it is over, settled or replaced; the room may be another's.
func (c *Core) Extend(ctx context.Context, h Held) (Held, error) {
	l, err := c.Renew(ctx, h.Lease)
	if err != nil {
		return h, about(err, "extend", h.Name())
	}
	o, err := c.Get(ctx, h.key())
	if err == nil && o.Lease != l.ID {
		err = &Error{Code: NotFound, Err: errors.New("it was replaced")}
	}
	if err != nil {
		return h, about(err, "extend", h.Name())
	}
	h.Lease, h.Revision = l, o.Revision
	return h, nil
}

// Note changes the detail of what is held, and nothing else.
func (c *Core) Note(ctx context.Context, w Write, h Held, detail json.RawMessage) (Held, error) {
	next := h
	next.Detail = detail
	if err := next.check(); err != nil {
		return h, about(err, "note", h.Name())
	}
	rev, err := c.Txn(ctx, w, []Cond{{h.key(), If(h.Revision)}}, []Op{{Key: h.key(), Value: mustJSON(next.Reservation), Lease: h.Lease.ID}})
	if err != nil {
		return h, about(err, "note", h.Name())
	}
	next.Revision = rev
	return next, nil
}

// Release gives reservations back that are not needed any more, because
// nothing was moved or it has been moved back, together with other writes
// (the end of a claim). When the load has arrived it is the receiver that ends
// them, by Offer. What is over or replaced by now is no error.
func (c *Core) Release(ctx context.Context, w Write, held []Held, also ...Op) error {
	for {
		var conds []Cond
		ops := append([]Op(nil), also...)
		for _, h := range held {
			conds = append(conds, Cond{h.key(), If(h.Revision)})
			ops = append(ops, Op{Key: h.key(), Delete: true})
		}
		if len(ops) == 0 {
			return nil
		}
		_, err := c.Txn(ctx, w, conds, ops)
		var e *Error
		if !errors.As(err, &e) || e.Code != Conflict {
			return about(err, "release", "")
		}
		held = slices.DeleteFunc(slices.Clone(held), func(h Held) bool { return h.key().String() == e.Key })
	}
}

// Offer is how a receiver says what room it has, under a lease of its own: a
// receiver that is silent has no room. Settled are reservations whose load
// has arrived and is part of what the room was measured with: they end at the
// same revision at which the room shrinks, so that it is never counted twice
// nor not at all. Conflict: one of them has changed, look at the book again.
// Offer when the room has changed by an amount that matters, not each second.
func (c *Core) Offer(ctx context.Context, w Write, pop string, r Room, l LeaseID, settled ...Held) (int64, error) {
	if err := r.Free.check(); err != nil {
		return 0, about(err, "offer", pop)
	}
	if l == 0 {
		return 0, about(fail(Invalid, "room is offered under a lease"), "offer", pop)
	}
	ops := []Op{{Key: roomKey(pop), Value: mustJSON(r), Lease: l}}
	var conds []Cond
	for _, h := range settled {
		if h.To != pop {
			return 0, about(fail(Invalid, "%s is not toward %s", h.Name(), pop), "offer", pop)
		}
		conds = append(conds, Cond{h.key(), If(h.Revision)})
		ops = append(ops, Op{Key: h.key(), Delete: true})
	}
	rev, err := c.Txn(ctx, w, conds, ops)
	return rev, about(err, "offer", pop)
}
