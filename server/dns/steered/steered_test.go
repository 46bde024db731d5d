package steered

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/server/dns/zone"
)

type world struct {
	config  *steer.Config
	chooser *steer.Chooser
	state   steer.State
	names   *Names
	live    *steer.Live
}

func caches(first string, n int) (out []steer.Cache) {
	a := netip.MustParseAddr(first)
	for range n {
		out = append(out, steer.Cache{Addr: a, Weight: 1})
		a = a.Next()
	}
	return out
}

func newWorld(t testing.TB) *world {
	b := steer.NewBuilder()
	for i := range 200 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i), 0, 0, 0}), 8+i%9)
		if err := b.Add(p.Masked(), []string{"eu", "us", "ap"}[i%3], i+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Add(netip.MustParsePrefix("2001:db8::/32"), "us", 0); err != nil {
		t.Fatal(err)
	}
	nets, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{config: &steer.Config{
		Self:      "LON",
		POPs:      []steer.POP{{ID: "LON", Name: "lon.pop.example.net."}, {ID: "NYC", Name: "nyc.pop.example.net."}, {ID: "CHEAP", Name: "cheap.pop.example.net."}},
		Locations: []steer.Location{{Name: "eu", Destination: "eu"}, {Name: "us", Destination: "us"}, {Name: "ap", Destination: "both"}},
		Destinations: []steer.Destination{
			{Name: "eu", POPs: []steer.Weighted{{POP: "LON"}}, Cheap: []steer.Weighted{{POP: "CHEAP"}}},
			{Name: "us", POPs: []steer.Weighted{{POP: "NYC"}}, Failover: []steer.Weighted{{POP: "LON"}}},
			{Name: "both", POPs: []steer.Weighted{{POP: "LON", Weight: 3}, {POP: "NYC", Weight: 1}}},
		},
		Rules:     []steer.Rule{{Name: "www.example.net", Max: 2}, {Name: "*.example.net"}, {Name: "example.net", Direct: true}},
		Asked:     steer.Destination{Name: "asked"},
		SlowLabel: "slowpop",
	}}
	if w.chooser, err = steer.New(*w.config, nets); err != nil {
		t.Fatal(err)
	}
	up := func(c []steer.Cache) steer.POPState {
		return steer.POPState{Health: policy.Up, Stance: policy.Announce, Caches: c}
	}
	w.state = steer.State{POPs: []steer.POPState{
		up(append(caches("198.51.100.1", 5), caches("2001:db8:1::1", 3)...)), up(caches("203.0.113.1", 4)), up(nil)}}
	w.live = w.chooser.With(w.state, nil)
	if w.names, err = New(w.config, w.live, nil, Options{Unicast: []netip.Addr{netip.MustParseAddr("192.0.2.99")}}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) of(t testing.TB, name string) zone.Chooser {
	all, err := w.names.Dynamic("example.net")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(d zone.Dynamic) bool { return d.Name == name })
	if i < 0 {
		t.Fatalf("no %s in %v", name, all)
	}
	return all[i].Chooser
}

func query(name, client, local string) *zone.Query {
	wire, _, err := zone.Wire(name)
	if err != nil {
		panic(err)
	}
	q := &zone.Query{Name: []byte(wire), Resolver: netip.MustParseAddr("250.0.0.1"), Local: netip.MustParseAddr(local), Rand: rand.Uint64()}
	if p, err := netip.ParsePrefix(client); err == nil {
		q.Client, q.Bits, q.Subnet = p.Addr(), uint8(p.Bits()), true
	} else {
		q.Client = q.Resolver
	}
	return q
}

// The prepared answers are those that the choice itself would give: same POP
// and scope, addresses of that POP's caches, as many.
func TestSameAsTheChoice(t *testing.T) {
	w := newWorld(t)
	byPool := map[string]int{}
	for _, name := range []string{"www.example.net.", "*.example.net.", "example.net.", "slowpop.www.example.net."} {
		c := w.of(t, name)
		asked := strings.Replace(name, "*", "foo", 1)
		for i := range 3000 {
			client := fmt.Sprintf("%d.0.%d.0/24", i%224, i/224)
			q := query(asked, client, "192.0.2.1")
			got := c.Choose(q)
			rule, under, ok := w.chooser.Rule(strings.TrimSuffix(asked, "."))
			if !ok {
				t.Fatal(asked)
			}
			want := w.live.Choose(&steer.Question{Rule: rule, SlowName: under, Client: netip.MustParsePrefix(client), Resolver: q.Resolver, Seed: q.Rand})
			shares := w.live.Shares(want.Place)
			if got.Pool == nil || int(got.Scope) != want.Scope || !slices.ContainsFunc(shares, func(s steer.Share) bool { return string(w.config.POPs[s.POP].ID) == got.Pool.ID }) {
				t.Fatalf("%s for %s: %+v, want %+v", asked, client, got, want)
			}
			if len(shares) == 1 && got.Pool.Name != want.Target {
				t.Fatalf("%s for %s: target %q, want %q", asked, client, got.Pool.Name, want.Target)
			}
			if _, n := got.Pool.Packed(1, q.Rand); want.Target == "" && len(shares) == 1 && n != len(want.Addresses()) {
				t.Fatalf("%s for %s: %d addresses, want %d", asked, client, n, len(want.Addresses()))
			}
			byPool[got.Pool.ID]++
		}
	}
	if byPool["LON"] == 0 || byPool["NYC"] == 0 || byPool["CHEAP"] == 0 {
		t.Errorf("not all POPs were chosen: %v", byPool)
	}
}

// A slow name goes to a cheap POP, under a wildcard too, and to the POP's own
// name where it was asked at a unicast address.
func TestSlowNames(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ chooser, name, client, local, want string }{
		{"slowpop.www.example.net.", "slowpop.www.example.net", "0.0.1.0/24", "192.0.2.1", "cheap.pop.example.net."},
		{"*.example.net.", "slowpop.foo.example.net", "0.0.1.0/24", "192.0.2.1", "cheap.pop.example.net."},
		{"*.example.net.", "slowpopx.foo.example.net", "0.0.1.0/24", "192.0.2.1", ""},
		{"*.example.net.", "foo.example.net", "0.0.1.0/24", "192.0.2.99", ""},
		{"slowpop.www.example.net.", "slowpop.www.example.net", "223.0.1.0/24", "192.0.2.1", ""},
		{"slowpop.www.example.net.", "slowpop.www.example.net", "223.0.1.0/24", "192.0.2.99", "lon.pop.example.net."},
	} {
		if got := w.of(t, c.chooser).Choose(query(c.name, c.client, c.local)); got.Pool == nil || got.Pool.Name != c.want {
			t.Errorf("%+v: %+v", c, got.Pool)
		}
	}
}

// POPs get their shares.
func TestShares(t *testing.T) {
	w := newWorld(t)
	c := w.of(t, "www.example.net.")
	n := 0
	for range 40_000 {
		q := query("www.example.net", "2.0.1.0/24", "192.0.2.1") // "ap": three to one
		if c.Choose(q).Pool.ID == "LON" {
			n++
		}
	}
	if n < 29_200 || n > 30_800 {
		t.Errorf("%d of 40000, want 30000", n)
	}
}

// A new state counts at once; a transfer gets what the POP itself would.
func TestStates(t *testing.T) {
	w := newWorld(t)
	c := w.of(t, "www.example.net.")
	q := query("www.example.net", "1.0.1.0/24", "192.0.2.1")
	if got := c.Choose(q); got.Pool.ID != "NYC" || got.Pool.Name != "nyc.pop.example.net." {
		t.Errorf("%+v", got.Pool)
	}
	w.state.POPs[1].Health = policy.Down
	if err := w.names.Set(w.chooser.With(w.state, nil), nil); err != nil {
		t.Fatal(err)
	}
	if got := c.Choose(q); got.Pool.ID != "LON" {
		t.Errorf("%+v", got.Pool)
	}
	if got := c.Choose(&zone.Query{}); got.Pool.ID != "LON" || got.Scope != 0 {
		t.Errorf("%+v", got)
	}
}

// The choice takes no memory: it is made for each question.
func TestNothingAllocated(t *testing.T) {
	w := newWorld(t)
	c := w.of(t, "*.example.net.")
	q := query("slowpop.foo.example.net", "2.0.1.0/24", "192.0.2.1")
	if n := testing.AllocsPerRun(200, func() { c.Choose(q) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkChoose(b *testing.B) {
	w := newWorld(b)
	c := w.of(b, "www.example.net.")
	q := query("www.example.net", "2.0.1.0/24", "192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		c.Choose(q)
	}
}

// TestAnswersAreCounted: each answer by the POP that the client would have got,
// and why it got another.
func TestAnswersAreCounted(t *testing.T) {
	w := newWorld(t)
	b := steer.NewBuilder()
	if err := b.Add(netip.MustParsePrefix("0.0.1.0/24"), "measured", 1); err != nil {
		t.Fatal(err)
	}
	nets, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	slow := steer.NewSlow(nets)
	w.state.POPs[1].Offers = []steer.Offer{{To: "LON", Share: 0.5}}
	if err := w.names.Set(w.chooser.With(w.state, slow), slow); err != nil {
		t.Fatal(err)
	}
	ask := func(name, of, client string, n int) {
		c := w.of(t, name)
		for range n {
			c.Choose(query(of, client, "192.0.2.1"))
		}
	}
	ask("www.example.net.", "www.example.net", "0.0.1.0/24", 100)                // eu, slow
	ask("www.example.net.", "www.example.net", "0.0.2.0/24", 70)                 // eu
	ask("slowpop.www.example.net.", "slowpop.www.example.net", "0.0.2.0/24", 30) // by its name
	ask("www.example.net.", "www.example.net", "1.0.1.0/24", 1000)               // us, half of it lent
	got := map[string]uint64{}
	for _, a := range w.names.Answered() {
		got[fmt.Sprint(a.Near, " ", a.To, " ", a.Why)] = a.N
	}
	if got["LON CHEAP slow"] != 100 || got["LON LON "] != 70 || got["CHEAP CHEAP "] != 30 || len(got) != 5 {
		t.Errorf("%v", got)
	}
	if lent := got["NYC LON room"]; lent < 400 || lent > 600 || got["NYC NYC "]+lent != 1000 {
		t.Errorf("%v", got)
	}
}
