package resync

import (
	"maps"

	"github.com/catchment/catchment/server/resync/careful"
)

// Counts tell what was done since the start.
type Counts struct {
	Takeovers uint64 // POPs whose clients were woken
	Woken     uint64 // clients, each time counted
	Doubts    uint64 // silences of POPs whose clients were asked for signs of life
	Resumed   uint64 // requests that went on with a flow of another POP
	// How jumps ended, and those that the socket did not take.
	Validated, Retreated, Ended, Failed uint64
	Refused                             map[careful.Reason]uint64 // why flows did not jump
}

// Counts tells what was done so far.
func (r *Resync) Counts() Counts {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.counts
	c.Refused = maps.Clone(c.Refused)
	return c
}

func (r *Resync) count(f func(*Counts)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.counts)
}

// jump counts one that has ended, or did not begin.
func (c *Counts) jump(j *Jump) {
	switch {
	case j.Err != nil:
		c.Failed++
	case j.Refused != careful.Allowed:
		if c.Refused == nil {
			c.Refused = map[careful.Reason]uint64{}
		}
		c.Refused[j.Refused]++
	case j.Ended == careful.Validated:
		c.Validated++
	case j.Ended == careful.Retreated:
		c.Retreated++
	default:
		c.Ended++
	}
}

// Learned tells what jumps have earned where they were last, at most n.
func (r *Resync) Learned(n int) []careful.Learned {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.earned.Last(n)
}

// Pairs tells what pairs of POPs have earned for networks that have not jumped
// yet.
func (r *Resync) Pairs() []careful.LearnedPair {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.earned.Pairs()
}
