package resync

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// When a client is told, in one place. A client is told that its connection is
// gone when a program that waits for that connection hears it from its kernel:
// epoll_wait(2) returns and says EPOLLERR or EPOLLHUP of it, and a read would
// give ECONNRESET. That is lab-told, which waits for the sockets of all the
// thousand and does nothing else; its thread goes before the other programs of
// the machine where that is allowed, as each of a thousand clients has a
// processor of its own. Beside it stand, of the same flows,
//
//   - when the segment with the reset was at the client's interface, by the
//     kernel's time stamp (lab-watch): the same without any program;
//   - when the one process that is a thousand downloads had its read return:
//     later by what it waits for two processors that it shares with two POPs, the
//     routers and the thousand who begin anew.
//
// The limit is one round trip of the line, as it is configured, and 50 ms.

// ears are the sockets that a lab-told waits for.
type ears struct {
	epoll int
	next  atomic.Int32
	child *exec.Cmd
	quit  io.Closer
	out   io.Reader
}

// listen starts a lab-told.
func listen() (*ears, error) {
	e := &ears{}
	var err error
	if e.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	shared := os.NewFile(uintptr(e.epoll), "epoll")
	e.child = exec.Command("lab-told")
	e.child.ExtraFiles, e.child.Stderr = []*os.File{shared}, os.Stderr
	in, err1 := e.child.StdinPipe()
	out, err2 := e.child.StdoutPipe()
	e.quit, e.out = in, out
	if err := errors.Join(err1, err2, e.child.Start()); err != nil {
		shared.Close()
		return nil, fmt.Errorf("lab-told: %w", err)
	}
	return e, nil
}

// add has it wait for a connection until that is told something, or closed here;
// id is under what it will be in the map of told.
func (e *ears) add(c *net.TCPConn) (id int32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	id = e.next.Add(1)
	// EPOLLERR and EPOLLHUP are always asked for.
	err = errors.Join(raw.Control(func(fd uintptr) {
		err = unix.EpollCtl(e.epoll, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLONESHOT, Fd: id})
	}), err)
	return id, err
}

// told ends it and says when each connection that was reset was told.
func (e *ears) told() (map[int32]time.Time, error) {
	at := map[int32]time.Time{}
	e.quit.Close()
	return at, errors.Join(json.NewDecoder(e.out).Decode(&at), e.child.Wait())
}

// toldMain is lab-told: descriptor 3 is an epoll of its parent, which says that
// it may end by closing its standard input.
func toldMain(ctx context.Context, args []string) error {
	if err := flag.NewFlagSet("told", flag.ContinueOnError).Parse(args); err != nil {
		return err
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	runtime.LockOSThread()
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 4}, 0) // the wires have 5
	at, err := resets(ctx, 3, over)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(at)
}

// resets says when which connections of an epoll are reset, until it is over.
func resets(ctx context.Context, epoll int, over <-chan struct{}) (map[int32]time.Time, error) {
	at := map[int32]time.Time{}
	events := make([]unix.EpollEvent, 64)
	for {
		select {
		case <-over:
			return at, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		default:
		}
		n, err := unix.EpollWait(epoll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return nil, fmt.Errorf("epoll: %w", err)
		}
		now := time.Now()
		for _, e := range events[:max(n, 0)] {
			at[e.Fd] = now
		}
	}
}
