package cache

import (
	"hash/fnv"
	"sync/atomic"

	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/ranges"
	"github.com/catchment/catchment/server/cache/store"
)

// view is a stored response's metadata decoded, with what hits need prepared. It hangs on the store's Head and is shared
// by all requests; only its atomics change.
type view struct {
	*meta
	valid  ranges.Validators
	object purge.Object
	// checked is the newest purge of which is known that it does not name this object.
	checked atomic.Uint64
	// plain is what the fast path sends, made at the first hit.
	plain atomic.Pointer[plainHead]
	hits  atomic.Uint64
	// refreshing is set while a refresh in the background runs.
	refreshing atomic.Bool
}

func newView(m *meta) *view {
	v := &view{meta: m, valid: m.validators(), object: *m.purgeObject()}
	v.checked.Store(uint64(m.epoch))
	return v
}

// entry is one stored version as a request uses it: a handle of the store, and the metadata it had when it was found.
// Who made it releases it once.
type entry struct {
	*store.Object
	*view
}

// open decodes an object's metadata, or takes it from where it was decoded before. Metadata that cannot be read (another
// version's) deletes the object.
func open(o *store.Object) (entry, bool) {
	h := o.Head()
	if v, ok := h.Attached().(*view); ok {
		return entry{o, v}, true
	}
	m, err := decodeMeta(h.Meta)
	if err != nil {
		o.Delete()
		return entry{}, false
	}
	return entry{o, h.Attach(newView(m)).(*view)}, true
}

// stamp is what the store's index keeps of m.
func (m *meta) stamp() store.Stamp {
	return store.Stamp{Stored: int64(m.life.Received), Epoch: uint64(m.epoch)}
}

// update changes a stored object's metadata: change gets a copy, whose maps are to be replaced and not written to. Updates
// of one object follow one another.
func (s *Server) update(o *store.Object, change func(*meta)) (entry, error) {
	mu := &s.updates[o.ID()%uint64(len(s.updates))]
	mu.Lock()
	defer mu.Unlock()
	e, ok := open(o)
	if !ok {
		return entry{}, errMeta
	}
	m := *e.meta
	change(&m)
	if err := o.SetMeta(m.encode(), m.stamp()); err != nil {
		return e, err
	}
	if e, ok = open(o); !ok {
		return entry{}, errMeta
	}
	return e, nil
}

// noteSum puts the digest of a body that has come whole into its metadata; it is fill's Source.Whole.
func (s *Server) noteSum(obj fill.Object, sum fill.Sum) {
	if o := fill.StoreObject(obj); o != nil {
		if _, err := s.update(o, func(m *meta) { m.sum = &sum }); err != nil {
			s.log.Debug("digest not stored", "err", err)
		}
	}
}

// variantOf is the number under which the store keeps a variant apart from others of its key.
func variantOf(m *meta) uint64 {
	if len(m.vary.Fields) == 0 {
		return 0
	}
	return hashFields(m.vary.Fields, m.vary.Key)
}

// hashFields tells combinations of selecting fields and their values apart. It is the same in every process; two that fall
// together only push one another out, since what is found is compared in full.
func hashFields(fields []string, key string) uint64 {
	h := fnv.New64a()
	for _, f := range fields {
		h.Write([]byte(f))
		h.Write([]byte{0})
	}
	h.Write([]byte(key))
	return h.Sum64() | 1
}
