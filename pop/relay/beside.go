package relay

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/catchment/catchment/pop/lapse"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// beside exchanges presence with another top until the context ends.
func (n *Node) beside(ctx context.Context, p Parent) {
	wait := firstPause
	for ctx.Err() == nil {
		if n.hears(p.POP) { // it has come to us
			lapse.Of(ctx, n.opt.Silence)
			continue
		}
		began := time.Now()
		err := n.talk(ctx, p)
		if time.Since(began) > n.opt.Silence {
			wait = firstPause
		}
		n.log.Debug("relay: another top is not heard", "pop", p.POP, "err", err)
		lapse.Of(ctx, wait/2+rand.N(wait))
		wait = min(2*wait, mostPause)
	}
}

// hears reports whether a POP is connected to us.
func (n *Node) hears(pop string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tree.children[pop] != nil
}

// talk is one connection to another top.
func (n *Node) talk(ctx context.Context, p Parent) error {
	within, cancel := context.WithTimeout(ctx, n.opt.Silence)
	s, err := n.connect(within, &session{parent: p, beside: true})
	cancel()
	if err != nil {
		return err
	}
	n.log.Info("relay: presence is exchanged with another top", "pop", p.POP)
	ctx, cancel = context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer s.up.Close()
	defer cancel()
	msgs, failed := make(chan *pb.Down), make(chan error, 2)
	wg.Go(func() { failed <- s.receive(ctx, msgs) })
	wg.Go(func() { failed <- s.send(ctx) })
	silence := time.NewTimer(n.opt.Silence)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-silence.C:
			return errSilent
		case m := <-msgs:
			silence.Reset(n.opt.Silence)
			if b := m.GetBeat(); b != nil {
				if err := s.beat(b); err != nil {
					return err
				}
			}
		}
	}
}
