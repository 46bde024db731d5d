package relay

import (
	"maps"
	"slices"
	"time"

	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// Standing is how the top of a node's path stands.
type Standing string

// Standings.
const (
	Orphan   Standing = "orphan"   // it has no parent
	Anchored Standing = "anchored" // it is with a core that does not answer
	Rooted   Standing = "rooted"   // it hears the core
)

// Status is where a node is and how far.
type Status struct {
	POP      string   `json:"pop"`
	Path     []string `json:"path"` // from the top to here
	Standing Standing `json:"standing"`
	// Parent is whom it follows; empty: nobody. Since is since when, and Heard
	// when it said something last.
	Parent  string    `json:"parent,omitempty"`
	Address string    `json:"address,omitempty"`
	Since   time.Time `json:"since"`
	Heard   time.Time `json:"heard,omitzero"`
	Why     string    `json:"why,omitempty"` // the last parent was left

	Core     string `json:"core,omitempty"`
	Revision int64  `json:"revision"`
	Head     int64  `json:"head"` // highest revision heard of
	Objects  int    `json:"objects"`
	Size     int64  `json:"size"` // bytes of them

	// Lowest is the lowest revision of this node and those below, which are
	// Below, itself included.
	Lowest   int64   `json:"lowest"`
	Below    int     `json:"below"`
	Children []Child `json:"children,omitempty"`

	POPs    int                `json:"pops"`    // whose presence counts
	Refused map[Refusal]uint64 `json:"refused"` // presences
	Counts  Counts             `json:"counts"`
}

// Child is a POP that follows this one.
type Child struct {
	POP     string    `json:"pop"`
	Since   time.Time `json:"since"`
	Applied int64     `json:"applied"`
	Lowest  int64     `json:"lowest"` // of it and those below
	Below   int       `json:"below"`
	Beside  bool      `json:"beside,omitempty"` // another top, for presence only
}

// Counts go up.
type Counts struct {
	Sent       uint64 `json:"snapshots_sent"`
	Received   uint64 `json:"snapshots_received"`
	Deltas     uint64 `json:"deltas_sent"`
	Mismatches uint64 `json:"hash_mismatches"`
	Gaps       uint64 `json:"gaps"`
	Switches   uint64 `json:"parent_switches"`
	Saved      uint64 `json:"saved"`
}

// Status tells how the node is; it asks nobody.
func (n *Node) Status() Status {
	s := Status{POP: n.opt.POP, Head: n.head(), POPs: len(n.Fleet())}
	low, below := n.lowest()
	s.Lowest, s.Below = low, int(below)
	n.rep.mu.Lock()
	s.Core, s.Revision, s.Objects, s.Size = n.rep.core, n.rep.revision, len(n.rep.items), n.rep.size
	n.rep.mu.Unlock()
	n.table.mu.Lock()
	s.Refused = maps.Clone(n.table.refused)
	n.table.mu.Unlock()
	c := &n.count
	s.Counts = Counts{
		Sent: c.sent.Load(), Received: c.received.Load(), Deltas: c.deltas.Load(), Mismatches: c.mismatches.Load(),
		Gaps: c.gaps.Load(), Switches: c.switches.Load(), Saved: c.saved.Load(),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	s.Path, s.Since, s.Why, s.Standing = slices.Clone(n.tree.path), n.tree.since, n.tree.why, Orphan
	switch n.tree.standing {
	case pb.Standing_ROOTED:
		s.Standing = Rooted
	case pb.Standing_ANCHORED:
		s.Standing = Anchored
	}
	if up := n.tree.up; up != nil {
		s.Parent, s.Address, s.Heard = up.parent.POP, up.parent.Address, up.heard
	}
	for _, pop := range slices.Sorted(maps.Keys(n.tree.children)) {
		c := n.tree.children[pop]
		s.Children = append(s.Children, Child{
			POP: pop, Since: c.since, Applied: c.applied, Lowest: c.lowest, Below: int(c.below), Beside: c.beside,
		})
	}
	return s
}
