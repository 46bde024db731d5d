package journal

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The lines of other slices are not decoded: explain of a slice that was quiet
// for long reads every file.
func TestOtherLinesAreNotDecoded(t *testing.T) {
	dir := t.TempDir()
	inputs, err := json.Marshal(map[string]string{"checks": "refused"})
	if err != nil {
		t.Fatal(err)
	}
	const noise = 500
	var text []byte
	for i := range uint64(noise) {
		e := Entry{Seq: i + 1, Time: time.Unix(int64(i), 0), Kind: Decision, Service: "dns", Slice: slice("198.51.100.0/24"), Inputs: inputs, Text: "198.51.100.0/24: announce"}
		text = append(text, e.line()...)
	}
	for i, s := range []string{"192.0.2.0/24", "2001:db8:100::/48"} {
		text = append(text, Entry{Seq: noise + 1 + uint64(i), Time: time.Unix(noise, 0), Kind: Decision, Service: "web", Slice: slice(s)}.line()...)
	}
	text = append(text, Entry{Seq: noise + 3, Time: time.Unix(noise, 0), Kind: Intent, Service: "web"}.line()...)
	if err := os.WriteFile(filepath.Join(dir, "00000000000000000001.jsonl"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		f    Filter
		want int
	}{
		{Filter{Slice: slice("192.0.2.0/24"), Limit: 5}, 1},
		{Filter{Slice: slice("2001:db8:100::/48"), Limit: 5}, 1},
		{Filter{Slice: slice("203.0.113.0/24"), Limit: 5}, 0},
		{Filter{Slice: slice("192.0.2.0/24"), Service: "web"}, 2}, // its own, and the service's
		{Filter{Kind: Intent}, 1},
	} {
		out, err := ReadDir(dir, c.f)
		if err != nil || len(out) != c.want {
			t.Errorf("%+v: %d entries, %v; want %d", c.f, len(out), err, c.want)
		}
		allocs := testing.AllocsPerRun(1, func() { ReadDir(dir, c.f) })
		if allocs > noise {
			t.Errorf("%+v: %.0f allocations for %d lines that are not asked for", c.f, allocs, noise)
		}
	}
}

// TestReadSparesTheDisk: what is surely in memory is not looked for in the
// files, which may hold half a gigabyte: a watcher asks for what comes next.
func TestReadSparesTheDisk(t *testing.T) {
	dir := t.TempDir()
	with(t, Options{Dir: dir}, func(j *Journal) {
		for n := range 8 {
			j.Append(entry(n))
		}
	})
	j := with(t, Options{Dir: dir, Recent: 4}, func(j *Journal) {
		for n := range 8 {
			j.Append(entry(n))
		}
	})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]Filter{"13 14 15 16": {After: 12}, "15 16": {After: 12, Limit: 2}, "": {Since: time.Now().Add(time.Hour)}} {
		if got, err := j.Read(f); err != nil || numbers(got) != want {
			t.Errorf("%+v: %s, %v", f, numbers(got), err)
		}
	}
	for _, f := range []Filter{{}, {After: 11}, {Since: time.Unix(0, 0)}} {
		if _, err := j.Read(f); err == nil {
			t.Errorf("%+v: not looked for on the disk", f)
		}
	}
}

// TestEach: what Read returns, in the same order, whatever is asked for and
// wherever it is.
func TestEach(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, MaxSize: 20 << 10, Keep: 100, Recent: 50}
	fill := func(from, to int) *Journal {
		return with(t, o, func(j *Journal) {
			for n := from; n < to; n++ {
				e := entry(n)
				if n%3 == 0 {
					e.Slice = slice("2001:db8:100::/48")
				}
				j.Append(e)
			}
		})
	}
	fill(0, 3*batch)
	j := fill(3*batch, 4*batch) // the newest are in memory and on the disk
	if files, err := list(dir); err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range []Filter{
		{}, {Limit: 3}, {Limit: 60}, {Limit: 5000}, {After: 20}, {After: 20, Limit: 100}, {After: 4*batch - 5}, {After: 10 * batch},
		{Slice: slice("2001:db8:100::/48")}, {Slice: slice("2001:db8:100::/48"), Limit: 20}, {Slice: slice("2001:db8:100::/48"), Limit: 100},
		{Service: "web", Limit: 7}, {Service: "other"}, {Since: time.Unix(0, 0)}, {Since: time.Now().Add(time.Hour)},
	} {
		want, err := j.Read(f)
		if err != nil {
			t.Fatal(err)
		}
		var got []Entry
		if err := j.Each(f, func(e Entry) error { got = append(got, e); return nil }); err != nil {
			t.Fatal(err)
		}
		if numbers(got) != numbers(want) {
			t.Errorf("%+v: %s\nwant %s", f, numbers(got), numbers(want))
		}
	}
	enough := errors.New("enough")
	n := 0
	if err := j.Each(Filter{}, func(Entry) error { n++; return enough }); !errors.Is(err, enough) || n != 1 {
		t.Errorf("a reader that has enough: %v after %d", err, n)
	}
}

// TestEachTakesTurns: who reads slowly keeps neither other readers from the
// files, nor all of them in memory.
func TestEachTakesTurns(t *testing.T) {
	dir := t.TempDir()
	j := with(t, Options{Dir: dir, Recent: 4}, func(j *Journal) {
		for n := range 3 * batch {
			j.Append(entry(n))
		}
	})
	first := true
	err := j.Each(Filter{}, func(Entry) error {
		if !first {
			return nil
		}
		first = false
		if err := os.Truncate(filepath.Join(dir, "00000000000000000001.jsonl"), 0); err != nil {
			t.Error(err)
		}
		return j.Each(Filter{}, func(e Entry) error {
			if e.Seq <= 3*batch-4 {
				t.Errorf("%d is still there", e.Seq)
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// TestLimitIsInMemory: the newest few need no file.
func TestLimitIsInMemory(t *testing.T) {
	dir := t.TempDir()
	j := with(t, Options{Dir: dir, Recent: 8}, func(j *Journal) {
		for n := range 16 {
			j.Append(entry(n))
		}
	})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := j.Read(Filter{Limit: 8}); err != nil || numbers(got) != "9 10 11 12 13 14 15 16" {
		t.Errorf("%s, %v", numbers(got), err)
	}
	if _, err := j.Read(Filter{Limit: 9}); err == nil {
		t.Error("9 of 8 in memory")
	}
}
