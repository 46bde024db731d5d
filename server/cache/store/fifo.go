package store

// node places something in one of the two queues of a fifo.
type node struct {
	prev, next uint32 // towards head (newest), towards tail (oldest)
	size       int64
	queue      uint8
}

const (
	noQueue = iota
	smallQueue
	mainQueue
)

type queue struct {
	head, tail uint32
	bytes      int64
	n          int
}

// fifo is S3-FIFO by bytes (Yang et al., SOSP 2023): what is new waits in a
// small queue of a tenth of the room and goes to the main queue only if it
// was asked for again there; what comes back soon after it was dropped (ghost)
// starts in the main queue; the main queue gives a second chance for each
// use. It holds numbers only; the caller has the nodes and the use counts.
type fifo struct {
	at    func(uint32) *node
	cap   int64 // bytes
	q     [3]queue
	ghost ghost
}

func (f *fifo) bytes() int64 { return f.q[smallQueue].bytes + f.q[mainQueue].bytes }
func (f *fifo) count() int   { return f.q[smallQueue].n + f.q[mainQueue].n }

// add enqueues n, into the main queue if its hash is remembered.
func (f *fifo) add(n uint32, hash uint64, size int64) {
	to := uint8(smallQueue)
	if f.ghost.take(hash) {
		to = mainQueue
	}
	f.push(n, to, size)
}

func (f *fifo) push(n uint32, to uint8, size int64) {
	d, q := f.at(n), &f.q[to]
	*d = node{next: q.head, size: size, queue: to}
	if q.head != 0 {
		f.at(q.head).prev = n
	} else {
		q.tail = n
	}
	q.head = n
	q.n++
	q.bytes += size
}

// remove takes n out of its queue, if it is in one.
func (f *fifo) remove(n uint32) {
	d := f.at(n)
	if d.queue == noQueue {
		return
	}
	q := &f.q[d.queue]
	if d.prev != 0 {
		f.at(d.prev).next = d.next
	} else {
		q.head = d.next
	}
	if d.next != 0 {
		f.at(d.next).prev = d.prev
	} else {
		q.tail = d.prev
	}
	q.n--
	q.bytes -= d.size
	*d = node{size: d.size}
}

// resize notes another size of n.
func (f *fifo) resize(n uint32, size int64) {
	d := f.at(n)
	if d.queue != noQueue {
		f.q[d.queue].bytes += size - d.size
		d.size = size
	}
}

// victim returns what has to be judged next, 0 when there is nothing.
func (f *fifo) victim() uint32 {
	s, m := &f.q[smallQueue], &f.q[mainQueue]
	if s.n > 0 && (s.bytes*10 >= f.cap || m.n == 0) {
		return s.tail
	}
	return m.tail
}

// judge decides about a victim that was used freq times: it stays (moved to
// the head of the main queue, with the use count to go on with) or leaves the
// queues and is remembered.
func (f *fifo) judge(n uint32, hash uint64, freq uint8) (stays bool, left uint8) {
	d := f.at(n)
	from, size := d.queue, d.size
	f.remove(n)
	switch {
	case from == smallQueue && freq > 0:
		f.push(n, mainQueue, size)
		return true, 0
	case from == mainQueue && freq > 0:
		f.push(n, mainQueue, size)
		return true, freq - 1
	}
	if from == smallQueue {
		f.ghost.add(hash, f.count())
	}
	return false, 0
}

// ghost remembers fingerprints of what left the small queue, about as many
// as the main queue holds: a table of buckets of four, the oldest of a
// bucket is overwritten.
type ghost struct {
	table []uint32 // fingerprints, 0 empty
	stamp []uint32 // when added, in additions
	clock uint32
	keep  uint32 // older than so many additions: forgotten
}

const ghostWays = 4

func (g *ghost) bucket(hash uint64) (at int, print uint32) {
	return int(hash&uint64(len(g.table)/ghostWays-1)) * ghostWays, uint32(hash>>32) | 1
}

func (g *ghost) add(hash uint64, keep int) {
	g.keep = uint32(max(keep, 64))
	if len(g.table) < int(g.keep) {
		g.grow()
	}
	at, print := g.bucket(hash)
	g.clock++
	oldest := at
	for i := at; i < at+ghostWays; i++ {
		if g.table[i] == 0 || g.clock-g.stamp[i] > g.clock-g.stamp[oldest] {
			oldest = i
		}
		if g.table[i] == 0 {
			break
		}
	}
	g.table[oldest], g.stamp[oldest] = print, g.clock
}

// take says whether hash is remembered, and forgets it.
func (g *ghost) take(hash uint64) bool {
	if len(g.table) == 0 {
		return false
	}
	at, print := g.bucket(hash)
	for i := at; i < at+ghostWays; i++ {
		if g.table[i] == print && g.clock-g.stamp[i] <= g.keep {
			g.table[i] = 0
			return true
		}
	}
	return false
}

// grow starts again with a larger table: what was remembered is lost, which
// costs a few second misses at a time when the store is still filling up.
func (g *ghost) grow() {
	n := ghostWays * 64
	for n < int(g.keep)*2 {
		n *= 2
	}
	g.table, g.stamp = make([]uint32, n), make([]uint32, n)
}
