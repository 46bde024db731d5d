package store

import (
	"context"
	"time"
)

// maintain makes room until the disk tier is within its quota: it evicts
// until enough of the segments is dead, then copies what lives out of the
// segments that are dead most. It takes no lock of an object, so a writer that
// holds one may call it.
func (d *disk) maintain() {
	d.upkeep.Lock()
	defer d.upkeep.Unlock()
	for d.over() {
		size, live, _ := d.segs.use()
		if dead := size - live; dead > 0 && dead*100 >= size*15 && d.reclaim() {
			continue
		}
		if !d.evict() && !d.reclaim() {
			return
		}
	}
}

// evict judges one object and says whether there was one.
func (d *disk) evict() bool {
	s := d.s
	d.mu.Lock()
	n := d.q.victim()
	if n == 0 {
		d.mu.Unlock()
		return false
	}
	e := s.slab.at(n) // stays allocated while it is in the queue
	k, id := e.key, e.id
	d.mu.Unlock()
	h := &s.shards[k.shard()]
	h.mu.Lock()
	if !s.holds(h, &k, n, id) {
		h.mu.Unlock()
		return true // went meanwhile
	}
	d.mu.Lock()
	stays, left := true, e.freq
	if e.node.queue != noQueue {
		stays, left = d.q.judge(n, mix(&k, e.variant), e.freq)
	}
	e.freq = left
	d.mu.Unlock()
	var out []removed
	if !stays {
		out = append(out, s.take(h, n))
		d.evicted.Add(1)
	}
	h.mu.Unlock()
	s.discard(out)
	return true
}

// holds says whether n is still the entry of this version, with the shard
// locked.
func (s *Store) holds(h *shard, k *Key, n uint32, id uint64) bool {
	_, at := h.find(&s.slab, k)
	for at != 0 && at != n {
		at = s.slab.at(at).next
	}
	return at == n && at != 0 && s.slab.at(n).id == id
}

// reclaim empties a few segments and removes them; false if that freed
// nothing.
func (d *disk) reclaim() bool {
	_, _, files := d.segs.use()
	list := d.segs.victims(1 + files/64)
	if len(list) == 0 {
		d.segs.seal()
		if list = d.segs.victims(1); len(list) == 0 {
			return false
		}
	}
	before, _, _ := d.segs.use()
	d.compact(list)
	after, _, _ := d.segs.use()
	if after < before {
		d.reclaimed.Add(uint64(before - after))
	}
	return after < before
}

// place is where a record is and whose it is.
type place struct {
	key           Key
	id            uint64
	n             uint32
	seg, off, len uint32
}

// compact copies what lives in the segments to the head and removes them. What
// cannot be read or written is evicted.
func (d *disk) compact(list []uint32) {
	in := map[uint32]bool{}
	for _, no := range list {
		in[no] = true
	}
	var live []place
	for i := range d.s.shards {
		live = d.placesIn(&d.s.shards[i], in, live[:0])
		for _, p := range live {
			d.move(p)
		}
	}
	if d.journal.flush() != nil {
		return // the index on disk still points there
	}
	for _, no := range list {
		d.noteRemove(d.segs.remove(no))
	}
}

func (d *disk) placesIn(h *shard, in map[uint32]bool, list []place) []place {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.slots {
		for ; n != 0; n = d.s.slab.at(n).next {
			if e := d.s.slab.at(n); e.kind == inSegment && in[e.seg] {
				list = append(list, place{e.key, e.id, n, e.seg, e.off, e.length})
			}
		}
	}
	return list
}

// move copies one record to the head, unless it changes meanwhile.
func (d *disk) move(p place) {
	s := d.s
	r, err := d.segs.read(p.seg, p.off, p.len)
	if err == nil && (r.id != p.id || r.key != p.key) {
		err = errCorrupt
	}
	length := uint32(0)
	if err == nil && d.health.writable() {
		if length, err = d.segs.write(&r); err != nil {
			d.failWrite(err)
		}
	}
	h := &s.shards[p.key.shard()]
	var out []removed
	h.mu.Lock()
	e := s.slab.at(p.n)
	same := s.holds(h, &p.key, p.n, p.id) && e.kind == inSegment && e.seg == p.seg && e.off == p.off
	switch {
	case same && length > 0:
		d.segs.drop(e.seg, e.length)
		e.seg, e.off, e.length = r.seg, r.off, length
		d.note(e)
		d.copied.Add(uint64(length))
	case same:
		out = append(out, s.take(h, p.n))
		d.evicted.Add(1)
	}
	if length > 0 {
		d.segs.unpin(r.seg, length, same)
	}
	h.mu.Unlock()
	s.discard(out)
}

// run is the work of the disk tier in the background.
func (d *disk) run(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.kick:
			d.maintain()
		case now := <-tick.C:
			d.housekeeping(now)
		}
	}
}

func (d *disk) housekeeping(now time.Time) {
	d.maintain()
	if d.health.due(now) {
		d.retry()
	}
	if !d.health.writable() {
		return
	}
	d.health.relax(d.quota)
	if d.journal.flush() != nil {
		return
	}
	if w := d.journal.bytes(); w > min(snapTrigger, d.quota/64) && w > d.index.Load()/2 {
		if err := d.snapshot(); err != nil {
			d.failWrite(err)
		}
	}
}
