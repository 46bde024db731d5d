package store

// removed is what is left to do for an entry that was taken out of the index,
// without the lock of its shard.
type removed struct {
	o       *Object // was open
	file    uint64  // id of a large object that was not open
	charged int64
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
	if e.kind != inMemory {
		d := s.disk
		d.journal.del(&e.key, e.id)
		charged := d.dequeue(n, e)
		switch {
		case e.kind == inSegment:
			d.segs.drop(e.seg, e.length)
		case out.o != nil:
			out.o.inFile, out.o.dying = true, charged
			d.dying.Add(charged)
		default:
			out.file, out.charged = e.id, charged
		}
	}
	h.unlink(&s.slab, n)
	s.slab.release(n)
	return out
}

// discard finishes what take began.
func (s *Store) discard(list []removed) {
	for _, r := range list {
		if r.file != 0 {
			s.disk.removeLarge(r.file, r.charged)
		}
		if r.o != nil {
			s.res.leave(r.o)
		}
	}
}

// forgotten is discard for what must not come back after a crash.
func (s *Store) forgotten(list []removed) {
	s.discard(list)
	if s.disk != nil {
		s.disk.journal.settle()
	}
}
