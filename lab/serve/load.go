package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// atOnce is how many requests of Load may be under way; what would be one more
// counts as failed, because a client that waits is one that is not served.
const atOnce = 256

// LoadOptions say what a crowd of clients asks.
type LoadOptions struct {
	URLs     []string      // asked in turn
	Rate     float64       // requests a second, altogether
	RateFile string        // where it exists its number counts instead; it may be changed at any time
	Timeout  time.Duration // of one request; default 1 s
	// Report gets what has happened so far, once a second and at the end.
	Report func(LoadReport)
}

// LoadReport counts the requests since the start.
type LoadReport struct {
	Time   time.Time                    `json:"t"`
	Rate   float64                      `json:"rate"` // asked for now, a second
	Sent   int                          `json:"sent"`
	Failed int                          `json:"failed"`
	Last   string                       `json:"last,omitempty"` // what the last failure said
	By     map[string]map[string]uint64 `json:"by"`             // host of the URL, then POP: answers
}

// Load asks at a steady rate until ctx ends, each request on a connection of
// its own and none waiting for another: an open loop, as a crowd is.
func Load(ctx context.Context, o LoadOptions) error {
	if len(o.URLs) == 0 {
		return errors.New("no URL to ask")
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	c := crowd{LoadOptions: o, client: &http.Client{Timeout: o.Timeout, Transport: &http.Transport{DisableKeepAlives: true}}}
	c.report.Rate, c.report.By = o.Rate, map[string]map[string]uint64{}
	var running sync.WaitGroup
	defer running.Wait()
	free := make(chan struct{}, atOnce)
	const beat = 10 * time.Millisecond
	tick, second := time.NewTicker(beat), time.NewTicker(time.Second)
	defer tick.Stop()
	defer second.Stop()
	due, last := 0.0, time.Now()
	for {
		select {
		case <-ctx.Done():
			running.Wait()
			c.tell()
			return nil
		case <-second.C:
			c.readRate()
			c.tell()
		case now := <-tick.C:
			due = min(due+c.rate()*now.Sub(last).Seconds(), atOnce) // a stall of the machine is not made up for
			last = now
			for ; due >= 1; due-- {
				url := c.next()
				select {
				case free <- struct{}{}:
					running.Go(func() { c.ask(ctx, url); <-free })
				default:
					c.count(url, Answer{Err: "too many requests are under way"})
				}
			}
		}
	}
}

// crowd is a Load that runs.
type crowd struct {
	LoadOptions
	client *http.Client

	mu     sync.Mutex
	report LoadReport
}

func (c *crowd) rate() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.report.Rate
}

// readRate takes the file's number over; one that is missing or half written
// leaves the rate as it is.
func (c *crowd) readRate() {
	if c.RateFile == "" {
		return
	}
	text, err := os.ReadFile(c.RateFile)
	if err != nil {
		return
	}
	if rate, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64); err == nil && rate >= 0 {
		c.mu.Lock()
		c.report.Rate = rate
		c.mu.Unlock()
	}
}

func (c *crowd) next() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Sent++
	return c.URLs[c.report.Sent%len(c.URLs)]
}

func (c *crowd) ask(ctx context.Context, url string) {
	a, err := ask(ctx, c.client, FetchOptions{URL: url, Again: true})
	if err != nil {
		a.Err = err.Error()
	}
	if ctx.Err() == nil { // otherwise the request was cut off by us
		c.count(url, a)
	}
}

func (c *crowd) count(url string, a Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !a.OK() {
		c.report.Failed++
		c.report.Last = fmt.Sprintf("%s: status %d %s", url, a.Status, a.Err)
		return
	}
	if c.report.By[url] == nil {
		c.report.By[url] = map[string]uint64{}
	}
	c.report.By[url][a.Pop]++
}

func (c *crowd) tell() {
	c.mu.Lock()
	r := c.report
	r.Time = time.Now()
	r.By = make(map[string]map[string]uint64, len(c.report.By))
	for url, pops := range c.report.By {
		r.By[url] = maps.Clone(pops)
	}
	c.mu.Unlock()
	if c.Report != nil {
		c.Report(r)
	}
}

// counters counts requests by the address that was asked, for /load.
type counters struct {
	mu sync.Mutex
	by map[string]uint64
}

// newCounters counts from zero at the addresses listened on, so that what
// nobody asked is nothing and not unknown.
func newCounters(listen []string) *counters {
	c := &counters{by: map[string]uint64{}}
	for _, addr := range listen {
		if host, _, err := net.SplitHostPort(addr); err == nil && host != "::" {
			c.by[host] = 0
		}
	}
	return c
}

func (c *counters) count(r *http.Request) {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return
	}
	host, _, err := net.SplitHostPort(local.String())
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by[host]++
}

// ServeHTTP answers with a JSON object: address asked, requests so far.
func (c *counters) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	by := maps.Clone(c.by)
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(by); err != nil {
		io.WriteString(w, err.Error())
	}
}
