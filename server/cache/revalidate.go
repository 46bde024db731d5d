package cache

import (
	"context"
	"net/http"

	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/rule"
)

// validated applies a 304 to the version that it was asked about (RFC 9111 §4.3.4). All chunks of it share the metadata,
// so they all become fresh at once.
func (p *plan) validated(h *fill.Head) shared {
	if rule.MatchNotModified(p.header, h.Header) != rule.Matches {
		p.s.withObject(p.id, p.stale, func(e entry) { e.Delete() })
		return shared{again: true}
	}
	out := shared{again: true} // it went away meanwhile
	p.s.withObject(p.id, p.stale, func(e entry) { out = p.freshen(e, h.Response) })
	return out
}

// freshen puts what a 304, or a matching HEAD answer, says into the metadata.
func (p *plan) freshen(e entry, resp *origin.Response) shared {
	v := rule.Freshen(e.header, int(e.life.Status), p.exchange(resp), p.site.Policy())
	addVia(v.Header, p.s.cfg.Name)
	if v.Store {
		_, err := p.s.update(e.Object, func(m *meta) {
			// A purge that came while upstream was asked is newer than its answer, whatever the epoch has become meanwhile.
			m.header, m.life, m.why, m.vary, m.epoch = v.Header, v.Life, v.Reason, v.Vary, p.epoch
			if len(resp.Header["Cache-Groups"]) > 0 || p.hasTagHeader(resp.Header) {
				m.tags = p.tags(&v, v.Header)
			}
		})
		if err == nil {
			return shared{object: p.stale, fields: v.Once}
		}
		p.s.log.Warn("refreshed metadata not stored", "url", p.url, "err", err)
	} else if v.Reason != rule.RequestNoStore && v.Reason != rule.RequestAuthorized {
		e.Delete()
	}
	once := *e.meta
	once.header = v.Header
	return shared{object: p.stale, once: &once, fields: v.Once}
}

func (p *plan) hasTagHeader(h http.Header) bool {
	for _, name := range p.site.Config.Cache.TagHeaders {
		if len(h.Values(name)) > 0 {
			return true
		}
	}
	return false
}

// headUpdate takes the answer to a HEAD request to what is stored for GET (RFC 9111 §4.3.5).
func (p *plan) headUpdate(resp *origin.Response) {
	p.s.withObject(p.id, p.stale, func(e entry) {
		switch rule.MatchHead(e.header, e.Size(), p.exchange(resp)) {
		case rule.Matches:
			p.freshen(e, resp)
		case rule.Mismatch:
			p.s.update(e.Object, func(m *meta) { m.life.Invalidate(rule.At(resp.Received)) })
		}
	})
}

// refreshLater asks upstream in the background whether a stale entry still holds (RFC 5861 §3); one request at a time for
// an object, and not more than the limit for all.
func (x *exchange) refreshLater(e entry) {
	if !e.refreshing.CompareAndSwap(false, true) {
		return
	}
	p := x.plan(e, true)
	p.ranged = false
	view := e.view
	started := x.s.background(func(ctx context.Context) {
		defer view.refreshing.Store(false)
		p.refresh(ctx)
	})
	if !started {
		view.refreshing.Store(false)
		x.s.metrics.refreshDropped.Add(1)
	}
	x.step("refresh", "in the background")
}

// refresh is one validation, or one fetch where nothing can be validated, without a client.
func (p *plan) refresh(ctx context.Context) {
	out, err := p.s.fills.Lead(ctx, p.fillKey(nil, true), fill.Fetch{Source: p.source(), Judge: p.judge})
	if err != nil {
		return
	}
	defer out.Close()
	p.s.metrics.refreshes.Add(1)
	if sh, ok := out.Value.(shared); ok && sh.again {
		p.s.log.Debug("refresh has to be asked again", "url", p.url)
	}
	if out.Kind == fill.Failed {
		p.s.log.Debug("refresh failed", "url", p.url, "err", out.Err)
	}
}
