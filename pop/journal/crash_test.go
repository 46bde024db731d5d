package journal

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTornAtEveryByte cuts a journal off at every byte, as a kill -9 or a
// power failure may, and goes on: what was complete stays, numbers go up, the
// cut is reported once, and nothing unreadable is left behind.
func TestTornAtEveryByte(t *testing.T) {
	src := t.TempDir()
	with(t, Options{Dir: src}, func(j *Journal) {
		for n := range 3 {
			j.Append(entry(n))
		}
	})
	name := fmt.Sprintf("%020d%s", 1, suffix)
	whole, err := os.ReadFile(filepath.Join(src, name))
	if err != nil {
		t.Fatal(err)
	}
	for i, junk := range []string{"", "\x00\x00\x00\x00", "garbage\n{\"seq\":0}\n{\"se"} {
		for cut := 0; cut <= len(whole); cut += 1 + 12*i { // every byte without junk
			testTorn(t, name, append(whole[:cut:cut], junk...), whole[:cut])
		}
	}
}

func testTorn(t *testing.T, name string, text, good []byte) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), text, 0o640); err != nil {
		t.Fatal(err)
	}
	complete := bytes.Count(good, []byte("\n"))
	if last := good[bytes.LastIndexByte(good, '\n')+1:]; len(good) == len(text) && bytes.HasSuffix(last, []byte("}")) {
		if _, ok := parse(last); ok {
			complete++ // only its newline is missing
		}
	}
	with(t, Options{Dir: dir}, func(j *Journal) { j.Append(Entry{Kind: Start}) })
	got, err := ReadDir(dir, Filter{})
	if err != nil {
		t.Fatal(err)
	}
	torn := 0
	for i, e := range got {
		if e.Seq != uint64(i+1) {
			t.Fatalf("cut at %d: numbers %s", len(good), numbers(got))
		}
		if e.Kind == Gap && strings.Contains(e.Text, "a crash cut off") {
			torn++
		}
	}
	if len(got)-torn != complete+1 || got[complete].Kind != Start {
		t.Fatalf("cut at %d: %d complete, then read %s", len(good), complete, numbers(got))
	}
	left, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || bytes.Count(left, []byte("\n")) != len(got) || !bytes.HasSuffix(left, []byte("\n")) {
		t.Fatalf("cut at %d: left %q", len(good), left)
	}
	wasTorn := len(text) > 0 && text[len(text)-1] != '\n' && (len(good) < len(text) || complete == bytes.Count(good, []byte("\n"))) || bytes.Contains(text, []byte("garbage"))
	if wasTorn != (torn == 1) {
		t.Fatalf("cut at %d: torn %v, reported %d times", len(good), wasTorn, torn)
	}
}

// TestFullDisk fills a small tmpfs: the journal says so, keeps what it can in
// memory, and writes it when there is room again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 48<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := Open(Options{Dir: filepath.Join(dir, "journal"), Queue: 100})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- j.Run(ctx) }()

	n := 0
	until(t, "the error is seen", func() bool {
		j.Append(entry(n))
		n++
		return j.Err() != nil
	})
	if !strings.Contains(j.Err().Error(), "no space left on device") {
		t.Error(j.Err())
	}
	for range 200 { // more than the queue holds; never blocks
		j.Append(entry(n))
		n++
	}
	s := j.Stats()
	if s.Dropped == 0 || s.Errors == 0 {
		t.Errorf("%+v", s)
	}
	got, err := j.Read(Filter{Limit: 1})
	if err != nil || len(got) != 1 || got[0].Text != fmt.Sprint("entry ", n-1) {
		t.Errorf("the newest is not readable while the disk is full: %v %v", got, err)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until(t, "the journal writes again", func() bool { return j.Err() == nil && j.Stats().Queued == 0 })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	disk, err := ReadDir(filepath.Join(dir, "journal"), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	gaps, last := 0, uint64(0)
	for _, e := range disk {
		if e.Seq <= last {
			t.Fatalf("%d after %d: written twice or out of order", e.Seq, last)
		}
		last = e.Seq
		if e.Kind == Gap && strings.Contains(e.Text, "were dropped") {
			gaps++
		}
	}
	if gaps == 0 || uint64(len(disk)) < uint64(n)-j.Stats().Dropped {
		t.Errorf("%d of %d entries on disk, %d dropped, %d gaps", len(disk), n, j.Stats().Dropped, gaps)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("never: ", what)
		}
	}
}

// FuzzFile gives the journal any file as what a crash left behind.
func FuzzFile(f *testing.F) {
	f.Add([]byte{})
	f.Add(entry(1).line())
	f.Add([]byte("{\"seq\":7,\"kind\":\"start\",\"time\":\"2026-01-01T00:00:00Z\"}\n{\"seq\":8"))
	f.Add([]byte("\x00\x00{}\n[]\nnull\n{\"seq\":1}\n"))
	f.Add([]byte("{\"seq\":18446744073709551615,\"kind\":\"start\"}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d%s", 1, suffix)), text, 0o640); err != nil {
			t.Fatal(err)
		}
		j := with(t, Options{Dir: dir}, func(j *Journal) { j.Append(Entry{Kind: Start, Text: "after"}) })
		got, err := ReadDir(dir, Filter{Kind: Start})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range got {
			if e.Boot == j.Boot() && e.Text == "after" {
				return
			}
		}
		t.Fatalf("the entry after the crash is not there: %v", got)
	})
}
