package store

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Store is the objects of one cache. Open makes one, Run works in its
// background, Close ends it; all other methods may be called from Open to
// Close by any number of goroutines.
type Store struct {
	opt    Options
	shards [shardCount]shard
	slab   slab
	res    residents
	disk   *disk // nil: RAM only
	nextID atomic.Uint64
	closed atomic.Bool
	count  counters
}

// Open makes a store, with what its directory holds.
func Open(opt Options) (*Store, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	s := &Store{opt: opt}
	for i := range s.shards {
		s.shards[i].seed = [2]uint64{rand.Uint64(), rand.Uint64()}
	}
	s.res.init(opt.RAM, int64(opt.OpenFiles), opt.Objects)
	if opt.Dir != "" {
		if s.disk, err = openDisk(s); err != nil {
			return nil, err
		}
	}
	s.count.start = time.Since(began)
	return s, nil
}

// Run does the work in the background until ctx is done.
func (s *Store) Run(ctx context.Context) error {
	if s.disk == nil {
		<-ctx.Done()
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.disk.run(ctx) })
	wg.Go(func() { s.disk.runScrub(ctx) })
	wg.Wait()
	return nil
}

// Close ends the store, after Run returned. Handles that are still held stay
// readable as far as they are in RAM.
func (s *Store) Close() error {
	if s.closed.Swap(true) || s.disk == nil {
		return nil
	}
	return s.disk.close()
}

// memoryLimit is what one object may hold in RAM.
func (s *Store) memoryLimit() int64 { return s.opt.RAM / 4 }

// sizeLimit is how large an object may be.
func (s *Store) sizeLimit() int64 {
	if s.disk != nil && s.disk.health.writable() {
		return max(s.opt.Disk, s.opt.RAM) / 4
	}
	return s.memoryLimit()
}

// New describes an object to be created.
type New struct {
	// Variant tells the responses under one key apart (a hash of the request
	// fields that Vary names, say); 0 if there is but one.
	Variant uint64
	// Meta is opaque and not copied: not to be changed afterwards.
	Meta  []byte
	Stamp Stamp
	// Size of the body in bytes, -1 if it is not known yet.
	Size int64
	// Private objects are not visible to Lookup before Publish.
	Private bool
}

// Lookup appends the variants of a key to dst, newest first: whole, partial
// and in progress. Each must be released. What is in RAM costs no system call
// and no allocation but for dst.
func (s *Store) Lookup(k Key, dst []*Object) []*Object {
	h := &s.shards[k.shard()]
	from := len(dst)
	h.mu.Lock()
	if s.closed.Load() {
		h.mu.Unlock()
		return dst
	}
	_, n := h.find(&s.slab, &k)
	for n != 0 {
		e := s.slab.at(n)
		if e.freq < 3 {
			e.freq++
		}
		var o *Object
		if e.open != 0 {
			o = h.open[e.open-1]
		} else {
			o = s.reopen(h, n, e)
		}
		o.refs.Add(1)
		dst = append(dst, o)
		n = e.next
	}
	h.mu.Unlock()
	return s.settle(dst, from)
}

// settle sees to it that found objects are loaded and resident, and counts.
func (s *Store) settle(dst []*Object, from int) []*Object {
	to, cold := from, false
	for _, o := range dst[from:] {
		cold = cold || !o.ready.Load()
		if o.load() != nil {
			o.Release()
			continue
		}
		if !o.resident.Load() && !o.gone.Load() {
			o.mu.Lock()
			o.charge()
			o.mu.Unlock()
		}
		if o.freq.Load() < 3 {
			o.freq.Add(1)
		}
		dst[to] = o
		to++
	}
	switch {
	case to == from:
		s.count.misses.Add(1)
	case cold:
		s.count.diskHits.Add(1)
	default:
		s.count.ramHits.Add(1)
	}
	return dst[:to]
}

// Create makes a new version of a variant, held once by the caller. Unless it
// is private it takes the place of the version that was there, which lives on
// for its readers.
func (s *Store) Create(k Key, n New) (*Object, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	if n.Size > s.sizeLimit() {
		return nil, ErrTooLarge
	}
	o := &Object{s: s, key: k, variant: n.Variant, id: s.nextID.Add(1), private: true}
	o.refs.Store(1)
	o.gone.Store(true)
	o.ready.Store(true)
	o.size.Store(max(n.Size, -1))
	o.head.Store(&Head{Meta: n.Meta, Stamp: n.Stamp})
	s.count.created.Add(1)
	if n.Private {
		return o, nil
	}
	if err := o.Publish(); err != nil {
		return nil, err
	}
	return o, nil
}

// Publish makes a private object visible; it takes the place of the version
// of its variant that was there. It does nothing to an object that was
// published before or has failed.
func (o *Object) Publish() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.Err(); err != nil || !o.private {
		return err
	}
	s := o.s
	n := s.slab.alloc()
	if n == 0 {
		return ErrTooLarge
	}
	h := &s.shards[o.key.shard()]
	h.mu.Lock()
	if s.closed.Load() {
		h.mu.Unlock()
		s.slab.release(n)
		return ErrClosed
	}
	out := s.makeRoom(h, o)
	e := s.slab.at(n)
	head := o.Head()
	e.key, e.variant, e.id, e.size, e.stamp = o.key, o.variant, o.id, o.size.Load(), head.Stamp
	o.entry = n
	o.gone.Store(false)
	h.link(&s.slab, n)
	h.addOpen(e, o)
	o.private = false
	h.mu.Unlock()
	s.forgotten(out)
	o.published()
	o.charge()
	return nil
}

// makeRoom takes the version out that o replaces, and the oldest variants if
// there are too many.
func (s *Store) makeRoom(h *shard, o *Object) []removed {
	var out []removed
	count, last := 0, uint32(0)
	_, n := h.find(&s.slab, &o.key)
	for n != 0 {
		e := s.slab.at(n)
		next := e.next
		if e.variant == o.variant {
			out = append(out, s.take(h, n))
		} else {
			count++
			last = n
		}
		n = next
	}
	if count >= s.opt.Variants {
		out = append(out, s.take(h, last))
	}
	return out
}

// Delete takes all variants of a key out of the index and returns how many.
func (s *Store) Delete(k Key) int {
	h := &s.shards[k.shard()]
	h.mu.Lock()
	var out []removed
	_, n := h.find(&s.slab, &k)
	for n != 0 {
		next := s.slab.at(n).next
		out = append(out, s.take(h, n))
		n = next
	}
	h.mu.Unlock()
	s.forgotten(out)
	return len(out)
}

// remove takes one version out of the index.
func (s *Store) remove(o *Object) {
	h := &s.shards[o.key.shard()]
	h.mu.Lock()
	if o.entry == 0 {
		h.mu.Unlock()
		return
	}
	out := s.take(h, o.entry)
	h.mu.Unlock()
	s.forgotten([]removed{out})
}

// closeObject ends an object that nobody holds any more.
func (s *Store) closeObject(o *Object) {
	h := &s.shards[o.key.shard()]
	h.mu.Lock()
	if o.refs.Load() != 0 || o.closed {
		h.mu.Unlock()
		return
	}
	o.closed = true
	var out []removed
	if o.entry != 0 {
		e := s.slab.at(o.entry)
		if e.kind == inMemory {
			out = append(out, s.take(h, o.entry))
		} else {
			if o.keep = e.kind == inFile; o.keep && o.b.file != nil {
				s.disk.resize(o.entry, o.b.file.bytes)
			}
			h.dropOpen(e)
			o.entry = 0
		}
	}
	h.mu.Unlock()
	s.discard(out)
	o.shut()
}
