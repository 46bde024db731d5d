package store

// What follows is replaced by the disk tier.

type largeFile struct{}

type fsys interface{}
type osFS struct{}

func (f *largeFile) read(p []byte, off int64) error { return ErrDisk }

func (o *Object) wantsFile(end int64) bool                   { return false }
func (o *Object) toFile(i int, a *active, p []byte) error    { return ErrDisk }
func (o *Object) fromFile(i int, a *active) error            { return nil }
func (o *Object) chunkStored(i int, sum uint32)              {}
func (o *Object) verify(i int) bool                          { return false }
func (o *Object) unreadable(i int, err error)                {}
func (o *Object) load() error                                { return nil }
func (o *Object) shut()                                      {}
func (o *Object) published()                                 {}
func (s *Store) reopen(h *shard, n uint32, e *entry) *Object { panic("no disk") }
func (s *Store) memoryLimit() int64                          { return s.opt.RAM / 4 }
func (s *Store) sizeLimit() int64                            { return s.opt.RAM / 4 }

func (o *Object) wholeStored() {
	h := &o.s.shards[o.key.shard()]
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.entry != 0 {
		e := o.s.slab.at(o.entry)
		e.size = o.size.Load()
		e.flags |= flagWhole
	}
}

// SetMeta replaces metadata and stamp at once; responses that began with the
// old Head keep it.
func (o *Object) SetMeta(meta []byte, stamp Stamp) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := &o.s.shards[o.key.shard()]
	h.mu.Lock()
	o.head.Store(&Head{Meta: meta, Stamp: stamp})
	if o.entry != 0 {
		o.s.slab.at(o.entry).stamp = stamp
	}
	h.mu.Unlock()
	o.charge()
	return nil
}

// File says from where bytes of the body can be sent by sendfile(2): file
// descriptor, offset in it, number of bytes (at most limit). n is 0 when the
// bytes are not in a file or have not arrived. The descriptor is valid while
// the handle is held; it must not be closed, read by its own offset or
// written.
func (o *Object) File(off, limit int64) (fd int, pos, n int64) { return -1, 0, 0 }

// DiskState of the disk tier.
type DiskState string

// States of the disk.
const (
	NoDisk DiskState = "none"
)

// Status says how the store is.
type Status struct {
	Disk   DiskState
	Reason string // why the disk is not ok
}

// Status returns the state of now.
func (s *Store) Status() Status { return Status{Disk: NoDisk} }
