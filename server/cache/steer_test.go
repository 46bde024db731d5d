package cache

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache/accesslog"
	"github.com/catchment/catchment/server/cache/site"
)

// pops are two caches before one origin: a near one that may send clients to a cheap one.
type pops struct {
	near, cheap *rig
	origin      *scripted
	segments    [][]byte
	ready       atomic.Bool
	stopped     atomic.Bool
	mu          sync.Mutex
	sent, seen  []string
}

// second is how many bytes a second of the stream takes at most, as its playlist says.
const second = 400_000

// newPOPs starts them. The origin has a stream of segments of one second, and its playlists.
func newPOPs(t *testing.T, change func(*site.Steer)) *pops {
	t.Helper()
	p := &pops{origin: newScripted(t)}
	p.ready.Store(true)
	for i := range 40 {
		p.segments = append(p.segments, content(second*9/10, uint64(i)))
	}
	p.origin.answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=1000")
		var n int
		switch _, err := fmt.Sscanf(r.URL.Path, "/v/hi/s%d.ts", &n); {
		case r.URL.RawQuery != "":
			http.Error(w, "the origin is asked with a query: "+r.URL.RawQuery, http.StatusBadRequest)
		case err == nil && n < len(p.segments):
			w.Header().Set("Content-Type", "video/mp2t")
			w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("X-Allow"))
			w.Header().Set("Etag", fmt.Sprintf(`"s%d"`, n))
			w.Header().Set("Content-Length", fmt.Sprint(len(p.segments[n])))
			w.Write(p.segments[n])
		case r.URL.Path == "/v/main.m3u8":
			w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
			fmt.Fprintf(w, "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=%d\nhi/play.m3u8\n", second*8)
		default:
			http.NotFound(w, r)
		}
	})
	conf := func(pop, target string, s site.Steer) func(*Config) {
		return func(c *Config) {
			c.Identity.POP = pop
			x := &c.Sites[0]
			x.Key.Host = "video.test"
			x.Steer = s
			x.Steer.Targets = []site.SteerTarget{{POP: "WAW", Host: target}}
		}
	}
	p.cheap = newRigSteered(t, p.origin, conf("WAW", "waw.test", site.Steer{}), &Steering{Seen: func(from, mark string) { p.note(&p.seen, from+" "+mark) }})
	s := site.Steer{Pace: true, Redirect: true, Reattach: 100 * time.Millisecond, Buffer: time.Second, PacedFor: 300 * time.Millisecond, Least: 64 << 10}
	if change != nil {
		change(&s)
	}
	p.near = newRigSteered(t, p.origin, conf("LON", strings.TrimPrefix(p.cheap.url, "http://"), s), &Steering{
		POP:     func(string) (bool, string) { return p.ready.Load(), "" },
		Stopped: func() (bool, string) { return p.stopped.Load(), "" },
		Sent:    func(pop string) string { return p.note(&p.sent, pop) },
	})
	return p
}

func (p *pops) note(list *[]string, what string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	*list = append(*list, what)
	return fmt.Sprint("m", len(*list))
}

func (p *pops) notes(list *[]string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(*list)
}

// viewer is a player: it fetches segments over one connection, follows redirects, and checks what it gets.
type viewer struct {
	t      *testing.T
	p      *pops
	client *http.Client
	header http.Header
	next   int
	hops   []string // of the last segment
}

func (p *pops) viewer(t *testing.T) *viewer {
	v := &viewer{t: t, p: p, header: http.Header{}}
	v.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 1}}
	v.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		v.hops = append(v.hops, r.URL.Host+"?"+r.URL.RawQuery)
		if len(via) > 3 {
			t.Error("a circle")
			return http.ErrUseLastResponse
		}
		return nil
	}
	t.Cleanup(v.client.CloseIdleConnections)
	v.get("/v/main.m3u8")
	return v
}

func (v *viewer) get(path string) []byte {
	v.t.Helper()
	v.hops = nil
	r, err := http.NewRequest(http.MethodGet, v.p.near.url+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header = v.header.Clone()
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		v.t.Fatalf("%s: %v, %v: %.200s", path, resp.Status, err, body)
	}
	return body
}

// segment gets the next one, and says whether another POP sent it.
func (v *viewer) segment() (elsewhere bool) {
	v.t.Helper()
	if got, want := v.get(fmt.Sprintf("/v/hi/s%d.ts", v.next)), v.p.segments[v.next]; sha256.Sum256(got) != sha256.Sum256(want) {
		v.t.Fatalf("segment %d is another: %d bytes", v.next, len(got))
	}
	v.next++
	return len(v.hops) > 0
}

// until takes segments, at most so many, until one came from elsewhere.
func (v *viewer) until(most int) bool {
	v.t.Helper()
	for range most {
		if v.segment() {
			return true
		}
	}
	return false
}

func (p *pops) steers() (out []string) {
	for _, l := range p.near.s.accesses.Recent(1000, func(l *accesslog.Line) bool { return l.Steer != "" }) {
		out = append(out, l.URI+" "+l.Steer)
	}
	return out
}

func TestAFullBufferIsPacedThenRedirected(t *testing.T) {
	p := newPOPs(t, nil)
	v := p.viewer(t)
	if !v.until(30) {
		t.Fatalf("never redirected: %q, %+v, %+v", p.steers(), p.near.s.sessions.Totals(), p.near.s.sessions.Sessions(3))
	}
	if len(v.hops) != 1 || !strings.HasPrefix(v.hops[0], strings.TrimPrefix(p.cheap.url, "http://")+"?catchment-via=LON.m") {
		t.Errorf("%q", v.hops)
	}
	all := p.near.s.sessions.Totals()
	if all.Paced == 0 || all.Redirected == 0 {
		t.Errorf("%+v", all)
	}
	eventually(t, "the cheap POP tells that the client came", func() bool { return p.notes(&p.seen) == p.notes(&p.sent) })

	v.next = 2 // a seek back
	if v.segment() {
		t.Error("redirected on a seek")
	}
	if c := p.near.s.sessions.Sessions(10); len(c) != 1 || c[0].Pace != 0 || c[0].Why != "seek" {
		t.Errorf("%+v", c)
	}
}
