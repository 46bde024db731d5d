package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// raced: the tests run under the race detector.
var raced bool

// bubble runs a test in virtual time; see race_test.go.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if raced {
		t.Skip("the race detector's runtime fails on trees in virtual time")
	}
	synctest.Test(t, f)
}

// TestSpread measures, in virtual time, how long a change takes until 500
// POPs in a tree of eight children each have it, with 40 ms from POP to POP.
// It asserts no speed, only that the tree adds little to its three hops.
func TestSpread(t *testing.T) {
	if raced {
		t.Skip("too much for the race detector")
	}
	const followers, fan, hop = 500, 8, 40 * time.Millisecond
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.net.delay = func(string, string) time.Duration { return hop }
		quiet := func(o *Options) {
			o.Beat, o.TTL, o.Silence, o.Back = 10*time.Second, 30*time.Second, 30*time.Second, time.Hour
			o.Presence = func(context.Context) (Said, error) { return Said{}, errors.New("nothing to say") }
		}
		for i := range 200 {
			w.put(fmt.Sprint("config ", i), i)
		}
		name := func(i int) string { return fmt.Sprintf("P%03d", i) }
		w.add(name(0), quiet)
		w.same(time.Second, name(0))
		for i := 1; i <= followers; i++ {
			w.add(name(i), quiet, name((i-1)/fan))
		}
		began, deepest := time.Now(), 0
		all := func(revision int64) {
			for i := 1; i <= followers; i++ {
				n := w.node[name(i)]
				for n.rep.position().revision < revision {
					rung := n.rep.bell.wait()
					if n.rep.position().revision < revision {
						<-rung
					}
				}
			}
		}
		st, _ := w.core.Status(t.Context())
		all(st.Revision)
		joined := time.Since(began)
		var took []time.Duration
		for i := range 25 {
			time.Sleep(777 * time.Millisecond)
			began := time.Now()
			all(w.put("x", i))
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		for i := range followers {
			deepest = max(deepest, len(w.node[name(i+1)].Status().Path)-1)
		}
		t.Logf("%d followers, %d children each, %d hops of %v: all joined with 200 objects after %v; a change is everywhere after %v (median), %v (worst of %d)",
			followers, fan, deepest, hop, joined, took[len(took)/2], took[len(took)-1], len(took))
		if most := time.Duration(deepest)*hop + 20*time.Millisecond; took[len(took)-1] > most {
			t.Errorf("%v is more than the hops take", took[len(took)-1])
		}
	})
}

// TestPresenceSpread is the same for presence, among 73 POPs that all speak
// once a second.
func TestPresenceSpread(t *testing.T) {
	if raced {
		t.Skip("too much for the race detector")
	}
	const followers, fan, hop = 72, 8, 40 * time.Millisecond
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.net.delay = func(string, string) time.Duration { return hop }
		name := func(i int) string { return fmt.Sprintf("P%03d", i) }
		w.add(name(0), nil)
		for i := 1; i <= followers; i++ {
			w.add(name(i), nil, name((i-1)/fan))
		}
		time.Sleep(4 * time.Second)
		oldest := time.Duration(0)
		for range 20 {
			time.Sleep(137 * time.Millisecond)
			for i := range followers + 1 {
				list := w.node[name(i)].Fleet()
				if len(list) != followers+1 {
					t.Fatalf("%s hears %d", name(i), len(list))
				}
				for _, p := range list {
					oldest = max(oldest, time.Since(p.Made))
				}
			}
		}
		t.Logf("%d POPs, %d children each, four hops of %v at most: no presence is older than %v", followers+1, fan, hop, oldest)
		if oldest > 2*time.Second {
			t.Errorf("presence is up to %v old", oldest)
		}
	})
}
