package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// segmentBody is a segment of a stream of 100 kB a second, of one second.
func segmentBody(n string) []byte {
	seed := sha256.Sum256([]byte(n))
	out := make([]byte, 0, 100_000)
	for i := uint64(0); len(out) < cap(out); i++ {
		out = binary.BigEndian.AppendUint64(out, i^binary.BigEndian.Uint64(seed[:]))
	}
	return out
}

// TestRedirects: two daemons that hear of one another; a player with a full
// buffer is sent from one to the other, comes back for a seek, and stays when
// the other has gone. How long it needed is measured, and can be asked for.
func TestRedirects(t *testing.T) {
	w := newWorld(t)
	origin := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Cache-Control", "max-age=3600")
		if strings.HasSuffix(r.URL.Path, ".m3u8") {
			fmt.Fprint(out, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000\nhi/play.m3u8\n")
			return
		}
		body := segmentBody(r.URL.Path)
		out.Header().Set("Content-Length", fmt.Sprint(len(body)))
		out.Write(body)
	}))
	t.Cleanup(origin.Close)
	w.write("secret", strings.Repeat("0123456789abcdef", 4))
	lon, waw := netip.AddrPortFrom(w.us4, 8080), netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(w.n), 3}), 8080)
	common := func(pop string, at netip.AddrPort, peer string, peerAt netip.AddrPort) {
		w.sections["pop"] = pop
		w.sections["web"], w.sections["metrics"] = `{listen: ""}`, fmt.Sprintf(`{listen: "%s:9798"}`, at.Addr())
		w.sections["fleet"] = fmt.Sprintf(`{listen: "%s:9799", secret-file: %s, poll: 100ms, peers: [{pop: %s, url: "http://%s:9799/"}]}`, at.Addr(), w.file("secret"), peer, peerAt.Addr())
		w.sections["cache"] = fmt.Sprintf(`
  listen: ["%s"]
  store: {ram: 16MiB}
  access-log: {path: %s}
  sites:
    - name: video
      hosts: ["*"]
      key: {host: video.example.com}
      upstream: {origins: [{url: "%s"}]}
      steer:
        targets: [{pop: WAW, host: "%s"}, {pop: LON, host: "%s"}]
        pace: true
        redirect: true
        reattach: 100ms
        buffer: 1s
        paced-for: 200ms
        least: 16KiB`, at, w.file("access-"+pop), origin.URL, waw, lon)
	}
	router := startRouter(t, waw.Addr().Next())
	w.up("web")
	ours := w.sections
	w.sections = map[string]string{
		"state-dir": w.file("state2"), "api": fmt.Sprintf(`{socket: %s, gobgp-socket: ""}`, w.file("a2.sock")),
		"bgp": fmt.Sprintf(`{global: {config: {as: 64500, router-id: 10.0.0.2, local-address-list: ["%s"]}}, neighbors: [%s]}`, waw.Addr(), neighbor(waw.Addr(), router.addr)),
	}
	common("WAW", waw, "LON", lon)
	w.configureAs("waw.yaml", w.web())
	w.sections = ours
	common("LON", lon, "WAW", waw)
	w.configure(w.web())
	near, cheap := w.start(nil), w.start(nil, "--config", w.file("waw.yaml"))
	cheap.says("msg=ready")
	near.says("clients can be sent to WAW")

	p := &player{t: t, url: "http://" + lon.String()}
	p.get("/v/main.m3u8")
	for i := 0; p.last != waw.String(); i++ {
		if i == 40 {
			t.Fatalf("never redirected: %s", w.scrape())
		}
		p.segment(i)
	}
	if p.segment(500); p.last != lon.String() {
		t.Errorf("a seek was answered by %s", p.last)
	}
	w.traces("http://video.example.com/v/hi/s0.ts", func(steps string) bool {
		return strings.Contains(steps, "target WAW ("+waw.String()+"): it takes clients") && strings.Contains(steps, "wanted: true, always") &&
			strings.Contains(steps, "then redirected to WAW") && !strings.Contains(steps, "flows there: 0s")
	})
	if text := w.scrape(); !strings.Contains(text, `catchment_cache_steer_redirects_total{status="302"} `) || !strings.Contains(text, `catchment_cache_steer_kept_total{reason="seek"} `) {
		t.Error(text)
	}
	cheap.signal(syscall.SIGTERM)
	near.says("no clients are sent to WAW: ")
	for i := range 6 {
		if p.segment(600 + i); p.last != lon.String() {
			t.Errorf("sent to a POP that has gone: %s", p.last)
		}
	}
	w.journaled(1, func(e journal.Entry) bool {
		return e.Kind == journal.Cache && strings.HasPrefix(e.Text, "clients can be sent to WAW")
	})
	near.signal(syscall.SIGTERM)
	near.ends(0)
}

// player fetches segments, follows redirects and checks what it gets.
type player struct {
	t    *testing.T
	url  string
	last string // who answered last
}

func (p *player) get(path string) []byte {
	p.t.Helper()
	r, err := http.NewRequestWithContext(soon(p.t), http.MethodGet, p.url+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("CMCD-Session", `sid="one"`)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	p.last = resp.Request.URL.Host
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %s, %v", path, resp.Status, err)
	}
	return body
}

func (p *player) segment(n int) {
	p.t.Helper()
	path := fmt.Sprintf("/v/hi/s%d.ts", n)
	if sha256.Sum256(p.get(path)) != sha256.Sum256(segmentBody(path)) {
		p.t.Errorf("%s is another", path)
	}
}

// traces asks how a request would be decided until that pleases ok.
func (w *world) traces(url string, ok func(steps string) bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		tr, err := w.client().CacheTrace(soon(w.t), api.CacheQuery{URL: url})
		var steps strings.Builder
		for _, s := range tr.Steps {
			fmt.Fprintln(&steps, s.Step, s.Detail)
		}
		if err == nil && ok(steps.String()) {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%v\n%s", err, &steps)
		}
	}
}
