package api

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
)

// CacheStatus is the cache server of this POP.
type CacheStatus struct {
	POP     policy.POPID `json:"pop"`
	Now     time.Time    `json:"now"`
	Started time.Time    `json:"started,omitzero"` // everything that is counted is since then
	// State is serving, leaving (the route of an address is on its way
	// elsewhere: connections to it end after their response), draining (the
	// daemon stops) or failed. Detail says why.
	State       string          `json:"state"`
	Detail      string          `json:"detail,omitempty"`
	Leaving     []string        `json:"leaving,omitempty"` // those addresses
	Refused     []string        `json:"refused,omitempty"` // of those: where new connections are refused
	Listeners   []CacheListener `json:"listeners,omitempty"`
	Connections int64           `json:"connections"` // open now
	Total       CacheCounts     `json:"total"`
	Sites       []CacheSite     `json:"sites,omitempty"`
	Origins     []CacheOrigin   `json:"origins,omitempty"`
	Reasons     []CacheReason   `json:"reasons,omitempty"` // the most frequent first
	Fills       CacheFills      `json:"fills"`
	Store       CacheStore      `json:"store"`
	Purges      uint64          `json:"purges,omitempty"`      // since the start
	Shed        uint64          `json:"shed,omitempty"`        // requests turned away because too many were at work
	TurnedAway  uint64          `json:"turned_away,omitempty"` // connections to such addresses that were accepted and reset; the kernel's refusals are not counted
	Panics      uint64          `json:"panics,omitempty"`      // requests that a mistake of ours ended
	// SitesAt is when the sites in force were read.
	SitesAt time.Time `json:"sites_at,omitzero"`
}

// States of the cache server.
const (
	CacheServing  = "serving"
	CacheLeaving  = "leaving"
	CacheDraining = "draining"
	CacheFailed   = "failed"
)

// CacheListener is where clients connect.
type CacheListener struct {
	Address  string `json:"address"`
	Protocol string `json:"protocol"` // http, https or h3
	Error    string `json:"error,omitempty"`
}

// CacheCounts are requests by what they got, and bytes.
type CacheCounts struct {
	Requests    uint64 `json:"requests"`
	Hits        uint64 `json:"hits"`        // fresh from the store
	Stale       uint64 `json:"stale"`       // from the store although not fresh, as the response or the site allows
	Revalidated uint64 `json:"revalidated"` // from the store after the origin said that nothing has changed
	Partial     uint64 `json:"partial"`     // in part from the store, the rest fetched
	Misses      uint64 `json:"misses"`      // fetched, by this request or one that it waited for
	Passed      uint64 `json:"passed"`      // not for the cache: by method, by rule or by response
	Refused     uint64 `json:"refused"`     // unknown host, wrong token, over a limit
	Failed      uint64 `json:"failed"`      // the origin could not answer
	Aborted     uint64 `json:"aborted"`     // the client went before
	Sent        uint64 `json:"sent"`        // bytes of bodies to clients
}

// FromStore is the share of requests that were answered from the store, of
// those that could have been, 0 to 1; false where there was none.
func (c CacheCounts) FromStore() (float64, bool) {
	hits := c.Hits + c.Stale + c.Revalidated
	all := hits + c.Partial + c.Misses
	if all == 0 {
		return 0, false
	}
	return float64(hits) / float64(all), true
}

// CacheReason counts requests that were no plain hits, by a stable word.
type CacheReason struct {
	Reason   string `json:"reason"` // as in Cache-Status: uri-miss, expired, purged, set-cookie ...
	Requests uint64 `json:"requests"`
}

// CacheSite is a customer whose hosts are served.
type CacheSite struct {
	Name   string      `json:"name"`
	Hosts  []string    `json:"hosts,omitempty"`
	Counts CacheCounts `json:"counts"`
}

// CacheOrigin is where fills come from.
type CacheOrigin struct {
	Name    string    `json:"name"`
	Site    string    `json:"site,omitempty"` // empty: it is a peer of all
	Address string    `json:"address,omitempty"`
	Kind    string    `json:"kind"`             // origin, peer or parent
	State   string    `json:"state"`            // up, ejected (it failed), trial (the next request tells) or down (its check fails)
	Since   time.Time `json:"since,omitzero"`   // of State; zero: the start
	Detail  string    `json:"detail,omitempty"` // its last failure
	Active  int64     `json:"active"`           // requests under way
	Asked   uint64    `json:"asked"`
	Failed  uint64    `json:"failed"`
}

// CacheFills are fetches from upstream.
type CacheFills struct {
	Running int64  `json:"running"`
	Waiting int64  `json:"waiting"` // requests that wait for one
	Done    uint64 `json:"done"`    // objects made whole
	Failed  uint64 `json:"failed"`  // ended short or wrong: nothing of them counts as whole
	Joined  uint64 `json:"joined"`  // requests that found one under way
	Fetched uint64 `json:"fetched"` // bytes of bodies that were stored
}

// CacheStore is what is stored.
type CacheStore struct {
	Objects  int64  `json:"objects"`
	RAM      int64  `json:"ram"` // bytes in use
	RAMLimit int64  `json:"ram_limit"`
	Disk     string `json:"disk,omitempty"` // directory; empty: RAM alone
	Used     int64  `json:"used,omitempty"` // bytes on the disk
	Limit    int64  `json:"limit,omitempty"`
	// State of the disk: ok, full, failed or off.
	State   string `json:"state"`
	Error   string `json:"error,omitempty"`
	Errors  uint64 `json:"errors,omitempty"` // of the disk
	Evicted uint64 `json:"evicted,omitempty"`
}

// CacheSummary is the cache server in the POP's status.
type CacheSummary struct {
	State       string   `json:"state"`
	Detail      string   `json:"detail,omitempty"`
	Connections int64    `json:"connections"`
	Requests    uint64   `json:"requests"`
	FromStore   *float64 `json:"from_store,omitempty"` // share; nil: nothing was asked yet
	Objects     int64    `json:"objects"`
	Sites       int64    `json:"sites"`
}

// CachePurge asks that stored objects be used no more. Exactly one of URL,
// Prefix, Host, Tag and All is set.
type CachePurge struct {
	URL    string `json:"url,omitempty"`    // http://www.example.com/a.css; with its query, if it has one
	Prefix string `json:"prefix,omitempty"` // of URLs: https://www.example.com/img/
	Host   string `json:"host,omitempty"`
	Tag    string `json:"tag,omitempty"` // of Cache-Groups (RFC 9875), Cache-Tag or Surrogate-Key
	All    bool   `json:"all,omitempty"`
	Site   string `json:"site,omitempty"` // with Tag or All: of this customer alone
	// Soft leaves what is there as stale: it is asked for anew, and serves
	// where stale content may be served.
	Soft bool   `json:"soft,omitempty"`
	Why  string `json:"why,omitempty"`
}

// CachePurged is a purge as the cache keeps it.
type CachePurged struct {
	ID     uint64    `json:"id"` // grows; of this POP
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"` // url, prefix, host, tag, site or all
	Target string    `json:"target,omitempty"`
	Site   string    `json:"site,omitempty"`
	Soft   bool      `json:"soft,omitempty"`
	By     string    `json:"by,omitempty"`
	Why    string    `json:"why,omitempty"`
}

// CachePurges are the purges that are kept, the newest first.
type CachePurges struct {
	Purges []CachePurged `json:"purges"`
}

// CacheQuery asks about a URL, or for the last so many purges.
type CacheQuery struct {
	URL     string   `json:"url,omitempty"`
	Method  string   `json:"method,omitempty"`  // empty: GET
	Headers []string `json:"headers,omitempty"` // of the request: "Accept-Encoding: br"
	Limit   int32    `json:"limit,omitempty"`
}

// CacheObject is what is stored for a URL.
type CacheObject struct {
	URL      string         `json:"url"`
	Site     string         `json:"site,omitempty"` // empty: no customer's, requests are refused
	Key      string         `json:"key,omitempty"`  // by which it is stored, after the site's rules
	Now      time.Time      `json:"now"`
	Variants []CacheVariant `json:"variants,omitempty"`
	// Would is what a GET would get now: hit, stale, miss, revalidate, pass,
	// refuse or error; Why says why.
	Would string `json:"would"`
	Why   string `json:"why,omitempty"`
}

// CacheVariant is one stored response.
type CacheVariant struct {
	Vary    []string  `json:"vary,omitempty"` // request fields it was chosen by: "accept-encoding: br"
	Status  int32     `json:"status"`
	Type    string    `json:"type,omitempty"` // Content-Type
	Size    int64     `json:"size"`           // of the body; -1: not known yet
	Present int64     `json:"present"`        // bytes of it that are stored
	Chunks  int32     `json:"chunks,omitempty"`
	Have    int32     `json:"have,omitempty"` // of the chunks
	Where   string    `json:"where"`          // ram or disk
	Stored  time.Time `json:"stored,omitzero"`
	Age     Duration  `json:"age"`
	// Fresh is how much longer it is; negative: since when it is not.
	Fresh        Duration `json:"fresh"`
	Lifetime     Duration `json:"lifetime"`
	WhileRevalid Duration `json:"stale_while_revalidate,omitempty"`
	IfError      Duration `json:"stale_if_error,omitempty"`
	ETag         string   `json:"etag,omitempty"`
	Modified     string   `json:"last_modified,omitempty"`
	Digest       string   `json:"digest,omitempty"` // Repr-Digest, once all of it was there
	Tags         []string `json:"tags,omitempty"`
	Hits         uint64   `json:"hits,omitempty"`   // since it was validated, or read from the disk
	Reason       string   `json:"reason,omitempty"` // why it was stored
	// Purged is soft or hard where a purge has met it, and PurgeID which.
	Purged  string `json:"purged,omitempty"`
	PurgeID uint64 `json:"purge_id,omitempty"`
}

// CacheTrace is how a request would be decided.
type CacheTrace struct {
	URL    string      `json:"url"`
	Method string      `json:"method"`
	Steps  []CacheStep `json:"steps"`
	Would  string      `json:"would"` // as in CacheObject; or purge
	Why    string      `json:"why,omitempty"`
	Site   string      `json:"site,omitempty"`
	Header string      `json:"cache_status,omitempty"`
}

// CacheStep is one decision on the way.
type CacheStep struct {
	Step   string `json:"step"` // site, methods, key, lookup, vary, purge, freshness, range, result ...
	Detail string `json:"detail"`
}

// Cache is the cache server as operators use it. Errors of a Cache carry codes
// of this package.
type Cache interface {
	CacheStatus(context.Context) (CacheStatus, error)
	// CachePurge is in force when it returns.
	CachePurge(ctx context.Context, by string, p CachePurge) (CachePurged, error)
	CachePurges(ctx context.Context, limit int) ([]CachePurged, error)
	CacheShow(context.Context, CacheQuery) (CacheObject, error)
	// CacheTrace decides and does nothing: no upstream is asked.
	CacheTrace(context.Context, CacheQuery) (CacheTrace, error)
}

// cachePurgesMost is how many purges one answer has at most.
const cachePurgesMost = 10000

func (s *Server) cache() (Cache, error) {
	if s.opt.Cache == nil {
		return nil, Errorf(NotFound, "this POP has no cache server: cache.listen is not set in its configuration")
	}
	return s.opt.Cache, nil
}

func (s *Server) cacheStatus(ctx context.Context) (CacheStatus, error) {
	c, err := s.cache()
	if err != nil {
		return CacheStatus{}, err
	}
	return c.CacheStatus(ctx)
}

// cachePurge purges for a caller who MayChange.
func (s *Server) cachePurge(ctx context.Context, p CachePurge) (CachePurged, error) {
	c, err := s.cache()
	if err != nil {
		return CachePurged{}, err
	}
	p.Why = strings.TrimSpace(p.Why)
	if err := (Change{Why: p.Why}).validate(); err != nil {
		return CachePurged{}, err
	}
	if err := p.validate(); err != nil {
		return CachePurged{}, err
	}
	return c.CachePurge(ctx, Caller(ctx), p)
}

// validate wants one thing to purge that makes sense.
func (p CachePurge) validate() error {
	n := 0
	for _, set := range []bool{p.URL != "", p.Prefix != "", p.Host != "", p.Tag != "", p.All} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		return Errorf(Invalid, "purge: want one of url, prefix, host, tag and all, got %d", n)
	case p.Site != "" && p.Tag == "" && !p.All:
		return Errorf(Invalid, "site: has a meaning with tag and all only")
	case len(p.URL)+len(p.Prefix)+len(p.Host)+len(p.Tag)+len(p.Site) > 16<<10:
		return Errorf(Invalid, "purge: longer than 16 KiB")
	}
	for what, text := range map[string]string{"url": p.URL, "prefix": p.Prefix} {
		if text != "" {
			if err := cacheURL(what, text); err != nil {
				return err
			}
		}
	}
	if p.Host != "" && strings.ContainsAny(p.Host, "/ \t?#@") {
		return Errorf(Invalid, "host %q: want a host name such as www.example.com", p.Host)
	}
	return nil
}

func cacheURL(what, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return Errorf(Invalid, "%s %q: want a URL such as http://www.example.com/a.css", what, text)
	}
	return nil
}

func (s *Server) cachePurges(ctx context.Context, q CacheQuery) (CachePurges, error) {
	c, err := s.cache()
	if err != nil {
		return CachePurges{}, err
	}
	if q.Limit < 0 || q.Limit > cachePurgesMost {
		return CachePurges{}, Errorf(Invalid, "limit %d: want a number up to %d, or 0 for all", q.Limit, cachePurgesMost)
	}
	if q.URL != "" || q.Method != "" || len(q.Headers) > 0 {
		return CachePurges{}, Errorf(Invalid, "purges: takes a limit only")
	}
	list, err := c.CachePurges(ctx, int(q.Limit))
	return CachePurges{nonNil(list)}, err
}

// asked checks a question about a URL.
func (s *Server) askedCache(q CacheQuery) (Cache, error) {
	c, err := s.cache()
	if err != nil {
		return nil, err
	}
	if len(q.Headers) > 100 || q.Limit != 0 {
		return nil, Errorf(Invalid, "want a url, a method and at most 100 headers")
	}
	for _, h := range q.Headers {
		if name, _, ok := strings.Cut(h, ":"); !ok || name == "" || strings.ContainsAny(h, "\r\n\x00") {
			return nil, Errorf(Invalid, "header %q: want NAME: VALUE", h)
		}
	}
	return c, cacheURL("url", q.URL)
}

func (s *Server) cacheShow(ctx context.Context, q CacheQuery) (CacheObject, error) {
	c, err := s.askedCache(q)
	if err != nil {
		return CacheObject{}, err
	}
	return c.CacheShow(ctx, q)
}

func (s *Server) cacheTrace(ctx context.Context, q CacheQuery) (CacheTrace, error) {
	c, err := s.askedCache(q)
	if err != nil {
		return CacheTrace{}, err
	}
	return c.CacheTrace(ctx, q)
}
