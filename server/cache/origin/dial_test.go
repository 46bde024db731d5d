package origin

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestInterleave(t *testing.T) {
	for _, test := range [][2][]netip.Addr{
		{nil, nil},
		{addrs("::1", "::2", "::3", "1.1.1.1"), addrs("::1", "1.1.1.1", "::2", "::3")},
		{addrs("1.1.1.1", "1.1.1.2", "::1", "::2"), addrs("1.1.1.1", "::1", "1.1.1.2", "::2")},
	} {
		if got := interleave(test[0]); !slices.Equal(got, test[1]) {
			t.Errorf("%v: %v", test[0], got)
		}
	}
}

// TestHappyEyeballs: what each address does, and what comes of it when.
func TestHappyEyeballs(t *testing.T) {
	type does struct {
		after time.Duration
		err   error
	}
	refused := errors.New("connection refused")
	for _, test := range []struct {
		name  string
		addrs []netip.Addr
		does  map[string]does
		want  string // the address, or the error's kind
		after time.Duration
		tried int
	}{
		{"the first", addrs("::1", "1.1.1.1"), map[string]does{"::1": {100 * time.Millisecond, nil}, "1.1.1.1": {0, nil}}, "::1", 100 * time.Millisecond, 1},
		{"the first is slow", addrs("::1", "1.1.1.1"), map[string]does{"::1": {time.Hour, nil}, "1.1.1.1": {0, nil}}, "1.1.1.1", 250 * time.Millisecond, 2},
		{"the first wins late", addrs("::1", "1.1.1.1"), map[string]does{"::1": {300 * time.Millisecond, nil}, "1.1.1.1": {100 * time.Millisecond, nil}}, "::1", 300 * time.Millisecond, 2},
		{"the first is refused", addrs("::1", "1.1.1.1"), map[string]does{"::1": {10 * time.Millisecond, refused}, "1.1.1.1": {10 * time.Millisecond, nil}}, "1.1.1.1", 20 * time.Millisecond, 2},
		{"all are refused", addrs("::1", "1.1.1.1", "::2"), map[string]does{"::1": {0, refused}, "1.1.1.1": {0, refused}, "::2": {0, refused}}, "connect", 0, 3},
		{"nobody answers", addrs("::1", "1.1.1.1"), map[string]does{"::1": {time.Hour, nil}, "1.1.1.1": {time.Hour, nil}}, "connect-timeout", 5 * time.Second, 2},
		{"one refused, one silent", addrs("::1", "1.1.1.1"), map[string]does{"::1": {0, refused}, "1.1.1.1": {time.Hour, nil}}, "connect", 5 * time.Second, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				tried, open := 0, 0
				env := Env{
					Lookup: func(context.Context, string) ([]netip.Addr, error) { return test.addrs, nil },
					Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
						host, _, _ := net.SplitHostPort(address)
						mu.Lock()
						tried++
						mu.Unlock()
						select {
						case <-time.After(test.does[host].after):
						case <-ctx.Done():
							return nil, ctx.Err()
						}
						if err := test.does[host].err; err != nil {
							return nil, err
						}
						mu.Lock()
						open++
						mu.Unlock()
						return &named{host: host, closed: func() { mu.Lock(); open--; mu.Unlock() }}, nil
					},
				}.withDefaults()
				d := &dialer{resolver: newResolver(env, 5*time.Second), dial: env.Dial, stagger: env.Stagger, timeout: 5 * time.Second}
				start := time.Now()
				conn, err := d.DialContext(t.Context(), "tcp", "www.example.com:80")
				got := ""
				if err != nil {
					got = classify(err, false, false).String()
				} else {
					got = conn.(*named).host
				}
				if got != test.want || time.Since(start) != test.after || tried != test.tried {
					t.Errorf("%s after %v, %d tried (%v)", got, time.Since(start), tried, err)
				}
				synctest.Wait()
				if err == nil && open != 1 || err != nil && open != 0 {
					t.Errorf("%d open", open)
				}
			})
		})
	}
}

type named struct {
	net.Conn
	host   string
	closed func()
}

func (n *named) Close() error { n.closed(); return nil }

func TestResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var fails error
		answer := addrs("192.0.2.1", "2001:db8::1")
		r := newResolver(Env{TTL: 30 * time.Second, Stale: 60 * time.Second, Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			asked++
			time.Sleep(time.Second)
			return answer, fails
		}}, 5*time.Second)
		want := func(n int, ok bool) {
			t.Helper()
			a, err := r.addresses(t.Context(), "www.example.com")
			if (err == nil) != ok || ok && len(a) != 2 || asked != n {
				t.Fatalf("%v, %v, asked %d times, want %d", a, err, asked, n)
			}
		}
		var wg sync.WaitGroup
		for range 10 { // one question for all
			wg.Go(func() { r.addresses(t.Context(), "www.example.com") })
		}
		wg.Wait()
		want(1, true)
		time.Sleep(29 * time.Second)
		want(1, true)
		time.Sleep(time.Second)
		want(2, true)
		fails = &net.DNSError{Err: "server failure", Name: "www.example.com"}
		time.Sleep(31 * time.Second)
		want(3, true) // stale
		time.Sleep(61 * time.Second)
		want(4, false)
		fails = nil
		want(5, true)
		// The leaving of one who waits ends nothing.
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := r.addresses(ctx, "www.example.com"); err != nil {
			t.Error(err)
		}
		want(6, true)
		if a, err := r.addresses(t.Context(), "2001:db8::9"); err != nil || len(a) != 1 || asked != 6 {
			t.Error(a, err)
		}
		answer = nil
		if _, err := r.addresses(t.Context(), "none.example"); classify(&dialError{KindDNS, err}, false, false) != KindDNS || err == nil {
			t.Error(err)
		}
	})
}
