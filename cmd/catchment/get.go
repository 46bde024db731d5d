package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/cmd/internal/amount"
	"github.com/catchment/catchment/server/resync/get"
)

func (a *app) getCommand() *cobra.Command {
	var o getOptions
	cmd := &cobra.Command{
		Use:   "get URL",
		Short: "Download a file, and go on by itself where a connection breaks",
		Long: `Download a file over HTTP, and go on by itself where a connection breaks, falls
silent or is moved to another POP: from the byte where it stopped, and only if
it is still the same file (If-Range). What has come stays in FILE.part after a
failure, and the next call goes on with it. The whole is checked against
--sha256, or against the digest that the server gives (Repr-Digest).

It follows redirects, and asks the first URL again where the server that they led
to is gone. It needs no daemon and works with every server that answers ranges
with strong validators; of one that gives none, what has come is of no use after
a failure and is not kept. It returns 0 only if the file is whole, and 1 if it is not.`,
		Example: `  catchment get https://cdn.example.net/image.iso
  catchment get https://cdn.example.net/image.iso -o disk.iso --sha256 9f86d081...
  catchment get https://cdn.example.net/image.iso --parallel 4 -j`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := o.job(args[0])
			if err != nil {
				return err
			}
			v := &getView{app: a, name: filepath.Base(job.Path), quiet: o.quiet || a.json}
			if f := a.screenOf(a.err); f.clear && !v.quiet {
				v.bar = f.width
			}
			job.OnProgress = v.progress
			base := get.NewBase(o.buffer << 10)
			defer base.CloseIdleConnections()
			t := get.New(get.Options{Base: base, Stall: o.stall, Patience: o.patience, OnEvent: v.event})
			res, err := v.during(cmd.Context(), func() (get.Result, error) { return t.File(cmd.Context(), job) })
			if err != nil {
				if res.Bytes > 0 && !errors.Is(err, get.ErrDigest) {
					return fmt.Errorf("%s: %w\n%s of it are in %s.part: the same command goes on with it", job.URL, err, bytesOf(res.Bytes), job.Path)
				}
				return fmt.Errorf("%s: %w", job.URL, err)
			}
			return a.print(struct {
				URL  string `json:"url"`
				File string `json:"file"`
				get.Result
			}{job.URL, job.Path, res}, func(w io.Writer) { say(w, "", summary(job.Path, res)) })
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.file, "output", "o", "", "`file` to write; without it the last part of the URL's path")
	f.StringVar(&o.sum, "sha256", "", "SHA-256 that the file must have, in hexadecimal")
	f.IntVar(&o.parallel, "parallel", 1, "over how many connections parts are fetched at once, 16 at most")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "`line` to send, such as \"Authorization: Bearer x\" (may be given often)")
	f.DurationVar(&o.stall, "stall", 500*time.Millisecond, "how long a connection may be silent, at least, before another is tried beside it")
	f.DurationVar(&o.patience, "patience", 2*time.Minute, "how long to try to go on without a single byte")
	f.IntVar(&o.buffer, "buffer", 4096, "receive buffer to ask for, in KiB")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "tell of nothing but the end")
	return cmd
}

// getOptions are what the flags of get say.
type getOptions struct {
	file, sum        string
	parallel, buffer int
	headers          []string
	stall, patience  time.Duration
	quiet            bool
}

func (o *getOptions) job(raw string) (get.Job, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return get.Job{}, usagef("URL %q: want http:// or https://, a host and a path", raw)
	}
	j := get.Job{URL: raw, Path: o.file, Parallel: o.parallel, Header: http.Header{}}
	if j.Path == "" {
		if j.Path = path.Base(u.Path); j.Path == "." || j.Path == "/" || j.Path == ".." {
			return j, usagef("URL %q names no file: say with -o where to write", raw)
		}
	}
	if o.sum != "" {
		if j.SHA256, err = hex.DecodeString(o.sum); err != nil || len(j.SHA256) != 32 {
			return j, usagef("--sha256 %q: want 64 hexadecimal digits", o.sum)
		}
	}
	for _, h := range o.headers {
		name, value, ok := strings.Cut(h, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, " \t") {
			return j, usagef("--header %q: want \"Name: value\"", h)
		}
		j.Header.Add(name, strings.TrimSpace(value))
	}
	switch {
	case o.parallel < 1 || o.parallel > 16:
		return j, usagef("--parallel %d: want 1 to 16", o.parallel)
	case o.stall <= 0 || o.patience <= 0 || o.buffer <= 0:
		return j, usagef("--stall, --patience and --buffer must be more than 0")
	}
	return j, nil
}

// getView shows a download: a line that is drawn over on a terminal, and a
// line for each thing that happens.
type getView struct {
	app   *app
	name  string
	quiet bool
	bar   int // width of the terminal; 0: none

	mu      sync.Mutex
	shown   bool
	pop     string
	done    int64
	size    int64
	seen    bool
	rate    meter
	resyncs int
}

// during shows a download while it is done.
func (v *getView) during(ctx context.Context, do func() (get.Result, error)) (get.Result, error) {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { v.run(ctx) })
	defer wg.Wait()
	defer stop()
	return do()
}

func (v *getView) progress(done, size int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.seen {
		v.rate.add(time.Now(), done)
	}
	v.done, v.size, v.seen = done, size, true
}

// run draws the line until ctx ends, and takes it away then. It is drawn while
// nothing comes, too: the rate falls then.
func (v *getView) run(ctx context.Context) {
	tick := time.NewTicker(redrawPace)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			v.mu.Lock()
			if v.seen && v.bar > 0 {
				v.draw(now)
			}
			v.mu.Unlock()
		case <-ctx.Done():
			v.mu.Lock()
			v.erase()
			v.mu.Unlock()
			return
		}
	}
}

func (v *getView) draw(now time.Time) {
	rate := v.rate.add(now, v.done)
	fmt.Fprint(v.app.err, "\r\x1b[K"+progressLine(v.bar-1, v.name, v.done, v.size, rate, v.pop, v.resyncs))
	v.shown = true
}

func (v *getView) erase() {
	if v.shown {
		fmt.Fprint(v.app.err, "\r\x1b[K")
		v.shown = false
	}
}

// meter says how fast something has grown in the last seconds.
type meter struct {
	at   []time.Time
	done []int64
}

// meterSpan is over what time a meter looks.
const meterSpan = 2 * time.Second

// add tells how much there is now, and returns the rate, a second.
func (m *meter) add(now time.Time, done int64) float64 {
	m.at, m.done = append(m.at, now), append(m.done, done)
	first := 0
	for first+1 < len(m.at) && now.Sub(m.at[first+1]) >= meterSpan {
		first++
	}
	m.at, m.done = m.at[first:], m.done[first:]
	return float64(done-m.done[0]) / max(now.Sub(m.at[0]).Seconds(), redrawPace.Seconds())
}

func (v *getView) event(e get.Event) {
	text := happened(e)
	v.mu.Lock()
	defer v.mu.Unlock()
	if e.Kind == get.Started || e.Kind == get.Resumed {
		v.pop = cmp.Or(e.POP, v.pop)
	}
	if e.Kind == get.Resumed {
		v.resyncs++
	}
	if text == "" || v.quiet {
		return
	}
	v.erase()
	fmt.Fprintf(v.app.err, "%s  %s\n", time.Now().Format("15:04:05"), text)
	if v.bar > 0 && v.seen {
		v.draw(time.Now())
	}
}

// happened says what an event means; "": nothing that people want to know.
func happened(e get.Event) string {
	who := cmp.Or(e.POP, e.Addr, "the server")
	at := bytesOf(e.Offset)
	switch e.Kind {
	case get.Stalled:
		return fmt.Sprintf("%s is silent at %s: another connection is tried", who, at)
	case get.Broken:
		return fmt.Sprintf("%s is gone at %s: %v", who, at, bare(e.Err))
	case get.Failed:
		return fmt.Sprintf("not yet: %v", bare(e.Err))
	case get.Resumed:
		return fmt.Sprintf("goes on at %s from %s, %v after the last byte", at, who, e.Gap.Round(time.Millisecond))
	case get.Awake:
		return fmt.Sprintf("%s goes on by itself after %v", who, e.Gap.Round(time.Millisecond))
	}
	return ""
}

// bare is an error of a connection without the addresses that everybody knows.
func bare(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	var number syscall.Errno
	if errors.As(op.Err, &number) {
		return number
	}
	return op.Err
}

// progressLine is one line of at most that width: the name gives way first,
// then the bar.
func progressLine(wide int, name string, done, size int64, rate float64, pop string, resyncs int) string {
	right := bytesOf(done)
	share := -1.0
	if size > 0 {
		share = float64(done) / float64(size)
		right = fmt.Sprintf("%3.0f%%  %s of %s", 100*share, right, bytesOf(size))
	}
	right += "  " + bytesOf(int64(rate)) + "/s"
	if pop != "" {
		right += "  " + pop
	}
	if resyncs > 0 {
		right += fmt.Sprintf("  %d resync%s", resyncs, map[bool]string{true: "s"}[resyncs > 1])
	}
	room := wide - width(right) - 2
	if width(name) > max(8, room) {
		name = cut(name, max(8, room))
	}
	bar := ""
	if n := room - width(name) - 4; share >= 0 && n >= 8 {
		n = min(n, 40)
		full := min(n, int(share*float64(n)))
		bar = "[" + strings.Repeat("=", full) + strings.Repeat(" ", n-full) + "]  "
	}
	return cut(name+"  "+bar+right, wide)
}

// summary says what came of a download.
func summary(file string, r get.Result) string {
	s := fmt.Sprintf("%s: %s in %.1f s (%s/s)", file, bytesOf(r.Bytes), r.Seconds, bytesOf(int64(float64(r.Bytes-r.Kept)/max(r.Seconds, 1e-3))))
	if r.Kept > 0 {
		s += fmt.Sprintf(", %s of it from before", bytesOf(r.Kept))
	}
	if len(r.POPs) > 0 {
		s += " from " + strings.Join(r.POPs, ", ")
	}
	if r.Resyncs > 0 {
		s += fmt.Sprintf("; %d resync%s", r.Resyncs, map[bool]string{true: "s"}[r.Resyncs > 1])
	}
	switch r.Checked {
	case "":
		return s + "; sha256 " + r.SHA256 + ", which nobody gave to compare"
	case "sha256":
		return s + "; sha256 is right"
	}
	return s + "; digest is right (" + r.Checked + ")"
}

// bytesOf writes an amount of bytes: "4.2 MB".
func bytesOf(n int64) string {
	digits, prefix := amount.Thousands(float64(n))
	return digits + " " + prefix + "B"
}
