package rule_test

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/catchment/catchment/server/cache/ranges"
	"github.com/catchment/catchment/server/cache/rule"
)

// modelCache is the smallest cache that uses the rules as the server does: one map, no concurrency, no disk. It lets tables
// speak in requests and answers. Background work is done at once.
type modelCache struct {
	policy rule.Policy
	stored map[string][]*object
	origin func(method, url string, h http.Header, body []byte) (*answer, error)
	now    func() time.Time
}

// object is a stored response, perhaps only a part of it.
type object struct {
	header     http.Header
	life       rule.Life
	vary       rule.Vary
	validators ranges.Validators
	body       []byte
	have       ranges.Span
	size       int64
}

// answer is a response, from the origin or from us.
type answer struct {
	status int
	header http.Header
	body   []byte
	cached bool
}

var errGone = errors.New("origin closed the connection")

func objectOf(o *object) (*rule.Vary, *rule.Life) { return &o.vary, &o.life }

// do answers one request as a shared cache.
func (c *modelCache) do(method, target string, h http.Header, body []byte) *answer {
	now := c.now()
	if !rule.Cacheable(method) {
		return c.unsafe(method, target, h, body)
	}
	req := rule.ReadRequest(h, &c.policy)
	list := c.stored[target]
	why := rule.URIMiss
	if len(list) > 0 {
		why = rule.VaryMiss
	}
	i := rule.Select(list, objectOf, h, &c.policy)
	var d rule.Decision
	if i < 0 {
		d = rule.Missing(&req, why)
	} else if d = rule.Decide(&req, &list[i].life, rule.At(now)); d.Action == rule.Fresh || d.Action == rule.Stale {
		if a := c.serve(method, list[i], h); a != nil {
			if d.Refresh {
				c.revalidate(http.MethodGet, target, h, list[i], &req)
			}
			return a
		}
		d = rule.Missing(&req, rule.PartialMiss)
	}
	switch d.Action {
	case rule.GatewayTimeout:
		return &answer{status: 504, header: http.Header{}}
	case rule.Revalidate:
		return c.revalidate(method, target, h, list[i], &req)
	}
	return c.fetch(method, target, h)
}

// serve answers from an object, nil if it lacks the bytes.
func (c *modelCache) serve(method string, o *object, h http.Header) *answer {
	now := c.now()
	a := &answer{status: int(o.life.Status), header: o.header.Clone(), cached: true}
	a.header.Set("Age", strconv.FormatInt(int64(o.life.Age(rule.At(now))), 10))
	if a.status >= 200 && a.status < 300 {
		switch ranges.Evaluate(h, o.validators, true, now) {
		case ranges.NotModified:
			a.status = 304
			return a
		case ranges.PreconditionFailed:
			a.status = 412
			return a
		}
	}
	whole := ranges.Span{End: o.size}
	spans, kind := []ranges.Span{whole}, ranges.Whole
	if specs, ok := ranges.Parse(h.Values("Range"), 0); ok && method == "GET" && a.status == 200 && ranges.RangeApplies(h, o.validators, now) {
		if spans, kind = ranges.Resolve(specs, o.size); kind == ranges.Whole {
			spans = []ranges.Span{whole}
		}
	}
	if kind == ranges.Unsatisfiable {
		a.status = 416
		a.header.Set("Content-Range", string(ranges.AppendUnsatisfied(nil, o.size)))
		return a
	}
	s := spans[0] // the model sends the first range only
	if s.Start < o.have.Start || s.End > o.have.End {
		return nil
	}
	if kind == ranges.Partial {
		a.status = 206
		a.header.Set("Content-Range", string(ranges.AppendContentRange(nil, s, o.size)))
	}
	if method == "GET" {
		a.body = o.body[s.Start-o.have.Start : s.End-o.have.Start]
	}
	return a
}

// fetch asks the origin with the client's own fields and stores the answer if it may.
func (c *modelCache) fetch(method, target string, h http.Header) *answer {
	sent := c.now()
	a, err := c.origin(method, target, rule.EndToEnd(h), nil)
	if err != nil {
		return &answer{status: 502, header: http.Header{}}
	}
	x := &rule.Exchange{Method: method, Target: target, Status: a.status, Request: h, Response: a.header, RequestTime: sent, ResponseTime: c.now()}
	if method == "HEAD" {
		c.head(target, h, x)
		return &answer{status: a.status, header: rule.EndToEnd(a.header)}
	}
	c.store(target, x, a)
	return c.pass(x, a)
}

// pass is the origin's answer as it is sent on.
func (c *modelCache) pass(x *rule.Exchange, a *answer) *answer {
	return &answer{status: a.status, header: rule.EndToEnd(a.header), body: a.body}
}

// store judges and keeps an answer in place of the variant it replaces.
func (c *modelCache) store(target string, x *rule.Exchange, a *answer) rule.Verdict {
	v := rule.Judge(x, &c.policy)
	if !v.Store {
		return v
	}
	o := &object{header: v.Header, life: v.Life, vary: v.Vary, body: a.body, size: int64(len(a.body))}
	o.have = ranges.Span{End: o.size}
	if a.status == 206 {
		cr, _ := ranges.ParseContentRange(a.header.Get("Content-Range"))
		if cr.Size < 0 || cr.Span.Len() != int64(len(a.body)) {
			v.Store = false
			return v
		}
		o.have, o.size = cr.Span, cr.Size
	}
	o.validators = ranges.ReadValidators(v.Header, x.ResponseTime)
	kept := c.stored[target][:0]
	for _, old := range c.stored[target] {
		if old.vary.Key != o.vary.Key || len(old.vary.Fields) != len(o.vary.Fields) {
			kept = append(kept, old)
		}
	}
	c.stored[target] = append(kept, o)
	return v
}

// head applies the answer to a HEAD.
func (c *modelCache) head(target string, h http.Header, x *rule.Exchange) {
	i := rule.Select(c.stored[target], objectOf, h, &c.policy)
	if i < 0 {
		return
	}
	o := c.stored[target][i]
	switch rule.MatchHead(o.header, o.size, x) {
	case rule.Matches:
		if v := rule.Freshen(o.header, int(o.life.Status), x, &c.policy); v.Store {
			o.header, o.life = v.Header, v.Life
		}
	case rule.Mismatch:
		o.life.Invalidate(rule.At(x.ResponseTime))
	}
}

// revalidate asks the origin whether o still holds.
func (c *modelCache) revalidate(method, target string, h http.Header, o *object, req *rule.Request) *answer {
	up := rule.EndToEnd(h)
	if method == "HEAD" || !rule.SetConditions(up, o.header) {
		a := c.fetchOr(method, target, h, o, req)
		return a
	}
	sent := c.now()
	a, err := c.origin("GET", target, up, nil)
	x := &rule.Exchange{Method: "GET", Target: target, Request: h, RequestTime: sent, ResponseTime: c.now()}
	if err != nil {
		return c.failed(method, h, o, req, 0, nil)
	}
	x.Status, x.Response = a.status, a.header
	if a.status == 304 {
		if rule.MatchNotModified(o.header, a.header) != rule.Matches {
			delete(c.stored, target)
			return c.fetch(method, target, h)
		}
		v := rule.Freshen(o.header, int(o.life.Status), x, &c.policy)
		o.header = v.Header
		if v.Store {
			o.life = v.Life
			o.validators = ranges.ReadValidators(v.Header, x.ResponseTime)
		} else {
			delete(c.stored, target)
		}
		s := c.serve(method, o, h)
		s.cached = false
		return s
	}
	if a.status >= 500 {
		return c.failed(method, h, o, req, a.status, c.pass(x, a))
	}
	c.store(target, x, a)
	return c.pass(x, a)
}

// fetchOr is fetch, falling back to the stale object.
func (c *modelCache) fetchOr(method, target string, h http.Header, o *object, req *rule.Request) *answer {
	a := c.fetch(method, target, h)
	if a.status == 502 && len(a.header) == 0 {
		return c.failed(method, h, o, req, 0, nil)
	}
	if a.status >= 500 {
		return c.failed(method, h, o, req, a.status, a)
	}
	return a
}

// failed applies the rules for an origin that did not answer.
func (c *modelCache) failed(method string, h http.Header, o *object, req *rule.Request, status int, a *answer) *answer {
	switch d := rule.Failed(req, &o.life, status, rule.At(c.now())); d.Action {
	case rule.Stale:
		return c.serve(method, o, h)
	case rule.GatewayTimeout:
		return &answer{status: 504, header: http.Header{}}
	}
	if a == nil {
		a = &answer{status: 502, header: http.Header{}}
	}
	return a
}

// unsafe passes a request through and invalidates.
func (c *modelCache) unsafe(method, target string, h http.Header, body []byte) *answer {
	sent := c.now()
	a, err := c.origin(method, target, rule.EndToEnd(h), body)
	if err != nil {
		return &answer{status: 502, header: http.Header{}}
	}
	u, _ := url.Parse(target)
	for _, u := range rule.Invalidate(method, u, a.status, a.header).URLs {
		for _, o := range c.stored[u.String()] {
			o.life.Invalidate(rule.At(c.now()))
		}
	}
	x := &rule.Exchange{Method: method, Target: target, Status: a.status, Request: h, Response: a.header, RequestTime: sent, ResponseTime: c.now()}
	c.store(target, x, a)
	return c.pass(x, a)
}
