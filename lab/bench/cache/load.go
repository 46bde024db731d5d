package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/catchment/catchment/lab/cachetest"
)

// load is a kind of request, many times.
type load struct {
	name  string
	path  string
	tls   bool
	h2    bool
	conns int     // connections
	many  int     // requests for each second of a run, HTTP/2 only: h2load by time hangs now and then
	span  bool    // 1 MiB at random offsets
	goal  float64 // of the ratio to nginx; 0: none
}

const (
	small  = "/small" // 1 KB
	medium = "/medium"
	large  = "/large" // 100 MiB, asked in pieces
)

var sizes = map[string]int{small: 1000, medium: 100_000, large: 100 << 20}

func loads() []load {
	return []load{
		{name: "h1-1k", path: small, conns: 64, goal: 0.85},
		{name: "h1-100k", path: medium, conns: 64, goal: 1.15},
		{name: "h1-range", path: large, span: true, conns: 16, goal: 1.1},
		{name: "tls-1k", path: small, tls: true, conns: 64, goal: 1},
		{name: "tls-100k", path: medium, tls: true, conns: 64, goal: 1},
		{name: "tls-range", path: large, span: true, tls: true, conns: 16, goal: 1},
		{name: "h2-tls-1k", path: small, tls: true, h2: true, conns: 16, many: 10000, goal: 2.5},
		{name: "h2-tls-100k", path: medium, tls: true, h2: true, conns: 16, many: 1000, goal: 2.5},
		{name: "h2c-1k", path: small, h2: true, conns: 16, many: 10000, goal: 2.5},
		{name: "h2c-100k", path: medium, h2: true, conns: 16, many: 1500, goal: 2.5},
	}
}

// addr is where a load goes on a cache, "" if it does not speak that. nginx of
// Debian has HTTP/2 in clear text on a listener that has nothing else.
func (l load) addr(c *cachetest.Running) string {
	plainH2 := l.h2 && !l.tls
	switch {
	case plainH2 != c.H2C && !c.Ours && c.Name != "varnish":
		return ""
	case plainH2 && !c.H2C:
		return ""
	case l.tls:
		return c.HTTPS
	}
	return c.HTTP
}

// spans is wrk's script for ranges.
const spans = `local n = 0
math.randomseed(%d)
request = function()
  local first = math.random(0, %d)
  return wrk.format("GET", nil, {Range = "bytes=" .. first .. "-" .. (first + 1048575)})
end
`

// sample is one load on one cache once.
type sample struct {
	cpu  time.Duration // a request
	rate float64       // requests a second
	rss  int64
}

var (
	wrkDone = regexp.MustCompile(`(?m)^\s+(\d+) requests in ([0-9.]+)(m?s|m)`)
	wrkBad  = regexp.MustCompile(`(?m)^\s*(Non-2xx.*|Socket errors:.*)$`)
	h2Done  = regexp.MustCompile(`(?m)^requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored`)
)

// measure runs a load for a while. What the origin was asked meanwhile must
// be nothing.
func (w *world) measure(ctx context.Context, c *cachetest.Running, l load) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, w.each+30*time.Second)
	defer cancel()
	scheme := "http://"
	if l.tls {
		scheme = "https://"
	}
	url := scheme + l.addr(c) + l.path
	args := []string{"-c", strconv.Itoa(w.client)}
	if l.h2 {
		args = append(args, "h2load", "-t1", "-c"+strconv.Itoa(l.conns), "-m32", "-n", strconv.Itoa(int(w.each.Seconds()*float64(l.many))), url)
	} else {
		args = append(args, "wrk", "-t1", "-c"+strconv.Itoa(l.conns), "-d", fmt.Sprintf("%.0fs", w.each.Seconds()))
		if l.span {
			args = append(args, "-s", filepath.Join(w.dir, "spans.lua"))
		}
		args = append(args, url)
	}
	asked := w.asked.Load()
	before := c.Usage()
	began := time.Now()
	out, err := exec.CommandContext(ctx, "taskset", args...).CombinedOutput()
	took := time.Since(began)
	after := c.Usage()
	if err = errors.Join(err, c.Alive()); err != nil {
		return sample{}, fmt.Errorf("%w\n%s", err, out)
	}
	n, err := l.count(out)
	if err != nil {
		return sample{}, err
	}
	if w.asked.Load() > asked {
		return sample{}, fmt.Errorf("%d requests reached the origin: not served from the store", w.asked.Load()-asked)
	}
	return sample{cpu: (after.CPU - before.CPU) / time.Duration(n), rate: float64(n) / took.Seconds(), rss: after.RSS}, nil
}

// count reads the number of requests that were answered rightly.
func (l load) count(out []byte) (int, error) {
	if l.h2 {
		m := h2Done.FindSubmatch(out)
		if m == nil || string(m[4]) != "0" || string(m[3]) == "0" {
			return 0, fmt.Errorf("h2load:\n%s", out)
		}
		return strconv.Atoi(string(m[3]))
	}
	m := wrkDone.FindSubmatch(out)
	if bad := wrkBad.Find(out); m == nil || bad != nil {
		return 0, fmt.Errorf("wrk: %s\n%s", bad, out)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err == nil && n == 0 {
		err = fmt.Errorf("wrk had no answer:\n%s", out)
	}
	return n, err
}
