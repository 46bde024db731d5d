package store

import "sync"

// residents are the open objects that stay open though no request holds
// them, each with one reference: those with their body in RAM by bytes, those
// with a file by number.
type residents struct {
	mu    sync.Mutex
	ram   fifo
	files fifo
	slots []resident
	spare []uint32
	left  uint64 // evicted for want of room
	most  int    // objects in RAM
}

type resident struct {
	o    *Object
	node node
}

func (r *residents) init(ram, files int64, objects int) {
	r.most = objects
	at := func(n uint32) *node { return &r.slots[n-1].node }
	r.ram = fifo{at: at, cap: ram}
	r.files = fifo{at: at, cap: files}
}

// enter makes o a resident of the tier its body belongs to, or moves it, and
// notes its size; objects that left the index do not enter.
func (r *residents) enter(o *Object, file bool, cost int64) {
	r.mu.Lock()
	f := &r.ram
	if file {
		f, cost = &r.files, 1
	}
	switch {
	case o.gone.Load():
	case o.place == 0:
		r.slots, o.place = r.slot(o)
		o.refs.Add(1)
		o.resident.Store(true)
		o.inFiles = file
		f.add(o.place, o.hash(), cost)
	case o.inFiles != file:
		was := &r.ram
		if o.inFiles {
			was = &r.files
		}
		was.remove(o.place)
		o.inFiles = file
		f.push(o.place, mainQueue, cost)
	default:
		f.resize(o.place, cost)
	}
	r.mu.Unlock()
	r.shrink()
}

func (r *residents) slot(o *Object) ([]resident, uint32) {
	if n := len(r.spare); n > 0 {
		p := r.spare[n-1]
		r.spare = r.spare[:n-1]
		r.slots[p-1] = resident{o: o}
		return r.slots, p
	}
	return append(r.slots, resident{o: o}), uint32(len(r.slots) + 1)
}

// leave drops the residence of an object that left the index.
func (r *residents) leave(o *Object) {
	r.mu.Lock()
	was := o.place != 0
	if was {
		f := &r.ram
		if o.inFiles {
			f = &r.files
		}
		f.remove(o.place)
		r.vacate(o)
	}
	r.mu.Unlock()
	if was {
		o.Release()
	}
}

func (r *residents) vacate(o *Object) {
	r.slots[o.place-1] = resident{}
	r.spare = append(r.spare, o.place)
	o.place = 0
	o.resident.Store(false)
}

// shrink evicts until both tiers are within their limits.
func (r *residents) shrink() {
	for {
		o := r.evict()
		if o == nil {
			return
		}
		o.Release()
	}
}

// evict takes one resident out that has to go; nil: none.
func (r *residents) evict() *Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range []*fifo{&r.ram, &r.files} {
		for f.bytes() > f.cap || f.count() > r.most {
			n := f.victim()
			o := r.slots[n-1].o
			stays, left := f.judge(n, o.hash(), uint8(min(o.freq.Load(), 3)))
			if stays {
				o.freq.Store(uint32(left))
				continue
			}
			r.vacate(o)
			r.left++
			return o
		}
	}
	return nil
}

// use returns the bytes held in RAM and the number of open files.
func (r *residents) use() (ram int64, objects int, files int, evicted uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ram.bytes(), r.ram.count(), r.files.count(), r.left
}
