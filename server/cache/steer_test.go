package cache

import (
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/policy/redirect"
	"github.com/catchment/catchment/server/cache/accesslog"
	"github.com/catchment/catchment/server/cache/site"
)

// pops are two caches before one origin: a near one that may send clients to a cheap one.
type pops struct {
	over        protocol
	near, cheap *rig
	origin      *scripted
	segments    [][]byte
	ready       atomic.Bool
	stopped     atomic.Bool
	mu          sync.Mutex
	sent, seen  []string
}

// second is how many bytes a second of the stream takes at most, as its playlist says.
const second = 100_000

// large is what an object has that no client takes at once.
const large = 24 << 20

// newPOPs starts them. The origin has a stream of segments, and its playlists.
func newPOPs(t *testing.T, change func(*site.Steer)) *pops {
	t.Helper()
	return newPOPsOver(t, protocols[0], change)
}

func newPOPsOver(t *testing.T, over protocol, change func(*site.Steer)) *pops {
	t.Helper()
	p := &pops{over: over, origin: newScripted(t)}
	p.ready.Store(true)
	for i := range 40 {
		p.segments = append(p.segments, content(second*12/10, uint64(i)))
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
		case r.URL.Path == "/large":
			w.Write(content(large, 99))
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
			over.serve(t, c)
			x := &c.Sites[0]
			x.Key.Host = "video.test"
			x.Steer = s
			x.Steer.Targets = []site.SteerTarget{{POP: "WAW", Host: target}}
		}
	}
	p.cheap = newRigSteered(t, p.origin, conf("WAW", "waw.test", site.Steer{}), &Steering{Seen: func(from, mark string) { p.note(&p.seen, from+" "+mark) }})
	// A buffer is full with more than two segments, so that one that comes slowly does not make it so.
	s := site.Steer{Pace: true, Redirect: true, Reattach: 100 * time.Millisecond, Buffer: 3 * time.Second, PacedFor: 300 * time.Millisecond, Least: 64 << 10}
	if change != nil {
		change(&s)
	}
	p.near = newRigSteered(t, p.origin, conf("LON", p.cheap.s.Addrs()[0].String(), s), &Steering{
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
	cmcd   func() string
	via    string // put behind the path
	proto  string // that the last answer came by
}

func (p *pops) viewer(t *testing.T) *viewer {
	v := &viewer{t: t, p: p, header: http.Header{}}
	v.client = &http.Client{Timeout: 2 * time.Minute, Transport: p.over.transport(t)}
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
	r, err := http.NewRequest(http.MethodGet, v.p.url()+path+v.via, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header = v.header.Clone()
	if v.cmcd != nil {
		r.Header.Set("CMCD-Request", v.cmcd())
	}
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	v.proto = resp.Proto
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

// TestWhoSaysThatItsBufferIsLowStays: what the client says of itself counts more than what we think.
func TestWhoSaysThatItsBufferIsLowStays(t *testing.T) {
	t.Parallel()
	p := newPOPs(t, nil)
	v := p.viewer(t)
	v.cmcd = func() string { return "bl=150" }
	if v.until(12) || p.near.s.Steered().Paced > 0 {
		t.Errorf("%+v", p.near.s.Steered())
	}
	v.cmcd = func() string { return "bl=20000,bs" }
	if v.until(8) || p.near.s.Steered().Paced > 0 {
		t.Errorf("it has just stalled: %+v", p.near.s.Steered())
	}
	v.cmcd = func() string { return "bl=20000" }
	if !v.until(15) {
		t.Errorf("%+v, %+v", p.near.s.Steered(), p.near.s.Playing(2))
	}
	v.cmcd = func() string { return "bl=150" }
	if v.segment() {
		t.Error("redirected although its buffer has run low meanwhile")
	}
	if h := p.near.s.Steered().Harm; h.LeftStalls != 8 || h.Moved != 1 || h.MovedStalls != 0 {
		t.Errorf("%+v", h)
	}
}

// TestNoCircle: where each of two POPs takes the other for cheaper, a client that was sent is served.
func TestNoCircle(t *testing.T) {
	t.Parallel()
	p := newPOPs(t, nil)
	p.cheap.s.steering.POP = func(string) (bool, string) { return true, "" }
	c := p.cheap.s.current
	c.Sites = append([]site.Config(nil), p.cheap.s.cfg.Sites...)
	st := p.near.s.cfg.Sites[0].Steer
	st.Targets = []site.SteerTarget{{POP: "LON", Host: strings.TrimPrefix(p.near.url, "http://")}}
	c.Sites[0].Steer = st
	c.Front, c.Name, c.Identity, c.Store = p.cheap.s.cfg.Front, p.cheap.s.cfg.Name, p.cheap.s.cfg.Identity, p.cheap.s.cfg.Store
	if err := p.cheap.s.Reload(c); err != nil {
		t.Fatal(err)
	}
	v := p.viewer(t)
	sent := 0
	for range 10 {
		if v.segment() {
			sent++
		}
		if len(v.hops) > 1 {
			t.Fatalf("sent on: %q", v.hops)
		}
	}
	if sent == 0 || p.cheap.s.Steered().Redirected > 0 {
		t.Errorf("%d sent; the other: %+v", sent, p.cheap.s.Steered())
	}
}

// TestTwoBehindOneAddress: what one has in its buffer is not taken for what the other has.
func TestTwoBehindOneAddress(t *testing.T) {
	t.Parallel()
	p := newPOPs(t, nil)
	a, b := p.viewer(t), p.viewer(t)
	for range 3 {
		a.segment()
	}
	b.next = a.next // where the first would go on
	if b.segment() || p.near.s.Playing(1)[0].Why != "seek" {
		t.Errorf("%+v", p.near.s.Playing(2))
	}
}

// TestTraceOfSteering: what would be decided can be asked for.
func TestTraceOfSteering(t *testing.T) {
	t.Parallel()
	p := newPOPs(t, nil)
	v := p.viewer(t)
	v.segment()
	ask := func(cmcd string) (out string) {
		t.Helper()
		tr, err := p.near.s.Trace(t.Context(), "", p.near.url+"/v/hi/s0.ts", http.Header{"Cmcd-Request": {cmcd}})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range tr.Steps {
			if s.Name == "steer" {
				out += s.Detail + "\n"
			}
		}
		return out
	}
	host := strings.TrimPrefix(p.cheap.url, "http://")
	if got, want := ask(""), "target WAW ("+host+"): \nat 100000 bytes a second at most and 30s of buffer it would be served at 150000 bytes a second, then redirected to WAW (worst time seen until data flows there: 0s)\n"; got != want {
		t.Errorf("%s\n%s", got, want)
	}
	if got := ask("bl=150"); !strings.Contains(got, "150ms of buffer it would be served as fast as it goes; not redirected because of: buffer") {
		t.Error(got)
	}
	p.ready.Store(false)
	if got := ask("bl=20000"); !strings.Contains(got, "not redirected because of: no-target\n") {
		t.Error(got)
	}
}

func TestReasonsNotToRedirect(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		why    string
		change func(p *pops, v *viewer)
	}{
		{"no-target", func(p *pops, _ *viewer) { p.ready.Store(false) }},
		{"stopped", func(p *pops, _ *viewer) { p.stopped.Store(true) }},
		{"bound", func(_ *pops, v *viewer) { v.header.Set("Origin", "http://player.test") }},
		{"twice", func(_ *pops, v *viewer) { v.via = "?catchment-via=FRA.m" }},
	} {
		t.Run(c.why, func(t *testing.T) {
			t.Parallel()
			p := newPOPs(t, nil)
			v := p.viewer(t)
			c.change(p, v)
			if v.until(5) {
				t.Error("redirected")
			}
			if n := p.near.s.Steered().Refused; n[c.why] < 4 {
				t.Errorf("%v", n)
			}
		})
	}
}

func TestPacingAlone(t *testing.T) {
	t.Parallel()
	p := newPOPs(t, func(s *site.Steer) { s.Redirect = false })
	v := p.viewer(t)
	if v.until(4) {
		t.Error("redirected")
	}
	c := p.near.s.Playing(1)
	if len(c) != 1 || c[0].Last != "pace" || c[0].Pace < 1.2*second || c[0].Pace > 3*second || !paced(t, p) {
		t.Errorf("%+v", c)
	}
	v.get("/v/main.m3u8") // something else on the same connection
	if paced(t, p) {
		t.Error("it waits for the pace of another object")
	}
}

// paced says whether the kernel holds a connection of the near POP to a pace.
func paced(t *testing.T, p *pops) (is bool) {
	for c := range p.near.s.front.Conns() {
		err := c.Control(func(fd uintptr) {
			rate, err := unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE)
			is = is || err == nil && rate < 3*second
		})
		if err != nil {
			t.Error(err)
		}
	}
	return is
}

func TestSlowNetworksMoveAtOnce(t *testing.T) {
	t.Parallel()
	p := newPOPs(t, func(s *site.Steer) { *s = site.Steer{MoveSlow: true, Least: 64 << 10} })
	var slow atomic.Bool
	p.near.s.steering.Slow = func(netip.Addr) bool { return slow.Load() }
	v := p.viewer(t)
	if v.segment() {
		t.Error("it is not slow")
	}
	slow.Store(true)
	v = p.viewer(t)
	var got *http.Response
	v.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		got = r.Response
		v.hops = append(v.hops, r.URL.Host)
		return nil
	}
	if !v.segment() || got.StatusCode != http.StatusMovedPermanently || got.Header.Get("Cache-Control") != "private, max-age=3600" {
		t.Errorf("%+v", got)
	}
}

// TestManifests: rates by directories, the fastest where several share one.
func TestManifests(t *testing.T) {
	hls := "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=8000,AVERAGE-BANDWIDTH=4000\nlow/p.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=16000\nhttp://x/y/p1.m3u8?a=/b/\n#EXT-X-STREAM-INF:BANDWIDTH=80000\n/y/p2.m3u8\n"
	got := playlistDirs("/a/b/main.m3u8", []byte(hls))
	want := map[string]redirect.Media{"/a/b/low/": {Average: 500, Peak: 1000}, "/y/": {Peak: 10000}}
	if !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	dash := `<MPD><Period><AdaptationSet><Representation id="v1" bandwidth="8000"/><Representation id="v/2" bandwidth="80000"/></AdaptationSet></Period></MPD>`
	got = dashDirs("/d/x.mpd", []byte(dash))
	want = map[string]redirect.Media{"/d/": {Peak: 10000}, "/d/v1/": {Peak: 1000}}
	if !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	r := newRates(3)
	for i := range 5 {
		r.set(fmt.Sprint("h/", i, "/"), rate{Media: redirect.Media{Peak: float64(i + 1)}})
	}
	r.set("h/v/", rate{Media: redirect.Media{Peak: 9}})
	if len(r.m) != 3 || r.under("h", "/v/1/2/s.ts").Peak != 9 || r.under("other", "/v/s.ts").Peak != 0 || r.under("h", "").Peak != 0 {
		t.Errorf("%v", r.m)
	}
}

func FuzzManifests(f *testing.F) {
	f.Add("/a/m.m3u8", "#EXT-X-STREAM-INF:BANDWIDTH=8000\n../x/p.m3u8\n")
	f.Add("/a/m.mpd", `<Representation id="v1" bandwidth="8000"/>`)
	f.Fuzz(func(t *testing.T, name, text string) {
		if !strings.HasPrefix(name, "/") {
			return
		}
		for _, read := range []func(string, []byte) map[string]redirect.Media{playlistDirs, dashDirs} {
			for dir, m := range read(name, []byte(text)) {
				if !strings.HasSuffix(dir, "/") || m.Need() <= 0 {
					t.Errorf("%q: %+v", dir, m)
				}
			}
		}
	})
}

func FuzzCMCDOfRequests(f *testing.F) {
	f.Add("CMCD=bl%3D21300%2Cbr%3D3200", "bl=1")
	f.Fuzz(func(t *testing.T, query, field string) {
		r := &http.Request{URL: &url.URL{RawQuery: query}, Header: http.Header{"Cmcd-Request": {field}}}
		var c redirect.CMCD
		readCMCD(&c, r)
		if c.Buffer < 0 || c.Bitrate < 0 || c.Length < 0 || !(c.Speed >= 0) {
			t.Errorf("%+v", c)
		}
	})
}
