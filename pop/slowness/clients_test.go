package slowness

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// sent is what clients have sent, one by one.
type sent struct {
	client string
	class  Class
}

func times(n int, client string, c Class) (out []sent) {
	for range n {
		out = append(out, sent{client, c})
	}
	return out
}

// each gives n samples of each of so many clients, the first of them after one.
func each(clients, n int, from string, c Class) (out []sent) {
	a := addr(from)
	for range clients {
		a = a.Next()
		out = append(out, times(n, a.String(), c)...)
	}
	return out
}

// TestNoClientSpeaksForItsNetwork: who sends more than others counts for no
// more, whoever comes first, and one that is alone counts for itself.
func TestNoClientSpeaksForItsNetwork(t *testing.T) {
	with := func(parts ...[]sent) (out []sent) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	for _, c := range []struct {
		what string
		sent []sent
		slow bool
		why  string
	}{
		{"one alone", times(20, "192.0.2.1", PathSlow), true, "20 of 20 transfers"},
		{"one alone, not always slow", with(times(30, "192.0.2.1", PathSlow), times(8, "192.0.2.1", Fast)), true, "30 of 38"},
		{"one against ten", with(times(200, "192.0.2.1", PathSlow), each(10, 2, "192.0.2.1", Fast)), false, "200 of 220 transfers were slow, but of few of its clients"},
		{"one against four", with(times(120, "192.0.2.1", PathSlow), each(4, 1, "192.0.2.1", Fast)), false, "but of few"},
		{"two against ten", with(each(2, 120, "192.0.2.100", ReceiverSlow), each(10, 2, "192.0.2.1", Fast)), false, "but of few"},
		{"one of 200 against 200 of one", with(times(200, "192.0.2.1", PathSlow), each(200, 1, "192.0.2.1", Fast)), false, ""},
		{"ten against one", with(times(200, "192.0.2.1", Fast), each(10, 3, "192.0.2.1", PathSlow)), true, "few clients"},
		{"one short look at a quick one", with(times(40, "192.0.2.1", PathSlow), each(1, 1, "192.0.2.1", Fast)), true, ""},
		{"five of six", with(each(5, 30, "192.0.2.1", PathSlow), times(30, "192.0.2.1", Fast)), true, ""},
		{"many that are slow", each(150, 1, "192.0.2.1", PathSlow), true, ""},
		{"unclear ones say nothing", with(times(20, "192.0.2.1", PathSlow), each(10, 5, "192.0.2.1", Unclear)), true, ""},
		{"IPv6, one against ten", with(times(200, "2001:db8:0:1::1", PathSlow), times(2, "2001:db8:0:2::1", Fast), times(2, "2001:db8:0:3::1", Fast), times(2, "2001:db8:0:4::1", Fast)), false, "but of few"},
		{"IPv6, one with many addresses against three", with(each(60, 2, "2001:db8:0:1::", PathSlow), times(3, "2001:db8:0:2::1", Fast), times(3, "2001:db8:0:3::1", Fast), times(3, "2001:db8:0:4::1", Fast)), false, "but of few"},
	} {
		for seed := range 20 {
			s, order := New(Options{}), c.sent
			if seed > 0 { // as written first, then mixed
				order = shuffled(order, seed)
			}
			for _, x := range order {
				s.Add(sampleOf(x.class, addr(x.client)), start)
			}
			r := s.Report(start)
			if len(r.Networks) != 1 || r.Networks[0].Slow != c.slow || !strings.Contains(r.Networks[0].Why(), c.why) {
				t.Fatalf("%s, order %d: %+v", c.what, seed, r.Networks)
			}
		}
	}
}

func shuffled(in []sent, seed int) []sent {
	out := append([]sent(nil), in...)
	rand.New(rand.NewPCG(9, uint64(seed))).Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// TestClientsAgainstAll: what six places tell is what places for all would, on
// random networks, but where it is a near thing.
func TestClientsAgainstAll(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	near := map[bool]int{}
	for range 1500 {
		s, model := New(Options{}), map[netip.Addr]*[2]float64{}
		clients, size, share := 2+r.IntN(40), 1+r.IntN(8), r.Float64()
		var all []sent
		for i := range clients {
			n := 1 + r.IntN(size)
			if r.IntN(6) == 0 {
				n += r.IntN(60)
			}
			c := Fast
			if r.Float64() < share {
				c = PathSlow
			}
			all = append(all, times(n, fmt.Sprintf("192.0.2.%d", i), c)...)
		}
		if len(all) > 240 {
			all = shuffled(all, 1)[:240] // no byte is full: nothing is halved
		}
		for i, x := range shuffled(all, 2) {
			s.Add(sampleOf(x.class, addr(x.client)), start.Add(time.Duration(i)*time.Second))
			m := model[addr(x.client)]
			if m == nil {
				m = new([2]float64)
				model[addr(x.client)] = m
			}
			if m[1]++; x.class.Slow() {
				m[0]++
			}
		}
		slow, clear := 0.0, 0.0
		for _, m := range model {
			part := min(1, weight/m[1])
			slow, clear = slow+part*m[0], clear+part*m[1]
		}
		if len(all) < 8 || len(model) < 2 {
			continue
		}
		n, ok := s.Report(start).Find(addr("192.0.2.1"))
		if !ok || n.Clients > len(model) {
			t.Fatalf("%+v of %d clients", n, len(model))
		}
		least := wilson(slow, clear)
		if want := least >= 0.6; n.Slow != want {
			if near[true]++; least < 0.45 || least > 0.75 {
				t.Errorf("slow: %v, with places for all %d clients %v (%.2f)", n.Slow, len(model), want, least)
			}
		}
		near[false]++
	}
	if t.Logf("%d networks, %d near things told otherwise", near[false], near[true]); near[false] < 1000 || near[true] > near[false]/30 {
		t.Errorf("%d of %d are told otherwise", near[true], near[false])
	}
}

// TestClientsOfTheFleet: a client that two POPs have seen is one, also of
// what was on disk.
func TestClientsOfTheFleet(t *testing.T) {
	own, other := New(Options{}), New(Options{})
	for _, s := range []*Store{own, other} {
		feed(s, "192.0.2.1", PathSlow, 40, start)
	}
	for i := range 6 {
		feed(other, fmt.Sprintf("192.0.2.%d", 10+i), Fast, 3, start)
	}
	kept := New(Options{})
	if err := kept.Restore(own.Snapshot(start, 0)); err != nil {
		t.Fatal(err)
	}
	b := NewBook(kept)
	if n, _ := b.Look(addr("192.0.2.9"), start); !n.Slow || n.Clients != 1 {
		t.Errorf("alone: %+v", n)
	}
	if err := b.Hear("FRA", other.Snapshot(start, 0), start); err != nil {
		t.Fatal(err)
	}
	// 80 samples of one client count for 8 beside 18 of six.
	for what, n := range map[string]Network{"looked up": first(b.Look(addr("192.0.2.9"), start)), "report": first(b.Report(start).Find(addr("192.0.2.9")))} {
		if n.Slow || !n.Outvoted || n.Clients < 2 || n.Clients > 7 || n.Samples != 98 {
			t.Errorf("%s: %+v", what, n)
		}
	}
}

func first(n Network, _ bool) Network { return n }

// TestFormerSnapshot: one without clients is read, as of many.
func TestFormerSnapshot(t *testing.T) {
	s := New(Options{})
	feed(s, "192.0.2.1", PathSlow, 40, start)
	s.recs[0].clients = [apart]client{}
	b := s.Snapshot(start, 0)
	b = b[:len(b)-1]
	b[len(magic)] = 1
	again := New(Options{})
	if err := again.Restore(b); err != nil {
		t.Fatal(err)
	}
	if n := again.Report(start).Networks; len(n) != 1 || !n[0].Slow || n[0].Clients != 2 || n[0].Samples != 40 {
		t.Errorf("%+v", n)
	}
	for _, v := range []byte{0, 3} {
		b[len(magic)] = v
		if err := New(Options{}).Restore(b); err == nil || !strings.Contains(err.Error(), "version") {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

// TestBrokenClients: a snapshot with a client told twice, or of no samples, or
// with more clients than there are places, is refused.
func TestBrokenClients(t *testing.T) {
	for what, clients := range map[string][]byte{
		"twice": {2, 1, 1, 0, 1, 0, 1}, "nothing": {1, 1, 0, 0}, "seven": {7, 1, 1, 0, 2, 1, 0, 3, 1, 0, 4, 1, 0, 5, 1, 0, 6, 1, 0, 7, 1, 0}, "cut": {1, 1, 1}, "id": {1, 0xff, 0xff, 0xff, 1, 1},
	} {
		s := New(Options{})
		feed(s, "192.0.2.1", Unclear, 4, start)
		b := s.Snapshot(start, 0)
		b = append(b[:len(b)-1], clients...)
		if err := New(Options{}).Restore(b); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

// TestClientsDecay: what a client has sent decays as what its network keeps, so
// that one alone stays alone.
func TestClientsDecay(t *testing.T) {
	s := New(Options{Half: time.Hour})
	for i := range 3000 {
		feed(s, "192.0.2.1", []Class{PathSlow, ReceiverSlow, PathSlow, Fast}[i%4], 1, start.Add(time.Duration(i)*time.Minute/4))
		if n, ok := s.Report(start.Add(time.Duration(i) * time.Minute / 4)).Find(addr("192.0.2.1")); ok && n.Clients != 1 {
			t.Fatalf("after %d: %+v", i, n)
		}
	}
	if r := &s.recs[0]; r.clients[0].samples() < r.clear() {
		t.Errorf("%+v of %d", r.clients, r.clear())
	}
}
