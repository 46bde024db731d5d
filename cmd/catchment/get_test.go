package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestGet: a download that is cut goes on, says so, and ends honestly.
func TestGet(t *testing.T) {
	content := bytes.Repeat([]byte("catchment "), 100_000)
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Cache-Status", fmt.Sprintf("%s; hit", []string{"LON", "FRA"}[min(requests.Add(1)-1, 1)]))
		if r.URL.Path == "/dead" && requests.Load() > 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if requests.Load() == 1 {
			w.Header().Set("Content-Length", fmt.Sprint(len(content)))
			w.Write(content[:400_000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "x.bin", time.Time{}, bytes.NewReader(content))
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "x.bin")
	for _, c := range []struct {
		args   []string
		status int
		out    []string // in either output, in any order
	}{
		{[]string{s.URL + "/x.bin", "-o", file, "--sha256", sum}, 0, []string{"LON is gone at 400 kB", "goes on at 400 kB from FRA, ", "x.bin: 1 MB in", " from LON, FRA; 1 resync; sha256 is right"}},
		{[]string{s.URL + "/x.bin", "-o", file, "-q"}, 0, []string{"sha256 " + sum + ", which nobody gave to compare"}},
		{[]string{s.URL + "/x.bin", "-o", file, "--sha256", strings.Repeat("0", 64)}, 1, []string{"the digest is wrong: SHA-256 is " + sum}},
		{[]string{s.URL + "/dead", "-o", file, "--patience", "300ms"}, 1, []string{"not yet: the server says 502 Bad Gateway", "nothing came for 300ms", "400 kB of it are in " + file + ".part: the same command goes on with it"}},
		{[]string{s.URL}, 2, []string{"names no file: say with -o where to write"}},
		{[]string{"ftp://x/y"}, 2, []string{`URL "ftp://x/y": want http:// or https://`}},
		{[]string{s.URL + "/x", "--sha256", "12"}, 2, []string{"want 64 hexadecimal digits"}},
		{[]string{s.URL + "/x", "-H", "none"}, 2, []string{`--header "none": want "Name: value"`}},
		{[]string{s.URL + "/x", "--parallel", "17"}, 2, []string{"--parallel 17: want 1 to 16"}},
	} {
		requests.Store(0)
		if c.args[0] == s.URL+"/x.bin" && (len(c.args) < 5 || c.args[4] != sum) {
			requests.Store(1) // not cut
		}
		var out, errs bytes.Buffer
		status := newApp(&out, &errs).run(t.Context(), append([]string{"get"}, c.args...), "")
		if status != c.status {
			t.Errorf("%q: status %d, want %d\n%s%s", c.args, status, c.status, &out, &errs)
		}
		for _, want := range c.out {
			if !strings.Contains(out.String()+errs.String(), want) {
				t.Errorf("%q does not say %q:\n%s%s", c.args, want, &out, &errs)
			}
		}
		if status == 0 {
			if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, content) {
				t.Errorf("%q: the file has %d bytes, %v", c.args, len(b), err)
			}
		}
	}
	var out, errs bytes.Buffer
	requests.Store(1)
	status := newApp(&out, &errs).run(t.Context(), []string{"get", s.URL + "/x.bin", "-o", file, "-j", "--parallel", "3"}, "")
	var got struct {
		File, SHA256 string
		Bytes        int64
	}
	if err := json.Unmarshal(out.Bytes(), &got); status != 0 || err != nil || got.File != file || got.SHA256 != sum || got.Bytes != 1_000_000 {
		t.Errorf("-j: %d, %v, %+v\n%s%s", status, err, got, &out, &errs)
	}
}

// written is what a command writes, while it writes.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// TestGetBar: on a terminal a line is drawn over that names the POP, the rate
// and each resync, also while nothing comes, and it is gone in the end. The
// server waits for what it shows.
func TestGetBar(t *testing.T) {
	content := bytes.Repeat([]byte("catchment "), 100_000)
	var errs written
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1) - 1
		if n > 1 {
			t.Errorf("request %d: %s", n, r.Header.Get("Range"))
			return
		}
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Cache-Status", []string{"LON", "FRA"}[n]+"; hit")
		part, show := content[:400_000], regexp.MustCompile(`x\.bin  \[=+ +\]   40%  400 kB of 1 MB  \S+ \S+/s  LON\r`)
		if n == 1 {
			part, show = content[400_000:900_000], regexp.MustCompile(` 90%  900 kB of 1 MB  \S+ \S+/s  FRA  1 resync\r`)
			w.Header().Set("Content-Range", "bytes 400000-999999/1000000")
			w.WriteHeader(http.StatusPartialContent)
		} else {
			w.Header().Set("Content-Length", "1000000")
		}
		w.Write(part)
		w.(http.Flusher).Flush()
		for !show.MatchString(errs.String()) {
			if r.Context().Err() != nil {
				t.Errorf("the terminal does not show %v but %q", show, tail(errs.String()))
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n == 0 {
			panic(http.ErrAbortHandler)
		}
		w.Write(content[900_000:])
	}))
	defer s.Close()
	var out bytes.Buffer
	a := newApp(&out, &errs)
	a.size = func() (int, int) { return 80, 24 }
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	file := filepath.Join(t.TempDir(), "x.bin")
	if status := a.run(ctx, []string{"get", s.URL + "/x.bin", "-o", file, "--stall", "1m"}, ""); status != 0 {
		t.Errorf("status %d: %s", status, &out)
	}
	all := errs.String()
	if !strings.HasSuffix(all, "\r\x1b[K") {
		t.Errorf("the line is not taken away: %q", tail(all))
	}
	if !strings.Contains(all, "LON is gone at 400 kB: unexpected EOF\n") {
		t.Error("it does not say why LON is gone")
	}
}

// TestMeter: the rate is that of the last two seconds, and falls to nothing.
func TestMeter(t *testing.T) {
	var m meter
	at := time.Unix(0, 0)
	for i, c := range []struct {
		after time.Duration
		done  int64
		want  float64
	}{
		{0, 500, 0}, {time.Second, 1500, 1000}, {time.Second, 3500, 1500}, {time.Second, 4500, 1500}, {time.Second, 4500, 500}, {2 * time.Second, 4500, 0},
	} {
		at = at.Add(c.after)
		if got := m.add(at, c.done); got != c.want {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-300):] }

// TestProgressLine: it fits, whatever the width.
func TestProgressLine(t *testing.T) {
	for _, c := range []struct {
		wide int
		want string
	}{
		{100, "image.iso  [================                       ]   42%  4.2 MB of 10 MB  1.1 MB/s  LON  1 resync"},
		{70, "image.iso  [===      ]   42%  4.2 MB of 10 MB  1.1 MB/s  LON  1 resync"},
		{60, "image.iso   42%  4.2 MB of 10 MB  1.1 MB/s  LON  1 resync"},
	} {
		if got := progressLine(c.wide, "image.iso", 4_200_000, 10_000_000, 1.1e6, "LON", 1); got != c.want {
			t.Errorf("%d:\n%q, want\n%q", c.wide, got, c.want)
		}
	}
	if got, want := progressLine(80, "a", 4_200_000, -1, 1.1e6, "", 0), "a  4.2 MB  1.1 MB/s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for wide := 1; wide < 200; wide++ {
		if got := progressLine(wide, strings.Repeat("名", 50), 4_200_000, 10_000_000, 1.1e6, "LON", 12); width(got) > wide {
			t.Errorf("%d cells in %d: %q", width(got), wide, got)
		}
	}
}
