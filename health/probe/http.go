package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/health"
)

// httpCheck sends one request over a connection of its own. Redirects are not
// followed: 301 is the status that it is.
type httpCheck struct {
	dialer
	url     string
	method  string
	host    string
	headers []string // of the request
	status  []statusRange
	want    []string // headers of the response
	body    string
	pattern *regexp.Regexp // or nil
	tls     *tlsParams
	client  *http.Client
}

// statusRange is from..to, both included.
type statusRange struct{ from, to int }

func newHTTP(c Config) (health.Checker, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	h := &httpCheck{
		dialer: newDialer(c), url: c.URL, method: c.Method, host: c.Host, headers: c.RequestHeaders,
		want: c.Headers, body: c.Body,
	}
	for _, s := range c.Status {
		from, to, err := parseStatus(s)
		if err != nil {
			return nil, err
		}
		h.status = append(h.status, statusRange{from, to})
	}
	if h.status == nil {
		h.status = []statusRange{{200, 299}}
	}
	if c.BodyRegexp != "" {
		if h.pattern, err = regexp.Compile(c.BodyRegexp); err != nil {
			return nil, fmt.Errorf("body-regexp: %w", err)
		}
	}
	name := u.Hostname()
	if c.Host != "" {
		name = c.Host
		if only, _, err := net.SplitHostPort(c.Host); err == nil {
			name = only
		}
	}
	if h.tls, err = newTLSParams(c, name); err != nil {
		return nil, err
	}
	h.client = &http.Client{
		Transport: &http.Transport{
			DialContext:            h.dial,
			TLSClientConfig:        h.tls.config,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return h, nil
}

// parseStatus reads "200", "2xx" or "200-204".
func parseStatus(s string) (from, to int, err error) {
	lo, hi, isRange := strings.Cut(s, "-")
	if c, ok := strings.CutSuffix(strings.ToLower(s), "xx"); ok {
		lo, hi, isRange = c+"00", c+"99", true
	}
	if !isRange {
		hi = lo
	}
	from, err1 := strconv.Atoi(strings.TrimSpace(lo))
	to, err2 := strconv.Atoi(strings.TrimSpace(hi))
	if err1 != nil || err2 != nil || from < 100 || to > 599 || from > to {
		return 0, 0, fmt.Errorf("%q is not a status, a class like 2xx or a range like 200-204", s)
	}
	return from, to, nil
}

func (h *httpCheck) Check(ctx context.Context) health.Result {
	started := time.Now()
	req, err := http.NewRequestWithContext(ctx, h.method, h.url, nil)
	if err != nil {
		return health.Result{Detail: oneLine(err.Error())}
	}
	req.Host = h.host
	req.Header.Set("User-Agent", "catchment")
	for _, line := range h.headers {
		name, value, _ := strings.Cut(line, ":")
		req.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	resp, err := h.client.Do(req)
	if err != nil {
		if e, ok := err.(*url.Error); ok {
			err = e.Err // the URL is the target, which the reader knows
		}
		return h.judge(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case err != nil && ctx.Err() != nil:
		return fail("timeout: HTTP %d, the body did not end", resp.StatusCode)
	case err != nil:
		return fail("HTTP %d, reading the body: %v", resp.StatusCode, err)
	}
	return h.answer(started, resp, body)
}

func (h *httpCheck) answer(started time.Time, resp *http.Response, body []byte) health.Result {
	code := fmt.Sprintf("HTTP %d", resp.StatusCode)
	if !h.statusOK(resp.StatusCode) {
		return fail("%s", code)
	}
	for _, line := range h.want {
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		got := resp.Header.Values(name)
		if len(got) == 0 || !strings.Contains(strings.Join(got, ", "), value) {
			return fail("%s, header %s: want %q, got %q", code, name, value, got)
		}
	}
	if h.body != "" && !strings.Contains(string(body), h.body) {
		return fail("%s, body: want %q, got %.80q", code, h.body, body)
	}
	if h.pattern != nil && !h.pattern.Match(body) {
		return fail("%s, body: does not match %q: %.80q", code, h.pattern, body)
	}
	res := h.pass(started, code)
	if resp.TLS != nil {
		res = worse(res, h.tls.expiry(*resp.TLS))
	}
	return res
}

func (h *httpCheck) statusOK(code int) bool {
	for _, r := range h.status {
		if r.from <= code && code <= r.to {
			return true
		}
	}
	return false
}
