package cache

import (
	"net/http"
	"strconv"

	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/ranges"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/store"
)

// found is what the store has for a request, and what rule says about it.
type found struct {
	entry    entry
	ok       bool // entry is set, and to be released
	decision rule.Decision
	// fields are those that selected the variants stored under the key, of the newest of them.
	fields []string
}

// serveCached answers GET and HEAD, from the store if it can.
func (x *exchange) serveCached() {
	x.req = rule.ReadRequest(x.r.Header, x.policy)
	f := x.lookup()
	defer f.release()
	x.doubt(&f)
	x.step("decide", f.decision.Action.String(), f.decision.Reason.String())
	switch f.decision.Action {
	case rule.Fresh:
		x.hit(&f, f.decision.Reason)
	case rule.Stale:
		if f.decision.Refresh {
			x.refreshLater(f.entry)
		}
		x.hit(&f, f.decision.Reason)
	case rule.GatewayTimeout:
		x.done.status.Detail = f.decision.Reason
		x.done.result = resultError
		x.errorBody(http.StatusGatewayTimeout)
	case rule.Bypass:
		x.pass(f.decision.Reason)
	default:
		x.fetch(&f)
	}
}

// doubt has upstream asked before a precondition of the client fails: it is the origin's resource that it is about, not our
// copy (RFC 9110 §13.1.1).
func (x *exchange) doubt(f *found) {
	if a := f.decision.Action; a != rule.Fresh && a != rule.Stale || len(x.r.Header["If-Match"])+len(x.r.Header["If-Unmodified-Since"]) == 0 {
		return
	}
	if x.evaluate(&f.entry) == ranges.PreconditionFailed && !x.req.OnlyIfCached {
		f.decision = rule.Decision{Action: rule.Revalidate, Reason: rule.RequestNoCache}
	}
}

func (f *found) release() {
	if f.ok {
		f.entry.Release()
		f.ok = false
	}
}

// lookup finds the variant that fits the request and decides on it. The caller releases what is found.
func (x *exchange) lookup() found {
	var buf [8]*store.Object
	objects := x.s.store.Lookup(x.id, buf[:0])
	if len(objects) == 0 {
		return found{decision: x.missing(rule.URIMiss)}
	}
	why := rule.VaryMiss
	var live []entry
	for _, o := range objects {
		e, ok := open(o)
		if ok && x.s.purged(&e) {
			why = rule.Purged
			ok = false
		}
		if !ok {
			o.Release()
			continue
		}
		live = append(live, e)
	}
	var out found
	if len(live) > 0 {
		out.fields = live[0].vary.Fields
	}
	at := rule.Select(live, func(e entry) (*rule.Vary, *rule.Life) { return &e.vary, &e.life }, x.r.Header, x.policy)
	for i, e := range live {
		if i != at {
			e.Release()
		}
	}
	x.step("lookup", strconv.Itoa(len(objects)), "stored,", strconv.Itoa(len(live)), "valid, fits:", strconv.Itoa(at))
	if at < 0 {
		out.decision = x.missing(why)
		return out
	}
	out.entry, out.ok = live[at], true
	out.decision = rule.Decide(&x.req, &out.entry.life, x.now())
	return out
}

// missing is the decision where nothing that fits is stored.
func (x *exchange) missing(why rule.Reason) rule.Decision {
	if x.s.passes.has(x.id, x.now()) {
		why = rule.HitForMiss
	}
	return rule.Missing(&x.req, why)
}

// purged compares an entry with the purges since it was stored: after a hard one it is deleted and true is returned; after
// a soft one e becomes stale, for all.
func (s *Server) purged(e *entry) bool {
	verdict, epoch := s.purges.Check(purge.Epoch(e.checked.Load()), &e.object)
	switch verdict {
	case purge.Hard:
		e.Delete()
		return true
	case purge.Soft:
		next, err := s.update(e.Object, func(m *meta) {
			m.life.Expire(rule.At(s.clock()))
			m.epoch = max(m.epoch, epoch)
		})
		if err != nil {
			e.Delete()
			return true
		}
		*e = next
	default:
		e.checked.Store(uint64(epoch))
	}
	return false
}
