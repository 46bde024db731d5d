package core

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/catchment/catchment/pop/lapse"
)

// LeaseID names a lease: objects written under it go when it does.
type LeaseID int64

// Lease is one that was granted.
type Lease struct {
	ID  LeaseID
	TTL time.Duration // by the core's clock; it may grant more than was asked
	// Until is before the core lets the objects go, by this process's
	// monotonic clock: counted from before the request was sent, a tenth less
	// for clocks that run unequally fast. Believe in the lease no longer.
	Until time.Time
}

// MinTTL is the shortest lease.
const MinTTL = time.Second

// Grant makes a lease.
func (c *Core) Grant(ctx context.Context, ttl time.Duration) (Lease, error) {
	if ttl < MinTTL {
		return Lease{}, about(fail(Invalid, "%v, at least %v", ttl, MinTTL), "grant", "")
	}
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	sent := time.Now()
	id, got, err := c.engine.grant(ctx, ttl)
	if err != nil {
		return Lease{}, about(err, "grant", "")
	}
	return Lease{ID: id, TTL: got, Until: believed(sent, got)}, nil
}

// believed is how long the holder of a lease may count on it.
func believed(sent time.Time, ttl time.Duration) time.Time { return sent.Add(ttl - ttl/10) }

// Renew makes a lease last its TTL again; NotFound: it is over, and so are
// its objects.
func (c *Core) Renew(ctx context.Context, l Lease) (Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	sent := time.Now()
	if err := c.engine.renew(ctx, l.ID); err != nil {
		return l, about(err, "renew", "")
	}
	l.Until = believed(sent, l.TTL)
	return l, nil
}

// Revoke ends a lease and removes its objects.
func (c *Core) Revoke(ctx context.Context, id LeaseID) error {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	return about(c.engine.revoke(ctx, id), "revoke", "")
}

// Hold keeps an object present for as long as ctx lives: under a lease that
// it renews, and takes anew where it was lost. It returns nil when ctx has
// ended and the object is removed, or could not be: then the lease does it.
func (c *Core) Hold(ctx context.Context, w Write, k Key, value json.RawMessage, ttl time.Duration) error {
	var l Lease
	for {
		pause := ttl / 3
		err := c.hold(ctx, w, k, value, ttl, &l)
		switch {
		case ctx.Err() != nil:
			c.letGo(context.WithoutCancel(ctx), l)
			return nil
		case errors.Is(err, Invalid), errors.Is(err, TooLarge), errors.Is(err, Denied):
			c.letGo(context.WithoutCancel(ctx), l)
			return about(err, "hold", k.String())
		case errors.Is(err, NotFound):
			l, pause = Lease{}, 0
		case err != nil:
			c.opt.Log.Warn("core: presence not renewed", "key", k.String(), "err", err)
			pause = min(ttl/6, time.Second)
		}
		lapse.Of(ctx, pause)
	}
}

// hold renews the lease, or takes one and writes the object under it.
func (c *Core) hold(ctx context.Context, w Write, k Key, value json.RawMessage, ttl time.Duration, l *Lease) error {
	ctx, cancel := context.WithTimeout(ctx, max(ttl/2, MinTTL))
	defer cancel()
	if l.ID != 0 {
		next, err := c.Renew(ctx, *l)
		*l = next
		return err
	}
	got, err := c.Grant(ctx, ttl)
	if err != nil {
		return err
	}
	_, err = c.Txn(ctx, w, nil, []Op{{Key: k, Value: value, Lease: got.ID}})
	if err != nil {
		c.letGo(context.WithoutCancel(ctx), got)
		return err
	}
	*l = got
	return nil
}

func (c *Core) letGo(ctx context.Context, l Lease) {
	if l.ID == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := c.Revoke(ctx, l.ID); err != nil && !errors.Is(err, NotFound) {
		c.opt.Log.Info("core: lease not given back, it will run out", "err", err)
	}
}
