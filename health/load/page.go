package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// PageConfig names a page of a foreign server and what is read from it.
type PageConfig struct {
	URL string // http or https
	// Format is "prometheus" (text exposition), "json" or "stub-status".
	Format string
	// Metric is, of prometheus, a name with label matchers, such as
	// http_requests_total{code=~"2..",host="web"}; all series that match are added.
	Metric string
	// Path is, of json, the way to a number, such as .traffic.bps or
	// .hosts[].requests (all of them added).
	Path string
	// Unit is what is measured. Stub-status gives Requests and Connections.
	Unit Unit
	// Kind is "gauge" or "counter"; empty: with prometheus what the page
	// says, with json a gauge.
	Kind string
	// Scale is what a number is multiplied with to be in the unit: 8 for
	// bytes/s; 0 counts as 1.
	Scale float64
}

// What is read of a page is bounded, and less where it is held in memory as a
// whole: a server gone wrong must not take the daemon's memory, nor its time.
const (
	maxBody = 16 << 20
	maxJSON = 2 << 20
	maxRows = 32 << 10 // of the one metric that is looked for, with any labels
)

// Formats of pages.
const (
	Prometheus = "prometheus"
	JSON       = "json"
	StubStatus = "stub-status"
)

// page samples numbers on a page.
type page struct {
	client *http.Client
	url    string
	shown  string // without password
	accept string
	read   func(io.Reader) (Reading, error)
	limit  int64
}

// NewPage returns a sampler of a page and the units it gives. The page is
// asked for with a connection of its own that is kept; no proxy of the
// environment is used and no redirect followed.
func NewPage(c PageConfig) (Sampler, []Unit, error) {
	u, err := url.Parse(c.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, nil, fmt.Errorf("url: %q: want a URL such as http://127.0.0.1:8080/metrics", c.URL)
	}
	p := &page{url: c.URL, shown: u.Redacted(), limit: maxBody, client: &http.Client{
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 1, MaxConnsPerHost: 2, IdleConnTimeout: 2 * time.Minute,
			ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	units := []Unit{c.Unit}
	switch c.Format {
	case Prometheus:
		p.accept = "text/plain;version=0.0.4"
		p.read, err = c.prometheus()
	case JSON:
		p.accept, p.limit = "application/json", maxJSON
		p.read, err = c.json()
	case StubStatus:
		p.accept, p.read, units = "text/plain", readStubStatus, []Unit{Requests, Connections}
	default:
		err = fmt.Errorf("format: %q: want one of %s, %s, %s", c.Format, Prometheus, JSON, StubStatus)
	}
	if err != nil {
		return nil, nil, err
	}
	return p, units, nil
}

// scale is PageConfig.Scale with its default.
func (c *PageConfig) scale() (float64, error) {
	switch {
	case c.Scale == 0:
		return 1, nil
	case !(c.Scale > 0) || c.Scale > 1e15:
		return 0, fmt.Errorf("scale: %v: want more than zero", c.Scale)
	}
	return c.Scale, nil
}

// Sample implements Sampler.
func (p *page) Sample(ctx context.Context) (Reading, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", p.accept)
	req.Header.Set("User-Agent", "catchmentd")
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", p.shown, resp.Status)
	}
	body := &bounded{r: resp.Body, left: p.limit}
	r, err := p.read(body)
	if body.over {
		return nil, fmt.Errorf("GET %s: more than %d bytes", p.shown, p.limit)
	}
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", p.shown, err)
	}
	return r, nil
}

// Close closes the connection that is kept.
func (p *page) Close() error {
	p.client.CloseIdleConnections()
	return nil
}

var errTooLong = errors.New("too long")

// bounded reads at most so many bytes, and fails where there are more.
type bounded struct {
	r    io.Reader
	left int64
	over bool
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		var one [1]byte
		if n, err := b.r.Read(one[:]); n == 0 {
			return 0, err
		}
		b.over = true
		return 0, errTooLong
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
