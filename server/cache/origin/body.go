package origin

import (
	"context"
	"io"
	"sync"
	"time"
)

// body is a response's body with the limits of Timeouts and typed errors. It
// measures only while somebody waits in Read: a reader that takes its time is
// not the server's fault.
type body struct {
	rc     io.ReadCloser
	cancel context.CancelCauseFunc
	ctx    context.Context // the attempt's
	limits Timeouts
	left   int64 // bytes still due, -1 unknown
	// ended is told how the body ended, once; nil error for a good end or a Close.
	ended func(err error) error

	idle   *time.Timer
	once   sync.Once
	bytes  int64         // in this window
	waited time.Duration // in this window
	err    error
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.idle == nil {
		b.idle = time.AfterFunc(b.limits.Idle, func() { b.cancel(errIdle) })
	} else {
		b.idle.Reset(b.limits.Idle)
	}
	var start time.Time
	if b.limits.MinRate > 0 {
		start = time.Now()
	}
	n, err := b.rc.Read(p)
	b.idle.Stop()
	if b.left >= 0 {
		b.left -= int64(n)
	}
	if b.limits.MinRate > 0 && err == nil {
		err = b.rate(n, time.Since(start))
	}
	if err != nil {
		b.finish(err)
	}
	return n, b.err
}

// rate judges the speed once a window.
func (b *body) rate(n int, waited time.Duration) error {
	b.bytes += int64(n)
	b.waited += waited
	if b.waited < b.limits.RateWindow {
		return nil
	}
	slow := float64(b.bytes) < float64(b.limits.MinRate)*b.waited.Seconds()
	b.bytes, b.waited = 0, 0
	if slow {
		return errSlow
	}
	return nil
}

func (b *body) finish(err error) {
	if cause := context.Cause(b.ctx); cause != nil && err != io.EOF {
		err = cause
	}
	if err == io.EOF && b.left > 0 {
		err = errShort
	}
	if err == io.EOF {
		b.err = err
		b.end(nil)
		return
	}
	b.err = b.end(err)
}

// end tells the end once and gives the error to show.
func (b *body) end(err error) error {
	b.once.Do(func() {
		if b.idle != nil {
			b.idle.Stop()
		}
		err = b.ended(err)
		b.rc.Close()
		b.cancel(errDone)
	})
	return err
}

// Close gives up what is left of the body.
func (b *body) Close() error {
	if b.err == nil {
		b.err = io.ErrClosedPipe
	}
	b.end(nil)
	return nil
}
