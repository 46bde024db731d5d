package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// invalidate takes out of the store what the answer to an unsafe method makes untrue (RFC 9111 §4.4, RFC 9875 §3).
func (x *exchange) invalidate(resp *origin.Response) {
	target, err := url.Parse(string(x.key.URL))
	if err != nil {
		return
	}
	inv := rule.Invalidate(x.r.Method, target, resp.Status, resp.Header)
	for i, u := range inv.URLs {
		if i == 0 {
			x.forget(x.id, string(x.key.URL))
			continue
		}
		sr := site.Request{TLS: u.Scheme == "https", Host: []byte(u.Host), Path: []byte(u.EscapedPath()), Query: []byte(u.RawQuery), Header: x.r.Header}
		st, err := x.c.table.Match(sr.TLS, sr.Host, sr.Path)
		if err != nil {
			continue
		}
		var k site.Key
		st.Key(&k, &sr)
		x.forget(sha256.Sum256(k.Bytes), string(k.URL))
	}
	for _, group := range inv.Groups {
		host := string(x.key.Host)
		if _, err := x.s.purges.Purge(purge.Request{Kind: purge.Tag, Site: x.site.Name, Host: host, Tag: group, Soft: true, Who: "cache-group-invalidation"}); err != nil {
			x.s.log.Warn("group not invalidated", "group", group, "err", err)
		}
	}
}

// forget deletes all variants of a key, and keeps what is being fetched for it now from being stored. Where the site's key
// has headers in it the other keys of the URL are purged too.
func (x *exchange) forget(id store.Key, u string) {
	now := x.now()
	x.s.invalid.set(id, now, now)
	n := x.s.store.Delete(id)
	if x.site.NeedsHeaders() {
		if _, err := x.s.purges.Purge(purge.Request{Kind: purge.URL, Site: x.site.Name, URL: u, Who: "unsafe method"}); err != nil {
			x.s.log.Warn("not invalidated", "url", u, "err", err)
		}
	}
	if n > 0 {
		x.step("invalidate", u)
	}
}

// postMax is the longest answer to a POST that is stored for GET.
const postMax = 1 << 20

// storePost stores the answer to a POST that says it is the resource itself (RFC 9110 §9.3.3), and answers from there.
func (x *exchange) storePost(req *origin.Request, resp *origin.Response) bool {
	if resp.Length < 0 || resp.Length > postMax {
		return false
	}
	p := &plan{s: x.s, up: x.up, site: x.site, id: x.id, url: string(x.key.URL), epoch: x.epoch, request: x.r.Header, sent: req}
	v := rule.Judge(p.exchange(resp), x.policy)
	if !v.Store {
		return false
	}
	m := p.newMeta(&v, resp.Header)
	o, err := x.s.store.Create(x.id, store.New{Variant: variantOf(m), Meta: m.encode(), Stamp: m.stamp(), Size: resp.Length, Private: true})
	if err != nil {
		return false
	}
	defer o.Release()
	buf := make([]byte, resp.Length)
	if _, err := io.ReadFull(resp.Body, buf); err != nil {
		o.Fail(err)
		x.failed(&found{}, err)
		return true
	}
	if _, err := o.WriteAt(buf, 0); err != nil {
		o.Fail(err)
	} else if err := o.Complete(resp.Length); err == nil {
		o.Publish()
	}
	x.done.status.Stored = true
	x.relay(&origin.Response{
		Status: resp.Status, Header: resp.Header, Trailer: resp.Trailer, Length: resp.Length, Body: io.NopCloser(bytes.NewReader(buf)),
		From: resp.From, Sent: resp.Sent, Received: resp.Received,
	}, false)
	return true
}

// purge answers the PURGE method: for those whom the site permits, the URL asked for, soft with Catchment-Purge: soft.
func (x *exchange) purge() {
	x.makeKey()
	if !x.site.MayPurge(x.peer(), x.r.Header.Get(tokenField)) {
		x.refuse(http.StatusForbidden, "purge", "not permitted")
		return
	}
	soft := strings.EqualFold(x.r.Header.Get("Catchment-Purge"), "soft")
	e, err := x.s.purgeAll(x.context(), purge.Request{
		Kind: purge.URL, Site: x.site.Name, URL: string(x.key.URL), Soft: soft, Who: x.peer().String(), Why: "PURGE",
	})
	if err != nil && e.ID == 0 {
		x.refuse(http.StatusInternalServerError, "purge", err.Error())
		return
	}
	status := http.StatusOK
	if errors.As(err, new(*UntoldError)) {
		status = http.StatusAccepted // in force here; others are told when they answer
		x.s.log.Warn("purge", "id", e.ID, "err", err)
	}
	x.done.result = resultPurge
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	x.w.WriteHeader(status)
	json.NewEncoder(x.w).Encode(e)
}
