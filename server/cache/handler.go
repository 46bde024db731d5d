package cache

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// healthPath answers load balancers and checks for every host: 200 while the server can serve.
const healthPath = "/.well-known/catchment/health"

// exchange is one request on the general path, from its head to its log record. One goroutine has it.
type exchange struct {
	s    *Server
	c    *state // the configuration this request began with
	w    *recorder
	r    *http.Request
	up   *upstream
	site *site.Site
	// policy is the site's.
	policy *rule.Policy
	key    site.Key
	id     store.Key // of key
	req    rule.Request
	hop    origin.Hop
	client netip.Addr
	conn   *front.Conn // nil outside front

	began time.Time
	// epoch is the newest purge when the request came: what is fetched for it is older than any later one.
	epoch purge.Epoch
	// apart is set to the newest purge when a fetch that this request waited for turned out to be older.
	apart purge.Epoch
	// done is what became of the request, for Cache-Status, log and metrics.
	done outcome
	// trace collects the steps for who may see them, nil else.
	trace *trace
	// unread is set when a request goes on its own after a body that was wrong.
	unread bool
	// once are fields for the answer to this request alone, not for the stored one.
	once http.Header
	// via is who sent the client here by a redirect; empty: nobody.
	via via
	// notes are what hooks tell one another.
	notes map[string]string
}

// outcome is what became of a request.
type outcome struct {
	status rule.CacheStatus
	// detail replaces the reason in Cache-Status and log where upstream said more (the kind of its error).
	detail string
	result result
	from   origin.From
	// waited is how long upstream, or another's fill, was waited for.
	waited time.Duration
	// steer is what was decided of a client that plays a stream; empty: nothing.
	steer string
}

// now is the time in the unit of rules.
func (x *exchange) now() rule.Millis { return rule.At(x.s.clock()) }

// step notes a step for the trace.
func (x *exchange) step(name string, detail ...string) {
	if x.trace != nil {
		x.trace.add(name, strings.Join(detail, " "))
	}
}

// ServeHTTP answers one request; it is the Server's http.Handler for everything the fast path does not take.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == healthPath {
		s.serveHealth(w, r)
		return
	}
	if r.URL.Path == origin.TellPath {
		s.takePurge(w, r)
		return
	}
	if s.plainHit(w, r) {
		return
	}
	x := s.newExchange(w, r)
	defer x.finish()
	if !s.enter(x.c.limits.Requests) {
		s.shed(x)
		return
	}
	defer s.leave()
	x.run()
}

func (s *Server) newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	now := s.clock()
	x := &exchange{
		s: s, c: s.state.Load(), r: r, began: now, epoch: s.purges.Now(),
		conn: front.ConnOf(r.Context()),
	}
	x.w = &recorder{ResponseWriter: w, clock: s.clock}
	x.done.status.Cache = s.cfg.Name
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		x.client = ap.Addr().Unmap()
	}
	return x
}

// run takes the steps of a request in order; each may end it.
func (x *exchange) run() {
	steps := []func() bool{x.readHop, x.findSite, x.startTrace, x.checkMethod, x.admit, x.checkToken}
	for _, f := range steps {
		if !f() {
			return
		}
	}
	x.w.final = x.lastHook()
	if x.r.Method != "PURGE" && !x.hooked(site.ClientRequest) {
		return
	}
	switch {
	case x.r.Method == "PURGE":
		x.purge()
	case x.site.Off():
		x.makeKey()
		x.forward(rule.PolicyBypass)
	case rule.Cacheable(x.r.Method):
		x.makeKey()
		x.serveCached()
	default:
		x.makeKey()
		x.forward(rule.MethodNotCacheable)
	}
}

// findSite finds the customer by scheme, host and path. Who is not known is refused and never proxied (RFC 9110 §15.5.20).
func (x *exchange) findSite() bool {
	if x.r.RequestURI == "*" {
		return x.serverOptions()
	}
	sr := x.siteRequest()
	st, err := x.c.table.Match(sr.TLS, sr.Host, sr.Path)
	if err != nil {
		x.refuse(site.StatusOf(err), "site", err.Error())
		return false
	}
	x.site, x.up = st, x.c.upstreams[st.Name]
	x.policy = st.Policy()
	x.readVia(sr.Query)
	return true
}

// serverOptions answers OPTIONS * (RFC 9110 §9.3.7).
func (x *exchange) serverOptions() bool {
	if x.r.Method != http.MethodOptions {
		x.refuse(http.StatusBadRequest, "target", "* is for OPTIONS")
		return false
	}
	x.w.Header().Set("Content-Length", "0")
	x.w.WriteHeader(http.StatusOK)
	return false
}

// readHop reads what our own caches say about a request they pass on.
func (x *exchange) readHop() bool {
	hop, err := x.s.identity.ReadHop(x.r.Header, x.r.Method, x.r.Host, x.r.RequestURI, x.client)
	if err != nil {
		x.refuse(http.StatusLoopDetected, "loop", err.Error())
		return false
	}
	x.hop = hop
	if hop.Client.IsValid() {
		x.client = hop.Client.Unmap()
	}
	return true
}

// checkMethod refuses what the site does not allow. PURGE has its own rule.
func (x *exchange) checkMethod() bool {
	if x.r.Method == "PURGE" || x.site.Allows(x.r.Method) {
		return true
	}
	x.w.Header().Set("Allow", x.site.AllowHeader())
	x.refuse(http.StatusMethodNotAllowed, "method", x.r.Method)
	return false
}

// admit applies the site's rates.
func (x *exchange) admit() bool {
	if !x.site.Limited() {
		return true
	}
	wait, reason, ok := x.site.Admit(x.client, x.began)
	if ok {
		return true
	}
	x.w.Header().Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	x.refuse(http.StatusTooManyRequests, "rate", reason)
	return false
}

// checkToken asks for a signed URL where the site wants one.
func (x *exchange) checkToken() bool {
	sr := x.siteRequest()
	if !x.site.NeedsToken(sr.Path) {
		return true
	}
	if err := x.site.CheckToken(&sr, x.client, x.began); err != nil {
		x.refuse(http.StatusForbidden, "token", err.Error())
		return false
	}
	return true
}

// siteRequest is the request as package site reads it.
func (x *exchange) siteRequest() site.Request {
	path, query := x.r.RequestURI, ""
	if !strings.HasPrefix(path, "/") {
		path = x.r.URL.EscapedPath()
		if x.r.URL.RawQuery != "" {
			path += "?" + x.r.URL.RawQuery
		}
	}
	path, query, _ = strings.Cut(path, "?")
	return site.Request{TLS: x.secure(), Host: []byte(x.r.Host), Path: []byte(path), Query: []byte(query), Header: x.r.Header}
}

// secure says whether the client came by TLS, to us or to the cache that passed its request on.
func (x *exchange) secure() bool {
	if x.hop.Scheme != "" {
		return x.hop.Scheme == "https"
	}
	return x.r.TLS != nil
}

// makeKey works out under what the object is stored.
func (x *exchange) makeKey() {
	sr := x.siteRequest()
	x.site.Key(&x.key, &sr)
	x.id = sha256.Sum256(x.key.Bytes)
	x.step("key", string(x.key.URL))
}

// refuse ends a request with an answer of our own.
func (x *exchange) refuse(status int, why, detail string) {
	x.step("refuse", why, detail)
	x.done.result, x.done.detail = resultRefused, why
	x.errorBody(status)
}

// errorBody sends a short text with a status; nobody stores it.
func (x *exchange) errorBody(status int) {
	h := x.w.Header()
	body := strconv.Itoa(status) + " " + http.StatusText(status) + "\n"
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if x.site != nil {
		h.Set("Cache-Status", x.cacheStatus(nil))
	}
	x.writeTrace()
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		x.w.Write([]byte(body))
	}
}

// serveHealth says whether the server can serve.
func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := s.Health(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Write([]byte("ok\n"))
}

// enter counts a request in, or says that there are too many.
func (s *Server) enter(limit int) bool {
	if s.active.Add(1) > int64(limit) {
		s.active.Add(-1)
		return false
	}
	return true
}

func (s *Server) leave() { s.active.Add(-1) }

// shed turns a request away before it costs anything.
func (s *Server) shed(x *exchange) {
	s.metrics.shed.Add(1)
	x.w.Header().Set("Retry-After", strconv.Itoa(max(1, int(x.c.limits.RetryAfter/time.Second))))
	x.refuse(http.StatusServiceUnavailable, "overload", "too many requests at once")
}

// context is the request's: it ends when the client goes.
func (x *exchange) context() context.Context { return x.r.Context() }
