package demo

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// story is a bit of everything, in another order than it happened.
func someEvents(start time.Time) []Event {
	at := func(ms float64) time.Time { return start.Add(time.Duration(ms * float64(time.Millisecond))) }
	return []Event{
		{At: at(0), Title: true, Detail: "1. The world comes up"},
		{At: at(412), Who: "demo", What: "starts", Detail: "6 nodes"},
		{At: at(1200), Who: "LON", What: "announce", Detail: "healthy", Family: "IPv4"},
		{At: at(1201), Who: "LON", What: "announce", Detail: "healthy", Family: "IPv6"},
		{At: at(1210), Who: "FRA", What: "announce", Detail: "healthy", Family: "IPv6"},
		{At: at(8123.1), Who: "LON", What: "withdraw", Detail: "check-down: http-v4: connect 192.0.2.1:80: connection refused"},
		{At: at(8000), Title: true, Detail: "2. The service at LON dies"},
		{At: at(8120), Who: "demo", What: "kill -9", Detail: "the service at LON, process 17", Cause: true},
		{At: at(8125), Who: "t1", What: "route", Detail: "192.0.2.0/24 leads to t2 (was LON)"},
		{At: at(8124), Who: "client", What: "failed", Detail: "connection refused", Alert: true},
		{At: at(14200), Who: "LON", What: "announce", Detail: "healthy"},
		{At: at(14300), Who: "FRA", What: "announce", Detail: "guarded (last-pop): " + strings.Repeat("nobody else ", 30)},
		{At: at(14400), Who: "FRA", What: "says", Detail: strings.Repeat("x", 130)},
	}
}

func TestTimelineGolden(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, colour := range map[string]bool{"timeline.golden": false, "timeline-colour.golden": true} {
		var out strings.Builder
		tl := NewTimeline(&out, start, colour)
		for _, e := range someEvents(start) {
			tl.Add(e)
		}
		if err := tl.flush(start.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		compare(t, name, out.String())
		if colour {
			continue
		}
		for l := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > columns {
				t.Errorf("%d columns: %s", n, l)
			}
		}
	}
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it anew); got:\n%s", name, got)
	}
}

// An event that comes late, with an earlier time, is printed in its place.
func TestTimelineOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		start := time.Now()
		tl := NewTimeline(&out, start, false)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- tl.Run(ctx) }()
		tl.Add(Event{At: start.Add(10 * time.Millisecond), Who: "second"})
		time.Sleep(100 * time.Millisecond)
		tl.Add(Event{At: start.Add(5 * time.Millisecond), Who: "first"})
		if out.Len() != 0 {
			t.Errorf("printed before it settled: %s", out.String())
		}
		time.Sleep(2 * settle)
		synctest.Wait()
		if f, s := strings.Index(out.String(), "first"), strings.Index(out.String(), "second"); f < 0 || f > s {
			t.Errorf("first at %d, second at %d in:\n%s", f, s, out.String())
		}
		tl.Add(Event{At: time.Now(), Who: "last"})
		cancel()
		if err := <-done; err != nil || !strings.Contains(out.String(), "last") {
			t.Errorf("Run: %v, lost the last event:\n%s", err, out.String())
		}
	})
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                       "0.0 ms",
		3140 * time.Microsecond: "3.1 ms",
		250 * time.Millisecond:  "250 ms",
		5230 * time.Millisecond: "5.2 s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}
