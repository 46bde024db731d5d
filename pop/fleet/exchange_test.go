package fleet

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
)

var secret = Secrets{[]byte("0123456789abcdef-test")}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// node is a POP with the least controller there can be: a lock stands for the
// goroutine that decides.
type node struct {
	*Fleet
	mu     sync.Mutex
	claims []Claim
	left   bool
}

func (n *node) local(context.Context) ([]Claim, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.claims), nil
}

func (n *node) say(c ...Claim) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.claims = c
}

// freeAddress returns a loopback address on which nothing listens.
func freeAddress(t *testing.T, host string) string {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Skipf("no loopback %s: %v", host, err)
	}
	defer l.Close()
	return l.Addr().String()
}

// world starts nodes that all know one another.
func world(t *testing.T, poll time.Duration, host string, names ...policy.POPID) map[policy.POPID]*node {
	addr := map[policy.POPID]string{}
	for _, n := range names {
		addr[n] = freeAddress(t, host)
	}
	nodes := map[policy.POPID]*node{}
	for _, name := range names {
		cfg := Config{POP: name, Listen: addr[name], Secrets: secret, Poll: poll, Timeout: 5 * time.Second, Stale: 5 * time.Second}
		for _, other := range names {
			if other != name {
				cfg.Peers = append(cfg.Peers, Peer{POP: other, URL: "http://" + addr[other] + "/"})
			}
		}
		n := &node{claims: []Claim{up(web4)}}
		var err error
		if n.Fleet, err = New(cfg, n.local, quiet()); err != nil {
			t.Fatal(err)
		}
		nodes[name] = n
		runFleet(t, n.Fleet)
		<-n.Ready()
	}
	return nodes
}

// runFleet runs it until the test ends or stop is called.
func runFleet(t *testing.T, f *Fleet) (context.Context, func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return ctx, stop
}

func eventually(t *testing.T, ctx context.Context, f *Fleet, ok func(policy.Fleet) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok(f.View(time.Now())) {
		select {
		case <-f.Changed():
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatalf("not so after 20 s: %+v", f.View(time.Now()))
		}
	}
}

func all(id policy.SliceID, st policy.Stance) func(policy.Fleet) bool {
	return func(v policy.Fleet) bool {
		for _, p := range v.Peers {
			if p.Heard.IsZero() || p.Slices[id].Stance != st || p.Slices[id].Leaving {
				return false
			}
		}
		return true
	}
}

func TestNodesHearOneAnother(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			nodes := world(t, 20*time.Millisecond, host, "AMS", "FRA", "LON")
			for _, n := range nodes {
				eventually(t, t.Context(), n.Fleet, all(web4, announced))
			}
			lon := nodes["LON"]
			lon.say(Claim{Slice: web4, Stance: announced, Verdict: policy.Down, Leaving: true, Failing: []policy.CheckID{"http"}})
			since := time.Now()
			lon.Poke(since)
			eventually(t, t.Context(), lon.Fleet, func(v policy.Fleet) bool {
				return v.Peers[0].Asked.After(since) && v.Peers[1].Asked.After(since)
			})
			// Who answered a question asked after the doubt knows of it already.
			for _, name := range []policy.POPID{"AMS", "FRA"} {
				v := nodes[name].View(time.Now())
				i := slices.IndexFunc(v.Peers, func(p policy.Peer) bool { return p.POP == "LON" })
				ps := v.Peers[i].Slices[web4]
				if !ps.Leaving || ps.Verdict != policy.Down || ps.DownSince.IsZero() || !slices.Equal(ps.Failing, []policy.CheckID{"http"}) {
					t.Errorf("%s knows of LON: %+v", name, ps)
				}
			}
			if r := lon.Peers(time.Now()); r[0].Exchanges == 0 || r[0].RTT <= 0 || r[0].Stale || r[0].Error != "" {
				t.Errorf("report: %+v", r[0])
			}
		})
	}
}

// leave is the last-pop rule at its barest: go when another is confirmed to
// announce after it was told that we go; give up when none does.
func (n *node) leave(t *testing.T) {
	n.mu.Lock()
	since := time.Now()
	c := up(web4)
	c.Leaving = true
	n.claims = []Claim{c}
	n.mu.Unlock()
	n.Poke(since)
	for end := time.After(20 * time.Second); ; {
		confirmed, answered := false, 0
		n.mu.Lock()
		v := n.View(time.Now())
		for _, p := range v.Peers {
			if p.Asked.After(since) {
				answered++
				confirmed = confirmed || p.Slices[web4].Stance == announced && !p.Slices[web4].Leaving
			}
		}
		if confirmed {
			n.left, n.claims = true, []Claim{{Slice: web4}}
		}
		n.mu.Unlock()
		if confirmed || answered == len(v.Peers) {
			return
		}
		select {
		case <-n.Changed():
		case <-time.After(10 * time.Millisecond):
		case <-end:
			t.Error("no answers")
			return
		}
	}
}

// TestNeverAllLeave: POPs that want to leave at the same moment never all do.
func TestNeverAllLeave(t *testing.T) {
	for _, names := range [][]policy.POPID{{"A", "B"}, {"A", "B", "C"}} {
		left := 0
		nodes := world(t, 10*time.Millisecond, "127.0.0.1", names...)
		for round := range 60 {
			for _, n := range nodes {
				n.mu.Lock()
				n.left, n.claims = false, []Claim{up(web4)}
				n.mu.Unlock()
				n.Poke(time.Now())
			}
			for _, n := range nodes {
				eventually(t, t.Context(), n.Fleet, all(web4, announced))
			}
			var wg sync.WaitGroup
			for _, n := range nodes {
				delay := rand.N(2 * time.Millisecond)
				wg.Go(func() {
					<-time.After(delay)
					n.leave(t)
				})
			}
			wg.Wait()
			gone := 0
			for n := range maps.Values(nodes) {
				if n.left {
					gone++
				}
			}
			left += gone
			if gone == len(nodes) {
				t.Fatalf("round %d: all %d POPs left", round, gone)
			}
		}
		t.Logf("%d POPs: %d left in 60 rounds", len(names), left)
	}
}

// TestAges: what is heard gets old when a peer goes silent, by our own clock,
// and Poke makes the questions come faster.
func TestAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNode(t, "LON", "FRA")
		far := newNode(t, "FRA", "LON")
		var mu sync.Mutex
		dead, questions := false, 0
		f.exchange.client.Transport = transport(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			questions++
			if dead {
				return nil, errors.New("no route to host")
			}
			w := httptest.NewRecorder()
			far.exchange.Handler(far.take).ServeHTTP(w, r)
			return w.Result(), nil
		})
		runFleet(t, f.Fleet)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		p := f.Peers(time.Now())[0]
		if age := time.Since(p.Heard); age > 1100*time.Millisecond || p.Stale {
			t.Errorf("heard %v ago, stale %v", age, p.Stale)
		}
		mu.Lock()
		dead = true
		if questions < 9 || questions > 13 {
			t.Errorf("%d questions in 10 s", questions)
		}
		questions = 0
		mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if p = f.Peers(time.Now())[0]; !p.Stale || time.Since(p.Heard) < 9*time.Second || p.Error == "" || p.Failures == 0 {
			t.Errorf("after 10 s of silence: %+v", p)
		}
		mu.Lock()
		questions = 0
		mu.Unlock()
		f.Poke(time.Now())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		mu.Lock()
		if questions < 35 || questions > 45 {
			t.Errorf("%d questions in 10 s of doubt, want one each 250 ms", questions)
		}
		dead = false
		mu.Unlock()
		since := time.Now()
		f.Poke(since)
		time.Sleep(time.Second)
		synctest.Wait()
		if p = f.Peers(time.Now())[0]; p.Stale || !p.Asked.After(since) || p.Error != "" {
			t.Errorf("after it came back: %+v", p)
		}
	})
}

// newNode makes a node that is not running.
func newNode(t *testing.T, name, peer policy.POPID) *node {
	n := &node{claims: []Claim{up(web4)}}
	var err error
	n.Fleet, err = New(Config{POP: name, Secrets: secret, Stale: 5 * time.Second, Peers: []Peer{{POP: peer, URL: "http://192.0.2.9"}}}, n.local, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func signed(body string) *http.Request {
	r := httptest.NewRequest("POST", "/"+exchangePath, strings.NewReader(body))
	nonce := newNonce()
	r.Header.Set(nonceHeader, nonce)
	r.Header.Set(macHeader, secret.sign(kindAsk, "POST", nonce, []byte(body)))
	return r
}

// TestAskedIsBeforeOurWord: a question that was on its way when we decided
// does not confirm the decision; the next one does.
func TestAskedIsBeforeOurWord(t *testing.T) {
	f := newNode(t, "LON", "FRA")
	far := newNode(t, "FRA", "LON")
	arrived, reply := make(chan bool), make(chan bool)
	f.exchange.client.Transport = transport(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		far.exchange.Handler(far.take).ServeHTTP(w, r)
		arrived <- true
		<-reply
		return w.Result(), nil
	})
	runFleet(t, f.Fleet)
	<-arrived // told what we were before the decision
	since := time.Now()
	f.Poke(since)
	reply <- true
	<-arrived // at once, not a poll later
	if p := f.View(time.Now()).Peers[0]; p.Heard.Before(since) || p.Asked.After(since) {
		t.Errorf("heard %v, asked %v, decided %v", p.Heard, p.Asked, since)
	}
	reply <- true
	eventually(t, t.Context(), f.Fleet, func(v policy.Fleet) bool { return v.Peers[0].Asked.After(since) })
}
