package core

import (
	"errors"
	"maps"
	"sync"
)

// counts are the writes of this process.
type counts struct {
	mu      sync.Mutex
	written uint64
	refused map[Code]uint64
}

func (n *counts) add(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		n.written++
		return
	}
	code := Unavailable
	if e := (*Error)(nil); errors.As(err, &e) {
		code = e.Code
	}
	if n.refused == nil {
		n.refused = map[Code]uint64{}
	}
	n.refused[code]++
}

// Writes are how many transactions of this process the core has taken, and
// how many it has refused, by why.
func (c *Core) Writes() (taken uint64, refused map[Code]uint64) {
	c.counts.mu.Lock()
	defer c.counts.mu.Unlock()
	return c.counts.written, maps.Clone(c.counts.refused)
}

// Final reports whether what Run returned can only be mended by a new process,
// or not at all: trying again in this one would hurt.
func Final(err error) bool { return errors.Is(err, errForever) }
