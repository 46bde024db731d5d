package cache

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/ranges"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/session"
)

// hit serves a stored response that may be used. Where bytes of it are missing and upstream has another version by now,
// the request starts again.
func (x *exchange) hit(f *found, why rule.Reason) {
	x.done.status.Hit, x.done.status.Detail = true, why
	x.done.result = resultHit
	if why != rule.IsFresh {
		x.done.result = resultStale
	}
	if x.serveEntry(f.entry, nil) == answered {
		return
	}
	x.done.status.Hit = false
	f.release()
	f.decision = rule.Missing(&x.req, rule.PartialMiss)
	x.fetch(f)
}

// answer is a response from a stored entry in the making.
type answer struct {
	x      *exchange
	e      entry
	flight *fill.Flight // nil while all bytes are there
	own    bool         // the flight is released at the end
	spans  []ranges.Span
	kind   ranges.Kind
	size   int64 // of the representation, -1 unknown
	header http.Header
	moving *session.Transfer // of a client that plays a stream; nil: nothing is known of one
}

// serveEntry answers from a stored object, of which bytes may be missing still. flight is set where a fill has just begun
// with it. Anything but answered means that nothing was sent.
func (x *exchange) serveEntry(e entry, flight *fill.Flight) next {
	e.hits.Add(1)
	a := &answer{x: x, e: e, flight: flight, size: e.Size()}
	defer a.close()
	switch x.evaluate(&e) {
	case ranges.NotModified:
		a.notModified()
		return answered
	case ranges.PreconditionFailed:
		x.done.detail = "precondition"
		x.errorBody(http.StatusPreconditionFailed)
		return answered
	}
	if err := a.chooseSpans(); err != nil {
		return x.restart(&e, err)
	}
	if a.kind == ranges.Unsatisfiable {
		a.unsatisfiable()
		return answered
	}
	if x.req.OnlyIfCached && a.incomplete() {
		x.done.status.Hit, x.done.status.Detail, x.done.result = false, rule.OnlyIfCached, resultError
		x.errorBody(http.StatusGatewayTimeout)
		return answered
	}
	return a.send()
}

// evaluate applies the request's conditions (RFC 9110 §13). An object with a tag of its content goes by the origin's too:
// both name the same bytes.
func (x *exchange) evaluate(e *entry) ranges.Outcome {
	if status := int(e.life.Status); status < 200 || status > 299 || !ranges.Conditional(x.r.Header) {
		return ranges.Proceed
	}
	return ranges.Evaluate(x.r.Header, x.validatorsFor(e), true, x.began)
}

// validatorsFor gives the validators that the request's conditions are about.
func (x *exchange) validatorsFor(e *entry) ranges.Validators {
	if !e.contentTag || e.sum == nil {
		return e.valid
	}
	theirs := ranges.ParseETag(e.header["Etag"])
	if !theirs.Strong() {
		return e.valid
	}
	for _, name := range [...]string{"If-Match", "If-None-Match", "If-Range"} {
		for _, line := range x.r.Header[name] {
			if strings.Contains(line, string(theirs)) {
				v := e.valid
				v.ETag = theirs
				return v
			}
		}
	}
	return e.valid
}

// chooseSpans decides what parts are sent (RFC 9110 §14.2); only GET has ranges.
func (a *answer) chooseSpans() error {
	x, e := a.x, a.e
	a.kind = ranges.Whole
	if x.r.Method != http.MethodGet || e.life.Status != http.StatusOK || len(x.r.Header["Range"]) == 0 {
		return nil
	}
	if !ranges.RangeApplies(x.r.Header, x.validatorsFor(&e), x.began) {
		x.step("range", "If-Range does not hold")
		return nil
	}
	specs, ok := ranges.Parse(x.r.Header["Range"], 0)
	if !ok {
		return nil
	}
	if a.size < 0 {
		if len(specs) == 1 && specs[0].First == 0 && specs[0].Last < 0 {
			return nil
		}
		if err := a.waitSize(); err != nil || a.size < 0 {
			return err
		}
	}
	a.spans, a.kind = ranges.Resolve(specs, a.size)
	return nil
}

// waitSize waits for the length of an object that upstream sends without one, but not for ever.
func (a *answer) waitSize() error {
	ctx, cancel := context.WithTimeout(a.x.context(), a.x.c.limits.SizeWait)
	defer cancel()
	size, err := a.fly().Size(ctx)
	if err != nil && ctx.Err() != nil && a.x.context().Err() == nil {
		return nil
	}
	a.size = size
	return err
}

// fly is the flight of the object; it begins to fetch when a reader needs something.
func (a *answer) fly() *fill.Flight {
	if a.flight == nil {
		p := a.x.plan(a.e, false)
		src := p.source()
		src.Validator = fill.ValidatorOf(a.e.header)
		a.flight, a.own = a.x.s.fills.Flight(fill.FromStore(a.e.Object), src), true
	}
	return a.flight
}

func (a *answer) close() {
	if a.own {
		a.flight.Release()
	}
}

// incomplete says whether something of what is asked has to come from upstream.
func (a *answer) incomplete() bool {
	if a.e.Whole() || a.x.r.Method == http.MethodHead {
		return false
	}
	if a.kind == ranges.Whole {
		return a.size < 0 || len(a.e.Missing(0, a.size)) > 0
	}
	return slices.ContainsFunc(a.spans, func(s ranges.Span) bool { return len(a.e.Missing(s.Start, s.End)) > 0 })
}

// restart gives up a version that cannot be completed: it changed at the origin, or has no validator to go on by.
func (x *exchange) restart(e *entry, err error) next {
	x.step("restart", err.Error())
	switch {
	case x.context().Err() != nil:
		x.done.result = resultAborted
		return answered
	case errors.Is(err, fill.ErrNoValidator):
		x.s.wholes.set(x.id, x.now().Add(x.c.limits.HitForMiss), x.now())
		e.Delete()
		return askWhole
	case errors.Is(err, fill.ErrChanged), errors.Is(err, fill.ErrStore), errors.Is(err, fill.ErrAbandoned):
		e.Delete()
		return askWhole
	}
	var status *fill.StatusError
	if errors.As(err, &status) && status.Status < 500 {
		e.Delete()
		return askWhole
	}
	x.failed(&found{}, err)
	return answered
}

// head puts together the fields of the answer, but for its length.
func (a *answer) head() {
	x, e := a.x, a.e
	h := e.served()
	now := x.now()
	if age := e.life.Age(now); age > 0 || x.done.status.Hit || x.done.status.Collapsed || x.done.status.Fwd == rule.FwdPartial {
		h["Age"] = []string{strconv.FormatInt(int64(age), 10)}
	}
	if e.life.Status == http.StatusOK && len(h["Accept-Ranges"]) == 0 {
		h["Accept-Ranges"] = []string{"bytes"}
	}
	x.done.status.TTL, x.done.status.HasTTL = e.life.TTL(now), true
	h.Set("Cache-Status", x.cacheStatus(h["Cache-Status"]))
	if e.sum != nil && e.Whole() && len(h["Repr-Digest"]) == 0 && wantsDigest(x.r.Header) {
		h.Set("Repr-Digest", e.sum.ReprDigest())
	}
	copyHeader(h, x.once)
	x.site.EditResponse(h)
	a.header = h
	copyHeader(x.w.Header(), h)
}

// copyHeader puts the fields of from in the place of those of to.
func copyHeader(to, from http.Header) {
	for name, lines := range from {
		to[name] = lines
	}
}

// notModified answers 304 with the fields that RFC 9110 §15.4.5 wants.
func (a *answer) notModified() {
	a.head()
	h := a.x.w.Header()
	for _, name := range [...]string{
		"Content-Type", "Content-Encoding", "Content-Language", "Content-Length", "Content-Md5", "Content-Digest", "Repr-Digest",
		"Accept-Ranges",
	} {
		delete(h, name)
	}
	a.x.writeTrace()
	a.x.w.WriteHeader(http.StatusNotModified)
}

// unsatisfiable answers 416 with the length (RFC 9110 §15.5.17).
func (a *answer) unsatisfiable() {
	a.head()
	h := a.x.w.Header()
	for _, name := range [...]string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Md5", "Content-Digest", "Repr-Digest", "Accept-Ranges"} {
		delete(h, name)
	}
	h.Set("Content-Range", string(ranges.AppendUnsatisfied(nil, a.size)))
	h.Set("Content-Length", "0")
	a.x.writeTrace()
	a.x.w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
}

// wantsDigest reports whether the client prefers sha-256 at all (RFC 9530 §4).
func wantsDigest(h http.Header) bool {
	for _, line := range h["Want-Repr-Digest"] {
		for member := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(strings.TrimSpace(member), "=")
			if strings.EqualFold(name, "sha-256") && weight != "0" {
				return true
			}
		}
	}
	return false
}

// cacheStatus is the Cache-Status of the answer: on a hit ours alone, since no other cache took part in it.
func (x *exchange) cacheStatus(upstream []string) string {
	s := x.done.status
	if s.Hit {
		upstream = nil
		s.Detail = rule.None
		if x.done.result == resultStale {
			s.Detail = x.done.status.Detail
		}
	}
	if x.done.detail != "" {
		s.Detail = rule.None
		return s.Line(upstream) + "; detail=" + x.done.detail
	}
	return s.Line(upstream)
}
