package cachetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/catchment/catchment/lab/goal"
)

// check is one question to a cache. The error says what it did wrong.
type check struct {
	group, name string
	do          func(*probe) error
}

// probe is one check at work: a cache, the origin behind it and a path of
// its own.
type probe struct {
	ctx     context.Context
	cache   string // host:port
	origin  *origin
	path    string
	client  *http.Client
	figures map[string]float64
}

func checks() []check {
	return slices.Concat(rangeChecks(), partialChecks(), shareChecks(), staleChecks())
}

// ProbeOptions of a run.
type ProbeOptions struct {
	Out       io.Writer
	Work, Bin string
	Subjects  []Subject
	Only      string // checks whose name or group has this in it; "" for all
}

// Probe asks each subject all checks, one after the other, and prints what
// each failed, figures and goal lines.
func Probe(ctx context.Context, o ProbeOptions) error {
	var errs []error
	found := map[string]map[string]error{}
	figures := map[string]map[string]float64{}
	for _, sub := range o.Subjects {
		var err error
		found[sub.Name], figures[sub.Name], err = probeOne(ctx, o, sub)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", sub.Name, err))
		}
	}
	o.write(found, figures)
	return errors.Join(errs...)
}

// probeOne starts a subject and asks it everything.
func probeOne(ctx context.Context, o ProbeOptions, sub Subject) (map[string]error, map[string]float64, error) {
	org := newOrigin()
	at, end, err := Loopback(org)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	r, err := sub.Start(ctx, Setup{Origin: at, Dir: filepath.Join(o.Work, sub.Name), CPU: -1, Bin: o.Bin})
	if err != nil {
		return nil, nil, err
	}
	defer r.Stop()
	found, figures := askAll(ctx, org, r.HTTP, o.Only)
	return found, figures, r.Alive()
}

// askAll asks the cache at an address all checks, or those of a name.
func askAll(ctx context.Context, org *origin, cache, only string) (map[string]error, map[string]float64) {
	found, figures := map[string]error{}, map[string]float64{}
	for i, c := range checks() {
		if ctx.Err() == nil && strings.Contains(c.group+" "+c.name, only) {
			found[c.name] = c.ask(ctx, org, cache, fmt.Sprintf("/probe/%d", i), figures)
		}
	}
	return found, figures
}

// ask asks one, with a path of its own.
func (c check) ask(ctx context.Context, org *origin, cache, path string, figures map[string]float64) error {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return c.do(&probe{ctx: ctx, cache: cache, origin: org, path: path, figures: figures, client: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}})
}

// reply is an answer read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
	head   time.Duration // until the first byte of the body
	all    time.Duration
	err    error // of the transport or of the body
}

// get asks for the check's path; fields are pairs of name and value.
func (p *probe) get(fields ...string) reply { return p.ask(http.MethodGet, p.path, fields...) }

func (p *probe) ask(method, path string, fields ...string) (re reply) {
	began := time.Now()
	req, err := http.NewRequestWithContext(p.ctx, method, "http://"+p.cache+path, nil)
	if err != nil {
		return reply{err: err}
	}
	for i := 0; i+1 < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	re = reply{status: resp.StatusCode, header: resp.Header}
	var first [1]byte
	n, err := io.ReadFull(resp.Body, first[:])
	re.head = time.Since(began)
	if err == nil {
		re.body, err = io.ReadAll(resp.Body)
	} else if errors.Is(err, io.EOF) {
		err = nil
	}
	re.body = slices.Concat(first[:n], re.body)
	re.err, re.all = err, time.Since(began)
	return re
}

// write prints the table: checks that not all passed, counts, figures, goals.
func (o ProbeOptions) write(found map[string]map[string]error, figures map[string]map[string]float64) {
	tw := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "check")
	for _, s := range o.Subjects {
		fmt.Fprint(tw, "\t", s.Name)
	}
	fmt.Fprintln(tw)
	passed := map[string]int{}
	asked := 0
	var said []string
	for _, c := range checks() {
		row, any := c.group+": "+c.name, false
		for _, s := range o.Subjects {
			err, ok := found[s.Name][c.name]
			word := "-"
			if any = any || ok; ok {
				word = "yes"
				if passed[s.Name]++; err != nil {
					passed[s.Name]--
					word = "NO"
					said = append(said, fmt.Sprintf("  %s: %s: %s: %v", s.Name, c.group, c.name, err))
				}
			}
			row += "\t" + word
		}
		if any {
			asked++
			fmt.Fprintln(tw, row)
		}
	}
	fmt.Fprintf(tw, "passed of %d", asked)
	for _, s := range o.Subjects {
		fmt.Fprintf(tw, "\t%d", passed[s.Name])
	}
	fmt.Fprintln(tw)
	o.writeFigures(tw, figures)
	tw.Flush()
	fmt.Fprintln(o.Out, "\nWhat was wrong")
	for _, line := range said {
		fmt.Fprintln(o.Out, line)
	}
	fmt.Fprintln(o.Out)
	for _, s := range o.Subjects {
		if s.Ours && found[s.Name] != nil {
			for _, g := range probeGoals(asked-passed[s.Name], figures[s.Name]) {
				if o.Only == "" || !math.IsNaN(g.Value) {
					fmt.Fprintln(o.Out, g)
				}
			}
		}
	}
}

func (o ProbeOptions) writeFigures(w io.Writer, figures map[string]map[string]float64) {
	names := map[string]bool{}
	for _, f := range figures {
		for n := range f {
			names[n] = true
		}
	}
	for _, n := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprint(w, n)
		for _, s := range o.Subjects {
			if v, ok := figures[s.Name][n]; ok {
				fmt.Fprintf(w, "\t%.4g", v)
			} else {
				fmt.Fprint(w, "\t-")
			}
		}
		fmt.Fprintln(w)
	}
}

// Names of figures.
const (
	coldBytes    = "cold 1 kB of 20 MB: MB from the origin"
	halvesBytes  = "two halves, then the whole: MB more from the origin"
	crowdFetches = "30 clients on a cold 4 MB: fetches"
	crowdFirst   = "30 clients on a cold 4 MB: median first byte, s (the origin's: 0.2)"
	queueTime    = "10 clients on an uncacheable 0.5 s: the last, s"
	chunkFetches = "10 clients on one cold range: fetches"
)

func probeGoals(failed int, f map[string]float64) []goal.Goal {
	figure := func(name string) float64 {
		if v, ok := f[name]; ok {
			return v
		}
		return math.NaN()
	}
	return []goal.Goal{
		goal.AtMost("cache-probe-failed", float64(failed), 0),
		goal.AtMost("cold-range-chunks-from-origin", math.Ceil(figure(coldBytes)*1e6/(1<<20)), 2),
		goal.AtMost("halves-then-whole-more-bytes", figure(halvesBytes)*1e6, 0),
		goal.AtMost("coalesced-fetches", figure(crowdFetches), 1),
		goal.AtMost("coalesced-first-byte-after-origin-s", figure(crowdFirst)-0.2, 0.1),
		goal.AtMost("uncacheable-10-clients-s", figure(queueTime), 1.5),
	}
}
