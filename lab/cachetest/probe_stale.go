package cachetest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/catchment/catchment/lab/await"
)

// pastLife is when an object of max-age=1 is stale by any count: ages are whole
// seconds, and a cache may round down what it was told and what it counted.
const pastLife = 2100 * time.Millisecond

// aged stores an object of a second's life and waits until it is stale.
func (p *probe) aged(control string) ([]byte, error) {
	body := p.cold(10_000, func(r *resource) { r.header = http.Header{"Cache-Control": {control}} })
	if err := p.get().whole(body); err != nil {
		return nil, err
	}
	return body, await.Lapse(p.ctx, pastLife)
}

// staleChecks are about objects past their life.
func staleChecks() []check {
	return []check{
		{"stale", "revalidated by 304, no body again", func(p *probe) error {
			body, err := p.aged("max-age=1")
			if err != nil {
				return err
			}
			before := p.origin.sent(p.path)
			if err := p.get().whole(body); err != nil {
				return err
			}
			asks := p.origin.asks(p.path)
			if last := asks[len(asks)-1]; len(asks) != 2 || last.etag != `"v1"` || p.origin.sent(p.path) > before {
				return fmt.Errorf("%d requests at the origin, the last with If-None-Match %q", len(asks), last.etag)
			}
			return nil
		}},
		{"stale", "a changed object replaces the old one", func(p *probe) error {
			if _, err := p.aged("max-age=1"); err != nil {
				return err
			}
			young := content(p.path+"v2", 9000)
			p.origin.change(p.path, func(r *resource) { r.body, r.etag = young, `"v2"` })
			return p.get().whole(young)
		}},
		{"stale", "ten clients on a stale object: one revalidation", func(p *probe) error {
			body, err := p.aged("max-age=1")
			if err != nil {
				return err
			}
			p.origin.change(p.path, func(r *resource) {
				r.wait = 300 * time.Millisecond
				r.header = http.Header{"Cache-Control": {"max-age=600"}}
			})
			if err := all(p.crowd(10, func(int) reply { return p.get() }), func(re reply) error { return re.whole(body) }); err != nil {
				return err
			}
			if n := len(p.origin.asks(p.path)); n > 2 {
				return fmt.Errorf("%d requests at the origin", n-1)
			}
			return nil
		}},
		{"stale", "stale-while-revalidate: served at once, refreshed behind", whileRevalidate},
		{"stale", "stale-if-error: an origin that answers 503", func(p *probe) error {
			return ifError(p, "max-age=1, stale-if-error=60", true, func(r *resource) { r.status = 503 })
		}},
		{"stale", "stale-if-error: an origin that closes the connection", func(p *probe) error {
			return ifError(p, "max-age=1, stale-if-error=60", true, func(r *resource) { r.broken = true })
		}},
		{"stale", "must-revalidate: not served stale", func(p *probe) error {
			return ifError(p, "max-age=1, must-revalidate, stale-if-error=60", false, func(r *resource) { r.broken = true })
		}},
		{"stale", "a range of a stale partial object: one version", stalePart},
	}
}

func whileRevalidate(p *probe) error {
	body, err := p.aged("max-age=1, stale-while-revalidate=60")
	if err != nil {
		return err
	}
	p.origin.change(p.path, func(r *resource) {
		r.wait, r.etag, r.body = 700*time.Millisecond, `"v2"`, content(p.path+"v2", 9000)
		r.header = http.Header{"Cache-Control": {"max-age=600"}}
	})
	re := p.get()
	if err := re.whole(body); err != nil {
		return fmt.Errorf("the stale one: %w", err)
	}
	if re.all > 500*time.Millisecond {
		return fmt.Errorf("waited %v for the origin", re.all.Round(time.Millisecond))
	}
	young := content(p.path+"v2", 9000)
	if !await.True(p.ctx, 5*time.Second, 100*time.Millisecond, func() bool { return p.get().whole(young) == nil }) {
		return errors.New("never refreshed")
	}
	if n := len(p.origin.asks(p.path)); n > 2 {
		return fmt.Errorf("%d requests at the origin for one refresh", n-1)
	}
	return nil
}

func ifError(p *probe, control string, served bool, harm func(*resource)) error {
	body, err := p.aged(control)
	if err != nil {
		return err
	}
	p.origin.change(p.path, harm)
	re := p.get()
	if got := re.err == nil && re.status == 200 && bytes.Equal(re.body, body); got != served {
		return fmt.Errorf("served stale: %v; want %v: %s", got, served, re)
	}
	return nil
}

// stalePart stores a piece, lets it grow old, changes the object and asks
// for a range that covers the piece and more.
func stalePart(p *probe) error {
	old := p.cold(4<<20, func(r *resource) { r.header = http.Header{"Cache-Control": {"max-age=1"}} })
	if err := p.span(0, 999).part(old, 0, 999); err != nil {
		return err
	}
	if err := await.Lapse(p.ctx, pastLife); err != nil {
		return err
	}
	young := content(p.path+"v2", len(old))
	p.origin.change(p.path, func(r *resource) { r.body, r.etag = young, `"v2"` })
	return p.span(500, 3_000_000).part(young, 500, 3_000_000)
}
