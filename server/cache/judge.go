package cache

import (
	"net/http"
	"slices"

	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// plan is one request to upstream on behalf of a client: what is sent, and what is needed to judge the answer after the
// client has gone. It holds no handle of the store.
type plan struct {
	s       *Server
	up      *upstream
	site    *site.Site
	id      store.Key
	url     string
	epoch   purge.Epoch
	request http.Header // the client's, which selects the variant
	sent    *origin.Request
	// stale is the id of the stored version that is validated, 0 if none is; life and header are its own.
	stale  uint64
	life   rule.Life
	header http.Header
	req    rule.Request
	ranged bool // a part is asked for
	// apart keeps a request from joining a fetch that began before a purge; 0: it may.
	apart purge.Epoch
}

// shared is what all who waited for an answer learn when there is no new body.
type shared struct {
	// object was validated: it is fresh now, or at least just confirmed.
	object uint64
	// once is set where the validated response may be used for the leader's request only, with this metadata.
	once *meta
	// fields are for the leader's answer alone.
	fields http.Header
	// status is an error of upstream, for which a stale response may be served; 0: none.
	status int
	// again: nothing came of it, ask without conditions.
	again bool
}

// judge decides what becomes of upstream's answer. It runs in the fill's goroutine.
func (p *plan) judge(h *fill.Head) fill.Verdict {
	switch {
	case h.Status == http.StatusNotModified && p.stale != 0:
		return fill.Share(p.validated(h))
	case h.Status >= 500 && p.stale != 0:
		if d := rule.Failed(&p.req, &p.life, h.Status, rule.At(h.Received)); d.Action == rule.Stale {
			return fill.Share(shared{status: h.Status})
		}
	}
	if h.Bad != nil && p.ranged { // it does not say which bytes it has: asked again for all of them
		p.inOnePiece()
		return fill.Share(shared{again: true})
	}
	v := rule.Judge(p.exchange(h.Response), p.site.Policy())
	if !v.Store {
		p.notStored(&v, h)
		return fill.Pass(v.Reason.String(), nil)
	}
	if h.Status == http.StatusPartialContent && (h.Total < 0 || !fill.ValidatorOf(h.Header).Strong()) {
		p.inOnePiece()
		return fill.Pass("no-validator", nil)
	}
	if p.s.invalid.get(p.id) >= rule.At(h.Sent) {
		return fill.Pass("invalidated", nil)
	}
	return p.store(&v, h)
}

// inOnePiece has the object fetched whole for a while.
func (p *plan) inOnePiece() {
	now := p.s.now()
	p.s.wholes.set(p.id, now.Add(p.s.state.Load().limits.HitForMiss), now)
}

// exchange is the answer as rule wants it.
func (p *plan) exchange(resp *origin.Response) *rule.Exchange {
	return &rule.Exchange{
		Method: p.sent.Method, Target: p.url, Status: resp.Status, Request: p.request, Response: resp.Header,
		RequestTime: resp.Sent, ResponseTime: resp.Received,
	}
}

// notStored remembers answers that will not be stored next time either, and drops what they show to be outdated.
func (p *plan) notStored(v *rule.Verdict, h *fill.Head) {
	now := rule.At(h.Received)
	if v.Remember() {
		p.s.passes.set(p.id, now.Add(p.s.state.Load().limits.HitForMiss), now)
	}
	if p.stale != 0 && h.Status < 500 && v.Reason != rule.RequestNoStore && v.Reason != rule.RequestAuthorized {
		p.s.withObject(p.id, p.stale, func(e entry) { e.Delete() })
	}
}

// store makes an object for the answer and lets the fill write into it.
func (p *plan) store(v *rule.Verdict, h *fill.Head) fill.Verdict {
	m := p.newMeta(v, h.Header)
	o, err := p.s.store.Create(p.id, store.New{Variant: variantOf(m), Meta: m.encode(), Stamp: m.stamp(), Size: h.Total, Private: true})
	if err != nil {
		p.s.log.Debug("not stored", "url", p.url, "err", err)
		return fill.Pass("store", nil)
	}
	o.Head().Attach(newView(m))
	p.s.passes.drop(p.id)
	out := fill.Store(fill.FromStore(o), storedValue{o, v.Once}) // takes over our reference
	out.Publish = func() error { return p.publish(o, h) }
	if m.contentTag {
		out.WaitWhole = tagWait
	}
	return out
}

// publish puts an object whose fill has begun into the index. What was invalidated since the answer was judged goes again.
func (p *plan) publish(o *store.Object, h *fill.Head) error {
	if err := o.Publish(); err != nil {
		return err
	}
	if p.s.invalid.get(p.id) >= rule.At(h.Sent) {
		o.Delete()
	}
	return nil
}

// tagWait is up to which length an object with a tag of its content is waited for, so that it never shows another tag.
const tagWait = 1 << 20

// newMeta is the metadata of a new object.
func (p *plan) newMeta(v *rule.Verdict, h http.Header) *meta {
	addVia(v.Header, p.s.cfg.Name)
	m := &meta{
		life: v.Life, why: v.Reason, epoch: p.epoch, site: p.site.Name, url: p.url, vary: v.Vary,
		tags: p.tags(v, h), header: v.Header, contentTag: p.site.ContentETag(),
	}
	return m
}

// tags are the names an object can be purged by: its cache groups, and what the site's tag headers say.
func (p *plan) tags(v *rule.Verdict, h http.Header) []string {
	tags := append(p.site.Tags(h), v.Groups...)
	slices.Sort(tags)
	tags = slices.Compact(tags)
	return tags[:min(len(tags), maxTags)]
}

// maxTags bounds the tags of one object.
const maxTags = 256

// withObject calls f with the stored version of that id, if it is still there.
func (s *Server) withObject(k store.Key, id uint64, f func(entry)) bool {
	var buf [8]*store.Object
	found := false
	for _, o := range s.store.Lookup(k, buf[:0]) {
		if o.ID() == id {
			if e, ok := open(o); ok {
				f(e)
				found = true
			}
		}
		o.Release()
	}
	return found
}

// landed says whether a response that fits has come into the store since the request found none: a fetch of another that
// ended in between.
func (p *plan) landed() bool {
	var buf [8]*store.Object
	found := false
	for _, o := range p.s.store.Lookup(p.id, buf[:0]) {
		if e, ok := open(o); ok && !found && !p.s.purged(&e) {
			found = e.vary.Matches(p.request, p.site.Policy()) && rule.Decide(&p.req, &e.life, rule.At(p.s.clock())).Action == rule.Fresh
		}
		o.Release()
	}
	return found
}
