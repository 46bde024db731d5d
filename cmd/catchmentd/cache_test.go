package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/server/cache/front"
)

// cached is a world with a cache server before an origin.
type cached struct {
	*world
	vip    netip.AddrPort
	origin *httptest.Server
	asked  atomic.Int64
	open   chan struct{} // closed: /slow goes on
}

// newCached makes one whose service is the cache server. More goes into the
// section cache.
func newCached(t *testing.T, more string) *cached {
	w := newWorld(t)
	c := &cached{world: w, vip: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(w.n)}), 8080), open: make(chan struct{})}
	c.origin = httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		n := c.asked.Add(1)
		if r.URL.Path == "/slow" {
			out.Header().Set("Cache-Control", "max-age=3600")
			out.Header().Set("Content-Length", "10")
			io.WriteString(out, "begin")
			out.(http.Flusher).Flush()
			select {
			case <-c.open:
			case <-r.Context().Done():
				return
			}
			io.WriteString(out, " end.")
			return
		}
		out.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprintf(out, "%s %s %d", r.Host, r.URL.Path, n)
	}))
	t.Cleanup(c.origin.Close)
	w.sections["cache"] = c.section("www.example.com", more)
	w.sections["load"] = "{interval: 100ms, average: 100ms}"
	return c
}

func (c *cached) section(host, more string) string {
	return fmt.Sprintf(`
  listen: ["%s"]
  store: {ram: 16MiB, disk: %s, size: 64MiB}
  access-log: {path: %s}
  sites: [{name: www, hosts: [%s], upstream: {origins: [{url: "%s"}]}}]
%s`, c.vip, c.file("store"), c.file("access.log"), host, c.origin.URL, more)
}

// web is the service that the cache server is.
func (c *cached) cacheWeb(keys ...string) string {
	return c.world.web(append([]string{
		fmt.Sprintf("vips: {addresses: [%s]}", c.vip.Addr()),
		fmt.Sprintf(`checks: [{name: cache, type: http, url: "http://%s/.well-known/catchment/health", interval: 100ms, fast: 50ms, timeout: 10s, rise: 1, fall: 1}]`, c.vip),
		"drain: {wait: 30s, idle-connections: 0.5}",
	}, keys...)...)
}

// ask asks for a path of a host, on a connection of its own.
func (c *cached) ask(host, path string) (*http.Response, string) {
	c.t.Helper()
	resp := c.begin(host, path)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s%s: %v", host, path, err)
	}
	return resp, string(b)
}

func (c *cached) begin(host, path string) *http.Response {
	c.t.Helper()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", c.vip.String())
	}}
	c.t.Cleanup(tr.CloseIdleConnections)
	req, err := http.NewRequestWithContext(soon(c.t), "GET", "http://"+host+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

// TestCacheIsTheService: the cache server's health announces the service, its
// load is the service's, purges are in force at once and in the journal, and a
// reload takes other sites or refuses them.
func TestCacheIsTheService(t *testing.T) {
	c := newCached(t, "")
	c.configure(c.cacheWeb("capacity: {requests: 1000}"))
	d := c.start(nil)
	d.says("msg=ready")
	c.r4.await(0, "announce "+web4)

	url := "http://www.example.com/a"
	_, first := c.ask("www.example.com", "/a")
	if _, again := c.ask("www.example.com", "/a"); first != "www.example.com /a 1" || again != first {
		t.Fatalf("%q, then %q", first, again)
	}
	if resp, _ := c.ask("stranger.example.com", "/a"); resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a stranger's host: %s", resp.Status)
	}
	client := c.client()
	st, err := client.CacheStatus(soon(t))
	if err != nil || st.State != api.CacheServing || st.Total.Requests < 3 || st.Total.Hits != 1 || st.Total.Misses != 1 || len(st.Sites) != 1 || st.Sites[0].Counts.Hits != 1 || st.Store.Objects != 1 {
		t.Errorf("status %+v, %v", st, err)
	}
	if o, err := client.CacheShow(soon(t), api.CacheQuery{URL: url}); err != nil || o.Would != "hit" || o.Site != "www" || len(o.Variants) != 1 || o.Variants[0].Size != int64(len(first)) {
		t.Errorf("show %+v, %v", o, err)
	}
	if tr, err := client.CacheTrace(soon(t), api.CacheQuery{URL: "http://www.example.com/never"}); err != nil || tr.Would != "miss" || len(tr.Steps) == 0 {
		t.Errorf("trace %+v, %v", tr, err)
	}
	c.loaded(func(st api.Status) string {
		if !(value(st.Services[0].Measured, load.Requests) >= 0) {
			return "requests of web"
		}
		if st.Cache == nil || st.Cache.Objects != 1 {
			return "the summary"
		}
		return ""
	})
	if text := c.scrape(); !strings.Contains(text, "catchment_cache_") {
		t.Error("no metrics of the cache server")
	}

	p, err := client.CachePurge(soon(t), api.CachePurge{URL: url, Why: "new text"})
	if err != nil || p.Kind != "url" || p.ID == 0 {
		t.Fatalf("purge %+v, %v", p, err)
	}
	if _, after := c.ask("www.example.com", "/a"); after == first {
		t.Errorf("still %q", after)
	}
	c.journaled(1, func(e journal.Entry) bool {
		return e.Kind == journal.Cache && strings.Contains(e.Text, url) && strings.Contains(e.Text, "new text") && strings.HasPrefix(e.By, "uid ")
	})
	if list, err := client.CachePurges(soon(t), 0); err != nil || len(list) != 1 || list[0].ID != p.ID {
		t.Errorf("purges %+v, %v", list, err)
	}

	c.sections["cache"] = c.section("other.example.com", "")
	c.configure(c.cacheWeb("capacity: {requests: 1000}"))
	if changes, err := client.Reload(soon(t)); err != nil || !strings.Contains(strings.Join(changes, "\n"), "other.example.com") {
		t.Errorf("%q, %v", changes, err)
	}
	if resp, _ := c.ask("other.example.com", "/b"); resp.StatusCode != http.StatusOK {
		t.Errorf("the new host: %s", resp.Status)
	}
	c.sections["cache"] = c.section("other.example.com:99999", "")
	c.configure(c.cacheWeb("capacity: {requests: 1000}"))
	if _, err := client.Reload(soon(t)); err == nil || !strings.Contains(err.Error(), "cache.sites[0].hosts") {
		t.Errorf("a wrong site: %v", err)
	}
	if resp, _ := c.ask("other.example.com", "/b"); resp.StatusCode != http.StatusOK {
		t.Errorf("after a refused reload: %s", resp.Status)
	}
	if log, err := os.ReadFile(c.file("access.log")); err != nil || !strings.Contains(string(log), "/b") {
		c.eventually("the access log", func() bool {
			log, _ := os.ReadFile(c.file("access.log"))
			return strings.Contains(string(log), "/b")
		})
	}
}

func (c *cached) eventually(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// TestCacheDrains: while its service drains the cache server lets clients go
// and serves whoever comes, and the drain is over when the last one is gone; a
// stop waits for what is under way, after the withdrawal too.
func TestCacheDrains(t *testing.T) {
	c := newCached(t, "")
	c.configure(c.cacheWeb())
	d := c.start(nil)
	d.says("msg=ready")
	at := c.r4.await(0, "announce "+web4)
	slow := c.begin("www.example.com", "/slow")
	defer slow.Body.Close()
	client := c.client()
	if _, err := client.Drain(soon(t), api.Change{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	c.eventually("the cache server to let go", func() bool {
		st, err := client.CacheStatus(soon(t))
		return err == nil && st.State == api.CacheLeaving && len(st.Leaving) == 1 && st.Leaving[0] == c.vip.Addr().String()
	})
	if resp, _ := c.ask("www.example.com", "/a"); resp.StatusCode != 200 || !resp.Close {
		t.Errorf("a new client: %s, close %v", resp.Status, resp.Close)
	}
	if got := c.r4.routes(at); count(got, "withdraw "+web4) > 0 {
		t.Errorf("withdrawn with a client there: %q", got)
	}
	close(c.open)
	if b, err := io.ReadAll(slow.Body); err != nil || string(b) != "begin end." {
		t.Errorf("%q, %v", b, err)
	}
	at = c.r4.await(at, "withdraw "+web4)
	if _, err := client.Undrain(soon(t), api.Change{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	c.r4.await(at, "announce "+web4)
	c.eventually("the cache server to keep its clients", func() bool {
		resp, _ := c.ask("www.example.com", "/a")
		return !resp.Close
	})
	d.signal(syscall.SIGTERM)
	d.ends(0)
}

// TestCacheStops: a stop withdraws first, and what a client still reads then
// comes to its end.
func TestCacheStops(t *testing.T) {
	c := newCached(t, "")
	c.configure(c.cacheWeb("drain: {wait: 100ms}"))
	d := c.start(nil)
	d.says("msg=ready")
	at := c.r4.await(0, "announce "+web4)
	slow := c.begin("www.example.com", "/slow")
	defer slow.Body.Close()
	d.signal(syscall.SIGTERM)
	c.r4.await(at, "withdraw "+web4, "end")
	close(c.open)
	if b, err := io.ReadAll(slow.Body); err != nil || string(b) != "begin end." {
		t.Errorf("%q, %v", b, err)
	}
	d.ends(0)
}

// TestCacheAlone: a cache server needs no BGP, and what is wrong with its
// files is said before it starts.
func TestCacheAlone(t *testing.T) {
	c := newCached(t, "")
	for _, key := range []string{"pop", "bgp"} {
		delete(c.sections, key)
	}
	bare := strings.Replace(c.sections["cache"], fmt.Sprint(c.vip), fmt.Sprintf("%s:8080", c.us4), 1)
	c.vip = netip.AddrPortFrom(c.us4, 8080)
	c.sections["cache"] = bare
	c.alone()
	d := c.start(nil)
	d.says("msg=ready")
	if resp, _ := c.ask("www.example.com", "/a"); resp.StatusCode != 200 {
		t.Errorf("%s", resp.Status)
	}
	if resp, body := c.ask("192.0.2.77", "/.well-known/catchment/health"); resp.StatusCode != 200 || body != "ok\n" {
		t.Errorf("health: %s %q", resp.Status, body)
	}
	second := c.refuses(1, nil, "state-dir")
	_ = second
	d.signal(syscall.SIGTERM)
	d.ends(0)

	c.sections["cache"] = bare + "  tls: {listen: [\"127.0.0.1:8443\"], certificates: [{certificate: /nowhere.pem, key: /nowhere.key}]}\n"
	c.alone()
	c.refuses(2, []string{"--check-config"}, "cache.tls.certificates[0]: open /nowhere.pem: no such file")
	c.sections["cache"] = strings.Replace(bare, "store: {", "store: {rom: 1MiB, ", 1)
	c.alone()
	c.refuses(2, []string{"--check-config"}, `cache.store.rom: unknown key`)
}

// alone writes a configuration without services.
func (c *cached) alone() {
	c.t.Helper()
	c.configure()
	text, err := os.ReadFile(c.file("c.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.write("c.yaml", strings.TrimSuffix(string(text), "services:\n"))
}

// TestCacheListens: where somebody else's listener is in the way, the daemon
// ends before any neighbor has heard of it.
func TestCacheListens(t *testing.T) {
	c := newCached(t, "")
	c.vip = netip.AddrPortFrom(c.us4, 8080)
	c.sections["cache"] = c.section("www.example.com", "")
	l, err := net.Listen("tcp", c.vip.String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c.configure(c.web())
	c.up("web")
	c.refuses(1, nil, "cache.listen", "address already in use")
	if heard := c.r4.settle(); count(heard, "announce "+web4) > 0 {
		t.Errorf("announced: %q", heard)
	}
}

// TestCacheCertificates: a reload takes other certificates while connections
// go on, and files that do not belong together change nothing.
func TestCacheCertificates(t *testing.T) {
	c := newCached(t, "")
	c.vip = netip.AddrPortFrom(c.us4, 8080)
	tlsAddr := netip.AddrPortFrom(c.us4, 8443).String()
	put := func(pair, name string) {
		cert, err := front.SelfSigned(name)
		if err != nil {
			t.Fatal(err)
		}
		chain, key, err := front.EncodePEM(cert)
		if err != nil {
			t.Fatal(err)
		}
		c.write(pair+".pem", string(chain))
		c.write(pair+".key", string(key))
	}
	with := func(pem, key string) {
		c.sections["cache"] = c.section("www.example.com", fmt.Sprintf("  tls: {listen: [\"%s\"], certificates: [{certificate: %s, key: %s}]}\n", tlsAddr, c.file(pem), c.file(key)))
		c.configure(c.web())
	}
	put("a", "first.example.com")
	put("b", "second.example.com")
	with("a.pem", "a.key")
	c.up("web")
	d := c.start(nil)
	d.says("msg=ready")
	shown := func() string {
		conn, err := tls.Dial("tcp", tlsAddr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].DNSNames[0]
	}
	if got := shown(); got != "first.example.com" {
		t.Fatalf("shows %s", got)
	}
	open, err := tls.Dial("tcp", tlsAddr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	with("b.pem", "a.key")
	if _, err := c.client().Reload(soon(t)); err == nil || !strings.Contains(err.Error(), "cache.tls.certificates[0]") {
		t.Errorf("a key that is another's: %v", err)
	}
	if got := shown(); got != "first.example.com" {
		t.Errorf("after a refused reload it shows %s", got)
	}
	with("b.pem", "b.key")
	if _, err := c.client().Reload(soon(t)); err != nil {
		t.Error(err)
	}
	if got := shown(); got != "second.example.com" {
		t.Errorf("after the reload it shows %s", got)
	}
	fmt.Fprintf(open, "GET /a HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(open), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a connection from before the reload: %v, %v", resp, err)
	}
	put("b", "third.example.com") // renewed in place: the configuration is the same
	if _, err := c.client().Reload(soon(t)); err != nil {
		t.Error(err)
	}
	if got := shown(); got != "third.example.com" {
		t.Errorf("renewed, it shows %s", got)
	}
}
