package relay

import (
	"errors"
	"fmt"
	"time"

	"github.com/catchment/catchment/pop/core"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// taking is a snapshot that is coming in.
type taking struct {
	at    position
	count uint64
	size  int64
	items map[string]core.RawPair
}

// take does what one message of the parent says. An error ends the session; a
// state that does not fit only asks for another.
func (s *session) take(m *pb.Down) error {
	switch m := m.Message.(type) {
	case *pb.Down_Beat:
		return s.beat(m.Beat)
	case *pb.Down_Begin:
		return s.begin(m.Begin)
	case *pb.Down_Chunk:
		return s.chunk(m.Chunk)
	case *pb.Down_Done:
		return s.done(m.Done)
	case *pb.Down_Deltas:
		for _, d := range m.Deltas.Deltas {
			if err := s.delta(d); err != nil {
				return err
			}
		}
	case *pb.Down_Redirect:
		return &redirected{why: m.Redirect.Reason}
	}
	return nil // of a newer version
}

func (s *session) begin(b *pb.Begin) error {
	switch {
	case b.Core == "" || len(b.Core) > maxName || b.Revision <= 0:
		return fmt.Errorf("snapshot of core %.200q at revision %d", b.Core, b.Revision)
	case b.Bytes > uint64(s.n.opt.Limits.State):
		return fmt.Errorf("snapshot of %d bytes: %w", b.Bytes, errTooLarge)
	}
	s.waiting = false
	s.taking = &taking{at: position{core: b.Core, revision: b.Revision}, count: b.Count, items: map[string]core.RawPair{}}
	return nil
}

func (s *session) chunk(c *pb.Chunk) error {
	t := s.taking
	if t == nil {
		return errors.New("a piece of no snapshot")
	}
	for _, i := range c.Items {
		p, err := pairOf(i)
		if err != nil {
			return err
		}
		if _, twice := t.items[p.Key]; twice || p.Revision > t.at.revision {
			return fmt.Errorf("snapshot at %d: key %q twice, or of revision %d", t.at.revision, p.Key, p.Revision)
		}
		t.items[p.Key] = p
		t.at.hash = t.at.hash.plus(hashOf(p))
		if t.size += sizeOf(p); t.size > s.n.opt.Limits.State {
			return fmt.Errorf("snapshot: %w", errTooLarge)
		}
	}
	return nil
}

// done takes a snapshot over, if it is what was told and does not lead back.
func (s *session) done(d *pb.Done) error {
	t, now := s.taking, s.n.rep.position()
	s.taking = nil
	hash, ok := sumOf(d.Hash)
	switch {
	case t == nil:
		return errors.New("the end of no snapshot")
	case !ok || hash != t.at.hash || uint64(len(t.items)) != t.count:
		s.n.count.mismatches.Add(1)
		return s.again(fmt.Errorf("snapshot at %d: %w", t.at.revision, errHash))
	case t.at.core == now.core && t.at.revision < now.revision:
		return nil // the deltas after it lead here
	case now.core != "" && t.at.core != now.core:
		s.n.log.Warn("relay: another core", "was", now.core, "at", now.revision, "is", t.at.core, "revision", t.at.revision)
		s.n.set(func(p *place) { p.head = t.at.revision })
	}
	s.n.rep.reset(t.at, t.items)
	s.n.count.received.Add(1)
	s.n.log.Info("relay: snapshot", "from", s.parent.POP, "revision", t.at.revision, "objects", len(t.items))
	return nil
}

// delta goes on by one step. What is known already must have the same hash.
func (s *session) delta(d *pb.Delta) error {
	list, hash, err := changesOf(d)
	if err != nil {
		return err
	}
	now := s.n.rep.position()
	switch {
	case s.waiting:
		return nil // for a snapshot that is asked for
	case d.To == now.revision && hash != now.hash:
		err = errHash
	case d.To <= now.revision:
		return nil
	default:
		err = s.n.rep.apply(d.From, d.To, list, &hash)
	}
	switch {
	case errors.Is(err, errHash):
		s.n.count.mismatches.Add(1)
	case errors.Is(err, errGap):
		s.n.count.gaps.Add(1)
	case err != nil:
		return err
	default:
		return nil
	}
	return s.again(fmt.Errorf("delta from %d to %d at %d: %w", d.From, d.To, now.revision, err))
}

// mostAgain is how many snapshots of a parent may be in vain in a minute.
const mostAgain = 3

// again asks for a snapshot, and gives a parent up that has sent some in vain.
func (s *session) again(why error) error {
	if now := time.Now(); s.vain == 0 || now.Sub(s.vainSince) > time.Minute {
		s.vain, s.vainSince = 0, now
	}
	s.vain++
	s.waiting = true
	s.n.log.Error("relay: what the parent tells does not fit what we have", "parent", s.parent.POP, "err", why)
	if s.vain > mostAgain {
		return why
	}
	select {
	case s.want <- why.Error():
	default: // asked already
	}
	return nil
}
