package store

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// Key names what is cached: a SHA-256 of the primary cache key, so its bits
// are used as a hash as they are.
type Key [32]byte

const shardCount = 256

func (k *Key) shard() int   { return int(k[0]) }
func (k *Key) hash() uint64 { return binary.LittleEndian.Uint64(k[8:]) }

// shard is one part of the index: a hash table of entry numbers, each the
// head of a chain of the variants of a key, and the objects that are open.
type shard struct {
	mu    sync.Mutex
	seed  [2]uint64
	slots []uint32
	keys  int
	open  []*Object // by entry.open-1
	spare []uint32  // free places in open
}

// probe returns where the search for a key begins. A secret seed keeps those
// who choose URLs from choosing keys that collide.
func (h *shard) probe(k *Key) int {
	le := binary.LittleEndian
	hi, lo := bits.Mul64(le.Uint64(k[8:])^h.seed[0], le.Uint64(k[16:])^h.seed[1])
	return int(hi ^ lo)
}

// find returns the slot of the key, or of the empty place for it.
func (h *shard) find(s *slab, k *Key) (slot int, head uint32) {
	if len(h.slots) == 0 {
		return -1, 0
	}
	mask := len(h.slots) - 1
	for i := h.probe(k) & mask; ; i = (i + 1) & mask {
		n := h.slots[i]
		if n == 0 || s.at(n).key == *k {
			return i, n
		}
	}
}

// link puts an entry with its key set in front of its chain.
func (h *shard) link(s *slab, n uint32) {
	if (h.keys+1)*4 > len(h.slots)*3 {
		h.grow(s)
	}
	e := s.at(n)
	slot, head := h.find(s, &e.key)
	e.next = head
	h.slots[slot] = n
	if head == 0 {
		h.keys++
	}
}

func (h *shard) grow(s *slab) {
	old := h.slots
	h.slots = make([]uint32, max(8, len(old)*2))
	mask := len(h.slots) - 1
	for _, n := range old {
		if n == 0 {
			continue
		}
		i := h.probe(&s.at(n).key) & mask
		for h.slots[i] != 0 {
			i = (i + 1) & mask
		}
		h.slots[i] = n
	}
}

// unlink takes an entry out of its chain; it stays allocated.
func (h *shard) unlink(s *slab, n uint32) {
	e := s.at(n)
	slot, head := h.find(s, &e.key)
	switch {
	case head == n && e.next != 0:
		h.slots[slot] = e.next
	case head == n:
		h.vacate(s, slot)
	default:
		for at := head; at != 0; at = s.at(at).next {
			if s.at(at).next == n {
				s.at(at).next = e.next
				break
			}
		}
	}
	e.next = 0
}

// vacate empties a slot and moves back what was pushed behind it.
func (h *shard) vacate(s *slab, slot int) {
	h.keys--
	mask := len(h.slots) - 1
	hole := slot
	h.slots[hole] = 0
	for i := (hole + 1) & mask; h.slots[i] != 0; i = (i + 1) & mask {
		home := h.probe(&s.at(h.slots[i]).key) & mask
		if (i-home)&mask >= (i-hole)&mask {
			h.slots[hole], h.slots[i] = h.slots[i], 0
			hole = i
		}
	}
}

// addOpen notes the open object of an entry.
func (h *shard) addOpen(e *entry, o *Object) {
	if n := len(h.spare); n > 0 {
		e.open = h.spare[n-1]
		h.spare = h.spare[:n-1]
		h.open[e.open-1] = o
		return
	}
	h.open = append(h.open, o)
	e.open = uint32(len(h.open))
}

func (h *shard) dropOpen(e *entry) {
	h.open[e.open-1] = nil
	h.spare = append(h.spare, e.open)
	e.open = 0
}
