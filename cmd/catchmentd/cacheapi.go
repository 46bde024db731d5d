package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/server/cache"
	upstream "github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/store"
)

// cacheOf answers for the control API; nil where there is no cache server.
func (d *parts) cacheOf() api.Cache {
	if d.cache == nil {
		return nil
	}
	return d.cache
}

// into puts the cache server into the status of the POP.
func (c *cacheServer) into(st *api.Status) {
	s := c.status()
	sum := &api.CacheSummary{
		State: s.State, Detail: s.Detail, Connections: s.Connections, Requests: s.Total.Requests, Objects: s.Store.Objects, Sites: int64(len(s.Sites)),
	}
	if share, ok := s.Total.FromStore(); ok {
		sum.FromStore = &share
	}
	st.Cache = sum
	st.Alarms = append(slices.Clip(st.Alarms), c.alarms()...)
}

// doors are the listeners of the cache server; nil where there is none.
func (d *parts) doors() pop.Doors {
	if d.cache == nil {
		return nil
	}
	return d.cache
}

// CacheStatus implements api.Cache.
func (c *cacheServer) CacheStatus(context.Context) (api.CacheStatus, error) { return c.status(), nil }

func (c *cacheServer) status() api.CacheStatus {
	c.mu.Lock()
	srv, out := c.srv, api.CacheStatus{
		POP: policy.POPID(c.pop), Now: time.Now(), Started: c.began, SitesAt: c.sitesAt, State: api.CacheServing, Detail: c.trouble,
	}
	for _, a := range c.leaving {
		out.Leaving = append(out.Leaving, a.String())
	}
	for _, a := range c.refused {
		out.Refused = append(out.Refused, a.String())
	}
	failed, draining, listeners := c.trouble != "", c.draining, c.cfg.Front.Listen
	c.mu.Unlock()
	s := srv.Status()
	switch {
	case failed:
		out.State = api.CacheFailed
	case draining:
		out.State = api.CacheDraining
	case len(out.Leaving) > 0:
		out.State, out.Detail = api.CacheLeaving, "the routes of "+strings.Join(out.Leaving, ", ")+" are on their way elsewhere"
		if len(out.Refused) > 0 {
			out.Detail += "; new connections to " + strings.Join(out.Refused, ", ") + " are refused"
		}
	}
	for i, l := range listeners {
		at := api.CacheListener{Address: l.Address, Protocol: "http"}
		if i < len(s.Listen) {
			at.Address = s.Listen[i]
		}
		if l.TLS {
			at.Protocol = "https"
		}
		if l.H3 {
			at.Protocol = "https, h3"
		}
		out.Listeners = append(out.Listeners, at)
	}
	out.TurnedAway = s.Front.RefusedLeft
	out.Connections, out.Shed, out.Panics, out.Purges = int64(s.Front.Open), s.Shed, s.Panics, s.Purges.Purges
	out.Fills = api.CacheFills{
		Running: s.Fills.Running, Waiting: s.Fills.Waiting, Done: s.Fills.Whole, Failed: s.Fills.Failed, Joined: s.Fills.Joined, Fetched: s.Fills.Bytes,
	}
	c.sites(&s, &out)
	out.Store = c.stored(&s)
	return out
}

// sites fills in what is counted by site, and the upstreams.
func (c *cacheServer) sites(s *cache.Status, out *api.CacheStatus) {
	why := map[string]uint64{}
	count := func(x *cache.SiteStatus) api.CacheCounts {
		n := countsOf(x)
		add(&out.Total, n)
		for reason, k := range x.Reasons {
			why[reason] += k
		}
		return n
	}
	count(&s.Unknown)
	fromUpstream := func(of string, list []upstream.ServerStatus) {
		for _, x := range list {
			o := api.CacheOrigin{
				Name: x.Name, Site: of, Address: x.URL, Kind: x.Tier.String(), State: string(x.State), Since: x.Since,
				Active: x.Busy, Asked: x.Requests, Failed: x.Failures,
			}
			if x.Last != nil {
				o.Detail = x.Last.Error()
			}
			out.Origins = append(out.Origins, o)
		}
	}
	for i := range s.Sites {
		x := &s.Sites[i]
		out.Sites = append(out.Sites, api.CacheSite{Name: x.Name, Hosts: x.Hosts, Counts: count(x)})
		fromUpstream(x.Name, x.Origins)
	}
	fromUpstream("", s.Peers)
	for reason, n := range why {
		if reason != "" && reason != "none" {
			out.Reasons = append(out.Reasons, api.CacheReason{Reason: reason, Requests: n})
		}
	}
	slices.SortFunc(out.Reasons, func(a, b api.CacheReason) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.Reason, b.Reason))
	})
}

// countsOf are a site's counters in the words of the API.
func countsOf(x *cache.SiteStatus) api.CacheCounts {
	r := x.Results
	return api.CacheCounts{
		Requests: x.Requests, Hits: r["hit"], Stale: r["stale"], Revalidated: r["revalidated"], Partial: r["partial"], Misses: r["miss"] + r["expired"],
		Passed: r["pass"], Refused: r["refused"], Failed: r["error"], Aborted: r["aborted"], Sent: x.Bytes,
	}
}

func add(to *api.CacheCounts, n api.CacheCounts) {
	to.Requests += n.Requests
	to.Hits += n.Hits
	to.Stale += n.Stale
	to.Revalidated += n.Revalidated
	to.Partial += n.Partial
	to.Misses += n.Misses
	to.Passed += n.Passed
	to.Refused += n.Refused
	to.Failed += n.Failed
	to.Aborted += n.Aborted
	to.Sent += n.Sent
}

func (c *cacheServer) stored(s *cache.Status) api.CacheStore {
	x := &s.Store
	out := api.CacheStore{
		Objects: int64(x.Objects), RAM: x.RAM, RAMLimit: x.RAMQuota, Disk: c.disk, Used: x.Disk, Limit: x.DiskQuota,
		State: string(s.Disk.Disk), Error: s.Disk.Reason, Errors: x.DiskErrors, Evicted: x.RAMEvicted + x.DiskEvicted,
	}
	if s.Disk.Disk == store.NoDisk {
		out.State = "off"
	}
	return out
}

// alarms are what somebody should look at.
func (c *cacheServer) alarms() []api.Alarm {
	c.mu.Lock()
	trouble, since, srv := c.trouble, c.since, c.srv
	c.mu.Unlock()
	if trouble != "" {
		return []api.Alarm{{Name: cacheAlarm, Detail: "the cache server does not serve: " + trouble, Since: since}}
	}
	if disk := srv.Status().Disk; !diskWell(disk) {
		return []api.Alarm{{Name: cacheDiskAlarm, Detail: fmt.Sprintf("the cache server's disk is %s: %s; it serves on without", disk.Disk, disk.Reason), Since: disk.Since}}
	}
	return nil
}

func diskWell(s store.Status) bool { return s.Disk == store.NoDisk || s.Disk == store.DiskOK }

// CachePurge implements api.Cache. What was purged is in the journal, with who
// asked for it.
func (c *cacheServer) CachePurge(ctx context.Context, by string, p api.CachePurge) (api.CachePurged, error) {
	e, err := c.server().Purge(ctx, cache.Purge{
		URL: p.URL, Prefix: p.Prefix, Host: p.Host, Tag: p.Tag, Site: p.Site, All: p.All, Soft: p.Soft, By: by, Why: p.Why,
	})
	if err != nil && e.ID == 0 {
		return api.CachePurged{}, api.Errorf(api.Invalid, "%v", err)
	}
	out := purgedOf(e)
	text := strings.TrimSpace(fmt.Sprintf("purge %d of the cache: %s %s", out.ID, out.Kind, out.Target))
	if out.Site != "" {
		text += " of site " + out.Site
	}
	if p.Soft {
		text += ", soft"
	}
	if p.Why != "" {
		text += ": " + p.Why
	}
	var untold *cache.UntoldError
	switch {
	case errors.As(err, &untold):
		text += " (" + untold.Error() + ")"
	case err != nil:
		text += " (in force, but not saved: " + err.Error() + ")"
	}
	c.journal.Append(journal.Entry{POP: policy.POPID(c.pop), Kind: journal.Cache, By: by, Text: text})
	switch {
	case untold != nil:
		return out, api.Errorf(api.Unavailable, "purge %d is in force at this cache, and %v", out.ID, untold)
	case err != nil:
		return out, api.Errorf(api.Internal, "purge %d is in force, but would not outlive a restart: %v", out.ID, err)
	}
	return out, nil
}

// CachePurges implements api.Cache.
func (c *cacheServer) CachePurges(_ context.Context, limit int) ([]api.CachePurged, error) {
	if limit == 0 {
		limit = math.MaxInt32 // all
	}
	list, err := c.server().Purges(limit)
	var out []api.CachePurged
	for _, e := range list {
		out = append(out, purgedOf(e))
	}
	return out, err
}

// CacheShow implements api.Cache.
func (c *cacheServer) CacheShow(ctx context.Context, q api.CacheQuery) (api.CacheObject, error) {
	h, err := headerOf(q.Headers)
	if err != nil {
		return api.CacheObject{}, err
	}
	o, err := c.server().Show(ctx, q.URL, h)
	if err != nil {
		return api.CacheObject{}, api.Errorf(api.Invalid, "%v", err)
	}
	out := api.CacheObject{URL: o.URL, Site: o.Site, Key: keyText(o.Key), Now: o.Now, Would: o.Would, Why: o.Why}
	for _, v := range o.Variants {
		out.Variants = append(out.Variants, api.CacheVariant{
			Vary: v.Vary, Status: int32(v.Status), Type: v.Type, Size: v.Size, Present: v.Present, Chunks: int32(v.Chunks), Have: int32(v.Have), Where: v.Where,
			Stored: v.Stored, Age: api.Duration(v.Age), Fresh: api.Duration(v.TTL), Lifetime: api.Duration(v.Lifetime),
			WhileRevalid: api.Duration(max(0, v.StaleWhile)), IfError: api.Duration(max(0, v.StaleIfError)),
			ETag: v.ETag, Modified: v.Modified, Digest: v.Digest, Tags: v.Tags, Hits: v.Hits, Reason: v.Reason, Purged: v.Purged, PurgeID: v.PurgeID,
		})
	}
	return out, nil
}

// CacheTrace implements api.Cache.
func (c *cacheServer) CacheTrace(ctx context.Context, q api.CacheQuery) (api.CacheTrace, error) {
	h, err := headerOf(q.Headers)
	if err != nil {
		return api.CacheTrace{}, err
	}
	t, err := c.server().Trace(ctx, q.Method, q.URL, h)
	if err != nil {
		return api.CacheTrace{}, api.Errorf(api.Invalid, "%v", err)
	}
	out := api.CacheTrace{URL: t.URL, Method: t.Method, Site: t.Site, Would: t.Would, Why: t.Why, Header: t.CacheStatus}
	for _, s := range t.Steps {
		out.Steps = append(out.Steps, api.CacheStep{Step: s.Name, Detail: s.Detail})
	}
	return out, nil
}

// headerOf makes a header of lines such as "Range: bytes=0-99".
func headerOf(lines []string) (http.Header, error) {
	h := http.Header{}
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ":")
		if !ok {
			return nil, api.Errorf(api.Invalid, "header %q: want NAME: VALUE", l)
		}
		h.Add(textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value))
	}
	return h, nil
}

// keyText is a key for people: its parts with blanks between.
func keyText(key string) string {
	return strings.Join(strings.FieldsFunc(key, func(r rune) bool { return r < ' ' }), " ")
}

// purgedOf is a purge in the words of the API.
func purgedOf(e purge.Entry) api.CachePurged {
	out := api.CachePurged{ID: uint64(e.ID), At: e.Time, Kind: string(e.Kind), Site: e.Site, Soft: e.Soft, By: e.Who, Why: e.Why}
	switch e.Kind {
	case purge.URL:
		out.Target = e.URL
	case purge.Prefix:
		out.Target = e.Host + e.Path
	case purge.Host:
		out.Target = e.Host
	case purge.Tag:
		out.Target = e.Tag
	case purge.Site:
		out.Target = e.Site
	}
	return out
}
