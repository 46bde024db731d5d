package store

import (
	"context"
	"sync/atomic"
	"time"
)

// scrubber reads all stored data again and again, slowly, so that what went
// bad is found before a client asks for it.
type scrubber struct {
	bad    atomic.Uint64 // records and chunks dropped, by whoever found them
	bytes  atomic.Uint64 // read
	at     atomic.Int64  // shards done in this pass
	passes atomic.Uint64
}

// scrubPause is the pause between two passes at least.
const scrubPause = time.Minute

func (d *disk) runScrub(ctx context.Context) {
	rate := d.s.opt.ScrubRate
	if rate < 0 {
		return
	}
	for pause(ctx, scrubPause) {
		for i := range d.s.shards {
			d.scrub.at.Store(int64(i))
			if !d.scrubShard(ctx, &d.s.shards[i], rate) {
				return
			}
		}
		d.scrub.at.Store(0)
		d.scrub.passes.Add(1)
	}
}

// pause waits; false means that ctx is done.
func pause(ctx context.Context, wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// scrubShard checks the objects of one shard.
func (d *disk) scrubShard(ctx context.Context, h *shard, rate int64) bool {
	list := d.stored(h)
	for _, p := range list {
		if !d.health.readable() {
			return pause(ctx, scrubPause)
		}
		var n int64
		if p.len > 0 {
			n = d.scrubSmall(p)
		} else {
			n = d.scrubLarge(ctx, p, rate)
		}
		d.scrub.bytes.Add(uint64(n))
		if !pause(ctx, time.Duration(float64(n)/float64(rate)*float64(time.Second))) {
			return false
		}
	}
	return true
}

// stored lists what of a shard is on disk; length 0: in a file.
func (d *disk) stored(h *shard) []place {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []place
	for _, n := range h.slots {
		for ; n != 0; n = d.s.slab.at(n).next {
			switch e := d.s.slab.at(n); e.kind {
			case inSegment:
				list = append(list, place{e.key, e.id, n, e.seg, e.off, e.length})
			case inFile:
				list = append(list, place{key: e.key, id: e.id, n: n})
			}
		}
	}
	return list
}

// scrubSmall verifies a record and drops the object if it is bad.
func (d *disk) scrubSmall(p place) int64 {
	r, err := d.segs.read(p.seg, p.off, p.len)
	if err == nil && r.id == p.id && r.key == p.key {
		return int64(p.len)
	}
	s := d.s
	h := &s.shards[p.key.shard()]
	var out []removed
	h.mu.Lock()
	e := s.slab.at(p.n)
	if s.holds(h, &p.key, p.n, p.id) && e.kind == inSegment && e.seg == p.seg && e.off == p.off {
		out = append(out, s.take(h, p.n))
		d.scrub.bad.Add(1)
		d.log.Warn("cache store: scrub dropped an object", "error", err)
		if err != nil {
			d.failRead(err)
		}
	}
	h.mu.Unlock()
	s.discard(out)
	return int64(p.len)
}

// scrubLarge verifies the chunks of a large object, whether they were seen
// to be right before or not.
func (d *disk) scrubLarge(ctx context.Context, p place, rate int64) (n int64) {
	o := d.s.pick(p)
	if o == nil {
		return 0
	}
	defer o.Release()
	if o.load() != nil {
		return 0
	}
	for i := range chunks(o.Size()) {
		o.mu.Lock()
		inFile := o.b.done.has(i) && o.b.mem[i] == nil
		if inFile {
			o.b.good.clear(i)
		}
		length := o.chunkLen(i)
		o.mu.Unlock()
		if !inFile {
			continue
		}
		o.verify(i)
		d.scrub.bytes.Add(uint64(length))
		if !pause(ctx, time.Duration(float64(length)/float64(rate)*float64(time.Second))) {
			break
		}
	}
	return n
}

// pick returns the object of a place without counting as a use.
func (s *Store) pick(p place) *Object {
	h := &s.shards[p.key.shard()]
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.closed.Load() || !s.holds(h, &p.key, p.n, p.id) {
		return nil
	}
	e := s.slab.at(p.n)
	var o *Object
	if e.open != 0 {
		o = h.open[e.open-1]
	} else {
		o = s.reopen(h, p.n, e)
	}
	o.refs.Add(1)
	return o
}
