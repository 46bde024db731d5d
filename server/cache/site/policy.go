package site

import (
	"cmp"
	"crypto/x509"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/rule"
)

var (
	balances = map[string]origin.Balance{
		"": origin.RoundRobin, "round-robin": origin.RoundRobin, "key": origin.ByKey, "least-busy": origin.LeastBusy,
	}
	protocols   = map[string]origin.Protocol{"": origin.Auto, "auto": origin.Auto, "http1": origin.HTTP1, "http2": origin.HTTP2}
	cookieModes = map[string]rule.CookieMode{
		"": rule.CookiePrivate, "private": rule.CookiePrivate, "store": rule.CookieStore,
		"strip": rule.CookieStrip, "never": rule.CookieNever,
	}
	varyModes = map[string]rule.VaryMode{
		"exact": rule.VaryExact, "list": rule.VaryList, "accept": rule.VaryAccept, "choose": rule.VaryChoose, "ignore": rule.VaryIgnore,
	}
)

// Policy is what is stored and how long. It is shared and read only.
func (s *Site) Policy() *rule.Policy { return &s.policy }

// Off reports whether nothing of the site is stored.
func (s *Site) Off() bool { return s.Config.Cache.Off }

// ContentETag reports whether validators are made of the content's digest.
func (s *Site) ContentETag() bool { return s.Config.Cache.ETag == "content" }

// newPolicy lays what the site says over the default.
func newPolicy(c *Caching) rule.Policy {
	p := rule.DefaultPolicy()
	p.DefaultTTL, p.MinTTL, p.MaxTTL = c.TTL, c.Min, c.Max
	p.Override, p.Negative = byStatus(c.Override), byStatus(c.Status)
	if c.Heuristic != nil {
		p.Heuristic = *c.Heuristic
	}
	p.HeuristicCap = cmp.Or(c.HeuristicMax, p.HeuristicCap)
	p.StaleWhileRevalidate, p.StaleIfError = c.StaleWhileRevalidate, c.StaleIfError
	p.StaleDisconnected = cmp.Or(c.StaleDisconnected, p.StaleDisconnected)
	if c.NoStale {
		p.StaleDisconnected = 0
	}
	if len(c.Targeted) > 0 {
		p.Targeted = c.Targeted
	}
	p.StripTargeted, p.IgnoreClient, p.Cookies = c.StripTargeted, c.IgnoreClient, cookieModes[c.Cookies]
	var own []rule.VaryRule
	for _, v := range c.Vary {
		r := rule.VaryRule{Field: http.CanonicalHeaderKey(v.Field), Mode: varyModes[v.Mode]}
		for _, a := range v.Allow {
			r.Allow = append(r.Allow, strings.ToLower(a))
		}
		own = append(own, r)
	}
	p.Vary = append(own, p.Vary...)
	return p
}

func byStatus(list []StatusTTL) (out []rule.StatusTTL) {
	for _, s := range list {
		if len(s.Status) == 0 {
			out = append(out, rule.StatusTTL{From: 200, To: 599, TTL: s.TTL})
		}
		for _, code := range s.Status {
			out = append(out, rule.StatusTTL{From: code, To: code, TTL: s.TTL})
		}
	}
	return out
}

// Tags are the purge tags in a response's header by the site's tag-headers;
// those of Cache-Groups are rule's. Tags are separated by blanks or commas,
// since either is usual.
func (s *Site) Tags(h http.Header) (tags []string) {
	for _, name := range s.Config.Cache.TagHeaders {
		for _, line := range h.Values(name) {
			tags = append(tags, strings.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })...)
		}
	}
	return tags
}

// Upstream is the site's upstream as package origin wants it; the peers and
// the identity are those of the POP, and are left to the caller.
func (s *Site) Upstream() origin.Config {
	u := &s.Config.Upstream
	c := origin.Config{
		Name: s.Name, Bypass: u.BypassParents, Balance: balances[u.Balance],
		Timeouts: origin.Timeouts{
			Connect: u.ConnectTimeout, FirstByte: u.FirstByteTimeout, Idle: u.IdleTimeout, MinRate: int64(u.MinRate),
		},
		Retry:   origin.Retry{Attempts: u.Attempts},
		Forward: origin.Forward{Forwarded: u.Forwarded, XForwardedFor: u.XForwardedFor},
	}
	if u.Check.Path != "" {
		c.Health.Check = &origin.Check{
			Path: u.Check.Path, Host: u.Check.Host, Interval: u.Check.Interval, Timeout: u.Check.Timeout, Statuses: u.Check.Status,
		}
	}
	for _, o := range u.Origins {
		c.Origins = append(c.Origins, origin.Server{
			Name: o.Name, URL: o.URL, Weight: o.Weight, Backup: o.Backup, Host: cmp.Or(u.Host, s.key.host),
			TLS:      origin.TLS{ServerName: u.ServerName, CAs: s.roots, Insecure: u.Insecure},
			Protocol: protocols[u.Protocol], MaxConns: u.MaxConnections,
		})
	}
	c.Parents = parents(u)
	return c
}

// parents are grouped by rank. They get the client's host: they look the site
// up by it.
func parents(u *Upstream) (out [][]origin.Server) {
	list := slices.Clone(u.Parents)
	slices.SortStableFunc(list, func(a, b Parent) int { return cmp.Compare(a.Rank, b.Rank) })
	for i, p := range list {
		if i == 0 || list[i-1].Rank != p.Rank {
			out = append(out, nil)
		}
		last := len(out) - 1
		out[last] = append(out[last], origin.Server{Name: p.Name, URL: p.URL, Weight: p.Weight, MaxConns: u.MaxConnections})
	}
	return out
}

// roots reads a file of certificates; nil without one.
func (p *problems) roots(file string) *x509.CertPool {
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		p.add("upstream.ca", "%v", err)
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		p.add("upstream.ca", "%s holds no certificate", file)
	}
	return pool
}
