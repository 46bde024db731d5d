package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/lab/await"
)

// errLate: then the two cannot be compared.
var errLate = errors.New("it took longer than what is looked at")

// competed lets a CUBIC flow run, begins a download beside it, and returns
// what that flow got in a window from then on.
func (b *bench) competed(ctx context.Context, t trial, how way, rate uint64, rtt time.Duration, warm, window time.Duration) (got int64, d download, err error) {
	b.world.set(t.now)
	o, err := b.world.listen(ctx, t.control)
	if err != nil {
		return 0, d, err
	}
	defer o.listener.Close()
	var r *resumer
	jumps := 0
	if how == first || how == earned {
		r = newResumer(ctx, b.jumper)
		defer r.close()
		if how == earned {
			if err := b.train(ctx, o, r, t, rate, rtt); err != nil {
				return 0, d, err
			}
		}
		jumps = r.made()
	}
	o.before = func(*net.TCPConn) {}
	undo, err := b.kernels(ctx, o, t, how)
	if err != nil {
		return 0, d, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	other, stop, err := b.background(ctx)
	if err != nil {
		return 0, d, err
	}
	defer stop()
	if err := await.Lapse(ctx, warm); err != nil {
		return 0, d, err
	}
	if r != nil {
		if err := r.told(rate, rtt); err != nil {
			return 0, d, err
		}
		o.before = r.resume
	}
	began, before := time.Now(), other.Load()
	after := make(chan int64, 1)
	defer time.AfterFunc(window, func() { after <- other.Load() }).Stop()
	if d, err = b.world.fetch(ctx, o, t.bytes, t.buffer, t.marks...); err != nil {
		return 0, d, err
	}
	if r != nil && b.verbose {
		j, err := r.last(ctx, jumps+1)
		fmt.Printf("    part %.2f, %v, path %v, least %v, refused %q, %v after %v, %v\n", j.Part, j.Jump, j.Path.RTT, j.Path.Least, j.Refused, j.Ended, j.Took, err)
	}
	if took := time.Since(began); took > window {
		return 0, d, fmt.Errorf("%w: %v of %v", errLate, took.Round(time.Millisecond), window)
	}
	select {
	case <-ctx.Done():
		return 0, d, ctx.Err()
	case n := <-after:
		return n - before, d, nil
	}
}

// background runs a CUBIC download until stop, and counts what it gets.
func (b *bench) background(ctx context.Context) (got *atomic.Int64, stop func(), err error) {
	o, err := b.world.listen(ctx, "cubic")
	if err != nil {
		return nil, nil, err
	}
	var c net.Conn
	if err := b.world.client.do(func() (err error) {
		var dialer net.Dialer
		dialer.SetMultipathTCP(false)
		c, err = dialer.DialContext(ctx, "tcp", o.listener.Addr().String())
		return err
	}); err != nil {
		o.listener.Close()
		return nil, nil, err
	}
	got = new(atomic.Int64)
	served, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(served)
		var d download
		_ = o.serve(&d)
	}()
	go func() {
		defer close(read)
		buf := make([]byte, 256<<10)
		for {
			n, err := c.Read(buf)
			got.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	_, err = c.Write(binary.BigEndian.AppendUint64(nil, 1<<40))
	return got, func() {
		c.Close()
		o.listener.Close()
		<-served
		<-read
	}, err
}
