package site

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
)

func limited(t testing.TB, l Limits) *Site {
	c := config("s", "*")
	c.Limits = l
	return table(t, c).Site("s")
}

var start = time.Unix(1_700_000_000, 0)

func TestAdmit(t *testing.T) {
	s := limited(t, Limits{Client: Rate{Requests: 2, Burst: 3}, Site: Rate{Requests: 100, Burst: 5}})
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	same := netip.MustParseAddr("2001:db8::2") // in b's /64
	for i, step := range []struct {
		client netip.Addr
		after  time.Duration
		ok     bool
		retry  time.Duration
		reason string
	}{
		{a, 0, true, 0, ""}, {a, 0, true, 0, ""}, {a, 0, true, 0, ""},
		{a, 0, false, time.Second, LimitClientRequests},
		{b, 0, true, 0, ""}, {same, 0, true, 0, ""},
		{same, 0, false, time.Second, LimitSiteRequests}, // the site's five are gone
		{a, 500 * time.Millisecond, true, 0, ""},
		{a, 500 * time.Millisecond, false, time.Second, LimitClientRequests},
		{a, 400 * time.Millisecond, false, time.Second, LimitClientRequests}, // a clock that goes back
		{a, 1000 * time.Millisecond, true, 0, ""},
	} {
		retry, reason, ok := s.Admit(step.client, start.Add(step.after))
		if ok != step.ok || retry != step.retry || reason != step.reason {
			t.Errorf("step %d: %v %q %v, want %+v", i, retry, reason, ok, step)
		}
	}
}

func TestBytes(t *testing.T) {
	s := limited(t, Limits{Client: Rate{Bytes: 1000, BytesBurst: 2000}, IPv4: 24, Exempt: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	a, near := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.254")
	if _, _, ok := s.Admit(a, start); !ok {
		t.Fatal("the first request is refused")
	}
	s.Charge(a, 7000, start) // 5000 more than there is
	if retry, reason, ok := s.Admit(near, start); ok || reason != LimitClientBytes || retry != 6*time.Second {
		t.Errorf("%v %q %v, want to wait 6 s", retry, reason, ok)
	}
	if _, _, ok := s.Admit(near, start.Add(6*time.Second)); !ok {
		t.Error("refused after the wait it was told")
	}
	free := netip.MustParseAddr("198.51.100.7")
	s.Charge(free, 1<<40, start)
	if _, _, ok := s.Admit(free, start); !ok {
		t.Error("an exempt client is limited")
	}
	s.Charge(a, 1<<60, start)
	if retry, _, _ := s.Admit(a, start.Add(time.Minute)); retry != maxRetry {
		t.Errorf("wait %v, want at most %v", retry, maxRetry)
	}
}

// Each client against an exact model that keeps one bucket for each for ever.
func TestLimiterOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	rate := Rate{Requests: 5, Burst: 8}
	s := limited(t, Limits{Client: rate})
	type state struct {
		tokens float64
		at     time.Duration
	}
	model := map[netip.Addr]*state{}
	now := time.Duration(0)
	refused := 0
	for step := range 20_000 {
		now += time.Duration(r.IntN(int(4 * time.Millisecond)))
		c := netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(30))})
		m := model[c]
		if m == nil {
			m = &state{tokens: rate.Burst, at: now}
			model[c] = m
		}
		m.tokens = min(rate.Burst, m.tokens+(now-m.at).Seconds()*rate.Requests)
		m.at = now
		want := m.tokens >= 1
		if want {
			m.tokens--
		} else {
			refused++
		}
		if _, _, ok := s.Admit(c, start.Add(now)); ok != want {
			if m.tokens > 0.999 && m.tokens < 1.001 {
				continue // on the edge
			}
			t.Fatalf("step %d: %v, want %v with %v tokens", step, ok, want, m.tokens)
		}
	}
	if refused == 0 {
		t.Error("nobody was ever refused")
	}
}

// A flood of addresses takes no memory, and frees nobody who is over the limit.
func TestFlood(t *testing.T) {
	s := limited(t, Limits{Client: Rate{Requests: 0.001, Burst: 10}, IPv6: 128})
	bad := netip.MustParseAddr("2001:db8::bad")
	for range 10 {
		s.Admit(bad, start)
	}
	a := [16]byte{0x20, 1, 0xd, 0xb8, 1}
	for i := range 400_000 {
		a[12], a[13], a[14], a[15] = byte(i>>24), byte(i>>16), byte(i>>8), byte(i)
		if _, _, ok := s.Admit(netip.AddrFrom16(a), start); !ok {
			t.Fatal("a new address is refused")
		}
	}
	if _, _, ok := s.Admit(bad, start); ok {
		t.Error("the flood has freed a client over its limit")
	}
}

// A reload keeps the buckets if the limits are the same.
func TestInherit(t *testing.T) {
	c := config("s", "*")
	c.Limits.Client = Rate{Requests: 0.1}
	old := table(t, c)
	client := netip.MustParseAddr("192.0.2.1")
	old.Site("s").Admit(client, start)
	c.Cache.TTL = time.Hour
	again, err := NewTable([]Config{c}, old)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := again.Site("s").Admit(client, start); ok {
		t.Error("the reload has filled the bucket")
	}
	c.Limits.Client.Requests = 1
	again, _ = NewTable([]Config{c}, again)
	if _, _, ok := again.Site("s").Admit(client, start); !ok {
		t.Error("other limits and the old bucket")
	}
}

func TestLimiterAtATime(t *testing.T) {
	s := limited(t, Limits{Client: Rate{Requests: 1, Burst: 100}, Site: Rate{Requests: 1, Burst: 150}})
	var mu sync.Mutex
	admitted := map[int]int{}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 100 {
				if _, _, ok := s.Admit(netip.MustParseAddr(fmt.Sprint("192.0.2.", g%2)), start); ok {
					mu.Lock()
					admitted[g%2]++
					mu.Unlock()
				}
				s.Charge(netip.MustParseAddr("192.0.2.1"), 1, start)
			}
		})
	}
	wg.Wait()
	if n := admitted[0] + admitted[1]; n != 150 || admitted[0] > 100 || admitted[1] > 100 {
		t.Errorf("%v admitted", admitted)
	}
}

func BenchmarkAdmit(b *testing.B) {
	s := limited(b, Limits{Client: Rate{Requests: 1e9, Bytes: 1e9}, Site: Rate{Requests: 1e9}})
	a := netip.MustParseAddr("2001:db8::1")
	b.ReportAllocs()
	for b.Loop() {
		s.Admit(a, start)
		s.Charge(a, 1000, start)
	}
}
