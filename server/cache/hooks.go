package cache

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/site"
)

// Hooks are a customer's own steps in a request's way. Those of the client's side (site.ClientRequest, Miss and
// ClientResponse) run in the request's goroutine, those of upstream's side around every request to upstream, that for a
// missing part or a refresh in the background too. None can change what frames a message or makes it partial.

// hooks are the chains by the site's name.
type hooks map[string]*site.Chain

// client reports whether the site's hits cannot be answered without its hooks.
func (h hooks) client(name string) bool {
	c := h[name]
	return c.Has(site.ClientRequest) || c.Has(site.ClientResponse)
}

// hooksFailed logs what failed in a chain, at most once a second for all.
func (s *Server) hooksFailed(name string, failed []*site.HookError) {
	if len(failed) == 0 {
		return
	}
	s.metrics.hooksFailed.Add(uint64(len(failed)))
	now := s.clock().Unix()
	if last := s.hookLogged.Load(); now != last && s.hookLogged.CompareAndSwap(last, now) {
		for _, f := range failed {
			s.log.Warn("hook failed", "site", name, "hook", f.Hook, "stage", f.Stage.String(), "goes-on", f.Open, "err", f.Err)
		}
	}
}

// view is the request as hooks of the client's side see it.
func (x *exchange) hookView(h http.Header) *site.View {
	u := *x.r.URL
	if x.notes == nil {
		x.notes = map[string]string{}
	}
	return &site.View{
		Site: x.site, Client: x.client, Method: x.r.Method, TLS: x.secure(), Host: x.r.Host, URL: &u, Header: h, Notes: x.notes,
		Reason: x.done.status.Detail.String(),
	}
}

// hooked runs the hooks of ClientRequest or Miss. False: one has answered the client.
func (x *exchange) hooked(stage site.Stage) bool {
	chain := x.s.hooks[x.site.Name]
	if !chain.Has(stage) {
		return true
	}
	x.w.final = nil // what a hook answers is not for other hooks
	defer func() { x.w.final = x.lastHook() }()
	v := x.hookView(x.r.Header.Clone())
	reply, failed := chain.Run(x.context(), stage, v)
	x.s.hooksFailed(x.site.Name, failed)
	x.step("hooks", stage.String(), strconv.Itoa(len(failed)), "failed, answered:", strconv.FormatBool(reply != nil))
	if reply != nil {
		x.done.result, x.done.detail = resultRefused, "hook"
		x.reply(reply)
		return false
	}
	x.notes = v.Notes
	before := *x.r.URL
	x.r = x.r.WithContext(x.r.Context()) // a copy
	x.r.Header = v.Header
	if v.URL != nil && (v.URL.Path != before.Path || v.URL.RawPath != before.RawPath || v.URL.RawQuery != before.RawQuery) {
		x.r.URL, x.r.RequestURI = v.URL, v.URL.RequestURI()
	}
	return true
}

// reply sends a hook's own answer.
func (x *exchange) reply(r *site.Reply) {
	h := x.w.Header()
	replyHeader(h, r)
	h.Set("Cache-Status", x.cacheStatus(nil))
	x.writeTrace()
	x.w.WriteHeader(replyStatus(r))
	if x.r.Method != http.MethodHead && bodyAllowed(replyStatus(r)) {
		x.w.Write(r.Body)
	}
}

// replyHeader puts the fields of a hook's answer into h. Nobody stores it.
func replyHeader(h http.Header, r *site.Reply) {
	for name, lines := range r.Header {
		if !slices.Contains(framing, name) {
			h[name] = slices.Clone(lines)
		}
	}
	h.Set("Cache-Control", "no-store")
	if bodyAllowed(replyStatus(r)) {
		h.Set("Content-Length", strconv.Itoa(len(r.Body)))
	}
}

func replyStatus(r *site.Reply) int {
	if r.Status < 200 || r.Status > 599 {
		return http.StatusInternalServerError
	}
	return r.Status
}

// framing are the fields of a response that hooks cannot change: they say how long it is, or which part.
var framing = []string{"Content-Length", "Content-Range", "Transfer-Encoding", "Connection", "Trailer"}

// conditions are those of a request to upstream, by which fills know what they get.
var conditions = []string{
	"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Connection", "Transfer-Encoding", "Content-Length",
}

// restore gives fields the values they had.
func restore(h, before http.Header, names []string) {
	for _, name := range names {
		if lines, ok := before[name]; ok {
			h[name] = lines
		} else {
			delete(h, name)
		}
	}
}

// mayChange reports whether a hook may turn one status into another: not where it says what kind of body comes.
func mayChange(from, to int) bool {
	fixed := func(s int) bool {
		return s == http.StatusPartialContent || s == http.StatusRequestedRangeNotSatisfiable || !bodyAllowed(s)
	}
	return to >= 200 && to <= 599 && !fixed(from) && !fixed(to)
}

// lastHook is what the recorder calls before the head goes out, nil without hooks for it.
func (x *exchange) lastHook() func(status int) int {
	chain := x.s.hooks[x.site.Name]
	if !chain.Has(site.ClientResponse) {
		return nil
	}
	return func(status int) int {
		h := x.w.Header()
		before := h.Clone()
		v := x.hookView(h.Clone())
		v.Status = status
		reply, failed := chain.Run(x.context(), site.ClientResponse, v)
		x.s.hooksFailed(x.site.Name, failed)
		clear(h)
		if reply != nil {
			replyHeader(h, reply)
			h["Cache-Status"] = before["Cache-Status"]
			x.w.instead = []byte{}
			if x.r.Method != http.MethodHead {
				x.w.instead = append(x.w.instead, reply.Body...)
			}
			return replyStatus(reply)
		}
		copyHeader(h, v.Header)
		restore(h, before, framing)
		if mayChange(status, v.Status) {
			status = v.Status
		}
		return status
	}
}

// source is where a site's content is asked for, with its hooks around.
func (s *Server) doer(up *upstream, st *site.Site) fill.Doer {
	if c := s.hooks[st.Name]; c.Has(site.FillRequest) || c.Has(site.FillResponse) {
		return &hookedUpstream{s: s, up: up.origin, site: st, chain: c}
	}
	return up.origin
}

// hookedUpstream runs the hooks of upstream's side.
type hookedUpstream struct {
	s     *Server
	up    fill.Doer
	site  *site.Site
	chain *site.Chain
}

// Do asks upstream, or answers with what a hook says instead.
func (u *hookedUpstream) Do(ctx context.Context, req *origin.Request) (*origin.Response, error) {
	target, sent := *req.URL, *req
	v := &site.View{
		Site: u.site, Client: req.Client, Method: req.Method, TLS: req.Scheme == "https", Host: req.Host, URL: &target,
		Header: req.Header.Clone(), Notes: map[string]string{},
	}
	began := u.s.clock()
	if reply := u.run(ctx, site.FillRequest, v); reply != nil {
		return instead(reply, began, u.s.clock()), nil
	}
	restore(v.Header, req.Header, conditions)
	sent.URL, sent.Header = v.URL, v.Header
	resp, err := u.up.Do(ctx, &sent)
	if err != nil || !u.chain.Has(site.FillResponse) {
		return resp, err
	}
	before := resp.Header
	v.Header, v.Status = resp.Header.Clone(), resp.Status
	if reply := u.run(ctx, site.FillResponse, v); reply != nil {
		resp.Body.Close()
		return instead(reply, resp.Sent, resp.Received), nil
	}
	restore(v.Header, before, framing)
	resp.Header = v.Header
	if mayChange(resp.Status, v.Status) {
		resp.Status = v.Status
	}
	return resp, nil
}

func (u *hookedUpstream) run(ctx context.Context, stage site.Stage, v *site.View) *site.Reply {
	reply, failed := u.chain.Run(ctx, stage, v)
	u.s.hooksFailed(u.site.Name, failed)
	return reply
}

// instead is a hook's answer in upstream's place.
func instead(r *site.Reply, sent, received time.Time) *origin.Response {
	h := http.Header{}
	replyHeader(h, r)
	h.Set("Date", received.UTC().Format(http.TimeFormat))
	return &origin.Response{
		Status: replyStatus(r), Proto: "HTTP/1.1", Header: h, Length: int64(len(r.Body)), Body: io.NopCloser(bytes.NewReader(r.Body)),
		Framed: true, Sent: sent, Received: received,
	}
}
