package probe

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// TestStutter: the flows of a POP that falls silent every second and is never
// gone are asked less and less, and as if nothing had been after a long quiet.
func TestStutter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, sent := playing(t, Options{VIP: anywhere})
		const step = 990 * time.Millisecond // nothing else is due at a multiple of it
		var asked []int                     // steps
		for s := range 200 {
			f := some(1)
			f[0].Stamp = 1
			if p.Doubt(f, time.Now()) == 1 {
				asked = append(asked, s)
			}
			time.Sleep(step)
		}
		want := []int{0, 3, 6, 11, 20, 37, 70, 135}
		if len(asked) != len(want) {
			t.Fatalf("asked after %v steps, want %v", asked, want)
		}
		for i := range want {
			if asked[i] != want[i] {
				t.Fatalf("asked after %v steps, want %v", asked, want)
			}
		}
		if n := sent(); n > 50*len(want) {
			t.Errorf("%d segments", n)
		}
		time.Sleep(3 * time.Minute)
		f := some(1)
		f[0].Stamp = 1
		if p.Doubt(f, time.Now()) != 1 {
			t.Errorf("it is not asked after a long quiet: %+v", p.Counts())
		}
	})
}

// TestSeemsGone: a flow of a POP that seems gone for an hour, and whose client
// never comes, is woken less and less; and at once when a route comes.
func TestSeemsGone(t *testing.T) {
	for _, stamp := range []uint32{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			p, sent := playing(t, Options{VIP: anywhere})
			wake := func(seconds int) int {
				before := sent()
				for range seconds {
					f := some(1)
					f[0].Stamp = stamp
					p.Wake(f, time.Now())
					time.Sleep(time.Second)
				}
				return sent() - before
			}
			kinds := 1 + int(stamp)
			if n := wake(16); n < 50 || n > 80*kinds {
				t.Errorf("%d segments at first", n)
			}
			if n := wake(3600); n < 3600/16 || n > kinds*3600/2 {
				t.Errorf("%d segments in an hour", n)
			}
			if n := wake(16); n > 8*kinds {
				t.Errorf("%d segments in 16 seconds of a later hour", n)
			}
			time.Sleep(100 * time.Millisecond) // whatever was sent, it is longer ago than half a gap
			before := sent()
			p.Wake(some(1), time.Now()) // if it is not in the queue
			p.Hurry(time.Now())
			if n := sent() - before; n < 1 || n > kinds {
				t.Errorf("%d segments when the route comes", n)
			}
			time.Sleep(200 * time.Millisecond)
			if n := sent() - before; n < 5 {
				t.Errorf("%d segments soon after", n)
			}
		})
	}
}

// TestPastsBound: what is remembered has a bound.
func TestPastsBound(t *testing.T) {
	p, now := newPasts(100, time.Minute), time.Unix(1000, 0)
	for i := range 100_000 {
		k := key{client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), uint16(i>>16)+1)}
		p.asked(k, now)
		if n := len(p.now) + len(p.before); n > 200 {
			t.Fatalf("%d are remembered", n)
		}
		if p.of(k).doubts == 0 {
			t.Fatal("the last one is not")
		}
	}
}
