// Package vacate takes away what keeps this host from resetting clients of
// other POPs: closed connections in TIME-WAIT that have the same addresses and
// ports as connections which these clients have there now.
//
// A client that has had a connection here and closed it may use its port again
// within the minute, for a connection to the same address that ends at another
// POP. When that route comes here, its segments meet the old connection, which
// answers with an acknowledgement of its own (RFC 9293 §3.10.7.4) where a host
// that knows nothing answers with the reset that the client is waiting for.
// That a POP tells of the new connection proves that the old one is over, at
// both of its ends, so that nothing is lost with it. Of connections in any
// other state nothing is proved, and they stay.
package vacate

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/catchment/catchment/server/sockdiag"
)

// most is how many connections wait to be looked for. With more the rest is not
// looked for: their clients wait until they lose patience, as without all this.
const most = 100_000

// Counts tell what became of connections that other POPs have told of.
type Counts struct {
	Looked  uint64 // for what stands in their place
	Ended   uint64 // stood there, and were taken away
	Refused uint64 // stood there, and the kernel did not let us (CAP_NET_ADMIN)
	Full    uint64 // not looked for: too many at once
}

// Vacater is the whole of it. Its methods may be called from any goroutine.
type Vacater struct {
	kick chan struct{} // size one

	mu     sync.Mutex
	ids    []sockdiag.ID
	counts Counts
	err    error // why the kernel refused, the last time
}

// New makes one; Run does the work.
func New() *Vacater { return &Vacater{kick: make(chan struct{}, 1)} }

// Told hears of a connection that another POP has told of. It does not block.
func (v *Vacater) Told(client, vip netip.AddrPort) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.ids) >= most {
		v.counts.Full++
		return
	}
	v.ids = append(v.ids, sockdiag.ID{Local: vip, Remote: client})
	select {
	case v.kick <- struct{}{}:
	default:
	}
}

// Counts tells what was done so far, and why the kernel refused something, if
// it did.
func (v *Vacater) Counts() (Counts, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.counts, v.err
}

// Run looks for what Told has heard of until ctx ends.
func (v *Vacater) Run(ctx context.Context) error {
	c, err := sockdiag.Open(0)
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-v.kick:
		}
		v.mu.Lock()
		ids := v.ids
		v.ids = nil
		v.mu.Unlock()
		if err := v.vacate(ctx, c, ids); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// vacate takes away those of the connections that are in TIME-WAIT here.
func (v *Vacater) vacate(ctx context.Context, c *sockdiag.Conn, ids []sockdiag.ID) error {
	var over []sockdiag.ID
	err := c.Lookup(ctx, ids, func(s *sockdiag.Socket) {
		if s.State == sockdiag.TimeWait {
			over = append(over, sockdiag.ID{Local: s.Local, Remote: s.Remote, Cookie: s.Cookie})
		}
	})
	got := Counts{Looked: uint64(len(ids))}
	var refused error
	for _, id := range over {
		switch err := c.Destroy(id); {
		case err == nil:
			got.Ended++
		case !errors.Is(err, sockdiag.ErrGone):
			got.Refused++
			refused = err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.counts.Looked += got.Looked
	v.counts.Ended += got.Ended
	v.counts.Refused += got.Refused
	if refused != nil {
		v.err = refused
	}
	return err
}
