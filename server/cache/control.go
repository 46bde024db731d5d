package cache

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// Purge says what is not valid any more. Exactly one of URL, Prefix, Host, Tag, All and Site alone is set; Site with Tag
// limits it to that customer.
type Purge struct {
	URL    string // http://www.example.com/a.css, with its query
	Prefix string // of URLs: https://www.example.com/img/
	Host   string
	Tag    string
	Site   string
	All    bool
	// Soft leaves objects as stale instead of taking them away.
	Soft bool
	// By and Why go into the journal.
	By, Why string
}

// Purge takes a purge into force, here and at the caches that this one fetches from (peers and parents); it is when it
// returns, and on disk. An error with an Entry that has an ID means that it is in force here, but not yet there (an
// *UntoldError), or could not be saved.
func (s *Server) Purge(ctx context.Context, p Purge) (purge.Entry, error) {
	r := purge.Request{Site: p.Site, Host: s.keyHost(p.Host), Tag: p.Tag, Soft: p.Soft, Who: p.By, Why: p.Why}
	switch {
	case p.URL != "":
		st, k, err := s.resolve(p.URL)
		if err != nil {
			return purge.Entry{}, err
		}
		r.Kind, r.Site, r.URL = purge.URL, st.Name, string(k.URL)
	case p.Prefix != "":
		_, k, err := s.resolve(p.Prefix)
		if err != nil {
			return purge.Entry{}, err
		}
		r.Kind, r.Host, r.Path = purge.Prefix, string(k.Host), string(k.Path)
	case p.Tag != "":
		r.Kind = purge.Tag
	case p.Host != "":
		r.Kind = purge.Host
	case p.Site != "":
		if s.state.Load().table.Site(p.Site) == nil {
			return purge.Entry{}, fmt.Errorf("cache: no site %q", p.Site)
		}
		r.Kind = purge.Site
	case p.All:
		r.Kind = purge.All
	default:
		return purge.Entry{}, fmt.Errorf("cache: purge names nothing")
	}
	e, err := s.purgeAll(ctx, r)
	if err != nil {
		err = fmt.Errorf("cache: %w", err)
	}
	s.log.Info("purge", "id", e.ID, "kind", r.Kind, "url", r.URL, "host", r.Host, "path", r.Path, "tag", r.Tag, "site", r.Site, "soft", r.Soft, "by", r.Who)
	return e, err
}

// Purges are the newest purges, newest first, at most limit (0: 1000).
func (s *Server) Purges(limit int) ([]purge.Entry, error) {
	if limit <= 0 {
		limit = 1000
	}
	all, _, err := s.purges.List(0, 1<<20)
	out := make([]purge.Entry, 0, min(limit, len(all)))
	for i := len(all) - 1; i >= 0 && len(out) < limit; i-- {
		out = append(out, all[i])
	}
	return out, err
}

// keyHost is the host under which the objects of a host are stored: an alias's is its site's, a usual port is left out.
func (s *Server) keyHost(host string) string {
	if host == "" {
		return ""
	}
	for _, scheme := range [...]string{"http://", "https://"} {
		if _, k, err := s.resolve(scheme + host + "/"); err == nil {
			return string(k.Host)
		}
	}
	return strings.ToLower(host)
}

// resolve finds site and key of a URL as a client without special headers would ask for it.
func (s *Server) resolve(raw string) (*site.Site, *site.Key, error) {
	st, r, err := s.state.Load().table.Resolve(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("cache: %w", err)
	}
	k := new(site.Key)
	r.Header = http.Header{}
	st.Key(k, r)
	return st, k, nil
}

// Object is what is stored under a URL, and what a GET for it would get.
type Object struct {
	URL, Site, Key string
	Now            time.Time
	Variants       []Variant
	Would, Why     string // as in Trace
}

// Variant is one stored response.
type Variant struct {
	Vary              []string // request fields that select it, with its values
	Status            int
	Type              string
	Size, Present     int64 // Size -1: not known yet
	Chunks, Have      int
	Where             string // ram or disk
	Whole             bool
	Stored            time.Time // or last validated
	Age, TTL          time.Duration
	Lifetime          time.Duration
	StaleWhile        time.Duration // windows after the end of freshness
	StaleIfError      time.Duration
	ETag, Modified    string
	Digest            string
	Tags              []string
	Hits              uint64 // since it was last opened or validated
	Reason            string // why it was stored
	Epoch             uint64 // newest purge it is younger than
	Purged            string // soft or hard
	PurgeID           uint64
	ID                uint64
	Upstream, Refresh bool
}

// Show tells what is stored for a URL. h is the request's header, which the key or the choice of a variant may need.
func (s *Server) Show(ctx context.Context, rawURL string, h http.Header) (Object, error) {
	t, err := s.Trace(ctx, http.MethodGet, rawURL, h)
	if err != nil {
		return Object{}, err
	}
	out := Object{URL: t.URL, Site: t.Site, Key: t.Key, Now: s.clock(), Would: t.Would, Why: t.Why}
	if t.Site == "" {
		return out, nil
	}
	where := s.tiers(ctx, t.id)
	for _, o := range s.store.Lookup(t.id, nil) {
		if e, ok := open(o); ok {
			out.Variants = append(out.Variants, s.variant(e, where[o.ID()]))
		}
		o.Release()
	}
	return out, nil
}

// tiers tells where the bodies of a key's objects are.
func (s *Server) tiers(ctx context.Context, k store.Key) map[uint64]string {
	out := map[uint64]string{}
	s.store.Walk(ctx, func(i store.Info) bool {
		if i.Key == k {
			out[i.ID] = string(i.Tier)
		}
		return true
	})
	return out
}

func (s *Server) variant(e entry, where string) Variant {
	now := s.now()
	l := &e.life
	v := Variant{
		Status: int(l.Status), Type: e.header.Get("Content-Type"), Size: e.Size(), Whole: e.Whole(), Where: where,
		Stored: l.Received.Time(), Age: time.Duration(l.Age(now)) * time.Second, TTL: between(now, l.Fresh),
		Lifetime: between(l.Born, l.Fresh), StaleWhile: between(l.Fresh, l.Revalidate), StaleIfError: between(l.Fresh, l.Error),
		ETag: e.etag(), Modified: e.header.Get("Last-Modified"), Tags: e.tags, Hits: e.hits.Load(), Reason: e.why.String(),
		Epoch: uint64(e.epoch), ID: e.ID(),
	}
	if e.sum != nil {
		v.Digest = e.sum.ReprDigest()
	}
	for _, name := range e.vary.Fields {
		v.Vary = append(v.Vary, strings.ToLower(name))
	}
	v.Present, v.Chunks, v.Have = present(e.Object)
	if verdict, id := s.purges.Check(e.epoch, &e.object); verdict != purge.OK {
		v.Purged, v.PurgeID = verdict.String(), uint64(id)
	}
	return v
}

// present counts the bytes and chunks that are there.
func present(o *store.Object) (bytes int64, chunks, have int) {
	size := o.Size()
	if size < 0 {
		return o.Available(0), 0, 0
	}
	bytes = size
	n := o.ChunkSize()
	chunks = int((size + n - 1) / n)
	have = chunks
	for _, m := range o.Missing(0, size) {
		end := m.End
		if end < 0 {
			end = size
		}
		bytes -= end - m.Off
		have -= int((end-1)/n - m.Off/n + 1)
	}
	return bytes, chunks, have
}

func between(a, b rule.Millis) time.Duration { return time.Duration(b-a) * time.Millisecond }

// Trace is how a request would be decided.
type Trace struct {
	URL, Method, Site, Key string
	Steps                  []Step
	// Would is what the request would get: hit, stale, miss, revalidate, pass, refuse, purge or error. Why says why.
	Would, Why  string
	CacheStatus string
	id          store.Key
}

// Trace decides on a request as if a client had sent it, and does nothing: no upstream is asked, nothing is counted.
func (s *Server) Trace(ctx context.Context, method, rawURL string, h http.Header) (Trace, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return Trace{}, fmt.Errorf("cache: %q: want a URL such as http://www.example.com/a.css", rawURL)
	}
	if method == "" {
		method = http.MethodGet
	}
	r := &http.Request{
		Method: method, URL: u, Host: u.Host, RequestURI: u.RequestURI(), Header: h.Clone(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if u.Scheme == "https" {
		r.TLS = innerTLS
	}
	x := s.newExchange(nopWriter{}, r.WithContext(ctx))
	x.trace = &trace{clock: s.clock, began: x.began}
	t := Trace{URL: rawURL, Method: method}
	t.decide(x)
	t.Steps = x.trace.steps
	return t, nil
}

// decide takes the steps of run up to the decision.
func (t *Trace) decide(x *exchange) {
	if !x.findSite() {
		t.Would, t.Why = "refuse", x.done.detail
		return
	}
	t.Site = x.site.Name
	x.step("site", x.site.Name)
	x.makeKey()
	t.Key, t.id = string(x.key.Bytes), sha256.Sum256(x.key.Bytes)
	x.step("digest", hex.EncodeToString(t.id[:8]))
	switch {
	case !x.checkMethod() || !x.checkToken():
		t.Would, t.Why = "refuse", x.done.detail
		return
	case !rule.Cacheable(x.r.Method) || x.site.Off():
		t.Would, t.Why = "pass", rule.MethodNotCacheable.String()
		if x.site.Off() {
			t.Why = "site"
		}
		return
	}
	x.req = rule.ReadRequest(x.r.Header, x.policy)
	f := x.lookup()
	defer f.release()
	x.step("decide", f.decision.Action.String(), f.decision.Reason.String())
	t.Would, t.Why = wouldText[f.decision.Action], f.decision.Reason.String()
	status := rule.CacheStatus{Cache: x.s.cfg.Name, Detail: f.decision.Reason, Fwd: f.decision.Reason.Fwd()}
	if f.ok {
		status.TTL, status.HasTTL = f.entry.life.TTL(x.now()), true
	}
	if f.decision.Action == rule.Fresh || f.decision.Action == rule.Stale {
		status.Hit = true
		if !f.entry.Whole() {
			x.step("bytes", "not all there: what is missing would be fetched")
		}
	}
	x.traceSteer(&f)
	t.CacheStatus = status.Line(nil)
}

var wouldText = map[rule.Action]string{
	rule.Fresh: "hit", rule.Stale: "stale", rule.Revalidate: "revalidate", rule.Miss: "miss", rule.Bypass: "pass", rule.GatewayTimeout: "error",
}

// innerTLS stands for the connection of requests by https that no client made.
var innerTLS = &tls.ConnectionState{}

// nopWriter takes an answer that nobody gets.
type nopWriter struct{}

func (nopWriter) Header() http.Header         { return http.Header{} }
func (nopWriter) Write(p []byte) (int, error) { return len(p), nil }
func (nopWriter) WriteHeader(int)             {}
