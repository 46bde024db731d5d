package store

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// TestMillion measures what an object costs in RAM, what the garbage
// collector pays and how long a start takes, with as many objects as
// CATCHMENT_STORE_OBJECTS says (a million in `make bench-cache`; few by
// default), and prints it. Nothing but the memory is judged: it does not
// depend on the machine.
func TestMillion(t *testing.T) {
	n := 60_000
	if v := os.Getenv("CATCHMENT_STORE_OBJECTS"); v != "" {
		n, _ = strconv.Atoi(v)
	}
	opt := Options{Dir: t.TempDir(), RAM: 1 << 20, Disk: 8 << 30, ScrubRate: -1}
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	began := time.Now()
	body := make([]byte, 100)
	for i := range n {
		put(t, s, i, body)
	}
	filled := time.Since(began)
	perObject := float64(heap()-before) / float64(n)
	collect := time.Now()
	runtime.GC()
	gc := time.Since(collect)
	if got := s.Stats().Objects; got != n {
		t.Fatalf("%d objects of %d", got, n)
	}
	report(n, perObject, gc, fmt.Sprintf("filled in %s", filled.Round(time.Millisecond)))
	limit := 150.0
	if n < 1_000_000 {
		limit = 250 // what does not grow with the objects counts more
	}
	verdict := "met"
	if perObject > limit {
		verdict = "missed"
		t.Errorf("%.0f bytes an object", perObject)
	}
	fmt.Printf("goal cache-index-bytes-an-object %.0f %.0f %s\n", perObject, limit, verdict)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	restart(t, opt, n)
}

func report(n int, perObject float64, gc time.Duration, more string) {
	fmt.Printf("%d objects: %.0f bytes of RAM an object, full collection %s, %s\n", n, perObject, gc.Round(10*time.Microsecond), more)
}

// restart opens the store again, by its snapshot and by its journal.
func restart(t *testing.T, opt Options, n int) {
	before := heap()
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Objects != n {
		t.Fatalf("%d objects of %d after a restart", st.Objects, n)
	}
	collect := time.Now()
	runtime.GC()
	gc := time.Since(collect)
	perObject := float64(heap()-before) / float64(n)
	report(n, perObject, gc, fmt.Sprintf("started in %s", st.Start.Round(time.Millisecond)))
	missing := 0
	for i := 0; i < n; i += max(1, n/1000) {
		objs := s.Lookup(key(i), nil)
		if len(objs) != 1 || len(objs[0].Bytes()) != 100 {
			missing++
			continue
		}
		objs[0].Release()
	}
	if missing > 0 {
		t.Fatalf("%d of 1000 not there", missing)
	}
	count := 0
	s.Walk(context.Background(), func(Info) bool { count++; return true })
	if count != n {
		t.Fatalf("walk found %d of %d", count, n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkLookup is a hit on a hot small object.
func BenchmarkLookup(b *testing.B) {
	s, err := Open(Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		put(b, s, i, make([]byte, 1000))
	}
	keys := make([]Key, 1000)
	for i := range keys {
		keys[i] = key(i)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			var buf [4]*Object
			for _, o := range s.Lookup(keys[i%1000], buf[:0]) {
				o.Release()
			}
		}
	})
}

// TestLookupAllocates nothing, for a hot object.
func TestLookupAllocates(t *testing.T) {
	s, err := Open(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, 1, make([]byte, 1000))
	k := key(1)
	if n := testing.AllocsPerRun(1000, func() {
		var buf [4]*Object
		for _, o := range s.Lookup(k, buf[:0]) {
			if o.Bytes() == nil || o.Head() == nil {
				t.Fatal("no body")
			}
			o.Release()
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
