package origin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// runChecks probes all servers, at once and then every interval, until ctx ends.
func runChecks(ctx context.Context, name string, c *Check, servers func() []*server) {
	if c == nil {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(c.Interval)
	defer tick.Stop()
	for {
		var wg sync.WaitGroup
		for _, s := range servers() {
			wg.Go(func() {
				err := s.probe(ctx, c)
				if ctx.Err() == nil && s.health.checked(err, time.Now()) {
					s.log.Info("upstream: server changed by its check", "upstream", name, "error", err)
				}
			})
		}
		wg.Wait()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// probe asks the server once.
func (s *server) probe(ctx context.Context, c *Check) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	at, err := url.ParseRequestURI(c.Path)
	if err != nil {
		return fmt.Errorf("check path %q: %w", c.Path, err)
	}
	host := c.Host
	if host == "" {
		host = s.Host
	}
	req := (&http.Request{
		Method: http.MethodGet, URL: s.url(at), Host: host,
		Header: http.Header{"User-Agent": {"catchment-check"}, "Accept": {"*/*"}},
	}).WithContext(ctx)
	resp, err := s.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.CopyN(io.Discard, resp.Body, 64<<10); err != nil && err != io.EOF {
		return fmt.Errorf("body: %w", err)
	}
	if len(c.Statuses) == 0 && resp.StatusCode >= 200 && resp.StatusCode < 400 || slices.Contains(c.Statuses, resp.StatusCode) {
		return nil
	}
	return fmt.Errorf("status %d", resp.StatusCode)
}

// ServerStatus is a server as the operator sees it.
type ServerStatus struct {
	Name  string
	Tier  Tier
	Rank  int
	URL   string
	State State
	Since time.Time // zero: since the start
	Last  error     // the last failure, also of a server that is up again
	// Busy counts requests under way, Requests and Failures all since the start.
	Busy               int64
	Requests, Failures uint64
}

// Status lists the servers, origins first.
func (u *Upstream) Status() []ServerStatus { return statuses(u.all()) }

func statuses(servers []*server) []ServerStatus {
	now := time.Now()
	out := make([]ServerStatus, 0, len(servers))
	for _, s := range servers {
		st := ServerStatus{
			Name: s.Name, Tier: s.tier, Rank: s.rank, URL: s.URL, Busy: s.busy.Load(),
			Requests: s.requests.Load(), Failures: s.failures.Load(),
		}
		st.State, st.Since, st.Last = s.health.state(now)
		out = append(out, st)
	}
	return out
}
