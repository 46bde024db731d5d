package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

// What a client prints that was not served rightly is no sample.
func TestCount(t *testing.T) {
	const wrk = `Running 1s test @ http://127.0.0.1:1/small
  1 threads and 64 connections
  14939 requests in 1.00s, 16.9MB read
`
	const h2 = `finished in 1.01s, 17438.00 req/s, 17.2MB/s
requests: 17438 total, 17438 started, 17438 done, 17438 succeeded, 0 failed, 0 errored, 0 timeout
`
	const failed = `requests: 10 total, 10 started, 10 done, 9 succeeded, 1 failed, 0 errored, 0 timeout
`
	for _, c := range []struct {
		h2   bool
		out  string
		want int
	}{
		{false, wrk, 14939},
		{false, wrk + "  Non-2xx or 3xx responses: 3\n", 0},
		{false, wrk + "  Socket errors: connect 0, read 1, write 0, timeout 0\n", 0},
		{false, "  0 requests in 1.00s, 0B read\n", 0},
		{false, "unable to connect\n", 0},
		{true, h2, 17438},
		{true, failed, 0},
	} {
		n, err := load{h2: c.h2}.count([]byte(c.out))
		if c.want == 0 && err == nil || c.want > 0 && (err != nil || n != c.want) {
			t.Errorf("%q: %d, %v; want %d", c.out, n, err, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	tab := table{}
	for _, r := range []float64{5, 1, 3, 100} {
		tab.add("x", "y", sample{rate: r})
	}
	if mid, least, most := tab.median("x", "y", rate); mid != 4 || least != 1 || most != 100 {
		t.Errorf("%v, %v to %v; want 4, 1 to 100", mid, least, most)
	}
}

// What slows both in a round does not show in the ratio.
func TestRatio(t *testing.T) {
	tab := table{}
	for _, foreign := range []time.Duration{1, 3, 2} {
		tab.add("x", "ours", sample{cpu: 8 * foreign})
		tab.add("x", peer, sample{cpu: 10 * foreign})
	}
	if r := tab.ratio("x", "ours"); r != 0.8 {
		t.Errorf("%v, want 0.8", r)
	}
	tab.add("x", peer, sample{cpu: 1})
	if r := tab.ratio("x", "ours"); !math.IsNaN(r) {
		t.Errorf("%v with a round missing", r)
	}
}

// A time that wrk does not take is refused by name before anything is started.
func TestEach(t *testing.T) {
	for _, each := range []time.Duration{0, 300 * time.Millisecond, 1500 * time.Millisecond} {
		if err := (options{each: each, bin: t.TempDir()}).run(t.Context()); err == nil || !strings.Contains(err.Error(), "-each") {
			t.Errorf("%v: %v", each, err)
		}
	}
}
