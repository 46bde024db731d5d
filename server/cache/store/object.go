package store

import (
	"errors"
	"sync"
	"sync/atomic"
)

// Errors of objects and of the store.
var (
	ErrClosed   = errors.New("store: closed")
	ErrTooLarge = errors.New("store: object too large to be stored")
	ErrGap      = errors.New("store: write leaves a gap in a chunk")
	ErrSize     = errors.New("store: more or fewer bytes than the size of the object")
	ErrShort    = errors.New("store: bytes of the object are missing")
	ErrNotYet   = errors.New("store: these bytes have not arrived")
	ErrDisk     = errors.New("store: disk failed")
)

// Stamp is what upper layers want to know of an object without decoding its
// metadata. The store keeps it in the index and never looks at it.
type Stamp struct {
	Stored int64 // unix milliseconds
	Epoch  uint64
	Aux    uint64
}

// Head is the metadata of an object at one time, immutable but for the one
// value attached to it. A response keeps the Head it began with.
type Head struct {
	Meta     []byte // not to be changed
	Stamp    Stamp
	attached atomic.Pointer[any]
}

// Attached returns the decoded value of this metadata, nil if there is none.
func (h *Head) Attached() any {
	if p := h.attached.Load(); p != nil {
		return *p
	}
	return nil
}

// Attach keeps v beside the metadata as long as the object is open. The first
// value wins; what is attached afterwards is returned.
func (h *Head) Attach(v any) any {
	if h.attached.CompareAndSwap(nil, &v) {
		return v
	}
	return h.Attached()
}

// Object is an open version of a variant of a key. Whoever got it from the
// store holds one reference and calls Release once; the methods may be used
// by many goroutines at once.
type Object struct {
	s       *Store
	key     Key
	variant uint64
	id      uint64

	refs     atomic.Int32
	freq     atomic.Uint32 // lookups since the RAM tier last judged it
	resident atomic.Bool
	head     atomic.Pointer[Head]
	size     atomic.Int64
	whole    atomic.Bool
	gone     atomic.Bool
	err      atomic.Pointer[error]
	changed  atomic.Pointer[chan struct{}]
	bytes    []byte // the whole body; set before whole is, never changed after

	entry  uint32 // in the index, 0: not; guarded by the shard, as closed
	closed bool
	keep   bool  // the files stay when the object is closed
	inFile bool  // it left the index while it had files there,
	dying  int64 // which are charged this much until it is closed

	place   uint32 // guarded by residents.mu, as inFiles
	inFiles bool

	loading sync.Once // reads a stored object
	ready   atomic.Bool
	loadErr error

	mu      sync.Mutex
	private bool // not published yet
	b       body
	check   sync.Mutex // one verification at a time
}

// Key returns the key the object was created for.
func (o *Object) Key() Key { return o.key }

// Variant returns the variant it was created for.
func (o *Object) Variant() uint64 { return o.variant }

// ID identifies this version of the object, never used again in this store.
func (o *Object) ID() uint64 { return o.id }

// Head returns the current metadata.
func (o *Object) Head() *Head { return o.head.Load() }

// Size returns the length of the body in bytes, -1 while it is not known.
func (o *Object) Size() int64 { return o.size.Load() }

// Whole says whether the object was completed and all its bytes are there.
func (o *Object) Whole() bool { return o.whole.Load() }

// Gone says whether the object is no longer (or not yet) in the index.
func (o *Object) Gone() bool { return o.gone.Load() }

// ChunkSize returns the unit of presence of large objects, in bytes.
func (o *Object) ChunkSize() int64 { return chunkSize }

// Err returns why the object failed, nil if it did not.
func (o *Object) Err() error {
	if p := o.err.Load(); p != nil {
		return *p
	}
	return nil
}

// hash tells objects apart for the ghost queues.
func (o *Object) hash() uint64 { return mix(&o.key, o.variant) }

func mix(k *Key, variant uint64) uint64 { return k.hash() ^ variant*0x9e3779b97f4a7c15 }

// Bytes returns the whole body as one slice that is valid while the handle is
// held and must not be changed; nil if the body is not in RAM in one piece.
func (o *Object) Bytes() []byte {
	if !o.whole.Load() {
		return nil
	}
	return o.bytes
}

// Retain adds a reference to an object that the caller holds already.
func (o *Object) Retain() *Object {
	if o.refs.Add(1) <= 1 {
		panic("store: Retain of a released object")
	}
	return o
}

// Release gives one reference back.
func (o *Object) Release() {
	switch n := o.refs.Add(-1); {
	case n == 0:
		o.s.closeObject(o)
	case n < 0:
		panic("store: object released twice")
	}
}

// Changed returns a channel that is closed at the next change of the object:
// bytes arrived, size known, completed, failed. Take it first, then look.
func (o *Object) Changed() <-chan struct{} {
	for {
		if p := o.changed.Load(); p != nil {
			return *p
		}
		ch := make(chan struct{})
		if o.changed.CompareAndSwap(nil, &ch) {
			return ch
		}
	}
}

func (o *Object) notify() {
	if o.changed.Load() != nil {
		if p := o.changed.Swap(nil); p != nil {
			close(*p)
		}
	}
}

// Fail marks the object as not to be trusted or not to be finished: it leaves
// the index, readers get err after what has arrived. A whole object stays as
// it is.
func (o *Object) Fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.whole.Load() {
		o.fail(err)
	}
}

// fail is Fail with the lock held, for whole objects, too.
func (o *Object) fail(err error) {
	if err == nil {
		err = ErrShort
	}
	if o.err.CompareAndSwap(nil, &err) {
		o.Delete()
	}
	o.notify()
}

// Delete takes this version out of the index; it lives on for who holds it.
func (o *Object) Delete() { o.s.remove(o) }
