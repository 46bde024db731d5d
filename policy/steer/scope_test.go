package steer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

// trie is the oracle for large maps: one node a bit, written without regard to
// how the map does it.
type trie struct {
	child [][2]int32
	val   []int32 // of the network that ends here; -1: none
	same  []int32 // the answer of all addresses below; -1: there are several
}

func newTrie() *trie {
	t := &trie{}
	t.node()
	return t
}

func (t *trie) node() int32 {
	t.child, t.val = append(t.child, [2]int32{-1, -1}), append(t.val, -1)
	return int32(len(t.val) - 1)
}

func bit(a netip.Addr, i int) int {
	b := a.As16()
	if a.Is4() {
		i += 96
	}
	return int(b[i/8]>>(7-i%8)) & 1
}

func (t *trie) add(p netip.Prefix, val int32) {
	at := int32(0)
	for i := range p.Bits() {
		b := bit(p.Addr(), i)
		if t.child[at][b] < 0 {
			n := t.node()
			t.child[at][b] = n
		}
		at = t.child[at][b]
	}
	t.val[at] = val
}

// done fills same, with v for what is above.
func (t *trie) done(at, v int32) int32 {
	if at == 0 {
		t.same = make([]int32, len(t.val))
	}
	if t.val[at] >= 0 {
		v = t.val[at]
	}
	l, r := v, v
	if c := t.child[at][0]; c >= 0 {
		l = t.done(c, v)
	}
	if c := t.child[at][1]; c >= 0 {
		r = t.done(c, v)
	}
	if t.same[at] = l; l != r {
		t.same[at] = -1
	}
	return t.same[at]
}

// get gives the answer of an address and the shortest right prefix length.
func (t *trie) get(a netip.Addr, v int32) (int32, int) {
	at := int32(0)
	for i := range a.BitLen() {
		if t.same[at] >= 0 {
			return t.same[at], i
		}
		if t.val[at] >= 0 {
			v = t.val[at]
		}
		c := t.child[at][bit(a, i)]
		if c < 0 {
			return v, i + 1
		}
		at = c
	}
	return t.same[at], a.BitLen()
}

// covers reports whether everything in p has the answer v.
func (t *trie) covers(p netip.Prefix, above, v int32) bool {
	at := int32(0)
	for i := range p.Bits() {
		if t.val[at] >= 0 {
			above = t.val[at]
		}
		c := t.child[at][bit(p.Addr(), i)]
		if c < 0 {
			return above == v
		}
		at = c
	}
	return t.same[at] == v
}

// bigMap gives n overlapping networks of both families and their location, of
// which there are 60, leading to 20 destinations.
func bigMap(r *rand.Rand, n int, yield func(p netip.Prefix, loc int)) {
	seen := make(map[netip.Prefix]bool, n)
	for len(seen) < n {
		var p netip.Prefix
		if r.IntN(3) > 0 {
			v := r.Uint32()
			b := [4]byte{1 + byte(v>>24)%223, byte(v >> 16), byte(v >> 8), byte(v)}
			p = netip.PrefixFrom(netip.AddrFrom4(b), 12+r.IntN(13)).Masked()
		} else {
			v := r.Uint64()
			b := [16]byte{0x20 | byte(v)&0xf, byte(v >> 8), byte(v >> 16), byte(v >> 24), byte(v >> 32), byte(v >> 40)}
			p = netip.PrefixFrom(netip.AddrFrom16(b), 20+r.IntN(29)).Masked()
		}
		if !seen[p] {
			seen[p] = true
			yield(p, r.IntN(60))
		}
	}
}

func manyDestinations() Config {
	cfg := Config{Self: "P0", Rules: []Rule{{Name: "www.example.net"}}, Asked: Destination{Failover: []Weighted{{POP: "P1"}}}}
	for i := range 20 {
		id := policy.POPID(fmt.Sprint("P", i))
		cfg.POPs = append(cfg.POPs, POP{ID: id, Name: fmt.Sprintf("p%d.example.net.", i)})
		cfg.Destinations = append(cfg.Destinations, Destination{Name: fmt.Sprint("d", i), POPs: []Weighted{{POP: id}}})
	}
	for i := range 60 {
		cfg.Locations = append(cfg.Locations, Location{Name: fmt.Sprint("l", i), Destination: fmt.Sprint("d", i%20)})
	}
	return cfg
}

// TestScopes asks for 5,000 clients of each family, half of them in the map, on
// maps of 20,000 and 100,000 networks, or 500,000 where CATCHMENT_STEER_LARGE is set.
func TestScopes(t *testing.T) {
	sizes := []int{20_000, 100_000}
	if os.Getenv("CATCHMENT_STEER_LARGE") != "" {
		sizes = []int{20_000, 500_000}
	}
	for _, n := range sizes {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(n), 3))
			v4, v6, b := newTrie(), newTrie(), NewBuilder()
			var some []netip.Prefix
			bigMap(r, n, func(p netip.Prefix, loc int) {
				of := v6
				if p.Addr().Is4() {
					of = v4
				}
				of.add(p, int32(loc%20))
				some = append(some, p)
				if err := b.Add(p, fmt.Sprint("l", loc), 0); err != nil {
					t.Fatal(err)
				}
			})
			nets, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			c, err := New(manyDestinations(), nets)
			if err != nil {
				t.Fatal(err)
			}
			checkScopes(t, r, c, v4, false, some)
			checkScopes(t, r, c, v6, true, some)
		})
	}
}

const unknown = 20 // the answer of who is in no network

func checkScopes(t *testing.T, r *rand.Rand, c *Chooser, oracle *trie, v6 bool, nets []netip.Prefix) {
	oracle.done(0, unknown)
	wrong, sum, best, family := 0, 0, 0, "IPv4"
	if v6 {
		family = "IPv6"
	}
	const samples = 5000
	for i := 0; i < samples; {
		p := nets[r.IntN(len(nets))]
		if p.Addr().Is6() != v6 {
			continue
		}
		a := within(r, p)
		if i++; i%2 == 0 && !v6 {
			a = netip.AddrFrom4([4]byte{1 + byte(r.IntN(223)), byte(r.IntN(256)), byte(r.IntN(256)), 0})
		}
		q := Question{Client: netip.PrefixFrom(a, 24).Masked()}
		if v6 {
			q.Client = netip.PrefixFrom(a, 56).Masked()
		}
		at := q.Client.Addr()
		got, scope := c.Place(&q, nil)
		want, least := oracle.get(at, unknown)
		if int32(got.dest()) != want {
			t.Fatalf("%v goes to %d, want %d", at, got.dest(), want)
		}
		if !oracle.covers(netip.PrefixFrom(at, scope).Masked(), unknown, want) {
			wrong++
		}
		sum, best = sum+scope, best+least
	}
	mean, right := float64(sum)/samples, float64(best)/samples
	t.Logf("%s: %d of %d scopes cover clients of another POP; mean /%.3f, coarsest right /%.3f", family, wrong, samples, mean, right)
	if wrong > 0 || mean > right+0.1 || mean < right {
		t.Errorf("%s: %d scopes cover others, want 0; mean /%.3f, want /%.3f", family, wrong, mean, right)
	}
}

// TestMillion tells what a million networks cost; the memory is asserted, the
// times are only told.
func TestMillion(t *testing.T) {
	if os.Getenv("CATCHMENT_STEER_LARGE") == "" {
		t.Skip("CATCHMENT_STEER_LARGE=1 runs it")
	}
	before := heap()
	r, b := rand.New(rand.NewPCG(1, 1)), NewBuilder()
	names := make([]string, 60)
	for i := range names {
		names[i] = fmt.Sprint("l", i)
	}
	bigMap(r, 1_000_000, func(p netip.Prefix, loc int) {
		if err := b.Add(p, names[loc], 0); err != nil {
			t.Fatal(err)
		}
	})
	builder := heap() - before
	at := time.Now()
	nets, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	built := time.Since(at)
	at = time.Now()
	c, err := New(manyDestinations(), nets)
	if err != nil {
		t.Fatal(err)
	}
	compiled := time.Since(at)
	t.Logf("builder %.1f MB; built in %v: %d ranges, %.1f MB; compiled in %v, %.1f MB", mb(builder), built.Round(time.Millisecond),
		nets.Ranges(), mb(nets.Bytes()), compiled.Round(time.Millisecond), mb(c.Bytes()))
	nets, b = nil, nil
	held := heap() - before
	t.Logf("heap held: %.1f MB", mb(held))
	if held > 20<<20 {
		t.Errorf("a million networks hold %.1f MB, want 20 at most", mb(held))
	}
	runtime.KeepAlive(c)
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func mb(n int) float64 { return float64(n) / (1 << 20) }

func BenchmarkPlace(b *testing.B) {
	for _, n := range []int{20_000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			r, build := rand.New(rand.NewPCG(1, 1)), NewBuilder()
			bigMap(r, n, func(p netip.Prefix, loc int) { _ = build.Add(p, fmt.Sprint("l", loc), 0) })
			nets, _ := build.Build()
			c, err := New(manyDestinations(), nets)
			if err != nil {
				b.Fatal(err)
			}
			q := make([]Question, 4096)
			for i := range q {
				q[i].Client = netip.PrefixFrom(netip.AddrFrom4([4]byte{1 + byte(r.IntN(223)), byte(r.IntN(256)), byte(r.IntN(256)), 0}), 24)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c.Place(&q[i&4095], nil)
				i++
			}
		})
	}
}
