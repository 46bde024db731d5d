package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// TestReplies: bodies of all sizes, from memory and files, in one piece and many, as windows and a small socket allow; several
// streams at a time.
func TestReplies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	data := pattern(700_000)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sizes := []int{0, 1, 1000, 2049, 16384, 16385, 65535, 65536, 100_000, 600_000}
	for _, join := range []bool{false, true} {
		for _, window := range []uint32{0, 1, 1000, 65535, 1 << 20} {
			t.Run(fmt.Sprint(join, window), func(t *testing.T) {
				s := &shop{replies: func(target string) *Reply {
					var n, parts, off int
					var from string
					fmt.Sscanf(target, "/%d/%d/%d/%s", &n, &parts, &off, &from)
					r := bytesReply(data[off:off+n], parts)
					if from == "file" {
						r.Parts = []Part{{File: f, Offset: int64(off), Length: int64(n)}}
					}
					return r
				}}
				c := connect(t, s, func(_ *Options, w *memWire) { w.join = join })
				c.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
				ids, want := []uint32{}, map[uint32][]byte{}
				for i, n := range sizes {
					if window < 1000 && n > 2049 || window == 1 && n > 100 {
						continue
					}
					for parts, from := range []string{"file", "ram", "ram", "ram"} {
						if n == 0 && from == "file" {
							continue
						}
						id := c.ask(true, get(fmt.Sprintf("/%d/%d/%d/%s", n, parts, i*3, from))...)
						ids, want[id] = append(ids, id), data[i*3:i*3+n]
						if window == 0 {
							c.WriteWindowUpdate(id, 3000)
						}
						if len(ids) == 15 {
							c.check(ids, want)
							ids = nil
						}
					}
				}
				c.check(ids, want)
			})
		}
	}
}

func (c *client) check(ids []uint32, want map[uint32][]byte) {
	c.t.Helper()
	got, err := c.take(false, ids...)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, id := range ids {
		if a := got[id]; a.status != "200" || !bytes.Equal(a.body, want[id]) || a.fields.Get("Etag") != `"v"` || a.isReset {
			c.t.Errorf("stream %d: status %s, %d bytes of %d, %v", id, a.status, len(a.body), len(want[id]), a.fields)
		}
	}
}

// TestHeads: what is malformed is reset with PROTOCOL_ERROR and reaches nobody (RFC 9113 §8.2, §8.3): the smuggling table.
func TestHeads(t *testing.T) {
	good := get("/")
	for name, c := range map[string]struct {
		fields []string
		ok     bool
	}{
		"plain":                        {good, true},
		"te trailers":                  {get("/", "te", "trailers"), true},
		"cookies":                      {get("/", "cookie", "a=1", "cookie", "b=2"), true},
		"host alike":                   {get("/", "host", "EXAMPLE.com"), true},
		"host only":                    {[]string{":method", "GET", ":scheme", "http", ":path", "/", "host", "a"}, true},
		"empty value":                  {get("/", "x", ""), true},
		"upper case":                   {get("/", "X-A", "b"), false},
		"host differs":                 {get("/", "host", "evil"), false},
		"hosts":                        {get("/", "host", "example.com", "host", "example.com"), false},
		"connection":                   {get("/", "connection", "close"), false},
		"keep-alive":                   {get("/", "keep-alive", "1"), false},
		"proxy-connection":             {get("/", "proxy-connection", "close"), false},
		"transfer-encoding":            {get("/", "transfer-encoding", "chunked"), false},
		"transfer_encoding":            {get("/", "transfer_encoding", "chunked"), false},
		"upgrade":                      {get("/", "upgrade", "h2c"), false},
		"te":                           {get("/", "te", "gzip"), false},
		"CRLF in a value":              {get("/", "x", "a\r\nb: c"), false},
		"LF in a value":                {get("/", "x", "a\nb"), false},
		"NUL in a value":               {get("/", "x", "a\x00b"), false},
		"blank before a value":         {get("/", "x", " a"), false},
		"blank behind a value":         {get("/", "x", "a\t"), false},
		"colon in a name":              {get("/", "a:b", "c"), false},
		"blank in a name":              {get("/", "a b", "c"), false},
		"CRLF in a name":               {get("/", "a\r\nb", "c"), false},
		"empty name":                   {get("/", "", "c"), false},
		"CRLF in the path":             {get("/ HTTP/1.1\r\nHost: x"), false},
		"blank in the method":          {[]string{":method", "GET /", ":scheme", "http", ":authority", "a", ":path", "/"}, false},
		"no method":                    {[]string{":scheme", "http", ":authority", "a", ":path", "/"}, false},
		"no path":                      {[]string{":method", "GET", ":scheme", "http", ":authority", "a"}, false},
		"empty path":                   {get(""), false},
		"no scheme":                    {[]string{":method", "GET", ":authority", "a", ":path", "/"}, false},
		"odd scheme":                   {[]string{":method", "GET", ":scheme", "ftp", ":authority", "a", ":path", "/"}, false},
		"pseudo twice":                 {get("/", ":path", "/b"), false},
		"pseudo behind":                {append([]string{"x", "y"}, good...), false},
		"unknown pseudo":               {append([]string{":status", "200"}, good...), false},
		"content length without body":  {get("/", "content-length", "3"), false},
		"content length of nothing":    {get("/", "content-length", "0"), true},
		"content length signed":        {get("/", "content-length", "+0"), false},
		"content length twice":         {get("/", "content-length", "0", "content-length", "0"), false},
		"content length list":          {get("/", "content-length", "0, 0"), false},
		"content length over int64":    {get("/", "content-length", "18446744073709551616"), false},
		"CONNECT with a path":          {[]string{":method", "CONNECT", ":authority", "a:1", ":path", "/"}, false},
		"CONNECT without an authority": {[]string{":method", "CONNECT"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			called := false
			s := &shop{replies: func(target string) *Reply { called = true; return bytesReply([]byte("hi"), 1) }}
			cl := connect(t, s, nil)
			cl.greet()
			a := cl.one(cl.ask(true, c.fields...))
			if c.ok != (a.status == "200") || !c.ok && (a.reset != http2.ErrCodeProtocol || called) {
				t.Errorf("%+v, called %v", a, called)
			}
			if b := cl.one(cl.ask(true, good...)); b.status != "200" {
				t.Errorf("the connection has suffered: %+v", b)
			}
		})
	}
}

// TestFloods: a client that costs without bringing anything is sent away (RFC 9113 §10.5).
func TestFloods(t *testing.T) {
	ask := func(c *client, id uint32) {
		c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(get("/slow")...), EndStream: true, EndHeaders: true})
	}
	many := func(n int, do func(c *client, i int) error) func(*client) {
		return func(c *client) {
			for i := range n {
				if do(c, i) != nil {
					return
				}
			}
		}
	}
	for name, flood := range map[string]func(c *client){
		"streams reset": many(5000, func(c *client, i int) error {
			ask(c, uint32(2*i+1))
			return c.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
		}),
		"streams made to be reset": many(5000, func(c *client, i int) error {
			ask(c, uint32(2*i+1))
			return c.WriteWindowUpdate(uint32(2*i+1), 0)
		}),
		"malformed heads": many(5000, func(c *client, i int) error {
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: c.block("a", "b"), EndStream: true, EndHeaders: true})
		}),
		"more streams than allowed": many(5000, func(c *client, i int) error { ask(c, uint32(2*i+1)); return nil }),
		"pings":                     many(20000, func(c *client, i int) error { return c.WritePing(false, [8]byte{1}) }),
		"settings":                  many(20000, func(c *client, i int) error { return c.WriteSettings() }),
		"windows":                   many(20000, func(c *client, i int) error { return c.WriteWindowUpdate(0, 1) }),
		"unknown frames":            many(20000, func(c *client, i int) error { return c.WriteRawFrame(0xee, 0, 0, nil) }),
		"priorities": many(20000, func(c *client, i int) error {
			return c.WritePriority(1, http2.PriorityParam{StreamDep: 3})
		}),
		"empty DATA": func(c *client) {
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(get("/slow")...), EndHeaders: true})
			many(20000, func(c *client, i int) error { return c.WriteData(1, false, nil) })(c)
		},
		"empty CONTINUATION": func(c *client) {
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(get("/")...), EndStream: true})
			many(20000, func(c *client, i int) error { return c.WriteContinuation(1, false, nil) })(c)
		},
		"long CONTINUATION": func(c *client) {
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(get("/")...), EndStream: true})
			p := c.block("x", strings.Repeat("~", 10000))
			many(100, func(c *client, i int) error { return c.WriteContinuation(1, false, p) })(c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shop{handler: func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
			c := connect(t, s, func(_ *Options, w *memWire) { w.out.room = 1 << 20 }) // GOAWAY must fit behind the answers
			c.greet()
			c.work.Go(func() { flood(c) })
			if code, told := c.fate(); !told || code != http2.ErrCodeEnhanceYourCalm {
				t.Errorf("GOAWAY %v: %v", told, code)
			}
			if s.count(Abused) == 0 {
				t.Error("not counted")
			}
		})
	}
}

// TestUnread: what waits for a client that takes nothing is bounded, and after the grace the connection ends.
func TestUnread(t *testing.T) {
	for name, path := range map[string]string{"short answers": "/short", "long answers": "/long", "pings": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := map[string][]byte{"/short": pattern(9000), "/long": pattern(1 << 20)}
				s := &shop{replies: func(target string) *Reply { return bytesReply(body[target], 1) }}
				c := connect(t, s, func(o *Options, _ *memWire) { o.Streams = 10000 })
				c.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
				c.WriteWindowUpdate(0, 1<<30)
				sent := 0
				c.work.Go(func() {
					for sent < 3000 {
						if path == "" {
							if c.WritePing(false, [8]byte{}) != nil {
								return
							}
						} else {
							c.ask(true, get(path)...)
						}
						sent++
					}
				})
				began := time.Now()
				err := <-c.done
				c.done <- err
				if took := time.Since(began); took > 2*time.Minute || took < 30*time.Second {
					t.Errorf("ended after %v: %v", took, err)
				}
				if c.wire.out.most > 64<<10 {
					t.Errorf("%d bytes", c.wire.out.most)
				}
			})
		})
	}
}

// TestSlow: streams that make no progress are reset, those beside them go on.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shop{
			replies: func(target string) *Reply {
				if target == "/reply" {
					return bytesReply(pattern(50_000), 1)
				}
				return nil
			},
			handler: func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "POST" {
					if _, err := io.ReadAll(r.Body); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("body: %v", err)
					}
					return
				}
				if _, err := w.Write(pattern(50_000)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("write: %v", err)
				}
			},
		}
		c := connect(t, s, nil)
		c.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
		a := c.ask(true, get("/reply")...)
		b := c.ask(true, get("/handler")...)
		p := c.ask(false, ":method", "POST", ":scheme", "http", ":authority", "x", ":path", "/")
		began := time.Now()
		got, err := c.take(true, a, b, p)
		if err != nil {
			t.Fatal(err)
		}
		for id, a := range got {
			if !a.isReset || a.reset != http2.ErrCodeCancel {
				t.Errorf("stream %d: %+v", id, a)
			}
		}
		if took := time.Since(began); took < 30*time.Second || took > 45*time.Second {
			t.Errorf("after %v", took)
		}
		if s.count(SlowRead) != 2 || s.count(SlowBody) != 1 {
			t.Errorf("%v", s.events)
		}
		c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
		if a := c.one(c.ask(true, get("/reply")...)); len(a.body) != 50_000 {
			t.Errorf("%+v", a)
		}
	})
}

// TestWaits: preface, header block and requests that do not come end the connection in time.
func TestWaits(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(c *client)
		after time.Duration
		code  http2.ErrCode
	}{
		"preface": {func(c *client) { io.WriteString(c, http2.ClientPreface[:10]) }, 10 * time.Second, http2.ErrCodeProtocol},
		"header block": {func(c *client) {
			c.greet()
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(get("/")...)})
		}, 10 * time.Second, http2.ErrCodeEnhanceYourCalm},
		"request": {func(c *client) {
			c.greet()
			c.one(c.ask(true, get("/")...))
		}, time.Minute, http2.ErrCodeNo},
		"only pings": {func(c *client) {
			c.greet()
			c.work.Go(func() {
				for c.WritePing(false, [8]byte{}) == nil {
					time.Sleep(time.Second)
				}
			})
		}, time.Minute, http2.ErrCodeNo},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := connect(t, &shop{replies: func(string) *Reply { return bytesReply([]byte("x"), 1) }}, nil)
				began := time.Now()
				c.do(cl)
				code, told := cl.fate()
				if took := time.Since(began); took < c.after || took > c.after*3/2 || code != c.code || !told {
					t.Errorf("after %v: %v %v", took, code, told)
				}
			})
		})
	}
}

// TestLeave: GOAWAY comes at once, also to who waits; what is at work and what crosses with it is served; then it ends.
func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := &shop{handler: func(w http.ResponseWriter, r *http.Request) { <-release; io.WriteString(w, r.URL.Path) }}
		c := connect(t, s, nil)
		c.greet()
		first := c.ask(true, get("/a")...)
		synctest.Wait()
		s.mu.Lock()
		s.gone = true
		s.mu.Unlock()
		c.wire.SetWake(past)
		second := uint32(0)
		var last []uint32
		for len(last) < 2 {
			f, err := c.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			switch f := f.(type) {
			case *http2.GoAwayFrame:
				last = append(last, f.LastStreamID)
				if len(last) == 1 {
					second = c.ask(true, get("/b")...) // it crossed
				}
			case *http2.PingFrame:
				c.WritePing(true, f.Data)
			}
		}
		if !slices.Equal(last, []uint32{maxStreamID, second}) {
			t.Errorf("last streams %d", last)
		}
		late := c.ask(true, get("/c")...)
		synctest.Wait()
		close(release)
		got, err := c.take(false, first, second)
		if err != nil || string(got[first].body) != "/a" || string(got[second].body) != "/b" {
			t.Errorf("%v %+v", err, got)
		}
		if got, err := c.take(false, late); err != io.EOF || got[late].status != "" {
			t.Errorf("late: %v %+v", err, got[late])
		}
		if err := <-c.done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		c.done <- nil
	})
}
