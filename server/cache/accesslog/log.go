package accesslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Options of New. Zero values are the defaults said, and none where none is.
type Options struct {
	Path    string // of the file; empty: none, the last lines in memory only
	MaxSize int64  // bytes until the file is rotated; 64 MiB
	Keep    int    // rotated files kept: Path.1 is the newest; 8
	Queue   int    // bytes that may wait to be written; 4 MiB
	// Sample is the share of requests with a status below 400 that are logged;
	// 0 is all. Slow ones are always in the slow log.
	Sample    float64
	URILimit  int // bytes of path and query; 2048
	UserAgent bool
	Referer   bool
	Recent    int // lines kept in memory; 0: none
	Slow      Slow
	Logger    *slog.Logger
}

// Slow says which requests go to the slow log. Zero: that limit is not looked at.
type Slow struct {
	Path  string        // empty: none
	TTFB  time.Duration // first byte later than this
	Total time.Duration // and the whole later than this
	// MinRate is in bytes a second of body over the time after the first byte,
	// looked at for transfers of MinBytes at least (default 1 MiB).
	MinRate  int64
	MinBytes int64
}

// Validate says what cannot be.
func (o *Options) Validate() error {
	var errs []error
	if o.Sample < 0 || o.Sample > 1 {
		errs = append(errs, fmt.Errorf("sample: %v: want a share from 0 to 1", o.Sample))
	}
	if o.MaxSize < 0 || o.Keep < 0 || o.Queue < 0 || o.URILimit < 0 {
		errs = append(errs, errors.New("max-size, keep, queue and uri-limit: want zero or more"))
	}
	for name, path := range map[string]string{"path": o.Path, "slow.path": o.Slow.Path} {
		if path != "" && !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("%s: %q: want an absolute path", name, path))
		}
	}
	if o.Path != "" && o.Path == o.Slow.Path {
		errs = append(errs, fmt.Errorf("slow.path: %q is the access log's", o.Path))
	}
	if s := o.Slow; s.Path == "" && (s.TTFB > 0 || s.Total > 0 || s.MinRate > 0) {
		errs = append(errs, errors.New("slow.path: no path for what is slow"))
	}
	return errors.Join(errs...)
}

func (o *Options) defaults() {
	for p, v := range map[*int]int{&o.Keep: 8, &o.Queue: 4 << 20, &o.URILimit: 2048} {
		if *p == 0 {
			*p = v
		}
	}
	if o.MaxSize == 0 {
		o.MaxSize = 64 << 20
	}
	if o.Slow.MinBytes == 0 {
		o.Slow.MinBytes = 1 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// settings are what Add goes by.
type settings struct {
	lines  bool // somebody will read them: a file, or who asks for the last ones
	format format
	slow   Slow
}

// Log is an access log with its slow log.
type Log struct {
	settings atomic.Pointer[settings]
	main     *queue
	slow     *queue
	recent   *ring

	scratch sync.Pool
	seen    atomic.Uint64 // requests that sampling looked at
	isSlow  atomic.Uint64
	reopen  chan struct{}
}

// New makes a log. It opens nothing.
func New(o Options) (*Log, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	o.defaults()
	l := &Log{main: newQueue(o.Logger), slow: newQueue(o.Logger), recent: newRing(max(0, o.Recent)), reopen: make(chan struct{}, 1)}
	l.scratch.New = func() any { b := make([]byte, 0, 1024); return &b }
	l.apply(&o)
	return l, nil
}

// Set takes other options into use, but for Recent and Logger. What waits is
// written to where the new ones say. If they are wrong, all stays as it was.
func (l *Log) Set(o Options) error {
	if err := o.Validate(); err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	o.defaults()
	l.apply(&o)
	l.Reopen()
	return nil
}

func (l *Log) apply(o *Options) {
	l.main.set(target{o.Path, o.MaxSize, o.Keep, o.Queue})
	l.slow.set(target{o.Slow.Path, o.MaxSize, o.Keep, o.Queue})
	l.settings.Store(&settings{
		lines:  o.Path != "" || len(l.recent.lines) > 0,
		format: format{uriLimit: o.URILimit, userAgent: o.UserAgent, referer: o.Referer, sample: o.Sample}, slow: o.Slow,
	})
}

// Wanted reports whether Add does anything: who has to look for what a record
// holds may leave it out otherwise.
func (l *Log) Wanted() bool {
	set := l.settings.Load()
	return set.lines || set.slow.Path != ""
}

// Add logs a request. It never waits, and keeps nothing of the record.
func (l *Log) Add(r *Record) {
	set := l.settings.Load()
	p := l.scratch.Get().(*[]byte)
	if set.lines && l.sampled(set.format.sample, r) {
		*p = set.format.appendRecord((*p)[:0], r, nil)
		l.main.add(*p)
	}
	if set.slow.Path != "" {
		var buf [160]byte
		if why := set.slow.why(buf[:0], r); len(why) > 0 {
			l.isSlow.Add(1)
			*p = set.format.appendRecord((*p)[:0], r, why)
			l.slow.add(*p)
		}
	}
	l.scratch.Put(p)
}

// sampled reports whether the request is logged: every n-th in the long run.
func (l *Log) sampled(s float64, r *Record) bool {
	if s <= 0 || s >= 1 || r.Status >= 400 {
		return true
	}
	n := float64(l.seen.Add(1))
	return uint64(n*s) != uint64((n-1)*s)
}

// why appends what made a request slow; nothing if it was not.
func (s *Slow) why(b []byte, r *Record) []byte {
	if s.TTFB > 0 && r.TTFB > s.TTFB {
		b = reason(b, "ttfb ", r.TTFB, s.TTFB)
	}
	if s.Total > 0 && r.Duration > s.Total {
		b = reason(b, "total ", r.Duration, s.Total)
	}
	took := r.Duration - r.TTFB
	if s.MinRate > 0 && r.Bytes >= s.MinBytes && took > 0 {
		if rate := float64(r.Bytes) / took.Seconds(); rate < float64(s.MinRate) {
			b = also(b)
			b = strconv.AppendInt(append(b, "rate "...), int64(rate), 10)
			b = strconv.AppendInt(append(b, " B/s below "...), s.MinRate, 10)
			b = append(b, " B/s"...)
		}
	}
	return b
}

func also(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	return b
}

func reason(b []byte, what string, have, limit time.Duration) []byte {
	b = millis(append(also(b), what...), have)
	b = millis(append(b, " ms above "...), limit)
	return append(b, " ms"...)
}

// Reopen lets Run open the files anew, after somebody else moved them.
func (l *Log) Reopen() {
	select {
	case l.reopen <- struct{}{}:
	default:
	}
}

// Stats are counts since New.
type Stats struct {
	Written uint64 `json:"written"` // lines in the access log
	Dropped uint64 `json:"dropped"` // lines that found no room
	Failed  uint64 `json:"failed"`  // lines that could not be written
	Slow    uint64 `json:"slow"`    // requests that were slow
	Waiting int    `json:"waiting"` // bytes
}

// Stats returns them, those of the slow log's lines added.
func (l *Log) Stats() Stats {
	s, o := l.main.stats(), l.slow.stats()
	s.Dropped, s.Failed, s.Waiting = s.Dropped+o.Dropped, s.Failed+o.Failed, s.Waiting+o.Waiting
	s.Slow = l.isSlow.Load()
	return s
}

// Run writes until ctx ends, and then what waits still. Files that cannot be
// opened or written are tried again, so it returns nil.
func (l *Log) Run(ctx context.Context) error {
	queues := []*queue{l.main, l.slow}
	var wg sync.WaitGroup
	reopen := make([]chan struct{}, len(queues))
	for i, q := range queues {
		reopen[i] = make(chan struct{}, 1)
		var keep *ring
		if i == 0 {
			keep = l.recent
		}
		wg.Go(func() { q.run(ctx, reopen[i], keep) })
	}
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-l.reopen:
			for _, c := range reopen {
				select {
				case c <- struct{}{}:
				default:
				}
			}
		}
	}
	wg.Wait()
	return nil
}
