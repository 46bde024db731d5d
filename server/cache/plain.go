package cache

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/server/cache/accesslog"
	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/site"
)

// plainStops are request fields with which a hit is not plain: conditions, ranges, control, what is for us.
var plainStops = [...]string{
	"Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "Cache-Control", "Pragma", "Authorization",
	"Catchment-Hop", tokenField, debugField, "Want-Repr-Digest", "Cdn-Loop",
}

// plainHit is what Hit is for requests that come by net/http, HTTP/2 and 3 among them: a whole, fresh object in memory for a
// plain request, with fields made ready. False: nothing was done.
func (s *Server) plainHit(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !strings.HasPrefix(r.RequestURI, "/") {
		return false
	}
	for _, name := range plainStops {
		if _, ok := r.Header[name]; ok {
			return false
		}
	}
	x := s.state.Load()
	path, query, _ := strings.Cut(r.RequestURI, "?")
	h := shortHits.Get().(*shortHit)
	h.sr = site.Request{TLS: r.TLS != nil, Host: []byte(r.Host), Path: []byte(path), Query: []byte(query), Header: r.Header}
	st, err := x.table.Match(h.sr.TLS, h.sr.Host, h.sr.Path)
	if err != nil || !x.plain[st] {
		h.free()
		return false
	}
	h.s, h.site, h.stats = s, st, x.stats[st.Name]
	defer h.free()
	return h.plain(w, r)
}

// plain answers, or says false.
func (h *shortHit) plain(w http.ResponseWriter, r *http.Request) bool {
	began := h.s.clock()
	h.site.Key(&h.key, &h.sr)
	e, ok := h.lookup(r.Header)
	if !ok {
		return false
	}
	h.object = e.Object
	// The time is that of after the lookup: a soft purge that it met has made the response stale from a moment ago.
	now, plain := h.s.now(), rule.PlainRequest()
	size := e.Size()
	if !e.Whole() || !bodyAllowed(int(e.life.Status)) || rule.Decide(&plain, &e.life, now).Action != rule.Fresh {
		return false
	}
	if size > 0 && r.Method == http.MethodGet && h.object.Slice(0, 1) == nil {
		return false // in a file: the general path sends it from there
	}
	to := w.Header()
	for _, f := range e.plainHead(h.site, size).fields {
		to[f.name] = f.lines
	}
	to["Age"] = []string{strconv.FormatInt(int64(e.life.Age(now)), 10)}
	cs := rule.CacheStatus{Cache: h.s.cfg.Name, Hit: true, TTL: e.life.TTL(now), HasTTL: true}
	to["Cache-Status"] = []string{string(cs.AppendTo(h.status[:0]))}
	w.WriteHeader(int(e.life.Status))
	e.hits.Add(1)
	h.result = resultHit
	sent, err := int64(0), error(nil)
	if r.Method == http.MethodGet {
		sent, err = h.sendPlain(w, size)
	}
	h.stats.count(h.result, rule.IsFresh, sent)
	h.logPlain(r, began, sent, err)
	if err != nil || sent < size && r.Method == http.MethodGet {
		panic(http.ErrAbortHandler)
	}
	return true
}

// sendPlain sends a body piece by piece. A piece that is in memory no more comes by a copy.
func (h *shortHit) sendPlain(w http.ResponseWriter, size int64) (sent int64, err error) {
	for sent < size && err == nil {
		b := h.object.Slice(sent, size-sent)
		if len(b) == 0 {
			buf := h.s.buffers.Get().(*[copySize]byte)
			defer h.s.buffers.Put(buf)
			n, rerr := h.object.ReadAt(buf[:min(copySize, size-sent)], sent)
			if n == 0 {
				return sent, rerr
			}
			b = buf[:n]
		}
		var n int
		n, err = w.Write(b)
		sent += int64(n)
	}
	return sent, err
}

// logPlain writes the record of a plain hit.
func (h *shortHit) logPlain(r *http.Request, began time.Time, sent int64, err error) {
	if !h.s.accesses.Wanted() {
		return
	}
	rec := accesslog.Record{
		Time: began, Site: h.site.Name, Protocol: r.Proto, Method: r.Method, Scheme: "http", Host: r.Host,
		Path: text(h.sr.Path), Query: text(h.sr.Query), Status: http.StatusOK, Bytes: sent, Duration: h.s.clock().Sub(began),
		Aborted: err != nil, Cache: h.result.String(), Reason: "fresh", Key: h.id[:], Referer: r.Header.Get("Referer"), UserAgent: r.Header.Get("User-Agent"),
	}
	if r.TLS != nil {
		rec.Scheme = "https"
	}
	if e, ok := open(h.object); ok {
		rec.Status = int(e.life.Status)
	}
	addConn(&rec, front.ConnOf(r.Context()))
	h.s.accesses.Add(&rec)
}
