package accesslog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func record() *Record {
	return &Record{
		Time: time.Date(2026, 11, 22, 1, 2, 3, 4000, time.UTC), Site: "shop", Client: netip.MustParseAddrPort("[::ffff:192.0.2.7]:1234"),
		Local: netip.MustParseAddrPort("[2001:db8::1]:443"), Conn: 5, Seq: 2, Protocol: "HTTP/2.0", TLS: "1.3", Method: "GET", Scheme: "https",
		Host: "www.example.com", Path: "/a\"b", Query: "c=\xff", Status: 206, Bytes: 1 << 40, Duration: 1234567 * time.Microsecond,
		TTFB: 1500 * time.Microsecond, Aborted: true, Cache: "hit", Reason: "fresh", Key: []byte{0xab, 0, 1, 2, 3, 4, 5, 6, 7},
		Range: "bytes=0-1", Referer: "http://r/", UserAgent: "curl\x00", Trace: "t1", Upstream: "origin/a", UpstreamTime: time.Second,
		UpstreamTTFB: time.Millisecond, Steer: "pace 400000: not-paced",
		TCP: TCP{Valid: true, DeliveryRate: 125000, AppLimited: true, RTT: 20 * time.Millisecond, MinRTT: 19 * time.Millisecond,
			RwndLimited: 0.25, SndLimited: 2, Retransmits: 3, Cwnd: 10},
	}
}

func TestLine(t *testing.T) {
	f := format{uriLimit: 100, userAgent: true, referer: true, sample: 0.5}
	text := f.appendRecord(nil, record(), nil)
	var got Line
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	want := Line{
		Time: record().Time, Site: "shop", Client: "192.0.2.7:1234", Local: "[2001:db8::1]:443", Conn: 5, Seq: 2, Protocol: "HTTP/2.0", TLS: "1.3",
		Method: "GET", Scheme: "https", Host: "www.example.com", URI: "/a\"b?c=\ufffd", Status: 206, Bytes: 1 << 40, DurationMs: 1234.567,
		TTFBMs: 1.5, Aborted: true, Cache: "hit", Reason: "fresh", Key: "ab00010203040506", Range: "bytes=0-1", Referer: "http://r/",
		UserAgent: "curl\x00", Trace: "t1", Upstream: "origin/a", UpstreamMs: 1000, UpstreamTTFBMs: 1, Sample: 0.5, Steer: "pace 400000: not-paced",
		TCP: &TCPLine{Rate: 125000, AppLimited: true, RTTMs: 20, MinRTTMs: 19, RwndLimited: 0.25, SndLimited: 1, Retransmits: 3, Cwnd: 10},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\n%+v\n%+v", got, want, got.TCP)
	}
	f = format{uriLimit: 4}
	got = Line{}
	text = f.appendRecord(nil, record(), []byte("late"))
	if err := json.Unmarshal(text, &got); err != nil || got.URI != `/a"b` || !got.URICut || got.UserAgent != "" || got.Referer != "" || got.Sample != 0 || got.Slow != "late" {
		t.Errorf("%s: %v", text, err)
	}
	if text = f.appendRecord(nil, &Record{}, nil); json.Unmarshal(text, &got) != nil {
		t.Errorf("an empty record: %s", text)
	}
}

func TestLineAllocatesNothing(t *testing.T) {
	l, _ := New(Options{Path: "/nowhere/log", Queue: 1 << 30, Slow: Slow{Path: "/nowhere/slow", TTFB: time.Nanosecond}})
	r := record()
	// The queue itself grows now and then.
	l.main.waiting, l.slow.waiting = make([]byte, 0, 1<<20), make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(500, func() { l.Add(r) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\\b\f\n\r\t\x00\x1f\x7f", "é\u2028\u2029\ufffd", "\xff\xc3", "a\xe2\x80", "\U0001F600"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
		got := append(escape([]byte{'"'}, s), '"', '\n')
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%q: %s, want %s", s, got, want.Bytes())
		}
	})
}

// FuzzLine: whatever is in a record, the line is one line of valid JSON.
func FuzzLine(f *testing.F) {
	f.Add("h", "/p", "q", "\n", int64(5), 0.5, 10)
	f.Fuzz(func(t *testing.T, host, path, query, other string, d int64, x float64, limit int) {
		fm := format{uriLimit: max(0, limit), userAgent: true, referer: true}
		r := Record{Host: host, Path: path, Query: query, UserAgent: other, Referer: other, Range: other, Trace: other, Reason: other,
			Duration: time.Duration(d), Bytes: d, TCP: TCP{Valid: true, RwndLimited: x}}
		text := fm.appendRecord(nil, &r, nil)
		if !json.Valid(text) || bytes.IndexByte(text, '\n') != len(text)-1 {
			t.Errorf("%q", text)
		}
	})
}

// serve runs the log until f is done.
func serve(t *testing.T, l *Log, f func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	f()
	cancel()
	wg.Wait()
}

func lines(t *testing.T, path string) (out []Line) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for text := range bytes.Lines(b) {
		var line Line
		if err := json.Unmarshal(text, &line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		out = append(out, line)
	}
	return out
}

func TestManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := New(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, func() {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 500 {
					l.Add(&Record{Site: fmt.Sprint(g), Seq: uint64(i + 1)})
				}
			})
		}
		wg.Wait()
	})
	last := map[string]uint64{}
	all := lines(t, path)
	for _, line := range all {
		if line.Seq != last[line.Site]+1 {
			t.Fatalf("%s: %d after %d", line.Site, line.Seq, last[line.Site])
		}
		last[line.Site] = line.Seq
	}
	if s := l.Stats(); len(all) != 4000 || s.Written != 4000 || s.Dropped+s.Failed != 0 || s.Waiting != 0 {
		t.Errorf("%d lines, %+v", len(all), s)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o640 {
		t.Errorf("mode %o", st.Mode().Perm())
	}
}

// Without anybody writing, lines are dropped at the limit, and the log says so.
func TestFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var said bytes.Buffer
	l, _ := New(Options{Path: path, Queue: 2000, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	for range 100 {
		l.Add(&Record{Path: "/" + strings.Repeat("x", 100)})
	}
	dropped := l.Stats().Dropped
	if dropped == 0 || dropped == 100 || l.Stats().Waiting > 2000 {
		t.Fatalf("%+v", l.Stats())
	}
	serve(t, l, func() {})
	all := lines(t, path)
	if n := len(all); uint64(n) != 100-dropped+1 || all[n-1].Dropped != dropped {
		t.Errorf("%d lines, the last %+v; %d dropped", n, all[n-1], dropped)
	}
	if !strings.Contains(said.String(), fmt.Sprint("lines=", dropped)) {
		t.Errorf("said: %s", said.String())
	}
}

func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, _ := New(Options{Path: path, MaxSize: 500, Keep: 2})
	for i := range 40 {
		l.Add(&Record{Seq: uint64(i + 1)})
		l.main.flush(nil)
	}
	l.main.close()
	next := uint64(40)
	for _, name := range []string{path, path + ".1", path + ".2"} {
		all := lines(t, name)
		if st, _ := os.Stat(name); st.Size() > 500 || len(all) == 0 {
			t.Errorf("%s: %d lines, %d bytes", name, len(all), st.Size())
		}
		for i := len(all) - 1; i >= 0; i-- {
			if all[i].Seq != next {
				t.Fatalf("%s: %d, want %d", name, all[i].Seq, next)
			}
			next--
		}
	}
	if _, err := os.Stat(path + ".3"); err == nil || next == 0 {
		t.Error("more kept than asked for")
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, _ := New(Options{Path: path})
	serve(t, l, func() {
		l.Add(&Record{Seq: 1})
		for l.Stats().Written == 0 {
			time.Sleep(time.Millisecond)
		}
		os.Rename(path, path+".moved")
		l.Reopen()
		for i := uint64(2); ; i++ { // until one lands in the new file
			l.Add(&Record{Seq: i})
			if _, err := os.Stat(path); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
	})
	all := append(lines(t, path+".moved"), lines(t, path)...)
	for i, line := range all {
		if line.Seq != uint64(i+1) {
			t.Fatalf("line %d is %d", i, line.Seq)
		}
	}
}

// A disk that takes nothing costs lines only, and the log goes on once there is room.
func TestDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	var said bytes.Buffer
	l, _ := New(Options{Path: "/dev/full", Recent: 10, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	for range 3 {
		l.Add(record())
		l.main.flush(l.recent)
	}
	if s := l.Stats(); s.Failed != 3 || s.Written != 0 {
		t.Errorf("%+v", s)
	}
	if n := strings.Count(said.String(), "cannot be written"); n != 1 {
		t.Errorf("said %d times: %s", n, said.String())
	}
	if len(l.Recent(-1, nil)) != 3 {
		t.Error("the last lines are not in memory")
	}
	path := filepath.Join(t.TempDir(), "log")
	if err := l.Set(Options{Path: path}); err != nil {
		t.Fatal(err)
	}
	l.Add(record())
	l.main.flush(nil)
	l.main.close()
	if len(lines(t, path)) != 1 {
		t.Error("it did not go on")
	}
}

func TestNoDirectory(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "later", "log")
	l, _ := New(Options{Path: path})
	l.Add(record())
	l.main.flush(nil)
	os.Mkdir(filepath.Dir(path), 0o750)
	l.Add(record())
	l.main.flush(nil)
	l.main.close()
	if s := l.Stats(); len(lines(t, path)) != 1 || s.Failed != 1 || s.Written != 1 {
		t.Errorf("%+v", s)
	}
}

// Options change while it runs: no line is lost, each is in one of the files.
func TestSet(t *testing.T) {
	dir := t.TempDir()
	a, b, slow := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "slow")
	l, _ := New(Options{Path: a, Recent: 10})
	serve(t, l, func() {
		l.Add(&Record{Seq: 1})
		for l.Stats().Written == 0 {
			time.Sleep(time.Millisecond)
		}
		if err := l.Set(Options{Path: "relative"}); err == nil {
			t.Error("wrong options are taken")
		}
		if err := l.Set(Options{Path: b, Referer: true, Slow: Slow{Path: slow, TTFB: time.Second}}); err != nil {
			t.Error(err)
		}
		l.Add(&Record{Seq: 2, Referer: "r", TTFB: 2 * time.Second})
		for written := func() bool { // the slow log comes after the other
			fi, err := os.Stat(slow)
			return err == nil && fi.Size() > 0
		}; !written(); {
			time.Sleep(time.Millisecond)
		}
		l.Set(Options{})
		l.Add(&Record{Seq: 3})
	})
	if one, two, three := lines(t, a), lines(t, b), lines(t, slow); len(one) != 1 || len(two) != 1 || two[0].Referer != "r" || len(three) != 1 {
		t.Errorf("%+v\n%+v\n%+v", one, two, three)
	}
	if got := l.Recent(1, nil); len(got) != 1 || got[0].Seq != 3 {
		t.Errorf("%+v", got)
	}
}

func TestSlow(t *testing.T) {
	dir := t.TempDir()
	l, err := New(Options{Path: filepath.Join(dir, "log"), Sample: 0.001, Slow: Slow{
		Path: filepath.Join(dir, "slow"), TTFB: time.Second, Total: 10 * time.Second, MinRate: 100_000,
	}})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, func() {
		l.Add(&Record{Seq: 1, TTFB: time.Second, Duration: 10 * time.Second})
		l.Add(&Record{Seq: 2, TTFB: 1500 * time.Millisecond, Duration: 11 * time.Second})
		l.Add(&Record{Seq: 3, Duration: 5 * time.Second, Bytes: 100})
		l.Add(&Record{Seq: 4, Duration: 12 * time.Second, TTFB: time.Second, Bytes: 1 << 20})
		l.Add(&Record{Seq: 5, Duration: 6 * time.Second, TTFB: time.Second, Bytes: 1 << 20})
	})
	got := map[uint64]string{}
	for _, line := range lines(t, filepath.Join(dir, "slow")) {
		got[line.Seq] = line.Slow
	}
	want := map[uint64]string{
		2: "ttfb 1500.000 ms above 1000.000 ms, total 11000.000 ms above 10000.000 ms",
		4: "total 12000.000 ms above 10000.000 ms, rate 95325 B/s below 100000 B/s",
	}
	if !reflect.DeepEqual(got, want) || l.Stats().Slow != 2 {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestSample(t *testing.T) {
	l, _ := New(Options{Sample: 0.25, Recent: 10_000})
	for i := range 1000 {
		l.Add(&Record{Status: 200})
		if i%10 == 0 {
			l.Add(&Record{Status: 503})
		}
	}
	l.main.flush(l.recent)
	count := map[int]int{}
	for _, line := range l.Recent(-1, nil) {
		count[line.Status]++
	}
	if count[200] != 250 || count[503] != 100 {
		t.Errorf("%v", count)
	}
}

func TestRecentAndTop(t *testing.T) {
	l, _ := New(Options{Recent: 5})
	if got := l.Recent(5, nil); got != nil {
		t.Errorf("%v before anything", got)
	}
	for i := range 8 {
		l.Add(&Record{Seq: uint64(i + 1), Site: "s", Scheme: "http", Host: "h", Path: fmt.Sprint("/", i%2), Query: fmt.Sprint(i), Bytes: int64(100 * (i % 2)),
			Client: netip.MustParseAddrPort("[2001:db8::1]:99"), Cache: "miss", Reason: "uri-miss", Status: 200})
		if i%3 == 0 {
			l.main.flush(l.recent)
		}
	}
	l.main.flush(l.recent)
	var seqs []uint64
	for _, line := range l.Recent(3, func(l *Line) bool { return l.Seq != 7 }) {
		seqs = append(seqs, line.Seq)
	}
	if !reflect.DeepEqual(seqs, []uint64{8, 6, 5}) {
		t.Errorf("%v", seqs)
	}
	if got, want := l.Top("url", 1, false), []Count{{"http://h/1", 3, 300}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for by, want := range map[string]string{"client": "2001:db8::1", "site": "s", "host": "h", "status": "200", "reason": "miss uri-miss", "user-agent": ""} {
		if got := l.Top(by, 5, true); len(got) != 1 || got[0] != (Count{want, 5, 300}) {
			t.Errorf("%s: %+v", by, got)
		}
	}
	if l.Top("weather", 5, false) != nil {
		t.Error("counts by anything")
	}
}

func TestOptionsRefused(t *testing.T) {
	for _, o := range []Options{
		{Sample: 2}, {Sample: -1}, {MaxSize: -1}, {Path: "relative"}, {Path: "/a", Slow: Slow{Path: "/a"}}, {Slow: Slow{TTFB: 1}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	l, _ := New(Options{Path: "/nowhere/log", Queue: 1 << 20})
	r := record()
	b.ReportAllocs()
	for b.Loop() {
		l.Add(r)
		if len(l.main.waiting) > 1<<19 {
			l.main.waiting = l.main.waiting[:0]
		}
	}
}
