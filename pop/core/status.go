package core

import (
	"context"
	"time"
)

// Status is how the core is, as this process sees it.
type Status struct {
	Engine   string `json:"engine"` // embedded, external, memory
	Revision int64  `json:"revision"`
	// Quorum: a leader is known, so that writes can be expected to pass.
	Quorum  bool     `json:"quorum"`
	Leader  string   `json:"leader,omitempty"` // member's name
	Name    string   `json:"name,omitempty"`   // our own member's
	Learner bool     `json:"learner,omitempty"`
	Members []Voter  `json:"members,omitempty"`
	Size    int64    `json:"size"`   // bytes on disk
	InUse   int64    `json:"in-use"` // of them in use; the rest defragmentation gives back
	Quota   int64    `json:"quota,omitempty"`
	Free    int64    `json:"free,omitempty"` // bytes left on the disk
	Alarms  []string `json:"alarms,omitempty"`
	Version string   `json:"version,omitempty"`
	// Failed is why the engine is not running, while it is not.
	Failed string `json:"failed,omitempty"`
}

// Voter is a member of the core.
type Voter struct {
	ID      uint64   `json:"id"`
	Name    string   `json:"name"` // empty: it has been added and has not come yet
	URLs    []string `json:"urls"`
	Learner bool     `json:"learner,omitempty"` // gets everything, has no vote yet
}

// Status asks the engine; it answers without a quorum.
func (c *Core) Status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, min(c.opt.Timeout, 5*time.Second))
	defer cancel()
	s, err := c.engine.status(ctx)
	return s, about(err, "status", "")
}

// Compact forgets the history before a revision. Engines do it by themselves,
// hourly; this is for tests and for operators whose quota is used up.
func (c *Core) Compact(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	return about(c.engine.compact(ctx, revision), "compact", "")
}
