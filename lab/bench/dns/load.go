package main

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// sample is one set on one server once.
type sample struct {
	cpu  time.Duration // a question
	rate float64       // questions a second
	lost int
	rss  int64
}

var (
	doneLine = regexp.MustCompile(`Queries completed:\s+(\d+)`)
	lostLine = regexp.MustCompile(`Queries lost:\s+(\d+)`)
	rateLine = regexp.MustCompile(`Queries per second:\s+([0-9.]+)`)
	codeLine = regexp.MustCompile(`Response codes:\s+(.*)`)
)

// count reads what dnsperf prints.
func count(out []byte) (done, lost int, rate float64, err error) {
	d, l, r := doneLine.FindSubmatch(out), lostLine.FindSubmatch(out), rateLine.FindSubmatch(out)
	if d == nil || l == nil || r == nil {
		return 0, 0, 0, fmt.Errorf("dnsperf:\n%s", out)
	}
	done, _ = strconv.Atoi(string(d[1]))
	lost, _ = strconv.Atoi(string(l[1]))
	rate, _ = strconv.ParseFloat(string(r[1]), 64)
	if done == 0 {
		return 0, 0, 0, fmt.Errorf("dnsperf had no answer:\n%s", out)
	}
	if c := codeLine.FindSubmatch(out); c == nil || regexp.MustCompile(`SERVFAIL|REFUSED|FORMERR|NOTIMP`).Match(c[1]) {
		return 0, 0, 0, fmt.Errorf("dnsperf: wrong answers:\n%s", out)
	}
	return done, lost, rate, nil
}

// perf runs dnsperf.
func (w *world) perf(ctx context.Context, port int, set string, each time.Duration, more ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, each+30*time.Second)
	defer cancel()
	args := []string{"-c", strconv.Itoa(w.client), "dnsperf", "-s", "127.0.0.1", "-p", strconv.Itoa(port), "-c", "8", "-T", "1",
		"-l", strconv.Itoa(int(each.Seconds())), "-t", "2", "-d", w.dir + "/" + set + ".queries"}
	if set == "map" {
		args = append(args, "-B")
	}
	out, err := exec.CommandContext(ctx, "taskset", append(args, more...)...).CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("%w\n%s", err, out)
	}
	return out, nil
}

// measure runs a set on a server.
func (w *world) measure(ctx context.Context, s *server, set string, more ...string) (sample, error) {
	before, _, err := s.usage()
	if err != nil {
		return sample{}, err
	}
	out, err := w.perf(ctx, s.port, set, w.each, more...)
	if err != nil {
		return sample{}, err
	}
	after, rss, err := s.usage()
	if err != nil {
		return sample{}, err
	}
	n, lost, rate, err := count(out)
	if err != nil {
		return sample{}, err
	}
	return sample{cpu: (after - before) / time.Duration(n), rate: rate, lost: lost, rss: rss}, nil
}

// compare asks two servers with client subnets in the map and counts how often
// they choose differently.
func (w *world) compare(ctx context.Context, a, b *server, subnets []netip.Prefix) (differ int, err error) {
	var conns [2]*dns.Conn
	for i, s := range []*server{a, b} {
		if conns[i], err = dns.DialTimeout("udp", fmt.Sprintf("127.0.0.1:%d", s.port), time.Second); err != nil {
			return 0, err
		}
		defer conns[i].Close()
	}
	c := &dns.Client{Timeout: 2 * time.Second}
	for _, p := range subnets {
		var got [2]string
		for i := range conns {
			m, _, err := c.ExchangeWithConnContext(ctx, mapQuery(p), conns[i])
			if err != nil {
				return 0, err
			}
			for _, rr := range m.Answer {
				got[i] += rr.(*dns.A).A.String()
			}
		}
		if got[0] != got[1] {
			differ++
		}
	}
	return differ, nil
}
