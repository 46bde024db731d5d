package cache

import (
	"crypto/sha256"
	"os"
	"strconv"
	"sync"
	"unsafe"

	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/ranges"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// plainHead is a response head ready to be sent for one site's rules.
type plainHead struct {
	site   *site.Site
	head   *front.Head
	fields []headField // the same for net/http
}

// headField is a field with its lines, shared by all answers and never changed.
type headField struct {
	name  string
	lines []string
}

// shortHit is a hit of the fast path from lookup to the last byte. They come from a pool.
type shortHit struct {
	s      *Server
	site   *site.Site
	key    site.Key
	id     store.Key
	sr     site.Request
	fields fastFields
	found  [8]*store.Object
	live   [8]entry
	status [160]byte
	object *store.Object
	stats  *siteStats
	result result
}

var shortHits = sync.Pool{New: func() any { return new(shortHit) }}

// slowNames are request fields that a hit depends on and the fast path does not know.
var slowNames = []string{"Catchment-Hop", tokenField, debugField, "Want-Repr-Digest"}

// Hit answers a plain request for a whole, fresh object at once; everything else is left to ServeHTTP.
func (s *Server) Hit(r *front.Request, a *front.Answer) bool {
	x := s.state.Load()
	st, err := x.table.Match(r.TLS, r.Host, r.Path)
	if err != nil || !x.plain[st] {
		return false
	}
	h := shortHits.Get().(*shortHit)
	h.s, h.site, h.stats = s, st, x.stats[st.Name]
	if h.answer(r, a) {
		return true
	}
	h.free()
	return false
}

// free gives a hit back; what it found is released.
func (h *shortHit) free() {
	if h.object != nil {
		h.object.Release()
	}
	h.s, h.site, h.stats, h.object = nil, nil, nil, nil
	h.sr = site.Request{}
	h.fields.r = nil
	shortHits.Put(h)
}

// answer fills a, or says false.
func (h *shortHit) answer(r *front.Request, a *front.Answer) bool {
	h.fields.r = r
	h.sr = site.Request{TLS: r.TLS, Host: r.Host, Path: r.Path, Query: r.Query}
	h.site.Key(&h.key, &h.sr)
	e, ok := h.lookup(&h.fields)
	if !ok {
		return false
	}
	h.object = e.Object
	size := e.Size()
	now := h.s.now()
	plain := rule.PlainRequest()
	if !e.Whole() || size < 0 || !bodyAllowed(int(e.life.Status)) || rule.Decide(&plain, &e.life, now).Action != rule.Fresh {
		return false
	}
	if a.Head = e.plainHead(h.site, size).head; a.Head == nil {
		return false
	}
	first, length := int64(0), size
	if e.life.Status == 200 {
		if first, length, ok = h.part(r, a, &e, size); !ok {
			return false
		}
	}
	if a.Status != 304 && a.Status != 416 && !r.Head && !addBody(a, e.Object, first, length) {
		return false
	}
	a.Age = int64(e.life.Age(now))
	cs := rule.CacheStatus{Cache: h.s.cfg.Name, Hit: true, TTL: e.life.TTL(now), HasTTL: true}
	a.CacheStatus = cs.AppendTo(h.status[:0])
	a.Done, a.Token = h, nil
	if e.valid.ETag.Strong() {
		a.ETag = string(e.valid.ETag)
	}
	h.result = resultHit
	e.hits.Add(1)
	h.resumes(r, a, &e, first, length)
	return true
}

// lookup finds the variant that fits. The entry's handle is the caller's.
func (h *shortHit) lookup(fields rule.Fields) (entry, bool) {
	h.id = sha256.Sum256(h.key.Bytes)
	objects := h.s.store.Lookup(h.id, h.found[:0])
	if len(objects) == 1 {
		e, ok := open(objects[0])
		if ok && !h.s.purged(&e) && (len(e.vary.Fields) == 0 || e.vary.Matches(fields, h.site.Policy())) {
			return e, true
		}
		objects[0].Release()
		return entry{}, false
	}
	live := h.live[:0]
	for _, o := range objects {
		if e, ok := open(o); ok && !h.s.purged(&e) {
			live = append(live, e)
		} else {
			o.Release()
		}
	}
	at := rule.Select(live, func(e entry) (*rule.Vary, *rule.Life) { return &e.vary, &e.life }, fields, h.site.Policy())
	var out entry
	for i, e := range live {
		if i == at {
			out = e
		} else {
			e.Release()
		}
	}
	clear(live)
	return out, at >= 0
}

// part applies conditions and a range; a.Status is set for 304, 206 and 416. Not ok: the general path has to decide.
func (h *shortHit) part(r *front.Request, a *front.Answer, e *entry, size int64) (first, length int64, ok bool) {
	if r.IfNoneMatch != nil || r.IfModifiedSince != nil {
		if e.contentTag {
			return 0, 0, false
		}
		if string(r.IfNoneMatch) == string(e.valid.ETag) && e.valid.ETag != "" ||
			ranges.Evaluate(&h.fields, e.valid, true, h.s.clock()) == ranges.NotModified {
			a.Status = 304
			return 0, 0, true
		}
	}
	if r.Head || r.Span.Kind == front.SpanNone {
		return 0, size, true // only GET has ranges (RFC 9110 §14.2)
	}
	if r.Span.Kind == front.SpanOther {
		return 0, 0, false
	}
	if r.IfRange != nil {
		if e.contentTag {
			return 0, 0, false
		}
		if !ranges.RangeApplies(&h.fields, e.valid, h.s.clock()) {
			return 0, size, true
		}
	}
	a.Size = size
	if first, length, ok = r.Span.Resolve(size); !ok {
		a.Status = 416
		return 0, 0, true
	}
	a.Status, a.First = 206, first
	return first, length, true
}

// addBody adds bytes of an object: from memory, or pieces of its file.
func addBody(a *front.Answer, o *store.Object, first, length int64) bool {
	for end := first + length; first < end; {
		if b := o.Slice(first, end-first); len(b) > 0 {
			a.AddBytes(b)
			first += int64(len(b))
			continue
		}
		f, pos, n := fileOf(o, first, end-first)
		if n <= 0 {
			return false
		}
		a.AddFile(f, pos, n)
		first += n
	}
	return true
}

// fileOf gives the file that holds bytes of an object; n is 0 where none does.
func fileOf(o *store.Object, off, limit int64) (f *os.File, pos, n int64) {
	if _, pos, n = o.File(off, limit); n == 0 {
		return nil, 0, 0
	}
	if f = o.OSFile(); f == nil {
		return nil, 0, 0
	}
	return f, pos, n
}

// plainHead makes the head at the first hit, and again when the site's rules have changed.
func (e *entry) plainHead(st *site.Site, size int64) *plainHead {
	if p := e.plain.Load(); p != nil && p.site == st {
		return p
	}
	h := e.served()
	delete(h, "Cache-Status")
	if e.life.Status == 200 && len(h["Accept-Ranges"]) == 0 {
		h["Accept-Ranges"] = []string{"bytes"}
	}
	st.EditResponse(h)
	head, err := front.NewHead(int(e.life.Status), front.Header(h), size)
	if err != nil {
		head = nil // the general path leaves bad fields to net/http
	}
	p := &plainHead{site: st, head: head}
	for name, lines := range h {
		if name != "Content-Length" {
			p.fields = append(p.fields, headField{name, lines})
		}
	}
	p.fields = append(p.fields, headField{"Content-Length", []string{strconv.FormatInt(size, 10)}})
	e.plain.Store(p)
	return p
}

// fastFields gives a fast request's fields to rule and ranges. What Values gives is good until its next call.
type fastFields struct {
	r     *front.Request
	lines [8]string
}

// Values gives all lines of a field.
func (f *fastFields) Values(name string) []string {
	out := f.lines[:0]
	for n, v := range f.r.Fields {
		if len(n) == len(name) && equalName(n, name) {
			out = append(out, text(v))
		}
	}
	return out
}

// text is b as a string without a copy: only for what is read before b changes.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func equalName(b []byte, s string) bool {
	for i := range b {
		x, y := b[i], s[i]
		if x|0x20 != y|0x20 || x != y && (x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}

// Finish counts and logs the hit when its last byte is sent.
func (h *shortHit) Finish(r *front.Request, a *front.Answer, sent *front.Sent) {
	h.stats.count(h.result, rule.IsFresh, sent.BodyBytes)
	h.log(r, sent)
	h.free()
}
