package cache_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache"
	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/site"
)

// node is a cache with a listener of its own, so that others can ask it.
type node struct {
	*cache.Server
	at   *httptest.Server
	gone atomic.Bool // it breaks all connections
}

// pops makes caches by name: those of one POP are peers, and every cache of LON
// has the first of FRA as its parent.
func pops(t *testing.T, o *source, secret string, names ...string) map[string]*node {
	t.Helper()
	all := map[string]*node{}
	for _, name := range names {
		n := &node{}
		n.at = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.gone.Load() {
				panic(http.ErrAbortHandler)
			}
			n.Handler().ServeHTTP(w, r)
		}))
		all[name] = n
	}
	address := func(name string) string { return "http://" + all[name].at.Listener.Addr().String() }
	for _, name := range names {
		pop, _, _ := strings.Cut(name, "-")
		s := o.customer("a", "a.example")
		s.Cache.TagHeaders = []string{"Surrogate-Key"}
		if pop == "LON" && all["FRA-a"] != nil {
			s.Upstream.Parents = []site.Parent{{URL: address("FRA-a")}}
		}
		c := cache.Config{Name: name, Sites: []site.Config{s}, Identity: origin.Identity{POP: pop, Secret: []byte(secret)}}
		if secret == "" {
			c.Identity.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
		for _, other := range names {
			if strings.HasPrefix(other, pop) {
				c.Peers = append(c.Peers, origin.Server{Name: other, URL: address(other)})
			}
		}
		all[name].Server = start(t, c)
		all[name].at.Start()
		t.Cleanup(all[name].at.Close)
	}
	return all
}

// TestPurgeIsOfThePOP: whichever cache is told of a purge, no client gets at any
// cache of the POP what was there before, also where an object comes by another
// cache or by a parent in another POP.
func TestPurgeIsOfThePOP(t *testing.T) {
	for _, secret := range []string{"a secret of the fleet", ""} {
		o := newSource(t)
		o.header.Set("Surrogate-Key", "t1")
		all := pops(t, o, secret, "LON-a", "LON-b", "LON-c", "FRA-a", "FRA-b")
		for i, p := range []cache.Purge{
			{URL: "http://a.example/x1"}, {Prefix: "http://a.example/x"}, {Host: "a.example"}, {Tag: "t1"}, {Site: "a"}, {All: true}, {All: true, Soft: true},
		} {
			at := []string{"LON-a", "LON-b", "LON-c"}[i%3]
			everywhere := func() map[string]string {
				got := map[string]string{}
				for name, n := range all {
					got[name] = do(n.Server, "GET", "http://a.example/x1").body
				}
				return got
			}
			before := everywhere()
			o.version.Add(1)
			p.By = "ann"
			if _, err := all[at].Purge(t.Context(), p); err != nil {
				t.Fatalf("%+v at %s: %v", p, at, err)
			}
			for name, body := range everywhere() {
				if body != fmt.Sprint(o.version.Load()) {
					t.Errorf("secret %v, %+v at %s: %s serves version %s (%s before), want %d", secret != "", p, at, name, body, before[name], o.version.Load())
				}
			}
			list, err := all["FRA-b"].Purges(1)
			if err != nil || len(list) != 1 || list[0].Who != "ann at "+at {
				t.Errorf("FRA-b heard of %+v, %v", list, err)
			}
		}
	}
}

// TestPurgeOfAnAbsentCache: a cache that cannot be told is named, and told when
// it is back, in order.
func TestPurgeOfAnAbsentCache(t *testing.T) {
	o := newSource(t)
	all := pops(t, o, "secret", "LON-a", "LON-b")
	for _, n := range all {
		do(n.Server, "GET", "http://a.example/x")
	}
	all["LON-b"].gone.Store(true)
	o.version.Add(1)
	var untold *cache.UntoldError
	e, err := all["LON-a"].Purge(t.Context(), cache.Purge{URL: "http://a.example/x"})
	if !errors.As(err, &untold) || e.ID == 0 || len(untold.Caches) != 1 || !strings.HasPrefix(untold.Caches[0], "LON-b (") {
		t.Fatalf("%+v, %v", e, err)
	}
	if got := do(all["LON-a"].Server, "GET", "http://a.example/x").body; got != "1" {
		t.Errorf("LON-a serves version %s", got)
	}
	if _, err := all["LON-a"].Purge(t.Context(), cache.Purge{Tag: "second"}); err == nil {
		t.Error("nobody says that LON-b is gone")
	}
	all["LON-b"].gone.Store(false)
	for { // until it has been told
		list, err := all["LON-b"].Purges(0)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 2 && list[1].URL != "" && list[0].Tag == "second" {
			break
		}
		if len(list) > 2 {
			t.Fatalf("LON-b heard of %+v", list)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := do(all["LON-b"].Server, "GET", "http://a.example/x").body; got != "1" {
		t.Errorf("LON-b serves version %s", got)
	}
}

// TestPurgeOnlyByOurOwn: a message without proof purges nothing, and a client
// cannot have a cache prove one for him.
func TestPurgeOnlyByOurOwn(t *testing.T) {
	o := newSource(t)
	for _, secret := range []string{"secret", ""} {
		all := pops(t, o, secret, "LON-a", "FRA-a")
		lon, fra := all["LON-a"], all["FRA-a"]
		const query = "?kind=all&by=mallory"
		path := origin.TellPath + query
		ask := func(n *node, method, target string, fields ...string) int {
			return do(n.Server, method, "http://a.example"+target, fields...).status
		}
		for name, got := range map[string]int{
			"bare":            ask(fra, "POST", path),
			"by GET":          ask(fra, "GET", path),
			"a false mark":    ask(fra, "POST", path, "Catchment-Hop", `"LON-a";pop="LON";tier=parent;scheme=http;mac=:AAAA:`),
			"to be passed on": ask(lon, "POST", path),
		} {
			if got != http.StatusForbidden {
				t.Errorf("secret %v, %s: %d", secret != "", name, got)
			}
		}
		for _, crooked := range []string{"/x/../.well-known/catchment/purge", "/.well-known/./catchment/purge", "/.well-known/catchment/%70urge", "//.well-known/catchment/purge"} {
			ask(lon, "POST", crooked+query)
		}
		for name, n := range all {
			if list, err := n.Purges(0); err != nil || len(list) > 0 {
				t.Errorf("secret %v: %s was purged: %+v, %v", secret != "", name, list, err)
			}
		}
	}
}

// TestPurgeCircle: POPs that are each other's parents do not tell one another
// for ever.
func TestPurgeCircle(t *testing.T) {
	o := newSource(t)
	var servers [2]*cache.Server
	var at [2]*httptest.Server
	var heard atomic.Int64
	for i := range at {
		at[i] = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			heard.Add(1)
			servers[i].Handler().ServeHTTP(w, r)
		}))
	}
	for i := range at {
		s := o.customer("a", "a.example")
		s.Upstream.Parents = []site.Parent{{URL: "http://" + at[1-i].Listener.Addr().(*net.TCPAddr).String()}}
		servers[i] = start(t, cache.Config{Name: fmt.Sprint("n", i), Sites: []site.Config{s}, Identity: origin.Identity{POP: fmt.Sprint("p", i), Secret: []byte("x")}})
		at[i].Start()
		t.Cleanup(at[i].Close)
	}
	if _, err := servers[0].Purge(t.Context(), cache.Purge{All: true}); err != nil {
		t.Fatal(err)
	}
	if n := heard.Load(); n != 4 { // two rounds, there and back
		t.Errorf("%d messages", n)
	}
}
