package core

import (
	"context"
	"errors"
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
func (c *Core) Book(ctx context.Context, to string) (Book, error) {
	s, err := c.List(ctx, Under(KindReservation, to))
	if err != nil {
		return Book{}, about(err, "book", to)
	}
	b := Book{To: to, Revision: s.Revision}
	if len(s.Broken) > 0 {
		return Book{}, about(fail(Corrupt, "reservation %v cannot be read: nothing is granted", s.Broken), "book", to)
	}
	for _, o := range s.Objects {
		h := Held{Revision: o.Revision, Lease: Lease{ID: o.Lease}}
		if err := o.Into(&h.Reservation); err != nil {
			return Book{}, about(err, "book", to)
		}
		if h.Name() != o.Key.Name || h.check() != nil {
			return Book{}, about(fail(Corrupt, "%s says %+v: nothing is granted", o.Key, h.Reservation), "book", to)
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

// Reserve takes room at another POP for at most ttl, or says Denied. Do not
// act on it after Lease.Until; Extend makes it last. If the error is
// Uncertain nothing is held that would not end with ttl.
func (c *Core) Reserve(ctx context.Context, w Write, r Reservation, ttl time.Duration) (Held, error) {
	if err := r.check(); err != nil {
		return Held{}, about(err, "reserve", r.Name())
	}
	if ttl > MaxReservation {
		return Held{}, about(fail(Invalid, "%v, at most %v", ttl, MaxReservation), "reserve", r.Name())
	}
	l, err := c.Grant(ctx, ttl)
	if err != nil {
		return Held{}, about(err, "reserve", r.Name())
	}
	var rev int64
	for range attempts {
		if rev, err = c.reserve(ctx, w, r, l); !errors.Is(err, Conflict) {
			break
		}
	}
	if err != nil {
		c.letGo(context.WithoutCancel(ctx), l)
		return Held{}, about(err, "reserve", r.Name())
	}
	return Held{Reservation: r, Revision: rev, Lease: l}, nil
}

// reserve is one compare and set.
func (c *Core) reserve(ctx context.Context, w Write, r Reservation, l Lease) (int64, error) {
	b, err := c.Book(ctx, r.To)
	if err != nil {
		return 0, err
	}
	if err := b.Grant(r); err != nil {
		return 0, err
	}
	return c.Txn(ctx, w,
		[]Cond{{roomKey(r.To), If(b.room)}, {ledgerKey(r.To), If(b.ledger)}, {r.key(), If(b.own(r))}},
		[]Op{
			{Key: ledgerKey(r.To), Value: mustJSON(map[string]string{"last": r.Name()})},
			{Key: r.key(), Value: mustJSON(r), Lease: l.ID},
		})
}

// Extend makes a reservation last its time again. NotFound: it is over, the
// room may be another's.
func (c *Core) Extend(ctx context.Context, h Held) (Held, error) {
	l, err := c.Renew(ctx, h.Lease)
	h.Lease = l
	return h, about(err, "extend", h.Name())
}

// Release gives a reservation back that is not needed any more, because
// nothing was moved or it has been moved back. When the load has arrived it
// is the receiver that ends it, by Offer.
func (c *Core) Release(ctx context.Context, w Write, h Held) error {
	_, err := c.Txn(ctx, w, []Cond{{h.key(), If(h.Revision)}}, []Op{{Key: h.key(), Delete: true}})
	if errors.Is(err, Conflict) {
		err = nil // over, or replaced by a later one
	}
	if err == nil {
		c.letGo(context.WithoutCancel(ctx), h.Lease)
	}
	return about(err, "release", h.Name())
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
