package cache

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"

	"github.com/catchment/catchment/policy/redirect"
	"github.com/catchment/catchment/server/media"
)

// rates are what is known of how fast streams are played: of single files by their URL, of segments by the directories that
// a manifest which went through here has named. It is bounded: when full, any goes.
type rates struct {
	mu   sync.RWMutex
	m    map[string]rate
	most int
}

// rate is what an object told.
type rate struct {
	of uint64 // the stored object
	redirect.Media
}

func newRates(most int) *rates { return &rates{m: map[string]rate{}, most: most} }

func (r *rates) get(name string) (rate, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	v, ok := r.m[name]
	return v, ok
}

func (r *rates) set(name string, v rate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.m[name]; !ok && len(r.m) >= r.most {
		for any := range r.m {
			delete(r.m, any)
			break
		}
	}
	r.m[name] = v
}

// under gives the rate of the nearest directory above a path that has one.
func (r *rates) under(host, p string) redirect.Media {
	for range 8 {
		at := strings.LastIndexByte(p, '/')
		if at < 0 {
			break
		}
		p = p[:at]
		if v, ok := r.get(host + p + "/"); ok {
			return v.Media
		}
	}
	return redirect.Media{}
}

// media is what is known of the stream that an object is part of.
func (x *exchange) media(e *entry, q *redirect.Request) redirect.Media {
	if m := x.s.rates.under(string(x.key.Host), string(x.key.Path)); m.Need() > 0 {
		return m
	}
	c := &q.CMCD
	switch {
	case c.Length > 0 && q.Size > 0:
		return redirect.Media{Average: float64(q.Size) / c.Length.Seconds()}
	case c.Bitrate > 0:
		return redirect.Media{Average: c.Bitrate}
	}
	return x.file(e)
}

// movieHead is how much of a file is looked at for its length of play.
const movieHead = 64 << 10

// file is the rate of a whole film in one file.
func (x *exchange) file(e *entry) redirect.Media {
	if !strings.HasSuffix(e.header.Get("Content-Type"), "/mp4") || e.Size() < movieHead {
		return redirect.Media{}
	}
	name := string(x.key.Host) + string(x.key.Path) + "?" + string(x.key.Query)
	if v, ok := x.s.rates.get(name); ok && v.of == e.ID() {
		return v.Media
	}
	if e.Available(0) < movieHead {
		return redirect.Media{}
	}
	buf := x.s.buffers.Get().(*[copySize]byte)
	defer x.s.buffers.Put(buf)
	n, _ := e.ReadAt(buf[:movieHead], 0)
	v := rate{of: e.ID()}
	if r, err := media.MP4(buf[:n], e.Size()); err == nil {
		v.Media = redirect.Media(r)
	}
	x.s.rates.set(name, v)
	return v.Media
}

// largestManifest bounds what is read of one.
const largestManifest = 1 << 20

// learn reads the rates that a manifest tells, once it is there.
func (a *answer) learn() {
	x, e := a.x, &a.e
	t := x.c.steer[x.site]
	if t == nil || !t.conf.On() || e.Size() > largestManifest {
		return
	}
	kind := manifest(e.header.Get("Content-Type"), string(x.key.Path))
	if kind == nil || !e.Whole() && a.fly().Ensure(x.context(), 0, -1) != nil || e.Size() <= 0 || e.Size() > largestManifest {
		return
	}
	name := "manifest " + string(x.key.Host) + string(x.key.Path)
	if v, ok := x.s.rates.get(name); ok && v.of == e.ID() {
		return
	}
	text := make([]byte, e.Size())
	if n, _ := e.ReadAt(text, 0); n < len(text) {
		return
	}
	x.s.rates.set(name, rate{of: e.ID()})
	for dir, m := range kind(string(x.key.Path), text) {
		x.s.rates.set(string(x.key.Host)+dir, rate{Media: m})
	}
}

// manifest gives what reads a manifest; nil: it is none.
func manifest(contentType, name string) func(name string, text []byte) map[string]redirect.Media {
	contentType, _, _ = strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(contentType)) {
	case "application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl":
		return playlistDirs
	case "application/dash+xml":
		return dashDirs
	}
	switch path.Ext(name) {
	case ".m3u8":
		return playlistDirs
	case ".mpd":
		return dashDirs
	}
	return nil
}

// playlistDirs are the directories of the playlists that a multivariant playlist names. Where several share one, the
// fastest counts: what a client has in its buffer is less then, never more.
func playlistDirs(name string, text []byte) map[string]redirect.Media {
	all, err := media.HLS(text)
	if err != nil {
		return nil
	}
	base := url.URL{Path: name}
	out := map[string]redirect.Media{}
	for _, v := range all {
		u, err := base.Parse(v.URI)
		if err != nil {
			continue
		}
		faster(out, dirOf(u.EscapedPath()), v.Rate)
	}
	return out
}

// dashDirs are the directory of a manifest, for the fastest of all, and below it those with the name of a Representation.
func dashDirs(name string, text []byte) map[string]redirect.Media {
	all, err := media.DASH(text)
	if err != nil {
		return nil
	}
	dir := dirOf(name)
	out := map[string]redirect.Media{}
	for _, v := range all {
		faster(out, dir, v.Rate)
		if v.URI != "" && !strings.ContainsAny(v.URI, "/?#%") {
			faster(out, dir+v.URI+"/", v.Rate)
		}
	}
	return out
}

// dirOf is all up to the last slash.
func dirOf(p string) string { return p[:strings.LastIndexByte(p, '/')+1] }

// faster keeps the larger rate.
func faster(out map[string]redirect.Media, dir string, r media.Rate) {
	m := redirect.Media(r)
	if dir != "" && m.Need() > out[dir].Need() {
		out[dir] = m
	}
}

// cmcdFields are where a client says what it has (CTA-5004 section 3).
var cmcdFields = [...]string{"Cmcd-Request", "Cmcd-Object", "Cmcd-Status", "Cmcd-Session"}

// readCMCD reads what a client says of itself, in fields or in the query.
func readCMCD(c *redirect.CMCD, r *http.Request) {
	for _, name := range cmcdFields {
		for _, line := range r.Header[name] {
			redirect.ParseCMCD(c, line)
		}
	}
	for text := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if value, ok := strings.CutPrefix(text, "CMCD="); ok {
			if s, err := url.QueryUnescape(value); err == nil {
				redirect.ParseCMCD(c, s)
			}
			return
		}
	}
}
