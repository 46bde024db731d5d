package fill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/server/cache/origin"
)

// first makes the fetch of a body that has just begun.
func (f *Flight) first(cancel context.CancelCauseFunc, head *Head) *fetch {
	x := &fetch{pos: head.First, end: -1, cancel: cancel}
	if head.Status == http.StatusPartialContent {
		// A chunk is written from its front: what comes before the first front is
		// left out.
		x.pos = (head.First + f.chunk - 1) / f.chunk * f.chunk
		x.end = max(head.Last+1, x.pos)
	}
	if want := reprWanted(head.Status, head.Header); want.any() {
		f.digests.Lock()
		f.dig = newDigester(want, !f.g.opt.NoDigest, !f.g.opt.NoTree)
		f.digests.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total = head.Total
	f.whole = strings.EqualFold(strings.TrimSpace(head.Header.Get("Accept-Ranges")), "none")
	f.fetches = append(f.fetches, x)
	return x
}

// run brings in what x stands for; head is that of the request that was sent
// already, nil if none was.
func (f *Flight) run(ctx context.Context, x *fetch, head *Head) (err error) {
	err = errors.New("panic")
	defer func() { f.ended(x, err) }()
	err = f.transfer(ctx, x, head)
	return err
}

// ended takes x out and tells those who waited for it.
func (f *Flight) ended(x *fetch, err error) {
	f.mu.Lock()
	f.changed = f.changed || errors.Is(err, ErrChanged)
	fatal := f.err == nil && f.fatal(x, err)
	if fatal {
		f.err = err
	}
	changed := f.changed
	f.mu.Unlock()
	switch {
	case fatal:
		f.obj.Fail(err)
	case changed:
		f.obj.Delete()
	}
	f.count(err)
	if err == nil {
		f.finish()
	}
	f.obj.Hold()
	defer f.obj.Release()
	lost := false
	f.settle(func() {
		f.fetches = slices.DeleteFunc(f.fetches, func(y *fetch) bool { return y == x })
		f.unwanted()
		lost = f.changed && f.err == nil && f.relay == nil && len(f.fetches) == 0 && f.finishing == nil && !f.obj.Whole()
		switch {
		case fatal:
			f.wakeAll(err)
		case lost:
			f.err = ErrChanged
			f.wakeAll(ErrChanged)
		case err != nil && !f.changed && f.relay == nil:
			end := x.end
			if end < 0 {
				end = f.total
			}
			for w := range f.waiters {
				if w.off >= x.pos && w.off < end && !f.covered(w.off) {
					f.wake(w.off, w.off+1, err)
				}
			}
		}
		f.wakeAll(nil) // to look again
	})
	if lost {
		f.obj.Fail(ErrChanged)
	}
}

// fatal tells whether all that is under way is in vain once x has ended by err.
// After a change of the version nothing else can bring what x did not, but what
// others have begun they may end. f.mu is held.
func (f *Flight) fatal(x *fetch, err error) bool {
	switch {
	case err == nil:
		return false
	case f.relay != nil:
		return f.relay.x == x
	case errors.Is(err, ErrStore): // who brings all of the body will see the same, and can pass it on
		return !slices.ContainsFunc(f.fetches, func(y *fetch) bool { return y != x && y.end < 0 })
	case isFatal(err):
		return !errors.Is(err, ErrChanged)
	}
	return !f.changed && (f.total < 0 || !f.extendable())
}

func (f *Flight) count(err error) {
	s := &f.g.stats
	switch {
	case err == nil:
		return
	case errors.Is(err, ErrAbandoned):
		s.abandoned.Add(1)
	case errors.Is(err, ErrChanged):
		s.changed.Add(1)
	case errors.Is(err, ErrDigest):
		s.wrong.Add(1)
	}
	s.failed.Add(1)
	f.mu.Lock()
	name := f.src.Name
	f.mu.Unlock()
	f.g.opt.Log.Debug("fill: ended early", "upstream", name, "error", err)
}

// isFatal tells whether no further request can help.
func isFatal(err error) bool {
	for _, e := range []error{ErrChanged, ErrDigest, ErrTooLong, ErrStore} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// transfer asks and reads until x is done, and goes on by Range where it breaks.
func (f *Flight) transfer(ctx context.Context, x *fetch, head *Head) error {
	for tries := 0; ; {
		before := x.pos
		err := f.once(ctx, x, head)
		head = nil
		if err == nil && f.done(x) {
			return nil
		}
		if err == nil && x.pos == before {
			err = ErrPart
		}
		if x.pos > before {
			tries = 0
		}
		if err == nil {
			continue // a part of what was asked, or chunks were left out
		}
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		f.mu.Lock()
		can := f.extendable()
		f.mu.Unlock()
		if isFatal(err) || !can || tries >= f.g.opt.Resume {
			return err
		}
		f.g.stats.resumed.Add(1)
		if !pause(ctx, f.g.opt.Backoff<<tries) {
			return context.Cause(ctx)
		}
		tries++
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *Flight) done(x *fetch) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	end := x.end
	if end < 0 {
		end = f.total
	}
	return end >= 0 && x.pos >= end
}

// once reads one response: that of head, or of a request for what x still needs.
func (f *Flight) once(ctx context.Context, x *fetch, head *Head) error {
	if head != nil {
		defer head.release()
		return f.copy(ctx, x, head)
	}
	f.mu.Lock()
	src, end := f.src, x.end
	if end < 0 {
		end = f.total
	}
	f.mu.Unlock()
	resp, give, err := f.g.ask(ctx, src, withRange(src.Request, rangeField(x.pos, end), src.Validator))
	if err != nil {
		return err
	}
	head = headOf(resp, give)
	defer head.release()
	if over, err := f.accept(x, head, src.Validator); err != nil || over {
		return err
	}
	return f.copy(ctx, x, head)
}

// withRange is r for a part of it.
func withRange(r *origin.Request, field string, v Validator) *origin.Request {
	out := *r
	out.Method = http.MethodGet
	out.Header = r.Header.Clone()
	if out.Header == nil {
		out.Header = http.Header{}
	}
	out.Header["Range"] = []string{field}
	delete(out.Header, "If-Range")
	if v.Strong() {
		for _, k := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
			delete(out.Header, k)
		}
		out.Header["If-Range"] = []string{v.ifRange()}
	}
	return &out
}

// accept tells whether an answer holds bytes of the version; over if another
// request brings all of it already.
func (f *Flight) accept(x *fetch, head *Head, v Validator) (over bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch head.Status {
	case http.StatusPartialContent:
		switch {
		case head.Bad != nil:
			return false, head.Bad
		case !v.same(head.Response), f.total >= 0 && head.Total >= 0 && head.Total != f.total:
			return false, ErrChanged
		case head.First > x.pos || head.Last < x.pos:
			return false, ErrPart
		}
		if head.Total >= 0 && f.total < 0 {
			f.total = head.Total
			f.wakeAll(nil)
		}
		if x.end >= 0 && head.Last >= x.end {
			x.end = head.Last + 1 // more than was asked
		}
		return false, nil
	case http.StatusOK:
		if !v.same(head.Response) || f.total >= 0 && head.Total >= 0 && head.Total != f.total {
			return false, ErrChanged
		}
		if f.relay != nil {
			return false, ErrStore // what was passed on cannot be passed on again
		}
		// The same version from its front: no ranges here. One such is enough.
		f.whole = true
		if slices.ContainsFunc(f.fetches, func(y *fetch) bool { return y != x && y.end < 0 && y.pos <= x.pos }) {
			x.end = x.pos
			return true, nil
		}
		x.pos, x.end = 0, -1
		return false, nil
	case http.StatusRequestedRangeNotSatisfiable:
		return false, ErrChanged
	}
	return false, &StatusError{Status: head.Status, From: head.From}
}

// copy reads one body into the object.
func (f *Flight) copy(ctx context.Context, x *fetch, head *Head) error {
	buf := f.g.bufs.Get().(*[bufferSize]byte)
	defer f.g.bufs.Put(buf)
	var part *digester
	if head.Status == http.StatusPartialContent {
		if w := partWanted(head.Header); w.any() {
			part = newDigester(w, false, false)
		}
	}
	at, end := head.First, int64(-1)
	if head.Last >= 0 || head.Total == 0 {
		end = head.Last + 1
	}
	for {
		n, err := head.Body.Read(buf[:])
		p := buf[:n]
		if end >= 0 && at+int64(n) > end {
			return fmt.Errorf("%w: %d bytes expected from %s", ErrTooLong, end-head.First, head.From)
		}
		at += int64(n)
		if part != nil {
			part.Write(p)
		}
		// Left out: what lies before the first front of a chunk.
		if skip := x.pos - (at - int64(n)); skip > 0 {
			p = p[min(skip, int64(n)):]
		}
		if len(p) > 0 {
			leapt, err := f.write(ctx, x, p)
			if err != nil || leapt {
				return err
			}
		}
		if err == io.EOF {
			return f.bodyEnded(x, head, part, at, end)
		}
		if err != nil {
			return err
		}
	}
}

// bodyEnded judges a body that ended well.
func (f *Flight) bodyEnded(x *fetch, head *Head, part *digester, at, end int64) error {
	if end >= 0 && at < end {
		return &origin.Error{Kind: origin.KindTruncated, From: head.From, Err: io.ErrUnexpectedEOF}
	}
	if part != nil {
		if err := part.check(); err != nil {
			return err
		}
	}
	if x.end >= 0 || head.Status != http.StatusOK {
		return nil
	}
	f.mu.Lock()
	known := f.total
	f.mu.Unlock()
	if known >= 0 && at != known {
		return fmt.Errorf("%w: %d bytes, not %d", ErrTooLong, at, known)
	}
	if err := f.lastLook(at); err != nil {
		return err
	}
	f.mu.Lock()
	f.total = at
	f.mu.Unlock()
	return nil
}

// write puts the next bytes of x into the object. The last bytes of a body whose
// digest is known are written only if it is right. leapt tells that x goes on
// elsewhere.
func (f *Flight) write(ctx context.Context, x *fetch, p []byte) (leapt bool, err error) {
	at, next := x.pos, x.pos+int64(len(p))
	f.mu.Lock()
	last, passing := next == f.total, f.relay != nil && f.relay.x == x
	f.mu.Unlock()
	if last || passing {
		f.hash(p, at)
	} else {
		defer f.hash(p, at) // readers need not wait for it
	}
	if last {
		if err := f.lastLook(next); err != nil {
			return false, err
		}
	}
	if passing {
		return false, f.relayWrite(ctx, x, p)
	}
	if _, err := f.obj.WriteAt(p, at); err != nil {
		err = fmt.Errorf("%w: %w", ErrStore, err)
		if !f.divert(x, err) {
			return false, err
		}
		f.obj.Fail(err)
		return false, f.relayWrite(ctx, x, p)
	}
	f.g.stats.bytes.Add(uint64(len(p)))
	f.mu.Lock()
	defer f.mu.Unlock()
	x.pos = next
	leapt = f.leap(x)
	f.wake(at, next, nil)
	return leapt, nil
}

// hash hashes bytes if it is their turn.
func (f *Flight) hash(p []byte, off int64) {
	f.digests.Lock()
	defer f.digests.Unlock()
	if d := f.dig; d != nil && off <= d.next && d.next < off+int64(len(p)) {
		d.Write(p[d.next-off:])
	}
}

// lastLook compares digests if all bytes up to size have been hashed.
func (f *Flight) lastLook(size int64) error {
	f.digests.Lock()
	defer f.digests.Unlock()
	if f.dig == nil || f.dig.next != size {
		return nil
	}
	return f.dig.check()
}

// leap leaves out chunks that are there already or that another brings, if they
// are many: true if the rest has to be asked for anew. f.mu is held.
func (f *Flight) leap(x *fetch) bool {
	if f.g.opt.Jump <= 0 || f.total < 0 || !f.extendable() {
		return false
	}
	to := x.pos + f.obj.Available(x.pos)
	for _, y := range f.fetches {
		if y != x && y.end >= 0 && y.pos <= to && to < y.end {
			to = y.end
		}
	}
	if to-x.pos < int64(f.g.opt.Jump)*f.chunk {
		return false
	}
	x.pos = to
	return true
}
