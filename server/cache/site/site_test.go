package site

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func config(name string, hosts ...string) Config {
	return Config{Name: name, Hosts: hosts, Upstream: Upstream{Origins: []Origin{{URL: "http://192.0.2.1:8080"}}}}
}

func table(t testing.TB, configs ...Config) *Table {
	t.Helper()
	table, err := NewTable(configs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestMatch(t *testing.T) {
	wide := config("wide", "*.example.com")
	exact := config("exact", "www.example.com", "example.com.")
	video := config("video", "www.example.com")
	video.Paths = []string{"/video/"}
	deep := config("deep", "www.example.com")
	deep.Paths = []string{"/video/4k"}
	img := config("img", "img-*.example.com")
	port := config("port", "ports.example.com:8443")
	secure := config("secure", "s.example.com")
	secure.Schemes = []string{"https"}
	open := config("open", "s.example.com")
	v6 := config("v6", "[2001:DB8::1]", "192.0.2.7", "[2001:db8:0::2]:8080")
	part := config("part", "part.example.com")
	part.Paths = []string{"/only"}
	tab := table(t, wide, exact, video, deep, img, port, secure, open, v6, part)
	for _, c := range []struct {
		url, want string
	}{
		{"http://www.example.com/", "exact"},
		{"http://WWW.Example.COM/x", "exact"},
		{"http://www.example.com./x", "exact"},
		{"http://www.example.com:8080/x", "exact"},
		{"http://www.example.com:/x", "exact"},
		{"http://example.com/", "exact"},
		{"http://www.example.com/video", "video"},
		{"http://www.example.com/video/a", "video"},
		{"http://www.example.com/videos", "exact"},
		{"http://www.example.com/video/4k/a", "deep"},
		{"http://www.example.com/video/4ka", "video"},
		{"http://www.example.com/a/../video/a", "video"},
		{"http://www.example.com/%76ideo/a", "video"},
		{"http://www.example.com/video/%2e%2E/a", "exact"},
		{"http://www.example.com/video%2Fa", "exact"},
		{"http://a.example.com/", "wide"},
		{"http://a.b.example.com/", "wide"},
		{"http://img-1.example.com/", "img"},
		{"http://img-.example.com/", "wide"},
		{"http://.example.com/", "site: no valid host"},
		{"http://notexample.com/", "site: no site has this host"},
		{"http://example.org/", "site: no site has this host"},
		{"https://ports.example.com:8443/", "port"},
		{"https://ports.example.com/", "site: the host's sites do not have this path"},
		{"https://s.example.com/", "secure"},
		{"http://s.example.com/", "open"},
		{"http://[2001:db8:0:0::1]:99/", "v6"},
		{"http://[2001:db8::2]:8080/", "v6"},
		{"http://[2001:db8::2]/", "site: the host's sites do not have this path"},
		{"http://[2001:db8::2%25eth0]/", "site: no valid host"},
		{"http://192.0.2.7/", "v6"},
		{"http://192.0.2.8/", "site: no site has this host"},
		{"http://part.example.com/only/x", "part"},
		{"http://part.example.com/other", "site: the host's sites do not have this path"},
		{"http://www.example.com:0/", "site: no valid host"},
		{"http://www.example.com:99999/", "site: no valid host"},
		{"http://www.example.com:80:80/", "site: no valid host"},
		{"http://www..example.com/", "site: no valid host"},
		{"http://user@www.example.com/", "site: no valid host"},
		{"http:///", "site: no valid host"},
		{"http://www.example.com/../../video", "video"},
	} {
		rest, tls := strings.CutPrefix(c.url, "https://")
		rest = strings.TrimPrefix(rest, "http://")
		i := strings.IndexByte(rest, '/')
		s, err := tab.Match(tls, []byte(rest[:i]), []byte(rest[i:]))
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = s.Name
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.url, got, c.want)
		}
	}
}

func TestStatusOf(t *testing.T) {
	for err, want := range map[error]int{
		ErrUnknownHost: 421, ErrUnknownPath: 404, ErrBadHost: 400, ErrBadPath: 400, errTokenExpired: 403,
	} {
		if got := StatusOf(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

// slow is Match by trying every pattern.
func slow(configs []Config, tls bool, host, path string) string {
	best, bestScore := "", [6]int{}
	name, port, ok := splitHost(nil, []byte(host))
	if !ok {
		return ""
	}
	if port == 0 {
		port = defaultPort(tls)
	}
	// First the best pattern of all, whatever it serves.
	var pick pattern
	most := -1
	for _, c := range configs {
		for _, h := range c.Hosts {
			p, _ := parsePattern(h)
			p.port = 0
			literals := 0
			if !p.wild {
				if p.before != string(name) {
					continue
				}
				literals = 1 << 20
			} else {
				if len(name) <= len(p.before)+len(p.after) || !strings.HasPrefix(string(name), p.before) || !strings.HasSuffix(string(name), p.after) {
					continue
				}
				literals = 2*(len(p.before)+len(p.after))<<8 + len(p.after)
			}
			if literals > most {
				pick, most = p, literals
			}
		}
	}
	for _, c := range configs {
		for _, h := range c.Hosts {
			p, _ := parsePattern(h)
			has := p.port
			p.port = 0
			if most < 0 || p != pick || has != 0 && has != port {
				continue
			}
			if len(c.Schemes) == 1 && (c.Schemes[0] == "https") != tls {
				continue
			}
			for _, q := range c.Paths {
				q = strings.TrimSuffix(q, "/")
				if path != q && !strings.HasPrefix(path, q+"/") {
					continue
				}
				score := [6]int{1, min(1, int(has)), len(c.Schemes) % 2, len(q)}
				for i := range score {
					if score[i] != bestScore[i] {
						if score[i] > bestScore[i] {
							best, bestScore = c.Name, score
						}
						break
					}
				}
			}
		}
	}
	return best
}

func TestMatchOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	tables := 0
	for tables < 300 {
		var configs []Config
		for i := range 1 + r.IntN(8) {
			c := config(fmt.Sprint("s", i), pick("a.x", "b.a.x", "*.x", "*.a.x", "a*.x", "*a.x", "*", "b*", "*b.a.x", "b*.x")+pick("", "", ":81"))
			c.Paths = []string{pick("/", "/", "/p", "/p/q", "/pp")}
			if r.IntN(3) == 0 {
				c.Schemes = []string{pick("http", "https")}
			}
			configs = append(configs, c)
		}
		tab, err := NewTable(configs, nil)
		if err != nil {
			continue
		}
		tables++
		for range 60 {
			tls := r.IntN(2) == 0
			host := pick("a.x", "b.a.x", "c.x", "ab.x", "aa.x", "bb.x", "x", "b.x", "bb.a.x") + pick("", "", ":81", ":80")
			path := pick("/", "/p", "/p/", "/p/q", "/p/q/r", "/pp", "/z")
			s, err := tab.Match(tls, []byte(host), []byte(path))
			got := ""
			if err == nil {
				got = s.Name
			}
			if want := slow(configs, tls, host, path); got != want {
				t.Fatalf("%s%s tls %v: %q, want %q, of %+v", host, path, tls, got, want, configs)
			}
		}
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	tab := table(t, config("a", "www.example.com"), config("b", "*.example.com"), config("c", "x-*.example.org"))
	host, wild, path := []byte("WWW.example.com:80"), []byte("y.example.com"), []byte("/a/b.jpg")
	s, _ := tab.Match(false, host, path)
	r := Request{Host: host, Path: path, Query: []byte("a=b")}
	var k Key
	if n := testing.AllocsPerRun(100, func() {
		tab.Match(false, host, path)
		tab.Match(true, wild, path)
		s.Key(&k, &r)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestKey(t *testing.T) {
	for _, c := range []struct {
		name, url, header string
		rules             KeyRules
		want, origin      string // origin: path and query
	}{
		{"plain", "http://h/a?b=1&a=2", "", KeyRules{}, "s http://h/a?b=1&a=2", "/a?b=1&a=2"},
		{"normal", "http://H.:80/a/./b/../%7ec%2f%3a?", "", KeyRules{}, "s http://h/a/~c%2F%3A", "/a/~c%2F%3A"},
		{"port", "https://h:8443", "", KeyRules{}, "s https://h:8443/", "/"},
		{"other default port", "https://h:80/", "", KeyRules{}, "s https://h:80/", "/"},
		{"folded", "https://alias/", "", KeyRules{Host: "WWW.x", FoldScheme: true}, "s http://www.x/", "/"},
		{"raw", "http://h/a/../%7e//b", "", KeyRules{RawPath: true}, "s http://h/a/../%7e//b", "/a/../%7e//b"},
		{"slashes", "http://h//a///b//", "", KeyRules{MergeSlashes: true}, "s http://h/a/b/", "/a/b/"},
		{"case", "http://h/A%c3/B?C=D", "", KeyRules{LowerCase: true}, "s http://h/a%C3/b?C=D", "/a%C3/b?C=D"},
		{"sort", "http://h/?b=2&a=1&b=1&a", "", KeyRules{Query: QueryRules{Sort: true}}, "s http://h/?a=1&a&b=2&b=1", "/?a=1&a&b=2&b=1"},
		{"keep", "http://h/?b=2&a=1&c=3&%61=4", "", KeyRules{Query: QueryRules{Mode: "keep", Names: []string{"a"}}}, "s http://h/?a=1&%61=4", "/?a=1&%61=4"},
		{"drop", "http://h/?utm_x=2&a=1&%75tm_y=3", "", KeyRules{Query: QueryRules{Mode: "drop", Names: []string{"utm_*"}}}, "s http://h/?a=1", "/?a=1"},
		{"none", "http://h/?a=1", "", KeyRules{Query: QueryRules{Mode: "none"}}, "s http://h/", "/"},
		{"header", "http://h/", "X-A: 1\nX-A: 2\nX-B: 3", KeyRules{Headers: []string{"x-a", "X-C"}}, "s http://h/\nh:X-A=1:1=1:2\nh:X-C", "/"},
		{"cookie", "http://h/", "Cookie: b=2; a=1; a=3", KeyRules{Cookies: []string{"a"}}, "s http://h/\nc:a=1:1=1:3", "/"},
	} {
		conf := config("s", "*")
		conf.Key = c.rules
		s := table(t, conf).Site("s")
		rest, tls := strings.CutPrefix(c.url, "https://")
		rest = strings.TrimPrefix(rest, "http://")
		host, path := rest, ""
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			host, path = rest[:i], rest[i:]
		}
		path, query, _ := strings.Cut(path, "?")
		h := http.Header{}
		for line := range strings.Lines(c.header) {
			n, v, _ := strings.Cut(strings.TrimSpace(line), ": ")
			h.Add(n, v)
		}
		var k Key
		s.Key(&k, &Request{TLS: tls, Host: []byte(host), Path: []byte(path), Query: []byte(query), Header: h})
		origin := string(k.Path)
		if len(k.Query) > 0 {
			origin += "?" + string(k.Query)
		}
		if string(k.Bytes) != c.want || origin != c.origin {
			t.Errorf("%s: %q and %q, want %q and %q", c.name, k.Bytes, origin, c.want, c.origin)
		}
		if !strings.HasPrefix(string(k.URL), "http") || !strings.Contains(string(k.Bytes), " "+string(k.URL)) {
			t.Errorf("%s: URL %q", c.name, k.URL)
		}
	}
}

func TestEdits(t *testing.T) {
	c := config("s", "h")
	c.ResponseHeaders = HeaderEdits{
		Remove: []string{"server", "x-a"}, Set: []Header{{"x-b", "1"}, {"x-a", "2"}}, Add: []Header{{"x-b", "3"}, {"vary", "Origin"}},
	}
	s := table(t, c).Site("s")
	h := http.Header{"Server": {"x"}, "X-A": {"0", "1"}, "Vary": {"Accept"}}
	s.EditResponse(h)
	want := http.Header{"X-A": {"2"}, "X-B": {"1", "3"}, "Vary": {"Accept", "Origin"}}
	if !reflect.DeepEqual(h, want) || !s.EditsResponse() {
		t.Errorf("%v, want %v", h, want)
	}
	s.EditRequest(h)
	if !reflect.DeepEqual(h, want) {
		t.Errorf("without edits: %v", h)
	}
}

func TestAccess(t *testing.T) {
	c := config("s", "h")
	c.Debug = Access{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Token: secretText}
	s := table(t, c).Site("s")
	in, out := netip.MustParseAddr("::ffff:192.0.2.9"), netip.MustParseAddr("2001:db8::1")
	if !s.MayDebug(in, "") || s.MayDebug(out, "") || !s.MayDebug(out, secretText) || s.MayDebug(out, secretText+"x") {
		t.Error("debug access is wrong")
	}
	if s.MayPurge(in, "") || s.MayPurge(in, secretText) {
		t.Error("nobody may purge")
	}
}

func TestMethods(t *testing.T) {
	c := config("s", "h")
	if s := table(t, c).Site("s"); !s.Allows("PUT") || s.Allows("PURGE") || s.AllowHeader() == "" {
		t.Error("default methods")
	}
	c.Methods = []string{"GET", "HEAD"}
	if s := table(t, c).Site("s"); s.Allows("PUT") || !s.Allows("HEAD") || s.AllowHeader() != "GET, HEAD" {
		t.Error("own methods")
	}
}

func TestUpstream(t *testing.T) {
	c := config("s", "h")
	c.Upstream.Host = "o.example"
	c.Upstream.Parents = []Parent{{Name: "c", URL: "http://c", Rank: 2}, {Name: "a", URL: "http://a"}, {Name: "b", URL: "http://b"}}
	c.Upstream.BypassParents = true
	u := table(t, c).Site("s").Upstream()
	if len(u.Parents) != 2 || len(u.Parents[0]) != 2 || u.Parents[1][0].Name != "c" || !u.Bypass || u.Origins[0].Host != "o.example" || u.Parents[0][0].Host != "" {
		t.Errorf("%+v", u)
	}
}

func TestPolicy(t *testing.T) {
	c := config("s", "h")
	ten := 0
	c.Cache = Caching{TTL: time.Minute, Override: []StatusTTL{{TTL: time.Hour}}, Status: []StatusTTL{{Status: []int{404, 410}, TTL: time.Second}}, Heuristic: &ten, NoStale: true, Cookies: "strip",
		Vary: []Vary{{Field: "accept-encoding", Mode: "choose", Allow: []string{"GZIP"}}}, TagHeaders: []string{"surrogate-key", "Cache-Tag"}}
	s := table(t, c).Site("s")
	p := s.Policy()
	if p.DefaultTTL != time.Minute || p.Override[0].From != 200 || len(p.Negative) != 2 || p.Heuristic != 0 || p.StaleDisconnected != 0 ||
		p.Vary[0].Allow[0] != "gzip" || len(p.Vary) < 2 || len(p.Targeted) == 0 {
		t.Errorf("%+v", p)
	}
	if tags := s.Tags(http.Header{"Surrogate-Key": {"a b"}, "Cache-Tag": {"c,d"}}); len(tags) != 4 {
		t.Errorf("%v", tags)
	}
}

func FuzzPath(f *testing.F) {
	for _, p := range []string{"/", "/a/../b", "/%2e%2e/x", "//a//./", "/a/..", "/%", "/%zz", "/%41%5A%7e", "*"} {
		f.Add(p, false)
		f.Add(p, true)
	}
	f.Fuzz(func(t *testing.T, path string, merge bool) {
		if path == "" || path[0] != '/' {
			return
		}
		once := string(normalPath(nil, []byte(path), merge))
		if again := string(normalPath([]byte("before"), []byte(once), merge)); again != "before"+once {
			t.Errorf("%q: %q, and again %q", path, once, again)
		}
		if once[0] != '/' || strings.Contains(once+"/", "/../") || strings.Contains(once+"/", "/./") || merge && strings.Contains(once, "//") {
			t.Errorf("%q: %q", path, once)
		}
		if plainPath([]byte(path), merge) && once != path {
			t.Errorf("%q is plain and became %q", path, once)
		}
	})
}

func FuzzHost(f *testing.F) {
	for _, h := range []string{"a", "A.B.:80", "[::1]:1", "[", "a:b", "*", "1.2.3.4", "[::ffff:1.2.3.4]"} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name, port, ok := splitHost(nil, []byte(host))
		if !ok {
			return
		}
		text := string(name)
		if port != 0 {
			text += fmt.Sprint(":", port)
		}
		again, p, ok := splitHost(nil, []byte(text))
		if !ok || string(again) != string(name) || p != port {
			t.Errorf("%q: %q, and again %q %v", host, text, again, ok)
		}
		if text != strings.ToLower(text) || strings.ContainsAny(text, " /\n\x00@*") {
			t.Errorf("%q: %q", host, text)
		}
	})
}

func BenchmarkMatchAndKey(b *testing.B) {
	var configs []Config
	for i := range 1000 {
		configs = append(configs, config(fmt.Sprint("s", i), fmt.Sprintf("www%d.example.com", i), fmt.Sprintf("*.c%d.example.com", i)))
	}
	tab := table(b, configs...)
	for _, host := range []string{"www7.example.com", "a.c7.example.com"} {
		b.Run(host, func(b *testing.B) {
			r := Request{TLS: true, Host: []byte(host), Path: []byte("/images/some/file.jpg"), Query: []byte("v=1")}
			var k Key
			b.ReportAllocs()
			for b.Loop() {
				s, _ := tab.Match(r.TLS, r.Host, r.Path)
				s.Key(&k, &r)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	tab := table(t, config("s", "h", "[2001:db8::1]"))
	for url, want := range map[string]string{
		"http://h": "s http://h/", "HTTPS://H:443/a?b#c": "s https://h/a?b", "http://h?x": "s http://h/?x",
		"http://[2001:DB8::1]:8080/": "s http://[2001:db8::1]:8080/", "h/a": "", "ftp://h/": "", "http://other/": "",
	} {
		s, r, err := tab.Resolve(url)
		got := ""
		if err == nil {
			var k Key
			s.Key(&k, r)
			got = string(k.Bytes)
		}
		if got != want {
			t.Errorf("%s: %q, %v; want %q", url, got, err, want)
		}
	}
	var d Directory
	if _, err := d.Table().Match(false, []byte("h"), []byte("/")); err != ErrUnknownHost {
		t.Errorf("an empty directory: %v", err)
	}
	d.Set(tab)
	if d.Table() != tab {
		t.Error("not set")
	}
}
