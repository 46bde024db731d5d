package checkpoint

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// natted is the flow of one of many clients behind one address.
func natted(port uint16, offset, rate uint64) Flow {
	return Flow{Client: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), port), VIP: vip4, Object: object(1), Offset: offset, Rate: rate, RTT: 20 * time.Millisecond}
}

// resumes asks for what natted is of.
func resumes(offset uint64) Ask {
	return Ask{Client: netip.MustParseAddr("203.0.113.9"), VIP: vip4.Addr(), Object: object(1), Offset: offset}
}

// TestNAT: of clients behind one address that download the same object each
// uses up its own checkpoint, in whatever order they come; one of which nothing
// is known uses up nobody's.
func TestNAT(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		flows []Flow
		asks  []uint64 // in the order of flows, then of nobody's
	}{
		"far from each other":             {[]Flow{natted(1, 10*mib, mib), natted(2, 500*mib, mib)}, []uint64{11 * mib, 500*mib + 7, 200 * mib}},
		"a fast one before a slow one":    {[]Flow{natted(1, 10*mib, 4*mib), natted(2, 11*mib, 1<<16)}, []uint64{10*mib + 9, 11*mib + 1<<16}},
		"one begins anew, one younger":    {[]Flow{natted(1, 3*mib, mib)}, []uint64{4 * mib, 0, mib}},
		"one that is slow, and one ahead": {[]Flow{natted(1, 100*mib, 1<<16)}, []uint64{100*mib + 1<<16, 102 * mib, 98 * mib}},
	} {
		for _, backward := range []bool{false, true} {
			b := NewBook(Options{VIP: ours})
			p := connect(b, "LON", t0)
			p.say(t, c.flows)
			for i := range c.asks {
				if backward {
					i = len(c.asks) - 1 - i
				}
				got, ok := b.Take(resumes(c.asks[i]), t0.Add(time.Second))
				if want := i < len(c.flows); ok != want || ok && got.Client != c.flows[i].Client {
					t.Errorf("%s: backward %v: client %d at %d gets %+v, %v", name, backward, i, c.asks[i], got, ok)
				}
			}
			p.close()
		}
	}
}

// TestNATMany: 200 clients behind one address, at places of their own, come back
// in any order: each uses up its own checkpoint.
func TestNATMany(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 8))
	b := NewBook(Options{VIP: ours})
	p := connect(b, "LON", t0)
	var flows []Flow
	for i := range 200 {
		flows = append(flows, natted(uint16(i+1), uint64(i)*10<<20+r.Uint64N(1<<20), 1<<20+r.Uint64N(3<<20)))
	}
	p.say(t, flows)
	for _, i := range r.Perm(len(flows)) {
		f := &flows[i]
		got, ok := b.Take(resumes(f.Offset+1+r.Uint64N(f.Rate)), t0.Add(time.Second))
		if !ok || got.Client != f.Client {
			t.Errorf("%v gets %+v, %v", f.Client, got, ok)
		}
	}
	p.close()
}

// TestStood: a flow that its POP, which speaks, has said nothing new of has not
// got on; of a POP that is silent it may have.
func TestStood(t *testing.T) {
	for _, c := range []struct {
		heard time.Duration // the POP's last word, after the flow's
		ask   uint64        // after 20 s
		ok    bool
	}{{20 * time.Second, 1<<20 + 23<<20, false}, {20 * time.Second, 1<<20 + 19<<20, true}, {0, 1<<20 + 39<<20, true}} {
		b := NewBook(Options{VIP: ours})
		p := connect(b, "LON", t0)
		p.say(t, []Flow{natted(1, 1<<20, 1<<20)})
		heard := t0.Add(c.heard)
		p.now.Store(&heard)
		p.say(t, []Flow{natted(1, 1<<20, 1<<20)})
		if _, ok := b.Take(resumes(c.ask), t0.Add(20*time.Second)); ok != c.ok {
			t.Errorf("%+v: %v", c, ok)
		}
		p.close()
	}
}

// TestOnce: a checkpoint that was used is not there again, though its POP says
// it again with less, and on a new connection; another object on the same
// connection is another.
func TestOnce(t *testing.T) {
	b := NewBook(Options{VIP: ours, Keep: time.Minute})
	p := connect(b, "LON", t0)
	f := natted(1, 10<<20, 1<<20)
	take := func(what string, want bool, o Object, now time.Time) {
		t.Helper()
		a := resumes(10<<20 + 1)
		a.Object = o
		if _, ok := b.Take(a, now); ok != want {
			t.Errorf("%s: %v", what, ok)
		}
	}
	p.say(t, []Flow{f})
	take("the first time", true, f.Object, t0)
	take("the second", false, f.Object, t0)
	less := f
	less.Offset -= 100
	p.say(t, []Flow{less})
	take("said again", false, f.Object, t0)
	p.close()
	p = connect(b, "LON", t0)
	p.say(t, []Flow{f, natted(2, 20<<20, 1<<20)})
	take("said on a new connection", false, f.Object, t0)
	next := f
	next.Object = object(2)
	p.say(t, []Flow{next})
	take("another object", true, next.Object, t0)
	p.close()

	// When nothing of it is good any more, it is forgotten that it was used.
	p = connect(b, "LON", t0)
	p.say(t, nil)
	b.Expire(t0.Add(2 * time.Minute))
	if n := len(b.pops["LON"].uses.flows) + len(b.pops["LON"].uses.rates); n != 0 {
		t.Errorf("%d are remembered", n)
	}
	p.close()
}
