package purge

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// oracle is the list of all purges, asked one by one.
type oracle []Entry

func names(r *Request, o *Object) bool {
	switch r.Kind {
	case All:
		return true
	case Site:
		return r.Site == o.Site
	case Host:
		return r.Host == string(o.Host)
	case Prefix:
		return r.Host == string(o.Host) && strings.HasPrefix(string(o.Path), r.Path)
	case URL:
		return r.Site == o.Site && r.URL == string(o.URL)
	}
	for _, t := range o.Tags {
		if t == r.Tag && (r.Site == "" || r.Site == o.Site) && (r.Host == "" || r.Host == string(o.Host)) {
			return true
		}
	}
	return false
}

func (all oracle) check(stored Epoch, o *Object) Verdict {
	v := OK
	for i := range all {
		if e := &all[i]; e.ID > stored && names(&e.Request, o) {
			if e.Soft {
				v = max(v, Soft)
			} else {
				v = Hard
			}
		}
	}
	return v
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func randomObject(r *rand.Rand) (*Object, string) {
	host := pick(r, "a.example", "b.example", "c.example:8080")
	path := "/" + strings.Repeat(pick(r, "x", "y", "x/"), r.IntN(4)) + pick(r, "", "/z", "zz")
	o := &Object{Site: pick(r, "s1", "s2"), Host: []byte(host), Path: []byte(path), URL: []byte("https://" + host + path)}
	for range r.IntN(3) {
		o.Tags = append(o.Tags, pick(r, "t1", "t2", "t3"))
	}
	return o, path
}

func randomRequest(r *rand.Rand) Request {
	o, path := randomObject(r)
	q := Request{Kind: pick(r, URL, URL, Prefix, Prefix, Tag, Tag, Tag, Host, Site, All), Soft: r.IntN(2) == 0, Who: "test"}
	switch q.Kind {
	case URL:
		q.Site, q.URL = o.Site, string(o.URL)
	case Prefix:
		q.Host, q.Path = string(o.Host), path[:1+r.IntN(len(path))]
	case Tag:
		q.Tag = pick(r, "t1", "t2", "t3")
		if r.IntN(2) == 0 {
			q.Site = o.Site
		}
		if r.IntN(2) == 0 {
			q.Host = string(o.Host)
		}
	case Host:
		q.Host = string(o.Host)
	case Site:
		q.Site = o.Site
	}
	return q
}

// stored is an object in a test's store.
type stored struct {
	o       *Object
	at      Epoch // noted when its fill started
	checked Epoch // what Check gave back
}

// run does random purges, stores, checks and reopenings, and compares every
// check with the oracle. With exact, they are equal; else never less.
func run(t *testing.T, seed uint64, o Options, exact bool, steps int) {
	dir := t.TempDir()
	p, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { p.Close() }()
	r := rand.New(rand.NewPCG(seed, 1))
	var all oracle
	var store []*stored
	for step := range steps {
		switch n := r.IntN(40); {
		case n < 6:
			e, err := p.Purge(randomRequest(r))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		case n < 16:
			obj, _ := randomObject(r)
			at := p.Now()
			store = append(store, &stored{obj, at, at})
		case n == 16:
			if store = store[len(store)/3:]; len(store) > 0 {
				p.Forget(store[0].at)
			}
		case n == 17:
			p = reopen(t, p, dir, o)
		case len(store) > 0:
			s := store[r.IntN(len(store))]
			want := all.check(s.at, s.o)
			got, upTo := p.Check(s.checked, s.o)
			if got != want && (exact || got < want) {
				t.Fatalf("seed %d step %d: object %+v stored at %d: %v, want %v", seed, step, s.o, s.at, got, want)
			}
			if got == OK {
				s.checked = upTo
			}
		}
	}
	if entries, complete, err := p.List(0, 1<<30); err != nil || exact && complete && len(entries) != len(all) {
		t.Fatalf("%d purges listed of %d, complete %v: %v", len(entries), len(all), complete, err)
	}
}

func reopen(t *testing.T, p *Purges, dir string, o Options) *Purges {
	t.Helper()
	last := p.Now()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if p.Now() != last {
		t.Fatalf("epoch %d after reopening, want %d", p.Now(), last)
	}
	return p
}

func TestOracle(t *testing.T) {
	for seed := range uint64(8) {
		run(t, seed, Options{}, true, 600)
	}
}

// Folding and a rewritten journal purge more, never less.
func TestFoldedOracle(t *testing.T) {
	for seed := range uint64(8) {
		run(t, seed, Options{Max: 8, Recent: 3}, false, 600)
	}
}

func TestStoreOlderThanPurge(t *testing.T) {
	p, _ := Open("", Options{})
	o := &Object{Site: "s", Host: []byte("h"), Path: []byte("/"), URL: []byte("http://h/")}
	at := p.Now() // the fill starts
	if _, err := p.Purge(Request{Kind: Host, Host: "h"}); err != nil {
		t.Fatal(err)
	}
	if v, _ := p.Check(at, o); v != Hard { // it is stored only now
		t.Errorf("an object whose fill began before the purge: %v, want hard", v)
	}
	if v, _ := p.Check(p.Now(), o); v != OK {
		t.Errorf("an object whose fill began after the purge: %v, want ok", v)
	}
}

func TestRequestRefused(t *testing.T) {
	for _, r := range []Request{
		{}, {Kind: "everything"}, {Kind: URL}, {Kind: Prefix, Host: "h"}, {Kind: Prefix, Host: "h", Path: "a"},
		{Kind: Host}, {Kind: Site}, {Kind: Tag}, {Kind: All, Host: "h"}, {Kind: Host, Host: "h", Path: "/a"},
		{Kind: Site, Site: "s", Tag: "t"}, {Kind: Tag, Tag: strings.Repeat("x", maxText+1)},
	} {
		p, _ := Open("", Options{})
		if _, err := p.Purge(r); err == nil || p.Now() != 0 {
			t.Errorf("%.100v: error %v, epoch %d; want it refused", r, err, p.Now())
		}
	}
}

// Purges at a time, checks beside them: each purge is in effect once it has
// returned, and no object filled later is touched.
func TestManyAtATime(t *testing.T) {
	p, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			o := &Object{Site: fmt.Sprint(g), Host: []byte("h"), Path: []byte("/"), URL: fmt.Appendf(nil, "http://h/%d", g)}
			for range 20 {
				at := p.Now()
				if v, _ := p.Check(at, o); v != OK {
					t.Errorf("just filled: %v", v)
				}
				e, err := p.Purge(Request{Kind: URL, Site: o.Site, URL: string(o.URL)})
				if err != nil {
					t.Error(err)
				}
				if v, _ := p.Check(at, o); v != Hard || e.ID <= at {
					t.Errorf("purged by %d, stored at %d: %v", e.ID, at, v)
				}
			}
		})
	}
	wg.Wait()
	entries, complete, err := p.List(0, 1000)
	if err != nil || !complete || len(entries) != 160 {
		t.Fatalf("%d entries, complete %v, %v", len(entries), complete, err)
	}
	for i := 1; i < len(entries); i++ {
		if entries[i].ID <= entries[i-1].ID {
			t.Fatal("ids do not grow")
		}
	}
}

// A journal cut at any byte is what a crash leaves: all whole lines hold, and
// what comes after is saved.
func TestTornJournal(t *testing.T) {
	dir := t.TempDir()
	p, _ := Open(dir, Options{})
	for i := range 2 {
		if _, err := p.Purge(Request{Kind: Tag, Tag: fmt.Sprint(i), Who: "me", Why: "\"why\"\n"}); err != nil {
			t.Fatal(err)
		}
	}
	p.Close()
	whole, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		if cut%4 != 0 && cut < len(whole)-20 {
			continue // every byte near the end, and some others
		}
		torn := t.TempDir()
		if err := os.WriteFile(filepath.Join(torn, journalName), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Open(torn, Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Count(string(whole[:cut]), "\n")
		if got, _, _ := p.List(0, 10); len(got) != want {
			t.Fatalf("cut at %d: %d purges, want %d", cut, len(got), want)
		}
		if _, err := p.Purge(Request{Kind: All}); err != nil {
			t.Fatal(err)
		}
		p = reopen(t, p, torn, Options{})
		if got, _, _ := p.List(0, 10); len(got) != want+1 {
			t.Fatalf("cut at %d: %d purges after one more, want %d", cut, len(got), want+1)
		}
		p.Close()
	}
}

// A damaged line hides a purge of nobody knows what: all is stale.
func TestDamagedJournal(t *testing.T) {
	dir := t.TempDir()
	p, _ := Open(dir, Options{})
	o := &Object{Site: "s", Host: []byte("h"), Path: []byte("/"), URL: []byte("http://h/")}
	for range 3 {
		p.Purge(Request{Kind: Host, Host: "other"})
	}
	at := p.Now()
	p.Close()
	name := filepath.Join(dir, journalName)
	b, _ := os.ReadFile(name)
	b[20] ^= 1
	os.WriteFile(name, b, 0o600)
	p, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if v, _ := p.Check(at, o); v != Soft {
		t.Errorf("after a damaged line: %v, want soft", v)
	}
	if v, _ := p.Check(p.Now(), o); v != OK {
		t.Errorf("filled after it: %v, want ok", v)
	}
}

func TestJournalLost(t *testing.T) {
	p, _ := Open(t.TempDir(), Options{})
	defer p.Close()
	o := &Object{Site: "s", Host: []byte("h"), Path: []byte("/"), URL: []byte("http://h/")}
	seen := Epoch(time.Now().Add(time.Hour).UnixMicro()) // of a clock that was ahead, too
	if err := p.Expect(seen); err != nil {
		t.Fatal(err)
	}
	if v, _ := p.Check(seen, o); v != Soft {
		t.Errorf("%v, want soft", v)
	}
	last := p.Now()
	if err := p.Expect(last); err != nil || p.Now() != last {
		t.Errorf("epoch %d after expecting %d, which is known", p.Now(), last)
	}
}

// A disk that fails does not hinder a purge, and gets it later.
func TestNotSaved(t *testing.T) {
	dir := t.TempDir()
	p, _ := Open(dir, Options{})
	good := p.journal.f
	closed, _ := os.Open(os.DevNull)
	closed.Close()
	p.journal.f = closed
	e, err := p.Purge(Request{Kind: Host, Host: "h"})
	if !errors.Is(err, ErrNotSaved) || p.Now() != e.ID || p.Stats().Unsaved != 1 {
		t.Fatalf("entry %+v, error %v, %+v", e, err, p.Stats())
	}
	o := &Object{Host: []byte("h")}
	if v, _ := p.Check(e.ID-1, o); v != Hard {
		t.Errorf("not in effect: %v", v)
	}
	p.journal.f = good
	if _, err := p.Purge(Request{Kind: Host, Host: "i"}); err != nil {
		t.Fatal(err)
	}
	p = reopen(t, p, dir, Options{})
	defer p.Close()
	if got, _, _ := p.List(0, 10); len(got) != 2 || got[0].ID != e.ID {
		t.Errorf("after reopening: %+v", got)
	}
}

// The clock may go back: epochs do not.
func TestClockBack(t *testing.T) {
	now := time.Now()
	p, _ := Open("", Options{Now: func() time.Time { now = now.Add(-time.Hour); return now }})
	last := Epoch(0)
	for range 5 {
		e, _ := p.Purge(Request{Kind: All})
		if e.ID <= last {
			t.Fatalf("%d after %d", e.ID, last)
		}
		last = e.ID
	}
}

// A purge storm leaves a bounded journal and index.
func TestStorm(t *testing.T) {
	dir := t.TempDir()
	o := Options{Max: 50, Recent: 10}
	p, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 150 {
				p.Purge(Request{Kind: URL, Site: "s", URL: fmt.Sprintf("http://h%d/%d", i%70, g)})
			}
		})
	}
	wg.Wait()
	s := p.Stats()
	if s.Fine > o.Max || s.Groups > o.Max || s.Folds == 0 || s.Purges != 2400 {
		t.Errorf("%+v", s)
	}
	if p.journal.lines > 2*o.Max+1000 {
		t.Errorf("%d lines in the journal", p.journal.lines)
	}
	if got, complete, err := p.List(0, 10_000); err != nil || complete || len(got) < 10 {
		t.Errorf("%d listed, complete %v, %v", len(got), complete, err)
	}
	p = reopen(t, p, dir, o)
	p.Close()
}

func FuzzLine(f *testing.F) {
	l := line{Entry: Entry{ID: 7, Time: time.Unix(1, 0).UTC(), Request: Request{Kind: All}}}
	b, _ := appendLine(nil, &l)
	f.Add(b)
	f.Fuzz(func(t *testing.T, text []byte) {
		l, ok := parseLine(text)
		if !ok {
			return
		}
		again, err := appendLine(nil, l)
		if err != nil {
			t.Fatal(err)
		}
		if k, ok := parseLine(again); !ok || k.ID != l.ID || k.Request != l.Request || k.Floor != l.Floor {
			t.Fatalf("%+v became %+v", l, k)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{0, 1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p, _ := Open("", Options{})
			for i := range n {
				p.Purge(Request{Kind: URL, Site: "s", URL: fmt.Sprintf("https://h/%d", i)})
				if i%10 == 0 {
					p.Purge(Request{Kind: Tag, Tag: fmt.Sprint(i), Site: "s"})
					p.Purge(Request{Kind: Prefix, Host: "h", Path: "/" + strings.Repeat("a", i%30)})
				}
			}
			o := &Object{Site: "s", Host: []byte("h"), Path: []byte("/b/image.jpg"), URL: []byte("https://h/b/image.jpg"), Tags: []string{"x", "y"}}
			b.ReportAllocs()
			for b.Loop() {
				p.Check(0, o)
			}
		})
	}
}
