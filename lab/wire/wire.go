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
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}))
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	// More than the default helps bursts; where that is not allowed the limit of
	// the machine applies.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20)
	}
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
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		w.close()
		return fmt.Errorf("wire: eventfd: %w", err)
	}
	defer unix.Close(stop)
	var errs [2]error
	var wg sync.WaitGroup
	for i := range w.ends {
		wg.Go(func() {
			defer cancel()
			errs[i] = w.carry(ctx, i, stop)
		})
	}
	<-ctx.Done()
	_, _ = unix.Write(stop, []byte{7: 1}) // in any byte order: not zero
	wg.Wait()
	w.close()
	if err := errors.Join(errs[:]...); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return context.Cause(ctx)
}

// carry moves the frames of one direction. It owns its thread, which ends with
// it and goes before the other programs of the machine where that is allowed:
// a wire that waits for its turn is a longer wire.
func (w *Wire) carry(ctx context.Context, i, stop int) error {
	runtime.LockOSThread() // for good
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 5}, 0)
	return held(w.ends[i], func(in int) error {
		return held(w.ends[1-i], func(out int) error {
			d := direction{w: w, in: in, out: out, stop: stop, queue: newQueue(w.seed + uint64(i)), count: &w.stats[i], frames: newBatch(), sends: newBatch()}
			for ctx.Err() == nil {
				if err := d.take(); err != nil {
					return err
				}
				d.give(time.Now())
				d.rest(time.Now())
			}
			return nil
		})
	})
}

// held calls f with a file's descriptor, which stays open meanwhile.
func held(file *os.File, f func(fd int) error) (err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// largest is a bundle of segments with the kernel's notes before it.
const largest = 10 + 14 + 4 + 1<<16
