package store

// removed is what is left to do for an entry that was taken out of the index,
// without the lock of its shard.
type removed struct {
	o *Object // was open
}

// take removes entry n from the index, with the shard locked.
func (s *Store) take(h *shard, n uint32) removed {
	e := s.slab.at(n)
	var out removed
	if e.open != 0 {
		out.o = h.open[e.open-1]
		out.o.entry = 0
		out.o.gone.Store(true)
		h.dropOpen(e)
	}
	h.unlink(&s.slab, n)
	s.slab.release(n)
	return out
}

// discard finishes what take began.
func (s *Store) discard(list []removed) {
	for _, r := range list {
		if r.o != nil {
			s.res.leave(r.o)
		}
	}
}
