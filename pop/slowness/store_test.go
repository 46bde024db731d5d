package slowness

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/nets"
	"github.com/catchment/catchment/server/resync/flow"
)

var start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// feed adds n samples of a class from a network.
func feed(s *Store, client string, c Class, n int, now time.Time) {
	for range n {
		s.Add(sampleOf(c, addr(client)), now)
	}
}

// told lists a report in few words.
func told(r *Report) string {
	var out []string
	for _, n := range r.Networks {
		w := fmt.Sprintf("%v %v", n.Prefix, n.Class)
		if n.Slow {
			w += " slow"
		}
		out = append(out, w)
	}
	return strings.Join(out, "; ")
}

func TestReportMergesUpwardAndSplits(t *testing.T) {
	type seen struct {
		client string
		class  Class
		n      int // transfers
	}
	for _, c := range []struct {
		what string
		seen []seen
		want string
	}{
		{"one network", []seen{{"192.0.2.1", PathSlow, 20}}, "192.0.2.0/24 path-slow slow"},
		{"too few", []seen{{"192.0.2.1", PathSlow, 7}}, ""},
		{"unclear ones do not count", []seen{{"192.0.2.1", Unclear, 100}}, ""},
		{"sparse neighbours together", []seen{{"10.1.0.1", PathSlow, 4}, {"10.1.1.1", PathSlow, 4}, {"10.1.2.1", PathSlow, 4}, {"10.1.3.1", PathSlow, 4}},
			"10.1.0.0/22 path-slow slow"},
		{"a sparse one that differs is not drawn along", []seen{{"10.1.0.1", PathSlow, 40}, {"10.1.1.1", Fast, 5}}, "10.1.0.0/24 path-slow slow"},
		{"neighbours that differ stay apart", []seen{{"10.1.0.1", PathSlow, 20}, {"10.1.1.1", Fast, 20}, {"10.1.2.1", Fast, 20}, {"10.1.3.1", Fast, 20}},
			"10.1.0.0/24 path-slow slow; 10.1.1.0/24 fast; 10.1.2.0/23 fast"},
		{"alike ones are one", []seen{{"10.1.0.1", ReceiverSlow, 20}, {"10.1.255.1", ReceiverSlow, 20}, {"10.1.255.2", ReceiverSlow, 9}, {"10.2.0.1", ReceiverSlow, 20}},
			"10.1.0.0/16 receiver-slow slow; 10.2.0.0/24 receiver-slow slow"},
		{"two clients do not speak for all between them", []seen{{"10.1.0.1", ReceiverSlow, 20}, {"10.1.255.1", ReceiverSlow, 20}},
			"10.1.0.0/24 receiver-slow slow; 10.1.255.0/24 receiver-slow slow"},
		{"nor two that are sparse", []seen{{"2001:db8:1::1", PathSlow, 6}, {"2001:db8:2::1", PathSlow, 6}}, ""},
		{"half and half is not sure", []seen{{"10.1.0.1", PathSlow, 11}, {"10.1.0.1", Fast, 9}}, "10.1.0.0/24 path-slow"},
		{"two ways to be slow add up", []seen{{"10.1.0.1", PathSlow, 9}, {"10.1.0.1", ReceiverSlow, 10}, {"10.1.0.1", Fast, 2}},
			"10.1.0.0/24 receiver-slow slow"},
		{"a lossy network and full buffers are not slow", []seen{{"10.1.0.1", Lossy, 30}, {"10.2.0.1", BufferFull, 30}},
			"10.1.0.0/24 lossy; 10.2.0.0/24 buffer-full"},
		{"IPv6", []seen{{"2001:db8:1:2::1", PathSlow, 4}, {"2001:db8:1:3::1", PathSlow, 4}, {"2001:db8:2::1", Fast, 20}, {"::ffff:192.0.2.1", Fast, 20}},
			"2001:db8:1::/48 path-slow slow; 2001:db8:2::/48 fast; 192.0.2.0/24 fast"},
	} {
		s := New(Options{})
		for _, x := range c.seen {
			feed(s, x.client, x.class, x.n, start)
		}
		if got := told(s.Report(start)); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.what, got, c.want)
		}
	}
}

// TestReportIsDisjoint: of random samples every network is told at most once,
// in order, and a network that is sure by itself is told as what it is.
func TestReportIsDisjoint(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		s, sure := New(Options{}), map[netip.Addr]Class{}
		for range 1 + r.IntN(60) {
			a := netip.AddrFrom4([4]byte{10, byte(r.IntN(2)), byte(r.IntN(256)), 1})
			if r.IntN(4) == 0 {
				a = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, byte(r.IntN(64)), 15: 1})
			}
			if _, ok := sure[a]; ok {
				continue
			}
			c := Class(1 + r.IntN(int(classes)-1))
			n := r.IntN(40)
			feed(s, a.String(), c, n, start)
			if sure[a] = c; n < 8 {
				sure[a] = Unclear
			}
		}
		rep := s.Report(start)
		for i, n := range rep.Networks {
			if i > 0 && (rep.Networks[i-1].Prefix.Overlaps(n.Prefix) || order(rep.Networks[i-1].Prefix.Addr(), n.Prefix.Addr()) >= 0) {
				t.Fatalf("%v after %v", n.Prefix, rep.Networks[i-1].Prefix)
			}
		}
		for a, c := range sure {
			n, ok := rep.Find(a)
			if c != Unclear && (!ok || !n.Prefix.Contains(a) || n.Slow != c.Slow() || n.Class != c) {
				t.Fatalf("%v is told as %+v (%v), and was %v\n%s", a, n, ok, c, told(rep))
			}
		}
	}
}

func TestQuantiles(t *testing.T) {
	s := New(Options{})
	for i := range 200 {
		s.Add(&Sample{Client: addr("192.0.2.1"), Bytes: uint64(1e6 + i*1e5), Elapsed: time.Second}, start)
	}
	n := s.Report(start).Networks[0]
	for what, x := range map[string][2]float64{"p10": {n.P10, 3e6}, "p50": {n.P50, 11e6}, "p90": {n.P90, 19e6}} {
		if f := x[0] / x[1]; f < 1/1.3 || f > 1.3 {
			t.Errorf("%s is %.0f, want %.0f within 30 %%", what, x[0], x[1])
		}
	}
	for _, x := range []float64{0, 1, 4000, 4001, 6400, 1e6, 1e12, math.Inf(1), math.NaN()} {
		if b := bucket(x); b < 0 || b >= buckets || x > firstBound && x < 1e9 && math.Abs(scale.Value(b)-x) > 0.2308*x {
			t.Errorf("%v is in bucket %d, around %.0f", x, b, scale.Value(b))
		}
	}
}

func TestDecay(t *testing.T) {
	s := New(Options{Half: 24 * time.Hour})
	feed(s, "192.0.2.1", PathSlow, 40, start)
	for days, want := range map[int]string{1: "192.0.2.0/24 path-slow slow", 2: "192.0.2.0/24 path-slow slow", 4: "", 10: ""} {
		if got := told(s.Report(start.Add(time.Duration(days) * 24 * time.Hour))); got != want {
			t.Errorf("after %d days %q, want %q", days, got, want)
		}
	}
	later := start.Add(4 * 24 * time.Hour)
	feed(s, "192.0.2.1", Fast, 30, later)
	if got := told(s.Report(later)); got != "192.0.2.0/24 fast" {
		t.Errorf("what is new does not count more: %q", got)
	}
	// A full byte halves all, and the shares stay.
	s = New(Options{})
	feed(s, "192.0.2.1", PathSlow, 3000, start)
	feed(s, "192.0.2.1", Fast, 100, start)
	if n := s.Report(start).Networks[0]; !n.Slow || n.Samples > 512 || n.Samples < 200 {
		t.Errorf("%+v", n)
	}
}

func TestRoomIsBounded(t *testing.T) {
	s := New(Options{Max: 100})
	feed(s, "192.0.2.1", PathSlow, 50, start)
	for i := range 5000 {
		s.Add(sampleOf(Fast, netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})), start)
	}
	if st := s.Stats(); st.Networks != 100 || st.Evicted != 4901 || st.Samples[Fast] != 5000 || len(s.index) != 100 {
		t.Errorf("%+v, %d in the index", st, len(s.index))
	}
	if n, ok := s.Report(start).Find(addr("192.0.2.9")); !ok || !n.Slow {
		t.Error("the network that says most was forgotten")
	}
}

func TestSnapshotsAndFleet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	all, parts := New(Options{}), []*Store{New(Options{}), New(Options{}), New(Options{})}
	for range 3000 {
		x := sampleOf(Class(r.IntN(int(classes))), netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(100)), 1}))
		all.Add(x, start)
		parts[r.IntN(3)].Add(x, start)
	}
	b := NewBook(parts[0])
	for range 2 { // telling again counts once
		for i, name := range []string{"FRA", "NYC"} {
			if err := b.Hear(policy.POPID(name), parts[i+1].Snapshot(start, 0), start); err != nil {
				t.Fatal(name, err)
			}
		}
	}
	want, got := all.Report(start), b.Report(start)
	if told(want) != told(got) || len(want.Networks) == 0 {
		t.Errorf("the fleet says\n%s\none store would say\n%s", told(got), told(want))
	}
	for i := range want.Networks {
		if w, g := want.Networks[i], got.Networks[i]; w.Samples != g.Samples || w.Clients != g.Clients || math.Abs(w.P50-g.P50) > 1 || math.Abs(w.Loss-g.Loss) > 1e-4 {
			t.Fatalf("%+v, want %+v", g, w)
		}
	}
	again := New(Options{})
	if err := again.Restore(all.Snapshot(start, 0)); err != nil {
		t.Fatal(err)
	}
	if told(again.Report(start)) != told(want) {
		t.Error("what is restored is not what was saved")
	}
	if err := again.Restore(all.Snapshot(start, 0)); err == nil {
		t.Error("restored twice")
	}
	some, err := decode(all.Snapshot(start, 10), all.opt.Half)
	if err != nil || len(some) != 10 {
		t.Errorf("%d networks, %v", len(some), err)
	}
	if err := b.Hear("FRA", nil, start); err != nil || len(b.others) != 1 {
		t.Errorf("an empty snapshot forgets nobody: %v", err)
	}
	if err := b.Hear("FRA", New(Options{Half: time.Hour}).Snapshot(start, 0), start); err == nil || !strings.Contains(err.Error(), "half-life") {
		t.Errorf("another half-life: %v", err)
	}
}

func FuzzSnapshot(f *testing.F) {
	s := New(Options{})
	feed(s, "192.0.2.1", PathSlow, 5, start)
	feed(s, "2001:db8::1", Fast, 5, start)
	f.Add(s.Snapshot(start, 0))
	f.Add([]byte("CSLW"))
	f.Fuzz(func(t *testing.T, b []byte) {
		recs, err := decode(b, s.opt.Half)
		if err != nil {
			return
		}
		for i := 1; i < len(recs); i++ {
			if recs[i].key <= recs[i-1].key {
				t.Fatal("not in order")
			}
		}
		report(&s.opt, recs, start)
	})
}

func TestExportsAreRead(t *testing.T) {
	s := New(Options{})
	feed(s, "192.0.2.1", PathSlow, 20, start)
	feed(s, "198.51.100.1", Fast, 20, start)
	feed(s, "2001:db8::1", ReceiverSlow, 20, start)
	rep := s.Report(start.Add(time.Hour))
	var c, g bytes.Buffer
	if err := rep.WriteCSV(&c); err != nil {
		t.Fatal(err)
	}
	moves := (&Guard{Stale: 24 * time.Hour, Most: 1}).Judge(rep)
	measured, err := moves.Nets()
	if err != nil {
		t.Fatal(err)
	}
	operator, err := nets.CSV("x", strings.NewReader("192.0.2.64/26,fast\n203.0.113.0/25,by hand\n"))
	if err != nil {
		t.Fatal(err)
	}
	slow, err := (&Lists{Operator: operator}).Join(measured)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteNets(&g, "cheap1,cheap2", slow); err != nil {
		t.Fatal(err)
	}
	if want := "192.0.2.0/24,path-slow,true,0.924,20,"; !strings.Contains(c.String(), want) || !strings.Contains(c.String(), ",3600,1\n") {
		t.Errorf("%s\nlacks %s", c.String(), want)
	}
	if want := strings.ReplaceAll("192.0.2.0/26 =>\n192.0.2.128/25 =>\n203.0.113.0/25 =>\n2001:db8::/48 =>\n", "=>", "=> [ cheap1, cheap2 ]"); g.String() != want {
		t.Errorf("%s, want %s", g.String(), want)
	}
	m, err := nets.CSV("x", &c)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := m.Find(addr("198.51.100.9")); got != "fast" {
		t.Errorf("read back: %q", got)
	}
	if m, err = nets.Gdnsd("x", &g); err != nil {
		t.Fatal(err)
	}
	if got, _ := m.Find(addr("192.0.2.9")); got != "cheap1,cheap2" {
		t.Errorf("read back: %q", got)
	}
	checkLists(t, rep)
	col := Collector(s, func() *Report { return rep })
	if n := series(t, col); n != 1+1+int(classes)+1+2+2*(int(classes)-1) {
		t.Errorf("%d series", n)
	}
	if n := series(t, Collector(s, func() *Report { return nil })); n != 2+int(classes) {
		t.Errorf("%d series without a report", n)
	}
}

// series is how many a collector gives a registry.
func series(t *testing.T, c prometheus.Collector) (n int) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		n += len(f.Metric)
	}
	return n
}

func checkLists(t *testing.T, rep *Report) {
	read := func(text string) *steer.Nets {
		n, err := nets.CSV("x", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	moves := (&Guard{Stale: 24 * time.Hour, Most: 1}).Judge(rep)
	measured, err := moves.Nets()
	if err != nil {
		t.Fatal(err)
	}
	l := Lists{
		Operator: read("192.0.2.128/25,fast\n203.0.113.0/24,by hand\n"), Places: read("10.0.0.0/8,FR\n11.0.0.0/8,DE\n"),
		Providers: read("10.9.0.0/16,AS64500\n12.0.0.0/8,AS64501"), Slow: []string{"FR", "AS64501"},
	}
	slow, err := l.Join(measured)
	if err != nil {
		t.Fatal(err)
	}
	for a, want := range map[string]bool{
		"192.0.2.1": true, "192.0.2.200": false, "203.0.113.1": true, "198.51.100.1": false, "10.1.1.1": true, "10.9.1.1": true, "11.0.0.1": false, "12.0.0.1": true, "2001:db8::1": true, "2001:db9::1": false,
	} {
		if got, _ := slow.Has(addr(a)); got != want {
			t.Errorf("%s slow: %v, want %v", a, got, want)
		}
	}
}

func TestFollow(t *testing.T) {
	s := New(Options{})
	f := Follow{Store: s, Every: 5 * time.Second}
	key := flow.Key{Client: netip.MustParseAddrPort("192.0.2.1:4000"), VIP: netip.MustParseAddrPort("203.0.113.1:443")}
	other := flow.Key{Client: netip.MustParseAddrPort("192.0.2.2:4000"), VIP: key.VIP}
	for i := range 14 { // 100 kB a second, with the window as the limit
		sec := time.Duration(i) * time.Second
		now := start.Add(sec)
		flows := []flow.Flow{{Key: key, Acked: uint64(i) * 100_000, Busy: sec, Receiver: sec * 9 / 10, Rate: 110_000, RTT: 2e7, MinRTT: 2e7, MSS: 1448}}
		if i < 4 {
			flows = append(flows, flow.Flow{Key: other, Acked: uint64(i) * 10e6, Busy: sec, Rate: 11e6, MSS: 1448})
		}
		f.Pass(flows, now)
	}
	f.Pass(nil, start.Add(15*time.Second))
	st := s.Stats()
	if st.Samples[ReceiverSlow] != 3 || st.Samples[Fast] != 1 || len(f.seen) != 0 {
		t.Errorf("%+v, %d flows left", st, len(f.seen))
	}
}

// TestMillion tells the memory of a million networks.
func TestMillion(t *testing.T) {
	if os.Getenv("CATCHMENT_STEER_LARGE") == "" {
		t.Skip("CATCHMENT_STEER_LARGE=1 runs it")
	}
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before, s := heap(), New(Options{})
	for i := range 1_100_000 {
		s.Add(sampleOf(Class(i%5+1), netip.AddrFrom4([4]byte{byte(1 + i>>16), byte(i >> 8), byte(i), 1})), start)
	}
	held := heap() - before
	snap := s.Snapshot(start, 0)
	at := time.Now()
	rep := s.Report(start)
	took := time.Since(at)
	told := heap() - before - held
	t.Logf("%d networks: %.0f MB, %d B each; snapshot %.0f MB; report of %d in %v, %.0f MB more while judged, %.0f MB after", s.Stats().Networks, float64(held)/1e6, held/1_000_000,
		float64(len(snap))/1e6, len(rep.Networks), took.Round(time.Millisecond), float64(int(unsafe.Sizeof(record{}))*s.Stats().Networks+told)/1e6, float64(told)/1e6)
	if held > 200e6 {
		t.Errorf("%d MB, want 200 at most", held/1e6)
	}
	runtime.KeepAlive(s)
	runtime.KeepAlive(rep)
}
