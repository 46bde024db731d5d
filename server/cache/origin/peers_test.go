package origin

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func key(i int) [32]byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(i))
	return sha256.Sum256(b[:])
}

func pop(t *testing.T, self string, names ...string) *Peers {
	t.Helper()
	p := NewPeers(PeersConfig{Self: self}, Env{})
	var list []Server
	for _, n := range names {
		list = append(list, Server{Name: n, URL: "http://192.0.2.1"})
	}
	if err := p.Set(list); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestOwnersAgree: all servers of a POP find the same owner, each gets its share,
// and one that leaves moves only its own keys.
func TestOwnersAgree(t *testing.T) {
	const keys = 8000
	all := []string{"a", "b", "c", "d"}
	a, c := pop(t, "a", all...), pop(t, "c", all...)
	less := pop(t, "a", "b", "c")
	count := map[string]int{}
	for i := range keys {
		k := key(i)
		owner, self := a.Owner(k)
		if other, _ := c.Owner(k); other != owner || self != (owner == "a") {
			t.Fatalf("key %d: %s and %s", i, owner, other)
		}
		if next, _ := less.Owner(k); owner != "d" && next != owner {
			t.Fatalf("key %d moved from %s to %s", i, owner, next)
		}
		count[owner]++
	}
	for _, n := range all {
		if share := float64(count[n]) / keys; math.Abs(share-0.25) > 0.02 {
			t.Errorf("%s owns %.3f", n, share)
		}
	}
}

func TestWeights(t *testing.T) {
	p := NewPeers(PeersConfig{Self: "a"}, Env{})
	if err := p.Set([]Server{{Name: "b", URL: "http://192.0.2.1", Weight: 3}, {Name: "a", URL: "http://192.0.2.1"}}); err != nil {
		t.Fatal(err)
	}
	own := 0
	for i := range 4000 {
		if _, self := p.Owner(key(i)); self {
			own++
		}
	}
	if math.Abs(float64(own)/4000-0.25) > 0.03 {
		t.Errorf("a owns %d of 4000", own)
	}
	if err := p.Set([]Server{{Name: "b", URL: "http://192.0.2.1"}, {Name: "b", URL: "http://192.0.2.2"}}); err == nil {
		t.Error("a name twice is taken")
	}
}

// TestBoundedLoad: nobody gets more than the bound of what is under way, and keys
// beyond it go where they would go if the owner were not there.
func TestBoundedLoad(t *testing.T) {
	p := pop(t, "a", "b", "c", "d")
	hot := []*server{}
	for i := range 1000 { // one hot owner
		if s := p.pick(key(i), nil, time.Now()); s != nil && s.Name == "b" || i%4 == 0 {
			s := p.pick(key(i), nil, time.Now())
			if s == nil {
				p.own()
				continue
			}
			s.busy.Add(1)
			hot = append(hot, s)
		}
	}
	total := float64(p.self)
	for _, s := range p.servers {
		total += float64(s.busy.Load())
	}
	for _, s := range p.servers {
		if n := float64(s.busy.Load()); n > math.Ceil(1.25*total/4) {
			t.Errorf("%s has %v of %v", s.Name, n, total)
		}
	}
	if len(hot) < 200 {
		t.Errorf("only %d requests", len(hot))
	}
}

// node is a cache server that stores nothing: it asks its own upstream.
type node struct {
	id *Identity
	up *Upstream
	pr *Peers

	mu    sync.Mutex
	paths []string // hops seen
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	remote := netip.MustParseAddrPort(r.RemoteAddr)
	hop, err := n.id.ReadHop(r.Header, r.Method, r.Host, r.RequestURI, remote.Addr())
	if err != nil {
		w.WriteHeader(KindOf(err).Status())
		return
	}
	n.mu.Lock()
	n.paths = append(n.paths, fmt.Sprintf("%v %v %s %v", hop.Tier, hop.Nodes, hop.Scheme, hop.Client))
	n.mu.Unlock()
	resp, err := n.up.Do(r.Context(), &Request{Method: r.Method, URL: r.URL, Host: r.Host, Header: r.Header, Key: sha256.Sum256([]byte(r.Host + r.RequestURI)), Hop: hop, Scheme: "https", Client: netip.MustParseAddr("192.0.2.77")})
	if err != nil {
		w.WriteHeader(KindOf(err).Status())
		return
	}
	defer resp.Body.Close()
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.Header().Add("X-Path", n.id.Node+"<"+resp.From.String())
	w.WriteHeader(resp.Status)
	io.Copy(w, resp.Body)
}

// fleet is two POPs with two servers each; FRA fills from LON, LON from origin.
type fleet struct {
	nodes   map[string]*node
	servers map[string]*httptest.Server
	origin  *httptest.Server
	last    http.Header // at the origin
}

func newFleet(t *testing.T, bypass, circle bool) *fleet {
	f := &fleet{nodes: map[string]*node{}, servers: map[string]*httptest.Server{}}
	f.origin = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.last = r.Header.Clone()
		io.WriteString(w, "body of "+r.Host+r.RequestURI)
	}))
	t.Cleanup(f.origin.Close)
	for _, name := range []string{"LON-a", "LON-b", "FRA-a", "FRA-b"} {
		n := &node{id: &Identity{Node: name, POP: name[:3], Secret: []byte("s3cret")}}
		f.nodes[name], f.servers[name] = n, httptest.NewServer(n)
		t.Cleanup(f.servers[name].Close)
	}
	server := func(name string) Server { return Server{Name: name, URL: f.servers[name].URL} }
	for name, n := range f.nodes {
		n.pr = NewPeers(PeersConfig{Self: name, Identity: n.id}, Env{})
		if err := n.pr.Set([]Server{server(n.id.POP + "-a"), server(n.id.POP + "-b")}); err != nil {
			t.Fatal(err)
		}
		cfg := Config{Name: name, Origins: []Server{{Name: "o", URL: f.origin.URL}}, Peers: n.pr, Identity: n.id, Bypass: bypass, Retry: Retry{Backoff: time.Millisecond}}
		switch {
		case n.id.POP == "FRA":
			cfg.Parents = [][]Server{{server("LON-a"), server("LON-b")}}
		case circle:
			cfg.Parents = [][]Server{{server("FRA-a"), server("FRA-b")}}
		}
		n.up = upstream(t, cfg)
	}
	return f
}

func (f *fleet) get(t *testing.T, via, path string, h http.Header) (int, string, []string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", f.servers[via].URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "www.example.com"
	if h != nil {
		req.Header = h
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), resp.Header["X-Path"]
}

// TestFleet: a key goes by its owner in each POP, by the parents, to the origin.
func TestFleet(t *testing.T) {
	f := newFleet(t, false, false)
	paths := map[string]bool{}
	for i := range 24 {
		path := fmt.Sprintf("/%d?x", i)
		var ways [2]string
		for j, via := range []string{"FRA-a", "FRA-b"} {
			status, body, way := f.get(t, via, path, nil)
			if status != 200 || body != "body of www.example.com"+path {
				t.Fatalf("%d %q", status, body)
			}
			ways[j] = strings.Join(way, " ")
			paths[ways[j]] = true
			for _, k := range []string{"Catchment-Hop"} {
				if f.last[k] != nil {
					t.Errorf("the origin sees %s", k)
				}
			}
			// The owner in FRA asks LON, whose owner asks the origin: three or four hops at most.
			if n := len(way); n > 4 || !strings.HasPrefix(way[0], "LON-") || !strings.HasSuffix(way[0], "origin/o") {
				t.Errorf("way %v", way)
			}
			if n := strings.Count(f.last.Get("Cdn-Loop"), "catchment; node="); n != len(way) {
				t.Errorf("CDN-Loop %q for %v", f.last.Get("Cdn-Loop"), way)
			}
		}
		// Whoever is asked, the origin is asked by the same server.
		if a, b := strings.Fields(ways[0])[0], strings.Fields(ways[1])[0]; a != b {
			t.Errorf("%s: asked by %s and %s", path, a, b)
		}
	}
	if len(paths) < 4 {
		t.Errorf("all went the same way: %v", paths)
	}
	for _, p := range f.nodes["LON-a"].paths {
		if !strings.Contains(p, "https 192.0.2.77") {
			t.Errorf("hop %s", p)
		}
	}
}

// TestNeverAroundAParent: without parents there is no answer, unless allowed.
func TestNeverAroundAParent(t *testing.T) {
	for _, bypass := range []bool{false, true} {
		f := newFleet(t, bypass, false)
		f.servers["LON-a"].Close()
		for i := range 8 { // the other parent does
			if status, _, way := f.get(t, "FRA-a", fmt.Sprint("/", i), nil); status != 200 || !strings.HasPrefix(way[0], "LON-b") {
				t.Errorf("%d %v", status, way)
			}
		}
		f.servers["LON-b"].Close()
		status, _, way := f.get(t, "FRA-a", "/x", nil)
		if bypass && (status != 200 || !strings.HasPrefix(way[0], "FRA-")) || !bypass && status != 502 {
			t.Errorf("bypass %v: %d %v", bypass, status, way)
		}
	}
}

func TestPeerDies(t *testing.T) {
	f := newFleet(t, false, false)
	f.servers["LON-b"].Close()
	for i := range 8 {
		if status, _, way := f.get(t, "LON-a", fmt.Sprint("/", i), nil); status != 200 || len(way) != 1 {
			t.Errorf("%d %v", status, way)
		}
	}
	if s := f.nodes["LON-a"].pr.Status()[0]; s.State != Ejected {
		t.Errorf("%+v", s)
	}
}

// TestCircle: LON and FRA are each other's parents.
func TestCircle(t *testing.T) {
	f := newFleet(t, true, true)
	for i := range 8 {
		// The circle is seen, and broken by going to the origin, which is allowed here.
		if status, body, way := f.get(t, "LON-a", fmt.Sprint("/", i), nil); status != 200 {
			t.Errorf("%d %q %v", status, body, way)
		}
	}
	for name, n := range f.nodes {
		if len(n.paths) > 80 {
			t.Errorf("%s was asked %d times", name, len(n.paths))
		}
	}
}

func TestHop(t *testing.T) {
	lon := &Identity{Node: "LON-a", POP: "LON", Secret: []byte("x")}
	fra := &Identity{Node: "FRA-a", POP: "FRA", Secret: []byte("x")}
	r := get("/p?q")
	r.Scheme = "https"
	h := http.Header{}
	lon.mark(h, r, Parent, "www.example.com", "/p?q")
	good := h.Get(hopField)
	here := netip.MustParseAddr("192.0.2.1")
	hop, err := fra.ReadHop(h, "GET", "WWW.example.com", "/p?q", here)
	if err != nil || hop.Tier != Parent || fmt.Sprint(hop.Nodes, hop.POPs) != "[LON-a] [LON]" || hop.Scheme != "https" || hop.Client != r.Client {
		t.Fatalf("%+v, %v from %s", hop, err, good)
	}
	// One more hop inside FRA keeps the client.
	r2 := get("/p?q")
	r2.Hop = hop
	fra.mark(h, r2, Peer, "www.example.com", "/p?q")
	frb := &Identity{Node: "FRA-b", POP: "FRA", Secret: []byte("x")}
	if hop, err = frb.ReadHop(h, "GET", "www.example.com", "/p?q", here); err != nil || hop.Tier != Peer || fmt.Sprint(hop.Nodes) != "[LON-a FRA-a]" || hop.Scheme != "https" || hop.Client != r.Client {
		t.Fatalf("%+v, %v", hop, err)
	}
	if _, err := lon.ReadHop(h, "GET", "www.example.com", "/p?q", here); KindOf(err) != KindLoop {
		t.Error("a circle is not seen:", err)
	}
	lob := &Identity{Node: "LON-b", POP: "LON", Secret: []byte("x")}
	lob.mark(h, r2, Parent, "www.example.com", "/p?q")
	h[hopField] = []string{good}
	if _, err := lob.ReadHop(h, "GET", "www.example.com", "/p?q", here); KindOf(err) != KindLoop {
		t.Error("a circle of POPs is not seen:", err)
	}
	for name, test := range map[string]struct{ field, method, host, uri string }{
		"method":  {good, "HEAD", "www.example.com", "/p?q"},
		"host":    {good, "GET", "www.example.org", "/p?q"},
		"path":    {good, "GET", "www.example.com", "/p"},
		"list":    {strings.Replace(good, "LON-a", "LON-b", 1), "GET", "www.example.com", "/p?q"},
		"no mac":  {good[:strings.Index(good, ";mac")], "GET", "www.example.com", "/p?q"},
		"not one": {"x", "GET", "www.example.com", "/p?q"},
		"item":    {"1;tier=peer", "GET", "www.example.com", "/p?q"},
	} {
		if hop, err := fra.ReadHop(http.Header{hopField: {test.field}}, test.method, test.host, test.uri, here); err != nil || hop.Nodes != nil {
			t.Errorf("%s: %+v, %v", name, hop, err)
		}
	}
	trusting := &Identity{Node: "FRA-a", POP: "FRA", Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	for remote, want := range map[string]int{"192.0.2.1": 1, "::ffff:192.0.2.1": 1, "198.51.100.1": 0} {
		if hop, err := trusting.ReadHop(http.Header{hopField: {good}}, "GET", "h", "/", netip.MustParseAddr(remote)); err != nil || len(hop.Nodes) != want {
			t.Errorf("%s: %+v, %v", remote, hop, err)
		}
	}
}

func TestCDNLoop(t *testing.T) {
	id := &Identity{Node: "LON-a"}
	for field, want := range map[string]bool{
		"":                                 false,
		"catchment":                        false,
		"catchment; node=LON-b":            false,
		"catchment; node=LON-a":            true,
		"foo, Catchment ;x=1; node=LON-a ": true,
		"other; node=LON-a":                false,
		strings.Repeat("catchment,", 8):    true,
		strings.Repeat("catchment,", 7):    false,
	} {
		if _, err := id.ReadHop(http.Header{"Cdn-Loop": {field}}, "GET", "h", "/", netip.Addr{}); (err != nil) != want {
			t.Errorf("%q: %v", field, err)
		}
	}
	u := upstream(t, Config{Origins: []Server{{URL: "http://192.0.2.1"}}, Identity: id})
	r := get("/")
	r.Header = http.Header{"Cdn-Loop": {"catchment; node=LON-a"}}
	if _, err := u.Do(t.Context(), r); KindOf(err) != KindLoop || KindOf(err).Status() != 508 {
		t.Error(err)
	}
}

func FuzzReadHop(f *testing.F) {
	id := &Identity{Node: "LON-a", POP: "LON", Trusted: []netip.Prefix{netip.MustParsePrefix("::/0")}}
	h := http.Header{}
	(&Identity{Node: `F"R\A`, POP: "é"}).mark(h, get("/"), Peer, "h", "/")
	f.Add(h.Get(hopField), "catchment; node=x")
	f.Add(`"a";tier=parent;scheme=http;for="::1%eth0", "b";tier=peer;scheme=https`, ",;=,")
	f.Fuzz(func(t *testing.T, field, loop string) {
		hop, err := id.ReadHop(http.Header{hopField: {field}, "Cdn-Loop": {loop}}, "GET", "h", "/", netip.IPv6Loopback())
		if err != nil {
			return
		}
		// What was believed can be passed on, and is read again.
		r := &Request{Method: "GET", URL: &url.URL{Path: "/"}, Hop: hop}
		out := http.Header{}
		(&Identity{Node: "next"}).mark(out, r, Peer, "h", "/")
		again, err := (&Identity{Node: "end", Trusted: id.Trusted}).ReadHop(out, "GET", "h", "/", netip.IPv6Loopback())
		if err == nil && len(again.Nodes) != len(hop.Nodes)+1 {
			t.Fatalf("%q: %+v, then %+v", field, hop, again)
		}
	})
}
