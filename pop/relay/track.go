package relay

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// coreID is the object that names a core for good: a state of one is never
// taken for one of another.
const coreID = "relay/core"

var coreKey = core.Key{Kind: "relay", Name: "core"}

// track keeps the copy of a member's node current until the context ends.
func (n *Node) track(ctx context.Context) {
	select {
	case <-n.opt.Core.Ready():
	case <-ctx.Done():
		return
	}
	wait := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := n.trackOnce(ctx)
		n.stand(pb.Standing_ANCHORED)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > mostPause {
			wait = firstPause
		}
		n.log.Info("relay: the core is not heard", "err", err)
		lapse.Of(ctx, wait)
		wait = min(2*wait, mostPause)
	}
}

func (n *Node) stand(s pb.Standing) {
	n.set(func(p *place) { p.standing = s })
}

// trackOnce follows the engine until it breaks off.
func (n *Node) trackOnce(ctx context.Context) error {
	e := n.opt.Core.Engine()
	if n.rep.position().core == "" {
		if err := n.copyAll(ctx, e); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { n.watchQuorum(ctx, e) })
	err := e.Watch(ctx, n.opt.Root, n.rep.position().revision+1, n.changed)
	if errors.Is(err, core.Compacted) {
		return errors.Join(err, n.copyAll(ctx, e))
	}
	return err
}

// changed takes one revision of the engine over.
func (n *Node) changed(ch core.RawChanges) error {
	at := n.rep.position()
	if ch.Revision <= at.revision {
		return nil
	}
	return n.rep.apply(at.revision, ch.Revision, ch.List, nil)
}

// watchQuorum says how we stand: rooted while there is a quorum.
func (n *Node) watchQuorum(ctx context.Context, e core.Engine) {
	for {
		s, err := e.Status(ctx)
		if err == nil && s.Quorum {
			n.stand(pb.Standing_ROOTED)
		} else if ctx.Err() == nil {
			n.stand(pb.Standing_ANCHORED)
		}
		if !lapse.Of(ctx, n.opt.Beat) {
			return
		}
	}
}

// copyAll reads the whole state at one revision. It asks this member only.
func (n *Node) copyAll(ctx context.Context, e core.Engine) error {
	id, err := n.identify(ctx)
	if err != nil {
		return fmt.Errorf("name of the core: %w", err)
	}
	at, items, size := position{core: id}, map[string]core.RawPair{}, int64(0)
	q := core.RawQuery{From: n.opt.Root, To: upTo(n.opt.Root), Stale: true, Limit: 500}
	for {
		p, err := readPage(ctx, e, q)
		if err != nil {
			return err
		}
		if at.revision == 0 {
			at.revision, q.Revision = p.Revision, p.Revision
		}
		for _, kv := range p.Pairs {
			items[kv.Key] = kv
			at.hash = at.hash.plus(hashOf(kv))
			if size += sizeOf(kv); size > n.opt.Limits.State {
				return errTooLarge
			}
		}
		if !p.More || len(p.Pairs) == 0 {
			n.rep.reset(at, items)
			return nil
		}
		q.From = p.Pairs[len(p.Pairs)-1].Key + "\x00"
	}
}

func readPage(ctx context.Context, e core.Engine, q core.RawQuery) (core.RawPage, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return e.Read(ctx, q)
}

// identify reads the core's name, and gives it one where it has none.
func (n *Node) identify(ctx context.Context) (string, error) {
	c := n.opt.Core
	o, err := c.Get(ctx, coreKey, core.Stale())
	if errors.Is(err, core.NotFound) {
		o, err = c.Get(ctx, coreKey) // this member may be far behind
	}
	if errors.Is(err, core.NotFound) {
		value, merr := json.Marshal(map[string]string{"id": rand.Text()})
		if merr != nil {
			return "", merr
		}
		w := core.Write{Who: "pop " + n.opt.POP, Why: "a name of its own for the core"}
		if o, err = c.Put(ctx, w, coreKey, value, core.Absent); errors.Is(err, core.Conflict) {
			o, err = c.Get(ctx, coreKey)
		}
	}
	if err != nil {
		return "", err
	}
	var v struct {
		ID string `json:"id"`
	}
	if err := o.Into(&v); err != nil {
		return "", err
	}
	if !validName(v.ID) {
		return "", fmt.Errorf("%q is no name", v.ID)
	}
	return v.ID, nil
}
