package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/catchment/catchment/server/resync"
	"github.com/catchment/catchment/server/resync/careful"
	"github.com/catchment/catchment/server/resync/checkpoint"
	"github.com/catchment/catchment/server/resync/jump"
)

// resumer is what a POP has: a book with the checkpoint of another POP, and
// the code that lets the flow jump, with all that it has learned.
type resumer struct {
	book   *checkpoint.Book
	client netip.Addr // the next flow is of; its network is what earns
	nets   uint16     // how many there were
	port   uint16     // of the flow that was told last: none is used twice
	resync *resync.Resync
	stop   context.CancelFunc
	done   chan error

	mu    sync.Mutex
	jumps []resync.Jump
}

func newResumer(ctx context.Context, j *jump.Jumper) *resumer {
	r := &resumer{client: clientAddr.Addr(), book: checkpoint.NewBook(checkpoint.Options{VIP: func(netip.Addr) bool { return true }}), done: make(chan error, 1)}
	r.resync = resync.New(resync.Options{
		POP: "B", Log: slog.New(slog.DiscardHandler), Book: r.book, Gone: func(string) bool { return false }, Jumper: j,
		OnJump: func(j resync.Jump) {
			r.mu.Lock()
			r.jumps = append(r.jumps, j)
			r.mu.Unlock()
		},
	})
	ctx, r.stop = context.WithCancel(ctx)
	go func() { r.done <- r.resync.Run(ctx) }()
	return r
}

// moveOn makes the next flow that of a client network that has not jumped yet.
func (r *resumer) moveOn() {
	r.nets++
	r.client = netip.AddrFrom4([4]byte{10, byte(r.nets >> 8), byte(r.nets), 1})
}

// had is what the client has got before.
const had = 1 << 20

// told puts the checkpoint of one flow into the book.
func (r *resumer) told(rate uint64, rtt time.Duration) error {
	r.port++
	f := checkpoint.Flow{Client: netip.AddrPortFrom(r.client, r.port), VIP: netip.AddrPortFrom(popAddr.Addr(), 443), Offset: had, Rate: rate, RTT: rtt}
	said := checkpoint.NewEncoder().Append(nil, []checkpoint.Flow{f})
	return r.book.Read("A", bytes.NewReader(said), time.Now)
}

// resume is what a server calls before the first byte.
func (r *resumer) resume(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	r.resync.Resume(raw, checkpoint.Ask{Client: r.client, VIP: popAddr.Addr(), Offset: had}, careful.Stated{})
}

// made is how many jumps have ended.
func (r *resumer) made() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.jumps)
}

// lastFor is how long the end of a jump is waited for, or that there is none.
const lastFor = 30 * time.Second

// last waits for the end of the n-th jump.
func (r *resumer) last(ctx context.Context, n int) (resync.Jump, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lastFor, fmt.Errorf("nothing is heard of jump %d", n))
	defer cancel()
	for {
		r.mu.Lock()
		have := len(r.jumps)
		var j resync.Jump
		if have >= n {
			j = r.jumps[n-1]
		}
		r.mu.Unlock()
		if have >= n {
			return j, j.Err
		}
		select {
		case <-ctx.Done():
			return j, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *resumer) close() {
	r.stop()
	<-r.done
}

// outcome counts how jumps ended.
type outcome map[careful.Phase]int

func (o outcome) String() string {
	if len(o) == 0 {
		return ""
	}
	return fmt.Sprintf("%d right, %d too far, %d other", o[careful.Validated], o[careful.Retreated], o[careful.Ended]+o[careful.Unvalidated])
}
