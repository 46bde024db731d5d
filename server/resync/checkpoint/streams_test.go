package checkpoint

import (
	"net/netip"
	"testing"
	"time"
)

// streams are those of one connection, 12 MiB/s in all.
func streams() []Flow {
	var out []Flow
	for i := range 3 {
		f := natted(7, uint64(i+1)<<20, 4<<20)
		f.Object, f.Stream, f.Streams, f.Stamp = object(i+1), uint32(i+1), 3, 99
		out = append(out, f)
	}
	return out
}

// TestStreams: each stream of a connection is known, gets on, and ends on its
// own; the rate is the connection's and is given once, with whichever is gone
// on with first.
func TestStreams(t *testing.T) {
	b := NewBook(Options{VIP: ours})
	p := connect(b, "LON", t0)
	flows := streams()
	p.say(t, flows)
	flows[1].Offset += 5 << 20
	p.say(t, flows)
	all := b.Flows("LON", t0)
	if len(all) != 3 {
		t.Fatalf("%+v", all)
	}
	for _, k := range all {
		want := flows[k.Object.Size>>20-1]
		if want.Stream, want.RTT = 0, k.RTT; k.Flow != want {
			t.Errorf("%+v, want %+v", k.Flow, want)
		}
	}
	take := func(n int, want, spent bool, rate uint64) {
		t.Helper()
		a := resumes(flows[n].Offset + 1)
		a.Object = flows[n].Object
		if k, ok := b.Take(a, t0.Add(time.Second)); ok != want || k.Spent != spent || k.Rate != rate {
			t.Errorf("stream %d: %+v, %v", n, k, ok)
		}
	}
	take(1, true, false, 12<<20)
	take(0, true, true, 0)
	take(1, false, false, 0)
	p.say(t, flows[2:]) // the others have ended there
	take(2, true, true, 0)
	p.close()

	// The POP says all anew: still the rate was given, and so were two flows.
	p = connect(b, "LON", t0)
	more := append(flows[:1:1], flows[2])
	fourth := flows[0]
	fourth.Object, fourth.Stream = object(4), 4
	p.say(t, append(more, fourth))
	take(0, false, false, 0)
	take(2, false, false, 0)
	flows[0] = fourth
	take(0, true, true, 0)
	p.close()
}

// TestStreamsOfOld: a POP of before streams were told understands their frames,
// as flows of their own whose rates together are no more than the
// connection's.
func TestStreamsOfOld(t *testing.T) {
	for n := range MaxStreams + 1 {
		for _, limited := range []bool{false, true} {
			b := appendSpeed(nil, &Flow{Rate: 1 << 20, ClientLimited: limited, Streams: n})
			old := b[2]&flagClientLimited != 0 // which is all that it looks at
			var f Flow
			r := &reader{b: b}
			r.speed(&f)
			if n == 1 {
				n = 0
			}
			if old != limited || f.ClientLimited != limited || f.Streams != n || !r.end() || len(b) != 3 {
				t.Errorf("%d streams, limited %v: % x, %+v", n, limited, b, f)
			}
		}
	}
}

// TestRates: of how many connections is remembered that their rates were given
// is bounded; beyond it none is.
func TestRates(t *testing.T) {
	b := NewBook(Options{VIP: ours, Flows: 2})
	p := connect(b, "LON", t0)
	spent := 0
	for i := range uint16(4) {
		f := natted(i+1, 10<<20, 1<<20)
		p.say(t, []Flow{f})
		k, ok := b.Take(resumes(10<<20), t0)
		if !ok || k.Client != netip.AddrPortFrom(f.Client.Addr(), i+1) {
			t.Fatalf("%+v %v", k, ok)
		}
		if k.Spent {
			spent++
		}
	}
	if u := b.pops["LON"].uses; spent != 2 || len(u.rates) != 2 || len(u.flows) > 2 {
		t.Errorf("%d without a rate, %d remembered", spent, len(u.rates))
	}
	p.close()
}
