package apitest

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/pop/api"
)

// Cache is a cache server that is what the test says it is, and that remembers
// what it was asked to purge.
type Cache struct {
	sync.Mutex
	State   api.CacheStatus
	Purged  []api.CachePurged // the newest first
	Objects map[string]api.CacheObject
	Asked   []api.CacheQuery
	Err     error // of a purge, if not nil
}

// CacheWorld is one of two sites that has seen some traffic.
func CacheWorld() *Cache {
	counts := api.CacheCounts{Requests: 120000, Hits: 99000, Stale: 500, Revalidated: 1500, Partial: 1000, Misses: 12000, Passed: 5000, Refused: 900, Failed: 90, Aborted: 10, Sent: 40 << 30}
	some := api.CacheCounts{Requests: 100, Hits: 60, Misses: 40, Sent: 1 << 20}
	c := &Cache{
		State: api.CacheStatus{
			POP: "LON", Now: Now, Started: Now.Add(-26 * time.Hour), State: api.CacheServing, Connections: 812, Total: counts,
			Listeners: []api.CacheListener{{Address: "192.0.2.1:80", Protocol: "http"}, {Address: "[2001:db8:100::1]:443", Protocol: "https"}},
			Sites:     []api.CacheSite{{Name: "www", Hosts: []string{"www.example.com", "*.static.example.com"}, Counts: counts}, {Name: "shop", Hosts: []string{"shop.example.org"}, Counts: some}},
			Origins: []api.CacheOrigin{
				{Name: "o1", Site: "www", Address: "http://203.0.113.10:8080", Kind: "origin", State: "up", Active: 3, Asked: 15500, Failed: 12},
				{Name: "o1", Site: "shop", Kind: "origin", State: "down", Since: Now.Add(-time.Hour), Detail: "connection refused", Asked: 40, Failed: 7},
			},
			Reasons: []api.CacheReason{{Reason: "uri-miss", Requests: 9000}, {Reason: "expired", Requests: 3000}},
			Fills:   api.CacheFills{Running: 3, Waiting: 1, Done: 10490, Failed: 7, Joined: 812, Fetched: 3 << 30},
			Store:   api.CacheStore{Objects: 81000, RAM: 250 << 20, RAMLimit: 256 << 20, Disk: "/var/cache/catchment", Used: 70 << 30, Limit: 100 << 30, State: "failed", Error: "input/output error"},
		},
		Purged: []api.CachePurged{
			{ID: 8, At: Now.Add(-time.Minute), Kind: "tag", Target: "article-17", Site: "www", Soft: true, By: "uid 1000 (ann)", Why: "typing error"},
			{ID: 7, At: Now.Add(-3 * time.Hour), Kind: "all", By: "uid 0 (root)"},
		},
	}
	c.State.Purges = uint64(len(c.Purged))
	url := "http://www.example.com/film.mp4"
	c.Objects = map[string]api.CacheObject{url: {
		URL: url, Site: "www", Key: "www http://www.example.com/film.mp4", Now: Now, Would: "hit", Why: "fresh",
		Variants: []api.CacheVariant{
			{Status: 200, Type: "video/mp4", Size: 20 << 20, Present: 3 << 20, Chunks: 20, Have: 3, Where: "disk", Stored: Now.Add(-time.Hour), Age: api.Duration(2 * time.Hour),
				Fresh: api.Duration(22 * time.Hour), Lifetime: api.Duration(24 * time.Hour), IfError: api.Duration(time.Hour), ETag: `"abc"`, Tags: []string{"films"}, Hits: 12},
			{Status: 200, Type: "video/mp4", Vary: []string{"accept-encoding: gzip"}, Size: -1, Present: 1000, Where: "ram", Stored: Now.Add(-time.Minute), Age: api.Duration(time.Minute),
				Fresh: -api.Duration(10 * time.Second), Lifetime: api.Duration(50 * time.Second), Purged: "soft", PurgeID: 8},
		},
	}}
	return c
}

// CacheStatus implements api.Cache.
func (c *Cache) CacheStatus(context.Context) (api.CacheStatus, error) {
	c.Lock()
	defer c.Unlock()
	return c.State, nil
}

// CachePurge implements api.Cache.
func (c *Cache) CachePurge(_ context.Context, by string, p api.CachePurge) (api.CachePurged, error) {
	c.Lock()
	defer c.Unlock()
	if c.Err != nil {
		return api.CachePurged{}, c.Err
	}
	e := api.CachePurged{ID: uint64(len(c.Purged) + 7), At: Now, Site: p.Site, Soft: p.Soft, By: by, Why: p.Why}
	for kind, target := range map[string]string{"url": p.URL, "prefix": p.Prefix, "host": p.Host, "tag": p.Tag} {
		if target != "" {
			e.Kind, e.Target = kind, target
		}
	}
	if p.All {
		e.Kind = "all"
	}
	c.Purged = append([]api.CachePurged{e}, c.Purged...)
	return e, nil
}

// CachePurges implements api.Cache.
func (c *Cache) CachePurges(_ context.Context, limit int) ([]api.CachePurged, error) {
	c.Lock()
	defer c.Unlock()
	if limit == 0 || limit > len(c.Purged) {
		limit = len(c.Purged)
	}
	return c.Purged[:limit], nil
}

// CacheShow implements api.Cache.
func (c *Cache) CacheShow(_ context.Context, q api.CacheQuery) (api.CacheObject, error) {
	c.Lock()
	defer c.Unlock()
	c.Asked = append(c.Asked, q)
	if o, ok := c.Objects[q.URL]; ok {
		return o, nil
	}
	if strings.Contains(q.URL, "stranger") {
		return api.CacheObject{URL: q.URL, Now: Now, Would: "refuse", Why: "no site has this host"}, nil
	}
	return api.CacheObject{URL: q.URL, Site: "www", Now: Now, Would: "miss", Why: "nothing is stored"}, nil
}

// CacheTrace implements api.Cache.
func (c *Cache) CacheTrace(ctx context.Context, q api.CacheQuery) (api.CacheTrace, error) {
	o, err := c.CacheShow(ctx, q)
	method := q.Method
	if method == "" {
		method = "GET"
	}
	return api.CacheTrace{URL: q.URL, Method: method, Would: o.Would, Header: "LON; " + o.Would,
		Steps: []api.CacheStep{{Step: "site", Detail: o.Site}, {Step: "lookup", Detail: o.Why}}}, err
}

var _ api.Cache = (*Cache)(nil)
