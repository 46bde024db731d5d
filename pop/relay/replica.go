package relay

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/catchment/catchment/pop/core"
)

// Why a replica does not take what it is given.
var (
	errGap      = errors.New("the delta does not begin where the state ends")
	errHash     = errors.New("the state would have another hash than told")
	errTooLarge = errors.New("the state would be larger than allowed")
)

// replica is a copy of the core's state, with the last changes so that others
// can go on from a former state.
type replica struct {
	most    int64 // bytes of keys and values
	mostLog int64 // likewise, of the changes
	steps   int   // how many of those
	bell    bell  // rung at each change

	mu       sync.Mutex
	core     string // whose state; empty: none yet
	revision int64
	hash     sum
	items    map[string]core.RawPair
	size     int64
	log      []step
	logSize  int64
	oldest   int64 // revision from which the log goes on
	base     sum   // hash there
	life     int   // raised when the history breaks
}

// step is one change of the state.
type step struct {
	to     int64
	list   []core.RawChange
	before []core.RawPair // of the keys of list; Revision 0: there was none
	hash   sum            // after it
	size   int64
}

// position is where somebody is in the history of a core.
type position struct {
	core     string
	revision int64
	hash     sum
}

func newReplica(l Limits) *replica {
	return &replica{most: l.State, mostLog: l.Log, steps: l.Steps, items: map[string]core.RawPair{}}
}

func sizeOf(p core.RawPair) int64 { return int64(len(p.Key) + len(p.Value)) }

func (r *replica) position() position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return position{r.core, r.revision, r.hash}
}

// reset replaces the whole state. The history ends there.
func (r *replica) reset(at position, items map[string]core.RawPair) {
	size := int64(0)
	for _, p := range items {
		size += sizeOf(p)
	}
	r.mu.Lock()
	r.core, r.revision, r.hash, r.items, r.size = at.core, at.revision, at.hash, items, size
	r.log, r.logSize, r.oldest, r.base = nil, 0, at.revision, at.hash
	r.life++
	r.mu.Unlock()
	r.bell.ring()
}

// apply takes the changes that lead from one revision to another; want is the
// hash after them, nil: whatever it will be. What is not taken changes nothing.
func (r *replica) apply(from, to int64, list []core.RawChange, want *sum) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if from != r.revision || to <= from {
		return errGap
	}
	s, size := step{to: to, list: list, hash: r.hash}, r.size
	seen := make(map[string]bool, len(list))
	for _, c := range list {
		if seen[c.Key] {
			return fmt.Errorf("key %q twice in revision %d", c.Key, to)
		}
		seen[c.Key] = true
		old, had := r.items[c.Key]
		s.before = append(s.before, core.RawPair{Key: c.Key})
		if had {
			s.before[len(s.before)-1] = old
			s.hash, size = s.hash.minus(hashOf(old)), size-sizeOf(old)
		}
		if !c.Deleted {
			s.hash, size = s.hash.plus(hashOf(c.RawPair)), size+sizeOf(c.RawPair)
		}
		s.size += 64 + 2*int64(len(c.Key)) + int64(len(c.Value)+len(old.Value))
	}
	switch {
	case want != nil && *want != s.hash:
		return errHash
	case size > r.most:
		return errTooLarge
	}
	for _, c := range list {
		if c.Deleted {
			delete(r.items, c.Key)
		} else {
			r.items[c.Key] = c.RawPair
		}
	}
	r.revision, r.hash, r.size = to, s.hash, size
	if len(list) > 0 {
		r.log, r.logSize = append(r.log, s), r.logSize+s.size
		r.trim()
	}
	r.bell.ring()
	return nil
}

// trim forgets the oldest steps where there are too many. The last one stays.
func (r *replica) trim() {
	for len(r.log) > 1 && (len(r.log) > r.steps || r.logSize > r.mostLog) {
		first := r.log[0]
		r.logSize -= first.size
		r.oldest, r.base = first.to, first.hash
		r.log[0] = step{}
		r.log = r.log[1:]
	}
}

// since is the first step after a revision.
func (r *replica) since(revision int64) int {
	return sort.Search(len(r.log), func(i int) bool { return r.log[i].to > revision })
}

// Outcomes of after.
type outcome int

const (
	goOn    outcome = iota
	behind          // the other one is further than we are
	another         // of another core, another state, or too old
)

// after gives up to most bytes of steps that lead on from a position, and the
// position they lead to.
func (r *replica) after(p position, most int64) ([]step, position, outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.core == "":
		return nil, p, behind // whatever it has is better than nothing
	case p.core != r.core || p.revision < r.oldest:
		return nil, p, another
	case p.revision > r.revision:
		return nil, p, behind
	}
	i, there := r.since(p.revision), r.base
	if i > 0 {
		there = r.log[i-1].hash
	}
	if there != p.hash {
		return nil, p, another
	}
	var out []step
	for size := int64(0); i < len(r.log) && (size == 0 || size+r.log[i].size <= most); i++ {
		out, size = append(out, r.log[i]), size+r.log[i].size
	}
	end := position{r.core, r.revision, r.hash}
	if i < len(r.log) {
		end.revision, end.hash = out[len(out)-1].to, out[len(out)-1].hash
	}
	return out, end, goOn
}

// snapshot is the whole state, in the order of keys.
func (r *replica) snapshot() (position, []core.RawPair) {
	r.mu.Lock()
	at := position{r.core, r.revision, r.hash}
	list := make([]core.RawPair, 0, len(r.items))
	for _, p := range r.items {
		list = append(list, p)
	}
	r.mu.Unlock()
	slices.SortFunc(list, byKey)
	return at, list
}

func byKey(a, b core.RawPair) int {
	switch {
	case a.Key < b.Key:
		return -1
	case a.Key > b.Key:
		return 1
	}
	return 0
}
