package store

import (
	"sync"
	"sync/atomic"
)

// kind says where the bytes of an entry lie.
type kind uint8

const (
	inMemory  kind = iota // nowhere but in its open Object
	inSegment             // one record in a segment
	inFile                // data file and side file
)

// flags of an entry.
const flagWhole = 1 << 0

// entry is one object version in the index: no pointers, so that the garbage
// collector never looks at it. The fields before node are guarded by the lock
// of the key's shard, node by the lock of the disk queue.
type entry struct {
	key     Key
	variant uint64
	id      uint64
	size    int64 // of the body; -1 unknown
	stamp   Stamp
	seg     uint32 // inSegment: number of the segment
	off     uint32 // and offset of the record
	length  uint32 // of the record
	next    uint32 // next variant of the key, or next free entry
	open    uint32 // index+1 in shard.open
	kind    kind
	flags   uint8
	freq    uint8 // lookups since the disk queue last judged it, at most 3
	node    node
}

const (
	pageLen  = 1 << 10
	maxPages = 1 << 16
)

// slab hands out entries by number (never 0). Pages never move, so an entry
// can be reached without the slab's lock.
type slab struct {
	pages [maxPages]atomic.Pointer[[pageLen]entry]
	mu    sync.Mutex
	free  uint32
	top   uint32 // entries ever handed out
	live  int
}

func (s *slab) at(n uint32) *entry { return &s.pages[n/pageLen].Load()[n%pageLen] }

// alloc returns the number of a zeroed entry, or 0 when the slab is full.
func (s *slab) alloc() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.free
	if n != 0 {
		e := s.at(n)
		s.free = e.next
		*e = entry{}
	} else {
		if s.top+1 >= maxPages*pageLen {
			return 0
		}
		s.top++
		n = s.top
		if s.pages[n/pageLen].Load() == nil {
			s.pages[n/pageLen].Store(new([pageLen]entry))
		}
	}
	s.live++
	return n
}

func (s *slab) release(n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.at(n)
	*e = entry{next: s.free}
	s.free = n
	s.live--
}

func (s *slab) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live
}
