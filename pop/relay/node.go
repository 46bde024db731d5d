package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/pop/core"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// Node is one POP in the tree. It is safe for use by many goroutines.
type Node struct {
	opt    Options
	log    *slog.Logger
	clock  clock
	rep    *replica
	table  *table
	tell   bell // rung for a statement at once
	said   Said // without Options.Presence; speak's
	rates  *rates
	sends  chan struct{} // a token for each snapshot that is being sent
	ready  chan struct{} // closed when children can come
	count  counts
	guests sync.WaitGroup // goroutines of children's streams

	bell bell // rung when what is under mu changes
	mu   sync.Mutex
	tree place
}

// place is where the node is in the tree.
type place struct {
	path     []string // from the top to here
	standing pb.Standing
	head     int64 // highest revision heard of
	up       *session
	since    time.Time // of up, or of its loss
	why      string    // the last parent was left
	children map[string]*child
}

type counts struct {
	sent, received, deltas, mismatches, gaps, switches, saved atomic.Uint64
}

// New makes a node; Run starts it.
func New(o Options) (*Node, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	n := &Node{
		opt: o, log: o.Log, clock: newClock(), rep: newReplica(o.Limits), said: Said{Boot: rand.Text()},
		rates: newRates(o.Limits), sends: make(chan struct{}, o.Limits.Snapshots), ready: make(chan struct{}),
	}
	n.table = newTable(o.id, n.clock, o.Limits)
	n.tree = place{path: []string{o.POP}, children: map[string]*child{}, since: time.Now()}
	if o.Core != nil {
		n.tree.standing = pb.Standing_ANCHORED
	}
	return n, nil
}

func (n *Node) String() string { return "relay" }

// Ready is closed when children can come and what was on disk is loaded.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Run listens, follows and speaks until the context ends, with nil, or until
// it cannot: a listener that cannot be had is an error at once.
func (n *Node) Run(ctx context.Context) error {
	if n.opt.Core == nil {
		n.load()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	serve, err := n.server(ctx)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { n.speak(ctx) })
	if n.opt.Core != nil {
		wg.Go(func() { n.track(ctx) })
		for _, p := range n.opt.Parents {
			wg.Go(func() { n.beside(ctx, p) })
		}
	} else {
		wg.Go(func() { n.climb(ctx) })
		wg.Go(func() { n.keep(ctx) })
	}
	close(n.ready)
	if serve != nil {
		err = serve(ctx)
		cancel()
	}
	wg.Wait()
	n.guests.Wait()
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}

// Fleet is what the other POPs, and we, said last, as far as it counts.
func (n *Node) Fleet() []Presence { return n.table.fleet() }

// above are the nodes from the top to here, and how the top stands.
func (n *Node) above() ([]string, pb.Standing) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tree.path, n.tree.standing
}

// set changes the place in the tree and tells who waits for it.
func (n *Node) set(f func(*place)) {
	n.mu.Lock()
	path, standing := n.tree.path, n.tree.standing
	f(&n.tree)
	changed := standing != n.tree.standing || !slices.Equal(path, n.tree.path)
	n.mu.Unlock()
	if changed {
		n.bell.ring()
	}
}

// heard notes a revision that somebody above has.
func (n *Node) heardOf(head int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tree.head = max(n.tree.head, head)
}

func (n *Node) head() int64 {
	at := n.rep.position().revision
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(at, n.tree.head)
}

// errNoParent is why a request goes nowhere; it did not happen.
var errNoParent = &core.Error{Code: core.Unavailable, Err: errors.New("no parent in the relay tree")}

func (n *Node) session() *session {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tree.up
}

// lowest is the lowest revision that any below us has, and how many there are,
// ourselves included.
func (n *Node) lowest() (revision int64, below uint32) {
	revision, below = n.rep.position().revision, 1
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.tree.children {
		if c.beside {
			continue
		}
		if c.lowest < revision {
			revision = c.lowest
		}
		below += c.below
	}
	return revision, below
}
