package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// upstream is a parent as its child sees it.
type upstream interface {
	Send(*pb.Up) error
	Recv() (*pb.Down, error)
	Read(context.Context, *pb.ReadRequest) (*pb.ReadResponse, error)
	Commit(context.Context, *pb.CommitRequest) (*pb.CommitResponse, error)
	Lease(context.Context, *pb.LeaseRequest) (*pb.LeaseResponse, error)
	Close() // ends all of it; may be called again
}

// session is the time with one parent.
type session struct {
	n      *Node
	parent Parent
	rank   int  // in the list of parents; redirected: past its end
	beside bool // between two tops, for presence only
	up     upstream
	link   *link
	since  time.Time

	path     []string // of the parent; ride's
	standing pb.Standing
	heard    time.Time   // under the node's mu
	want     chan string // why a snapshot is wanted

	// of the goroutine that rides:
	taking    *taking // a snapshot that comes in
	waiting   bool    // for one that was asked for
	vain      int     // snapshots asked for
	vainSince time.Time
}

// Why a parent is not followed.
var (
	errLoop    = errors.New("it is below us")
	errDeep    = errors.New("too many levels")
	errSilent  = errors.New("it says nothing")
	errOrphans = errors.New("it is an orphan as we are, and its top comes after us")
	errBetter  = errors.New("a better one was found")
)

// redirected is a parent's word that others may take us.
type redirected struct {
	why string
	to  []Parent
}

func (r *redirected) Error() string { return "it takes no more: " + printable(r.why) }

// attach connects to a parent and hears its first word.
func (n *Node) attach(ctx context.Context, p Parent, rank int) (*session, error) {
	return n.connect(ctx, &session{parent: p, rank: rank})
}

// connect makes the connection of a session.
func (n *Node) connect(ctx context.Context, s *session) (*session, error) {
	up, err := n.opt.dial(ctx, s.parent)
	if err != nil {
		return nil, err
	}
	s.n, s.up, s.link = n, up, newLink(s.parent.POP, true)
	s.since, s.heard, s.want = time.Now(), time.Now(), make(chan string, 1)
	stop := context.AfterFunc(ctx, up.Close)
	err = s.greet(ctx)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		up.Close()
		return nil, err
	}
	return s, nil
}

func (s *session) greet(ctx context.Context) error {
	at := s.n.rep.position()
	hello := &pb.Hello{Version: version, Address: s.n.opt.Advertise, Core: at.core, Revision: at.revision, Hash: at.hash.bytes(), Clock: uint64(s.n.clock.now()), Beside: s.beside}
	if err := s.up.Send(&pb.Up{Message: &pb.Up_Hello{Hello: hello}}); err != nil {
		return err
	}
	down, err := first(ctx, s.n.opt.Silence, s.up.Recv)
	if err != nil {
		return err
	}
	if r := down.GetRedirect(); r != nil {
		out := &redirected{why: r.Reason}
		for _, p := range r.Parents[:min(len(r.Parents), maxRedirect)] {
			out.to = append(out.to, Parent{POP: p.Pop, Address: p.Address})
		}
		return out
	}
	if down.GetBeat() == nil {
		return errors.New("its first word is no beat")
	}
	return s.beat(down.GetBeat())
}

// beat takes in where the parent is, and what it tells of others.
func (s *session) beat(b *pb.Beat) error {
	own := s.n.opt.POP
	switch {
	case len(b.Path) == 0 || b.Path[len(b.Path)-1] != s.parent.POP:
		return fmt.Errorf("it says its path is %.200q", b.Path)
	case s.beside: // its place is its own affair
		return s.n.hear(s.link, b, func(pop string) bool { return pop == own })
	case slices.Contains(b.Path, own):
		return errLoop
	case len(b.Path) >= s.n.opt.Depth:
		return errDeep
	case b.Standing == pb.Standing_ORPHAN && b.Path[0] >= own:
		return errOrphans
	}
	s.path, s.standing = b.Path, b.Standing
	s.n.heardOf(b.Head)
	return s.n.hear(s.link, b, func(pop string) bool { return pop == own })
}

// ride follows a parent until it is lost, a better one is there (which is
// returned), or ctx ends.
func (n *Node) ride(ctx context.Context, s *session) (next *session, err error) {
	ctx, cancel := context.WithCancel(ctx)
	n.settle(s)
	n.log.Info("relay: follows", "parent", s.parent.POP, "path", s.path, "standing", s.standing)
	var wg sync.WaitGroup
	msgs, failed, found := make(chan *pb.Down), make(chan error, 2), make(chan *session, 1)
	wg.Go(func() { failed <- s.receive(ctx, msgs) })
	wg.Go(func() { failed <- s.send(ctx) })
	wg.Go(func() { n.look(ctx, s, found) })
	next, err = s.obey(ctx, msgs, failed, found)
	cancel()
	s.up.Close()
	wg.Wait()
	select {
	case late := <-found: // it came while we were ending
		if next != nil {
			late.up.Close()
		} else {
			next = late
		}
	default:
	}
	if next == nil {
		n.lost(s, err)
	}
	return next, err
}

// obey does what the parent says.
func (s *session) obey(ctx context.Context, msgs <-chan *pb.Down, failed <-chan error, found <-chan *session) (*session, error) {
	silence := time.NewTimer(s.n.opt.Silence)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-failed:
			return nil, err
		case <-silence.C:
			return nil, errSilent
		case next := <-found:
			return next, errBetter
		case m := <-msgs:
			silence.Reset(s.n.opt.Silence)
			if err := s.take(m); err != nil {
				return nil, err
			}
			s.n.settle(s)
		}
	}
}

func (s *session) receive(ctx context.Context, msgs chan<- *pb.Down) error {
	for {
		m, err := s.up.Recv()
		if err != nil {
			return err
		}
		select {
		case msgs <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settle makes the session's place ours.
func (n *Node) settle(s *session) {
	n.set(func(p *place) {
		if p.up != s {
			p.up, p.since = s, time.Now()
			n.count.switches.Add(1)
		}
		s.heard = time.Now()
		p.path, p.standing = append(slices.Clone(s.path), n.opt.POP), s.standing
	})
}

// lost makes us an orphan.
func (n *Node) lost(s *session, why error) {
	n.log.Warn("relay: parent lost", "parent", s.parent.POP, "why", why)
	n.set(func(p *place) {
		p.up, p.since, p.why = nil, time.Now(), fmt.Sprintf("%s: %v", s.parent.POP, why)
		p.path, p.standing = []string{n.opt.POP}, pb.Standing_ORPHAN
	})
}

// send tells the parent what we have and what is new below.
func (s *session) send(ctx context.Context) error {
	n := s.n
	tick := time.NewTicker(n.opt.Beat)
	defer tick.Stop()
	last, told := time.Now().Add(-n.opt.Gap), int64(0)
	if err := s.tell(nil); err != nil {
		return err
	}
	for {
		table, state := n.table.bell.wait(), n.rep.bell.wait()
		var gap <-chan time.Time
		if n.table.at() != s.link.cursor || n.rep.position().revision != told {
			gap, table, state = time.After(n.opt.Gap-time.Since(last)), nil, nil
		}
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case why := <-s.want:
			err = s.up.Send(&pb.Up{Message: &pb.Up_Resync{Resync: &pb.Resync{Reason: why}}})
		case <-table:
		case <-state: // our applied revision
		case <-gap:
			last, told = time.Now(), n.rep.position().revision
			err = s.tell(n.table.collect(s.link))
		case <-tick.C:
			err = s.tell(nil)
		}
		if err != nil {
			return err
		}
	}
}

func (s *session) tell(presences []*pb.Presence) error {
	b := &pb.Beat{Clock: uint64(s.n.clock.now()), Echo: s.link.timing.echo(), Presences: presences, Applied: s.n.rep.position().revision}
	b.Lowest, b.Below = s.n.lowest()
	return s.up.Send(&pb.Up{Message: &pb.Up_Beat{Beat: b}})
}
