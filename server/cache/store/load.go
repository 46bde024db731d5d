package store

import (
	"errors"
	"hash/crc32"
)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

var errDiskDown = errors.New("store: disk is not in use")

// reopen makes the object of an entry that is only on disk, not loaded yet;
// with the shard locked.
func (s *Store) reopen(h *shard, n uint32, e *entry) *Object {
	o := &Object{s: s, key: e.key, variant: e.variant, id: e.id, entry: n}
	o.size.Store(e.size)
	h.addOpen(e, o)
	return o
}

// load reads the object from disk, once; whoever finds it meanwhile waits.
// Nothing is read of an object that was created here.
func (o *Object) load() error {
	if o.ready.Load() {
		return nil
	}
	o.loading.Do(func() {
		o.loadErr = o.fetch()
		switch {
		case o.loadErr == nil:
			o.s.disk.health.row.Store(0)
			o.ready.Store(true)
		case errors.Is(o.loadErr, errDiskDown), o.gone.Load(): // gone: deleted meanwhile, with its files
		default:
			o.s.disk.log.Warn("cache store: stored object dropped", "error", o.loadErr)
			o.s.disk.scrub.bad.Add(1)
			o.s.disk.failRead(o.loadErr)
			o.s.remove(o)
		}
	})
	return o.loadErr
}

// fetch reads where the index points to; the record may be moved meanwhile.
func (o *Object) fetch() error {
	s := o.s
	if !s.disk.health.readable() {
		return errDiskDown
	}
	h := &s.shards[o.key.shard()]
	var last place
	for {
		h.mu.Lock()
		if o.entry == 0 {
			h.mu.Unlock()
			return ErrNotYet // deleted meanwhile
		}
		e := s.slab.at(o.entry)
		where, p := e.kind, place{seg: e.seg, off: e.off, len: e.length}
		h.mu.Unlock()
		if where == inFile {
			return o.fetchLarge()
		}
		err := o.fetchSmall(p)
		if err == nil || p == last {
			return err
		}
		last = p
	}
}

func (o *Object) fetchSmall(p place) error {
	r, err := o.s.disk.segs.read(p.seg, p.off, p.len)
	if err != nil {
		return err
	}
	if r.id != o.id || r.key != o.key || r.variant != o.variant || int64(len(r.body)) != o.size.Load() {
		return errCorrupt
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.head.Store(&Head{Meta: r.meta, Stamp: r.stamp})
	o.bytes = r.body
	if o.bytes == nil {
		o.bytes = []byte{}
	}
	o.b.ram = int64(len(r.body))
	if len(r.body) > 0 {
		o.b.done.set(0)
		o.b.mem = map[int][]byte{0: r.body}
	}
	o.whole.Store(true)
	return nil
}

func (o *Object) fetchLarge() error {
	l, d, err := o.s.disk.openLarge(o.id, &o.key, o.variant)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.head.Store(&Head{Meta: d.meta, Stamp: d.stamp})
	o.size.Store(d.size)
	o.b.file = l
	o.b.done = d.done
	o.whole.Store(d.whole)
	h := &o.s.shards[o.key.shard()]
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.entry == 0 { // deleted meanwhile
		l.bytes = o.dying
		return nil
	}
	e := o.s.slab.at(o.entry)
	e.stamp, e.size = d.stamp, d.size
	e.flags &^= flagWhole
	if d.whole {
		e.flags |= flagWhole
	}
	dk := o.s.disk
	dk.mu.Lock()
	dk.large.Add(l.bytes - e.node.size)
	dk.q.resize(o.entry, l.bytes)
	dk.mu.Unlock()
	return nil
}

// shut closes what a closed object had open, and removes files that the index
// does not know.
func (o *Object) shut() {
	charged := o.dying
	l := o.b.file
	if l != nil {
		l.f.Close()
		charged = l.bytes
	}
	if !o.keep && (l != nil || o.inFile) {
		o.s.disk.dying.Add(-o.dying)
		o.s.disk.removeLarge(o.id, charged)
	}
}
