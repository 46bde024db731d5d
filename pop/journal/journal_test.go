package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/lab/sandbox"
	"github.com/catchment/catchment/policy"
)

func TestMain(m *testing.M) { sandbox.Main(m) } // own mounts: a small tmpfs plays the full disk

func slice(s string) policy.SliceID { return policy.SliceID(netip.MustParsePrefix(s)) }

// with opens a journal, runs it, calls fn, stops it and returns it.
func with(t *testing.T, o Options, fn func(j *Journal)) *Journal {
	t.Helper()
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- j.Run(ctx) }()
	fn(j)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return j
}

func entry(n int) Entry {
	return Entry{
		Kind: Decision, Service: "web", Slice: slice("192.0.2.0/24"),
		Before: &policy.Stance{Action: policy.Announce}, After: &policy.Stance{Action: policy.Withdraw},
		Reason: &policy.Reason{Code: policy.CheckDown, Detail: "http: connection refused"},
		Guards: []GuardVerdict{{Name: "last-pop", Verdict: "allow"}},
		Inputs: json.RawMessage(`{"n":` + fmt.Sprint(n) + `}`), Text: fmt.Sprint("entry ", n),
	}
}

func TestAppendReadRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	o := Options{Dir: dir, POP: "LON"}
	first := with(t, o, func(j *Journal) {
		for n := range 5 {
			j.Append(entry(n))
		}
		j.Append(Entry{Kind: Decision, Service: "web2", Slice: slice("198.51.100.0/24")})
		j.Append(Entry{Kind: Check, Service: "web", Text: "no slice named"})
	})
	second := with(t, o, func(j *Journal) { j.Append(Entry{Kind: Start}) })
	all, err := ReadDir(dir, Filter{})
	if err != nil || len(all) != 8 {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	for i, e := range all {
		if e.Seq != uint64(i+1) || e.POP != "LON" || e.Time.IsZero() {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
	if all[0].Boot != first.Boot() || all[7].Boot != second.Boot() || first.Boot() == second.Boot() {
		t.Error("boot ids:", all[0].Boot, all[7].Boot)
	}
	if got, want := string(all[3].line()), string(func() []byte {
		e := entry(3)
		e.Seq, e.Time, e.Boot, e.POP = 4, all[3].Time, first.Boot(), "LON"
		return e.line()
	}()); got != want {
		t.Errorf("read %s\nwant %s", got, want)
	}
	for _, c := range []struct {
		f    Filter
		want string
	}{
		{Filter{Service: "web"}, "1 2 3 4 5 7"},
		{Filter{Service: "web", Slice: slice("192.0.2.0/24")}, "1 2 3 4 5 7"},
		{Filter{Slice: slice("198.51.100.0/24")}, "6"},
		{Filter{Service: "web", Limit: 2}, "5 7"},
		{Filter{Kind: Check}, "7"},
		{Filter{Since: all[7].Time}, "8"},
		{Filter{Since: all[7].Time.Add(time.Hour)}, ""},
		{Filter{Limit: 1}, "8"},
	} {
		got, err := ReadDir(dir, c.f)
		if numbers(got) != c.want || err != nil {
			t.Errorf("%+v: got %q, want %q, %v", c.f, numbers(got), c.want, err)
		}
	}
}

func numbers(list []Entry) string {
	var s []string
	for _, e := range list {
		s = append(s, fmt.Sprint(e.Seq))
	}
	return strings.Join(s, " ")
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, MaxSize: 2000, Keep: 2, Recent: 4}
	for range 3 { // over restarts too
		with(t, o, func(j *Journal) {
			for n := range 40 {
				j.Append(entry(n))
			}
		})
	}
	files, err := list(dir)
	if err != nil || len(files) != 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, f := range files {
		st, err := os.Stat(filepath.Join(dir, f.name))
		if err != nil || st.Size() > 2000+600 {
			t.Errorf("%s: %d bytes, %v", f.name, st.Size(), err)
		}
		entries, err := readFile(filepath.Join(dir, f.name), Filter{})
		if err != nil || len(entries) == 0 || entries[0].Seq != f.first {
			t.Errorf("%s begins with %v, %v", f.name, entries, err)
		}
	}
	all, err := ReadDir(dir, Filter{})
	if err != nil || len(all) < 9 || all[len(all)-1].Seq != 120 {
		t.Fatalf("%s, %v", numbers(all), err)
	}
	for i := range all[1:] {
		if all[i+1].Seq != all[i].Seq+1 {
			t.Error("hole after", all[i].Seq)
		}
	}
	across, err := ReadDir(dir, Filter{Limit: len(all) - 1})
	if err != nil || numbers(across) != numbers(all[1:]) {
		t.Errorf("limit across files: %s, %v", numbers(across), err)
	}
	for i, e := range all {
		if after, err := ReadDir(dir, Filter{After: e.Seq}); err != nil || numbers(after) != numbers(all[i+1:]) {
			t.Errorf("after %d: %s, %v", e.Seq, numbers(after), err)
		}
	}
}

func TestRecentIsARing(t *testing.T) {
	j := with(t, Options{Dir: t.TempDir(), Recent: 3}, func(j *Journal) {
		for n := range 8 {
			j.Append(entry(n))
		}
	})
	if got := numbers(j.Recent(Filter{})); got != "6 7 8" {
		t.Error(got)
	}
	if got := numbers(j.Recent(Filter{Limit: 1})); got != "8" {
		t.Error(got)
	}
	for after, want := range map[uint64]string{2: "6 7 8", 6: "7 8", 8: "", 9: ""} {
		if got := numbers(j.Recent(Filter{After: after})); got != want {
			t.Errorf("after %d: %s", after, got)
		}
	}
}

func TestSecondDaemonIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	with(t, Options{Dir: dir}, func(*Journal) {
		if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
			t.Error(err)
		}
	})
	with(t, Options{Dir: dir}, func(*Journal) {})
}

// TestDropsAreAGap fills the queue before anything is written: the caller is
// never blocked, the lost are counted, and a gap entry says so.
func TestDropsAreAGap(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(Options{Dir: dir, Queue: 10})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 25 {
		j.Append(entry(n))
	}
	if s := j.Stats(); s.Dropped != 15 || s.Queued != 10 {
		t.Errorf("%+v", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Run(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := ReadDir(dir, Filter{})
	if err != nil || numbers(got) != "1 2 3 4 5 6 7 8 9 10 26" {
		t.Fatalf("%s, %v", numbers(got), err)
	}
	if e := got[10]; e.Kind != Gap || e.Text != "15 entries were dropped: the disk did not take them in time" {
		t.Errorf("%+v", e)
	}
}

func TestBadInputsDoNotLoseTheDecision(t *testing.T) {
	dir := t.TempDir()
	with(t, Options{Dir: dir}, func(j *Journal) {
		e := entry(0)
		e.Inputs = json.RawMessage(`{"n":`)
		j.Append(e)
		e.Inputs = json.RawMessage(`"` + strings.Repeat("x", maxLine) + `"`)
		j.Append(e)
		j.Append(Entry{Kind: Alarm, Text: strings.Repeat("\x01", 2*maxLine)})
	})
	got, err := ReadDir(dir, Filter{})
	if err != nil || len(got) != 3 {
		t.Fatalf("%d entries, %v", len(got), err)
	}
	for i, want := range []string{"entry 0 (inputs left out: json: ", "entry 0 (inputs left out: too long)", "\x01\x01"} {
		if !strings.HasPrefix(got[i].Text, want) || got[i].Inputs != nil {
			t.Errorf("entry %d: %.80q", i, got[i].Text)
		}
	}
	if got[0].After == nil || got[0].Reason == nil {
		t.Error("the decision itself is gone")
	}
}
