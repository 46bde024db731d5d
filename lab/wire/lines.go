package wire

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Lines is many wires between the same two interfaces: each address at the far
// end has one of its own, as each customer of a provider has, and one thread a
// direction serves all of them.
type Lines struct {
	ends [2]*os.File
	fans [2]*fan
}

// OpenLines opens lines between two interfaces of the calling thread's network
// namespace; both must be up. of says what the line to an address at the far
// end is like; it is asked once for each, from two goroutines. What is neither
// IPv4 nor IPv6 passes at once.
func OpenLines(near, far string, of func(netip.Addr) Config) (*Lines, error) {
	l := &Lines{fans: [2]*fan{newFan(of, true), newFan(of, false)}}
	for i, dev := range []string{near, far} {
		f, err := open(dev)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("wire: %s: %w", dev, err)
		}
		l.ends[i] = f
	}
	return l, nil
}

func (l *Lines) close() {
	for _, f := range l.ends {
		if f != nil {
			f.Close()
		}
	}
}

// Run moves frames both ways until ctx ends, then closes the lines.
func (l *Lines) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for i := range l.ends {
		f := l.fans[i]
		wg.Go(func() { cancel(f.read(l.ends[i])) })
		wg.Go(func() { f.write(l.ends[1-i]) })
		context.AfterFunc(ctx, f.close)
	}
	<-ctx.Done()
	l.close() // ends the reads
	wg.Wait()
	return context.Cause(ctx)
}

// Late is by how much frames of a line came later than they were due, on
// average, and how many there were: the machine was too busy. Those that it made
// wait before they were read are not in it.
func (l *Lines) Late(a netip.Addr) (mean time.Duration, frames int) {
	var sum time.Duration
	for _, f := range l.fans {
		f.mu.Lock()
		if x := f.lines[a]; x != nil {
			sum, frames = sum+x.late, frames+x.frames
		}
		f.mu.Unlock()
	}
	return sum / time.Duration(max(1, frames)), frames
}

// fan is one direction of all lines.
type fan struct {
	of  func(netip.Addr) Config
	far bool // frames go to the far end: their line is that of the destination

	mu     sync.Mutex
	more   sync.Cond
	lines  map[netip.Addr]*line
	frames frames
	count  uint64
	closed bool
	free   [][]byte
}

type line struct {
	lane
	config Config
	late   time.Duration
	frames int
}

func newFan(of func(netip.Addr) Config, far bool) *fan {
	f := &fan{of: of, far: far, lines: map[netip.Addr]*line{}}
	f.more.L = &f.mu
	return f
}

func (f *fan) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.more.Broadcast()
}

func (f *fan) read(from *os.File) error {
	buf := make([]byte, largest)
	for {
		n, err := from.Read(buf)
		if errors.Is(err, unix.ENETDOWN) {
			continue
		}
		if err != nil {
			return err
		}
		f.push(buf[:n], time.Now())
	}
}

// push gives a frame to its line.
func (f *fan) push(data []byte, now time.Time) {
	a := customer(data, f.far)
	f.mu.Lock()
	defer f.mu.Unlock()
	due := now
	var l *line
	if a.IsValid() {
		l = f.lines[a]
		if l == nil {
			l = &line{lane: newLane(uint64(len(f.lines))), config: f.of(a)}
			f.lines[a] = l
		}
		var how fate
		if due, how = l.admit(len(data), &l.config, now); how != queued {
			return
		}
	}
	var b []byte
	if k := len(f.free); k > 0 && cap(f.free[k-1]) >= len(data) {
		b, f.free = f.free[k-1][:0], f.free[:k-1]
	}
	f.count++
	heap.Push(&f.frames, numbered{frame{due, append(b, data...)}, f.count, l})
	f.more.Signal()
}

// customer is the address at the far end of a frame.
func customer(data []byte, far bool) netip.Addr {
	const eth, ip = 10 + 12, 10 + 14 // after the kernel's notes
	if len(data) < ip+20 {
		return netip.Addr{}
	}
	at := func(src, n int) netip.Addr {
		if far {
			src += n
		}
		if len(data) < ip+src+n {
			return netip.Addr{}
		}
		a, _ := netip.AddrFromSlice(data[ip+src : ip+src+n])
		return a
	}
	switch binary.BigEndian.Uint16(data[eth:]) {
	case unix.ETH_P_IP:
		return at(12, 4)
	case unix.ETH_P_IPV6:
		return at(8, 16)
	}
	return netip.Addr{}
}

// glance is how long the writer sleeps at most: a frame that is due earlier may
// have come to another line.
const glance = 400 * time.Microsecond

func (f *fan) write(to *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err == nil {
		defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
	}
	for {
		x, wait := f.pop()
		switch {
		case wait < 0:
			return
		case wait > 0:
			ts := unix.NsecToTimespec(int64(min(wait, glance)))
			unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
			continue
		}
		// A frame that the other end refuses is lost, as on a line.
		_, _ = to.Write(x)
		f.release(x)
	}
}

// pop gives the next frame that is due, or how long until there is one;
// negative: never.
func (f *fan) pop() ([]byte, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.frames) == 0 && !f.closed {
		f.more.Wait()
	}
	if f.closed {
		return nil, -1
	}
	wait := time.Until(f.frames[0].due)
	if wait > 0 {
		return nil, wait
	}
	x := heap.Pop(&f.frames).(numbered)
	if x.line != nil {
		x.line.late -= wait
		x.line.frames++
	}
	return x.data, 0
}

func (f *fan) release(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.free) < 256 {
		f.free = append(f.free, b)
	}
}

// numbered is a frame with its place among those that are due at the same time.
type numbered struct {
	frame
	n    uint64
	line *line
}

// frames is a heap (container/heap) by when they are due.
type frames []numbered

func (f frames) Len() int { return len(f) }
func (f frames) Less(i, j int) bool {
	return cmp.Or(f[i].due.Compare(f[j].due), cmp.Compare(f[i].n, f[j].n)) < 0
}
func (f frames) Swap(i, j int) { f[i], f[j] = f[j], f[i] }

// Push is of container/heap.
func (f *frames) Push(x any) { *f = append(*f, x.(numbered)) }

// Pop is of container/heap.
func (f *frames) Pop() any {
	old := *f
	x := old[len(old)-1]
	old[len(old)-1] = numbered{}
	*f = old[:len(old)-1]
	return x
}
