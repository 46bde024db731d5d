package wire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Wire is open between two interfaces. Run moves the frames.
type Wire struct {
	ends   [2]*os.File
	config atomic.Pointer[Config]
	seed   uint64

	// Counters of both directions: a to b, b to a.
	stats [2]counters
}

type counters struct{ sent, lost, dropped atomic.Uint64 }

// Stats is what happened in one direction.
type Stats struct {
	Sent    uint64 // frames that left the wire
	Lost    uint64 // thrown away by Loss
	Dropped uint64 // no room in Queue, or the other end refused
}

// Open opens a wire between two interfaces of the calling thread's network
// namespace. Both must be up.
func Open(a, b string, c Config) (*Wire, error) {
	w := &Wire{seed: rand.Uint64()}
	w.config.Store(&c)
	for i, dev := range []string{a, b} {
		f, err := open(dev)
		if err != nil {
			w.close()
			return nil, fmt.Errorf("wire: %s: %w", dev, err)
		}
		w.ends[i] = f
	}
	return w, nil
}

// open makes a packet socket that gets what arrives at dev, with the
// kernel's notes on unfinished checksums and segments before each frame.
func open(dev string) (*os.File, error) {
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		return nil, err
	}
	// Protocol 0 until it is bound: nothing of other interfaces is queued.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}))
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	// More than the default helps bursts; the limit of the machine applies.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<20)
	return os.NewFile(uintptr(fd), dev), nil
}

func htons(v uint16) uint16 {
	b := [2]byte{byte(v >> 8), byte(v)}
	return *(*uint16)(unsafe.Pointer(&b))
}

func (w *Wire) close() {
	for _, f := range w.ends {
		if f != nil {
			f.Close()
		}
	}
}

// Set changes the wire for frames that arrive from now on.
func (w *Wire) Set(c Config) { w.config.Store(&c) }

// Stats returns the counters of both directions.
func (w *Wire) Stats() (ab, ba Stats) {
	read := func(c *counters) Stats {
		return Stats{Sent: c.sent.Load(), Lost: c.lost.Load(), Dropped: c.dropped.Load()}
	}
	return read(&w.stats[0]), read(&w.stats[1])
}

// Run moves frames both ways until ctx ends, then closes the wire.
func (w *Wire) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var first error
	var once sync.Once
	fail := func(err error) {
		once.Do(func() { first = err })
		cancel()
	}
	for i := range w.ends {
		q := newQueue(w.seed + uint64(i))
		wg.Go(func() { fail(w.read(ctx, w.ends[i], q, &w.stats[i])) })
		wg.Go(func() { w.write(w.ends[1-i], q, &w.stats[i]) })
		context.AfterFunc(ctx, q.close)
	}
	<-ctx.Done()
	w.close() // ends the reads
	wg.Wait()
	if first == nil || errors.Is(first, os.ErrClosed) {
		return context.Cause(ctx)
	}
	return first
}

// largest is a bundle of segments with the kernel's notes before it.
const largest = 10 + 14 + 4 + 1<<16

// read queues what arrives until the socket is closed.
func (w *Wire) read(ctx context.Context, from *os.File, q *queue, c *counters) error {
	buf := make([]byte, largest)
	for {
		n, err := from.Read(buf)
		if errors.Is(err, unix.ENETDOWN) {
			continue // the interface went down: it will come back, or the wire ends
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch q.push(buf[:n], w.config.Load(), time.Now()) {
		case lost:
			c.lost.Add(1)
		case full:
			c.dropped.Add(1)
		}
	}
}

// write sends each frame when it is due. It owns its thread, whose sleeps
// are made as exact as the kernel can: a Go timer is up to 1 ms late.
func (w *Wire) write(to *os.File, q *queue, c *counters) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err == nil {
		defer unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
	}
	for {
		f, ok := q.pop()
		if !ok {
			return
		}
		if wait := time.Until(f.due); wait > 0 {
			ts := unix.NsecToTimespec(int64(wait))
			unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
		}
		if _, err := to.Write(f.data); err != nil {
			c.dropped.Add(1)
		} else {
			c.sent.Add(1)
		}
		q.release(f.data)
	}
}
