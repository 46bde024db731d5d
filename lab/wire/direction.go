package wire

import (
	"encoding/binary"
	"errors"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// direction is one direction of a wire at work: a thread that takes what has
// arrived, by when the kernel says it did, and gives what is due. So a thread
// that comes late to read delays no frame, as long as it comes within Delay.
type direction struct {
	w             *Wire
	in, out, stop int
	queue         *queue
	count         *counters
	frames, sends *batch
}

// take queues all that has arrived.
func (d *direction) take() error {
	for {
		n, err := d.frames.receive(d.in)
		switch {
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENETDOWN): // it will come up again, or the wire ends
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		}
		c, now := d.w.config.Load(), time.Now()
		for i := range n {
			data, stamp := d.frames.message(i)
			switch d.queue.push(data, c, arrived(stamp, now)) {
			case lost:
				d.count.lost.Add(1)
			case full:
				d.count.dropped.Add(1)
			}
		}
		if n < atOnce {
			return nil
		}
	}
}

// arrived is when a frame arrived: stamp is the kernel's clock in nanoseconds,
// 0 if it has said nothing. A clock that was set is not believed.
func arrived(stamp int64, now time.Time) time.Time {
	if age := time.Duration(now.UnixNano() - stamp); stamp != 0 && age > 0 && age < time.Second {
		return now.Add(-age)
	}
	return now
}

// give sends what is due. What the other end refuses is lost, as on a line.
func (d *direction) give(now time.Time) {
	for {
		n := d.queue.due(now, atOnce)
		if n == 0 {
			return
		}
		sent, err := d.sends.send(d.out, d.queue.frames[:n])
		switch {
		case errors.Is(err, unix.EAGAIN): // later
			return
		case errors.Is(err, unix.EINTR):
		case err != nil:
			d.count.dropped.Add(1)
			d.queue.drop(1)
		default:
			d.count.sent.Add(uint64(sent))
			d.queue.drop(sent)
		}
	}
}

// How long a direction rests: frames that are due within Delay/fine, but not
// more than finest, leave together, and of those that arrive it hears within
// Delay/coarse, but not more than coarsest.
const (
	fine, finest     = 256, 100 * time.Microsecond
	coarse, coarsest = 8, 500 * time.Microsecond
)

// rest waits until something is due, or may have arrived.
func (d *direction) rest(now time.Time) {
	fds := [2]unix.PollFd{{Fd: int32(d.stop), Events: unix.POLLIN}, {Fd: int32(d.in), Events: unix.POLLIN}}
	if len(d.queue.frames) == 0 {
		_, _ = unix.Ppoll(fds[:], nil, nil)
		return
	}
	c := d.w.config.Load()
	wait := max(d.queue.frames[0].due.Sub(now), min(c.Delay/fine, finest), 0)
	if c.Delay > 0 {
		ts := unix.NsecToTimespec(int64(min(wait, max(c.Delay/coarse, 1), coarsest)))
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
		return
	}
	ts := unix.NsecToTimespec(int64(wait))
	_, _ = unix.Ppoll(fds[:], &ts, nil)
}

// atOnce is how many frames the kernel is given or asked for at once.
const atOnce = 32

// message is struct mmsghdr of recvmmsg(2).
type message struct {
	unix.Msghdr
	n uint32
}

// batch is what the kernel is given or asked for.
type batch struct {
	messages [atOnce]message
	iovecs   [atOnce]unix.Iovec
	data     [][]byte
	control  [atOnce][64]byte
}

func newBatch() *batch {
	b := &batch{}
	for i := range b.messages {
		b.messages[i].Iov = &b.iovecs[i]
		b.messages[i].SetIovlen(1)
	}
	return b
}

// receive asks for what is there, and does not wait.
func (b *batch) receive(fd int) (int, error) {
	for i := range b.messages {
		if len(b.data) <= i {
			b.data = append(b.data, make([]byte, largest))
		}
		b.iovecs[i].Base = &b.data[i][0]
		b.iovecs[i].SetLen(largest)
		b.messages[i].Control = &b.control[i][0]
		b.messages[i].SetControllen(len(b.control[i]))
	}
	n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages)), atOnce, unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// message is one that was received, and when, in nanoseconds; 0: it is not
// known.
func (b *batch) message(i int) (data []byte, stamp int64) {
	m := &b.messages[i]
	data = b.data[i][:m.n]
	for oob := b.control[i][:m.Controllen]; len(oob) > 0; {
		h, body, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(body) >= 16 {
			stamp = int64(binary.NativeEndian.Uint64(body))*1e9 + int64(binary.NativeEndian.Uint64(body[8:]))
		}
		oob = rest
	}
	return data, stamp
}

// send sends frames, at least one where there is no error.
func (b *batch) send(fd int, all []frame) (int, error) {
	for i := range all {
		b.iovecs[i].Base = &all[i].data[0]
		b.iovecs[i].SetLen(len(all[i].data))
	}
	n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.messages)), uintptr(len(all)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
