package cache

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/ranges"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// maxTries bounds how often a request starts again because what it waited for did not fit it. After that it asks upstream
// by itself.
const maxTries = 4

// fetch asks upstream for what is not stored, or not fresh, together with all others who want the same.
func (x *exchange) fetch(f *found) {
	x.done.status.Fwd, x.done.status.Detail = f.decision.Reason.Fwd(), f.decision.Reason
	if !x.hooked(site.Miss) {
		return
	}
	if x.r.Method == http.MethodHead {
		x.head(f)
		return
	}
	alone := x.alone(f)
	for range maxTries {
		p := x.plan(f.entry, f.ok)
		in := x.interim()
		p.sent.Interim = in.pass
		want := fill.Fetch{Source: p.source(), Range: x.firstSpan(p), Judge: p.judge}
		if !f.ok && !alone && p.apart == 0 {
			want.Found = p.landed
		}
		out, err := x.s.fills.Lead(x.context(), p.fillKey(f.fields, alone), want)
		in.stop()
		if err != nil {
			x.failed(f, err)
			return
		}
		again := x.settle(f, out)
		out.Close()
		switch again {
		case answered:
			return
		case askAlone:
			alone = true
		case askWhole:
			f.release()
		}
	}
	x.pass(f.decision.Reason)
}

// alone says that what upstream answers may be used for this request only, or most probably will be: waiting for others
// would be in vain.
func (x *exchange) alone(f *found) bool {
	switch f.decision.Reason {
	case rule.RequestNoCache, rule.RequestMaxAge, rule.RequestMinFresh, rule.ResponseNoCache:
		return true
	}
	if f.ok && f.entry.life.Fresh <= f.entry.life.Received {
		return true
	}
	return x.req.NoStore || len(x.r.Header["Authorization"]) > 0
}

// plan says what is to be asked of upstream. With an entry it is a validation.
func (x *exchange) plan(e entry, validate bool) *plan {
	p := &plan{
		s: x.s, up: x.up, site: x.site, id: x.id, url: string(x.key.URL), epoch: x.epoch, request: x.r.Header, req: x.req,
		ranged: len(x.r.Header["Range"]) > 0, apart: x.apart,
	}
	p.sent = x.upstreamRequest(http.MethodGet)
	rule.DropConditions(p.sent.Header)
	if validate && rule.SetConditions(p.sent.Header, e.header) {
		p.stale, p.life, p.header = e.ID(), e.life, e.header
	} else if validate {
		p.life = e.life
	}
	return p
}

// upstreamRequest is the client's request as upstream gets it: the site's edits made, nothing of ours in it.
func (x *exchange) upstreamRequest(method string) *origin.Request {
	h := rule.EndToEnd(x.r.Header)
	for _, own := range []string{debugField, tokenField} {
		delete(h, own)
	}
	x.site.EditRequest(h)
	if x.policy.IgnoreClient {
		delete(h, "Cache-Control")
		delete(h, "Pragma")
	}
	scheme := "http"
	if x.secure() {
		scheme = "https"
	}
	target := &url.URL{Path: string(x.key.Path), RawQuery: string(x.key.Query)}
	if u, err := url.ParseRequestURI(string(x.key.Path)); err == nil {
		target.Path, target.RawPath = u.Path, u.RawPath
	}
	return &origin.Request{
		Method: method, URL: target, Host: string(x.key.Host), Scheme: scheme, Header: h, Key: x.id, Proto: protoOf(x.r),
		Hop: x.hop, Client: x.client,
	}
}

// protoOf is the version of HTTP as Via has it (RFC 9110 §7.6.3).
func protoOf(r *http.Request) string {
	if r.ProtoMajor >= 2 {
		return strconv.Itoa(r.ProtoMajor)
	}
	return strconv.Itoa(r.ProtoMajor) + "." + strconv.Itoa(r.ProtoMinor)
}

// source is where the fill gets the body from.
func (p *plan) source() fill.Source {
	return fill.Source{Upstream: p.s.doer(p.up, p.site), Name: p.site.Name, Request: p.sent, Whole: p.s.noteSum}
}

// fillKey is what requests must share to share one fetch: the object, and the variant as far as it is known.
func (p *plan) fillKey(fields []string, alone bool) fill.Key {
	if len(fields) == 0 && !alone && p.apart == 0 {
		return fill.Key(p.id)
	}
	b := slices.Clone(p.id[:])
	if p.apart != 0 {
		b = strconv.AppendUint(append(b, " apart "...), uint64(p.apart), 10)
	}
	for _, name := range fields {
		b = appendString(b, name)
		b = appendString(b, strings.Join(p.request.Values(name), ","))
	}
	if alone {
		b = strconv.AppendUint(append(b, " alone "...), p.s.serial.Add(1), 10)
	}
	return sha256.Sum256(b)
}

// firstSpan is what is asked of a cold object: the part that a range needs, nil for all of it.
func (x *exchange) firstSpan(p *plan) *fill.Span {
	if !p.ranged || x.s.wholes.has(x.id, x.now()) {
		return nil
	}
	specs, ok := ranges.Parse(x.r.Header["Range"], 0)
	if !ok || len(specs) == 0 {
		return nil
	}
	if s := specs[0]; s.First < 0 {
		return &fill.Span{First: -max(s.Last, 1), Last: -1}
	}
	return &fill.Span{First: specs[0].First, Last: specs[0].Last}
}

// What a settled outcome asks for.
type next uint8

const (
	answered next = iota
	askAgain      // with the others
	askAlone      // what came may not be used for this request
	askWhole      // without conditions
)

// settle answers the client from what a fill came to, or says how to go on.
func (x *exchange) settle(f *found, out *fill.Outcome) next {
	x.done.waited += out.Waited
	x.done.from = out.From
	x.done.status.Collapsed = !out.Leader
	switch out.Kind {
	case fill.Stored:
		return x.settleStored(f, out)
	case fill.Shared:
		return x.settleShared(f, out)
	case fill.Found:
		return x.settleFound(f)
	case fill.Passed:
		x.step("passed", out.Reason)
		x.relay(out.Response, true)
		return answered
	case fill.Released:
		x.step("released", out.Reason)
		x.done.status.Collapsed = false
		x.pass(f.decision.Reason)
		return answered
	}
	return x.settleFailed(f, out.Err)
}

// settleFailed starts again where it was not upstream that failed but the version of it that was waited for whole.
func (x *exchange) settleFailed(f *found, err error) next {
	switch {
	case errors.Is(err, fill.ErrChanged), errors.Is(err, fill.ErrAbandoned):
		x.step("restart", err.Error())
		return askWhole
	case errors.Is(err, fill.ErrStore):
		x.step("store", err.Error())
		x.pass(rule.ResponseNoStore)
		return answered
	}
	x.failed(f, err)
	return answered
}

// settleFound serves what came into the store between the lookup and the fetch.
func (x *exchange) settleFound(f *found) next {
	f.release()
	*f = x.lookup()
	if !f.ok || f.decision.Action != rule.Fresh {
		return askAgain
	}
	x.done.status.Hit, x.done.status.Detail = true, f.decision.Reason
	x.done.result = resultHit
	if again := x.serveEntry(f.entry, nil); again != answered {
		x.done.status.Hit = false
		return askAlone
	}
	return answered
}

// settleStored serves from an object that is being filled, if its variant is the one this client wants and it may be
// reused for it. The leader's always is, whatever its freshness: it is the answer to its request.
func (x *exchange) settleStored(f *found, out *fill.Outcome) next {
	v := out.Value.(storedValue)
	e, ok := open(v.object)
	if !ok {
		return askAlone
	}
	x.once = nil
	if out.Leader {
		x.once = v.once
	} else {
		if x.outdated(&e) {
			return askAgain
		}
		if !e.vary.Matches(x.r.Header, x.policy) {
			f.fields = slices.Clone(e.vary.Fields)
			x.done.status.Fwd, x.done.status.Detail = rule.FwdVaryMiss, rule.VaryMiss
			return askAgain
		}
		if d := rule.Decide(&x.req, &e.life, x.now()); d.Action != rule.Fresh && d.Action != rule.Stale {
			return askAlone
		}
	}
	x.done.status.Stored = true
	x.done.status.FwdStatus = int(e.life.Status)
	x.step("stored", e.why.String(), "collapsed:", strconv.FormatBool(!out.Leader))
	x.done.result = resultMiss
	if f.ok {
		x.done.result = resultExpired
	}
	return x.serveEntry(e, out.Flight)
}

// storedValue is what all who waited for an answer that is stored learn; once has the fields for the leader alone.
type storedValue struct {
	object *store.Object
	once   http.Header
}

// outdated says whether a purge came between the beginning of a fetch and this request, which may not have what is older.
// Those whom it concerns go on together.
func (x *exchange) outdated(e *entry) bool {
	verdict, now := x.s.purges.Check(e.epoch, &e.object)
	if verdict == purge.OK {
		return false
	}
	x.step("purged", "while it was fetched")
	x.epoch, x.apart = now, now
	return true
}

// settleShared goes on after an answer without a body: a validation, or an error that allows a stale response.
func (x *exchange) settleShared(f *found, out *fill.Outcome) next {
	sh := out.Value.(shared)
	switch {
	case sh.again:
		return askWhole
	case sh.status != 0:
		if !f.ok {
			return askAlone
		}
		d := rule.Failed(&x.req, &f.entry.life, sh.status, x.now())
		if d.Action != rule.Stale {
			return askAlone
		}
		x.done.status.FwdStatus = sh.status
		x.done.result = resultStale
		x.done.status.Detail = d.Reason
		return x.serveEntry(f.entry, nil)
	case sh.once != nil:
		if !out.Leader || !f.ok || f.entry.ID() != sh.object {
			return askAlone
		}
		x.done.result = resultRevalidated
		x.once = sh.fields
		return x.serveEntry(entry{f.entry.Object, newView(sh.once)}, nil)
	}
	return x.settleValidated(f, out, sh)
}

// settleValidated serves the version that upstream has just confirmed.
func (x *exchange) settleValidated(f *found, out *fill.Outcome, sh shared) next {
	if !f.ok || f.entry.ID() != sh.object {
		f.release()
		*f = x.lookup()
		if !f.ok {
			return askAgain
		}
	}
	e, ok := open(f.entry.Object) // with the new metadata
	if !ok {
		return askWhole
	}
	f.entry = e
	x.once = nil
	if out.Leader {
		x.once = sh.fields
	} else {
		if x.outdated(&e) {
			return askAgain
		}
		if d := rule.Decide(&x.req, &e.life, x.now()); d.Action != rule.Fresh && d.Action != rule.Stale {
			return askAlone
		}
	}
	x.done.status.FwdStatus, x.done.status.Stored = http.StatusNotModified, true
	x.done.result = resultRevalidated
	x.step("validated", e.why.String())
	return x.serveEntry(e, nil)
}

// failed ends a request that upstream gave no answer to: with a stale response if there is one that may be used, else with
// 502, 503 or 504.
func (x *exchange) failed(f *found, err error) {
	if x.context().Err() != nil {
		x.done.result = resultAborted
		return
	}
	x.step("failed", err.Error())
	kind := origin.KindOf(err)
	if errors.Is(err, fill.ErrDeadline) {
		kind = origin.KindTimeout // it is we who gave up, not the client
	}
	x.done.detail = kind.String()
	if f.ok {
		d := rule.Failed(&x.req, &f.entry.life, 0, x.now())
		x.step("decide", d.Action.String(), d.Reason.String())
		switch d.Action {
		case rule.Stale:
			x.done.result, x.done.status.Detail = resultStale, d.Reason
			if x.serveEntry(f.entry, nil) == answered {
				return
			}
		case rule.GatewayTimeout:
			x.done.result = resultError
			x.errorBody(http.StatusGatewayTimeout)
			return
		}
	}
	x.done.result = resultError
	status := kind.Status()
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		x.refuse(http.StatusRequestEntityTooLarge, "body", err.Error())
		return
	}
	if errors.Is(err, fill.ErrDigest) && !x.unread {
		x.step("digest", "the origin's digest does not fit its content: passed, not stored")
		x.unread = true
		x.pass(rule.ResponseNoStore)
		return
	}
	if errors.Is(err, fill.ErrBusy) || errors.Is(err, fill.ErrClosed) {
		status, x.done.detail = http.StatusServiceUnavailable, "busy"
		x.w.Header().Set("Retry-After", "1")
	}
	x.errorBody(status)
}
