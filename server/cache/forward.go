package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/ranges"
	"github.com/catchment/catchment/server/cache/rule"
)

// pass asks upstream for this request alone, as the client sent it, and stores nothing: what is known not to be storable,
// and those who waited in vain.
func (x *exchange) pass(why rule.Reason) {
	x.done.status.Fwd, x.done.status.Detail = why.Fwd(), why
	x.done.result = resultPass
	req := x.upstreamRequest(x.r.Method)
	out, ok := x.ask(req)
	if !ok {
		return
	}
	defer out.Close()
	x.reconsider(req, out.Response)
	x.relay(out.Response, false)
}

// reconsider forgets that a key's answers cannot be stored when one comes that could have been, so that the next request
// leads a fill again.
func (x *exchange) reconsider(req *origin.Request, resp *origin.Response) {
	if req.Method != http.MethodGet || resp.Status == http.StatusNotModified {
		return
	}
	v := rule.Judge(&rule.Exchange{
		Method: req.Method, Status: resp.Status, Request: x.r.Header, Response: resp.Header,
		RequestTime: resp.Sent, ResponseTime: resp.Received,
	}, x.policy)
	if v.Store {
		x.s.passes.drop(x.id)
	}
}

// ask sends one request upstream and waits for the head of its answer; on failure the client has got its answer.
func (x *exchange) ask(req *origin.Request) (*fill.Outcome, bool) {
	in := x.interim()
	req.Interim = in.pass
	out, err := x.s.fills.Pass(x.context(), fill.Source{Upstream: x.s.doer(x.up, x.site), Name: x.site.Name, Request: req})
	in.stop()
	if err == nil && out.Kind == fill.Failed {
		err = out.Err
	}
	if err != nil {
		x.failed(&found{}, err)
		return nil, false
	}
	x.done.waited += out.Waited
	x.done.from = out.From
	return out, true
}

// head answers a HEAD request that the store cannot answer. What upstream says updates what is stored for GET.
func (x *exchange) head(f *found) {
	p := x.plan(f.entry, false)
	if f.ok {
		p.stale, p.life, p.header = f.entry.ID(), f.entry.life, f.entry.header
	}
	p.sent = x.upstreamRequest(http.MethodHead)
	rule.DropConditions(p.sent.Header)
	out, err := x.s.fills.Pass(x.context(), p.source())
	if err == nil && out.Kind == fill.Failed {
		err = out.Err
	}
	if err != nil {
		x.failed(f, err)
		return
	}
	defer out.Close()
	x.done.waited, x.done.from = out.Waited, out.From
	if f.ok && out.Response.Status >= 500 {
		if d := rule.Failed(&x.req, &f.entry.life, out.Response.Status, x.now()); d.Action == rule.Stale {
			x.done.status.FwdStatus, x.done.result, x.done.status.Detail = out.Response.Status, resultStale, d.Reason
			x.serveEntry(f.entry, nil)
			return
		}
	}
	x.done.result = resultMiss
	if f.ok {
		p.headUpdate(out.Response)
		if e, ok := open(f.entry.Object); ok && e.life.IsFresh(x.now()) && !e.Gone() {
			x.done.status.FwdStatus, x.done.result = out.Response.Status, resultRevalidated
			x.serveEntry(e, nil)
			return
		}
	}
	x.relay(out.Response, true)
}

// forward passes a request of a method that is not answered from the store, body and all, and invalidates what it says
// (RFC 9111 §4.4).
func (x *exchange) forward(why rule.Reason) {
	x.req = rule.ReadRequest(x.r.Header, x.policy)
	x.done.status.Fwd, x.done.status.Detail = why.Fwd(), why
	x.done.result = resultPass
	req := x.upstreamRequest(x.r.Method)
	if x.r.Body != nil && x.r.Body != http.NoBody && (x.r.ContentLength != 0 || len(x.r.TransferEncoding) > 0) {
		req.Body, req.Length = x.r.Body, x.r.ContentLength
		if limit := x.site.MaxBody(); limit > 0 {
			if req.Length > limit {
				x.refuse(http.StatusRequestEntityTooLarge, "body", strconv.FormatInt(req.Length, 10))
				return
			}
			req.Body = http.MaxBytesReader(x.w, x.r.Body, limit)
		}
		if !x.keepBody(req) {
			return
		}
	}
	if wait := x.r.Header.Get("Max-Forwards"); wait == "0" && x.r.Method == http.MethodOptions {
		x.w.Header().Set("Allow", x.site.AllowHeader())
		x.w.Header().Set("Content-Length", "0")
		x.w.WriteHeader(http.StatusOK)
		return
	}
	out, ok := x.ask(req)
	if !ok {
		return
	}
	defer out.Close()
	x.invalidate(out.Response)
	if x.r.Method == http.MethodPost {
		if x.storePost(req, out.Response) {
			return
		}
	}
	x.relay(out.Response, false)
}

// keptBody is the longest body of a request that is read before it is sent on.
const keptBody = 64 << 10

// keepBody reads a short body of a method that may be sent twice (RFC 9110 §9.2.2), so that it can be: an origin may close
// a connection it has kept just as the request is under way.
func (x *exchange) keepBody(req *origin.Request) bool {
	if req.Method != http.MethodPut && req.Method != http.MethodDelete || req.Length < 0 || req.Length > keptBody {
		return true
	}
	b := make([]byte, req.Length)
	if _, err := io.ReadFull(req.Body, b); err != nil {
		x.step("body", err.Error())
		x.done.result = resultAborted
		if x.context().Err() == nil {
			x.refuse(http.StatusBadRequest, "body", "shorter than its length")
		}
		return false
	}
	req.Body = bytes.NewReader(b)
	return true
}

// relay sends upstream's own answer on. Where cut is set the request had been stripped of its range, and is answered with
// the part it asked for if that can be told.
func (x *exchange) relay(resp *origin.Response, cut bool) {
	h := rule.EndToEnd(resp.Header)
	if why := x.done.status.Detail; x.done.result == resultMiss || x.done.result == 0 {
		x.done.result = resultPass
		_ = why
	}
	x.done.status.FwdStatus = resp.Status
	addVia(h, x.s.cfg.Name)
	h.Set("Cache-Status", x.cacheStatus(h["Cache-Status"]))
	x.site.EditResponse(h)
	status, length, skip := resp.Status, resp.Length, int64(0)
	if cut {
		status, skip, length = x.cutOut(resp, h)
	}
	if length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	copyHeader(x.w.Header(), h)
	x.writeTrace()
	x.w.WriteHeader(status)
	if x.r.Method == http.MethodHead || !bodyAllowed(status) {
		return
	}
	x.cut(x.copyBody(resp.Body, skip, length))
	if len(resp.Trailer) > 0 {
		for name, lines := range rule.EndToEnd(resp.Trailer) {
			for _, v := range lines {
				x.w.Header().Add(http.TrailerPrefix+name, v)
			}
		}
	}
}

// cutOut finds in upstream's answer the one range that the client asked for. Anything else goes as it is.
func (x *exchange) cutOut(resp *origin.Response, h http.Header) (status int, skip, length int64) {
	status, length = resp.Status, resp.Length
	have, total := ranges.Span{Start: 0, End: resp.Length}, resp.Length
	switch {
	case x.r.Method != http.MethodGet || len(x.r.Header["Range"]) == 0 || resp.Length < 0:
		return
	case resp.Status == http.StatusPartialContent:
		cr, err := ranges.ParseContentRange(h.Get("Content-Range"))
		if err != nil || cr.Size < 0 || cr.Span.Len() != resp.Length {
			return
		}
		have, total = cr.Span, cr.Size
	case resp.Status != http.StatusOK:
		return
	}
	valid := ranges.ReadValidators(resp.Header, resp.Received)
	specs, ok := ranges.Parse(x.r.Header["Range"], 0)
	if !ok || len(specs) != 1 || !ranges.RangeApplies(x.r.Header, valid, x.began) {
		return
	}
	spans, kind := ranges.Resolve(specs, total)
	if kind != ranges.Partial || len(spans) != 1 || spans[0].Start < have.Start || spans[0].End > have.End {
		return
	}
	want := spans[0]
	h.Set("Content-Range", string(ranges.AppendContentRange(nil, want, total)))
	return http.StatusPartialContent, want.Start - have.Start, want.Len()
}

// copyBody copies a passed body and sends each piece as it comes. length -1 is all.
func (x *exchange) copyBody(body io.Reader, skip, length int64) error {
	if skip > 0 {
		if _, err := io.CopyN(io.Discard, body, skip); err != nil {
			return err
		}
	}
	if length >= 0 {
		body = io.LimitReader(body, length)
	}
	buf := x.s.buffers.Get().(*[copySize]byte)
	defer x.s.buffers.Put(buf)
	for sent := int64(0); ; {
		n, err := body.Read(buf[:])
		if n > 0 {
			if _, werr := x.w.Write(buf[:n]); werr != nil {
				return werr
			}
			sent += int64(n)
			x.w.Flush()
		}
		switch {
		case errors.Is(err, io.EOF) && length >= 0 && sent < length:
			return io.ErrUnexpectedEOF
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// addVia notes that the answer went through this cache (RFC 9110 §7.6.3).
func addVia(h http.Header, name string) {
	via := "1.1 " + name
	for _, line := range h["Via"] {
		if line == via {
			return
		}
	}
	h["Via"] = append(h["Via"][:len(h["Via"]):len(h["Via"])], via)
}

// interim passes 1xx answers on to the client while it waits for the final one (RFC 9110 §15.2).
type interim struct {
	mu sync.Mutex
	w  http.ResponseWriter // nil: the wait is over
}

func (x *exchange) interim() *interim {
	if !x.r.ProtoAtLeast(1, 1) {
		return &interim{}
	}
	return &interim{w: x.w}
}

// pass sends one on. It may be called by another goroutine, after the client has gone too.
func (i *interim) pass(status int, h http.Header) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.w == nil || status == http.StatusContinue || status == http.StatusSwitchingProtocols {
		return
	}
	to := i.w.Header()
	sent := rule.EndToEnd(h)
	copyHeader(to, sent)
	i.w.WriteHeader(status)
	for name := range sent {
		delete(to, name)
	}
}

func (i *interim) stop() {
	i.mu.Lock()
	i.w = nil
	i.mu.Unlock()
}

// background runs f under the server until it ends, unless too many run already or the server ends.
func (s *Server) background(f func(context.Context)) bool {
	s.bgMu.Lock()
	defer s.bgMu.Unlock()
	if s.bgClosed || s.bgRunning >= s.state.Load().limits.Refreshes {
		return false
	}
	s.bgRunning++
	s.bg.Go(func() {
		defer func() {
			s.recovered("refresh", recover())
			s.bgMu.Lock()
			s.bgRunning--
			s.bgMu.Unlock()
		}()
		ctx, cancel := context.WithTimeout(s.bgCtx, refreshTime)
		defer cancel()
		f(ctx)
	})
	return true
}

// refreshTime bounds a refresh in the background up to its head.
const refreshTime = 2 * time.Minute
