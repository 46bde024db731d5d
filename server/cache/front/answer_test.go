package front

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestHeadBytes(t *testing.T) {
	h, err := NewHead(200, func(yield func(string, string) bool) {
		for _, f := range [][2]string{{"Content-Type", "text/css"}, {"ETag", ` "v1" `}, {"Age", "9"}, {"Connection", "x"}, {"Content-Length", "1"},
			{"Content-Range", "bytes 0-0/1"}, {"Cache-Status", "up; hit"}, {"Vary", "accept-encoding"}, {"Transfer-Encoding", "chunked"}, {"Repr-Digest", "d"}} {
			if !yield(f[0], f[1]) {
				return
			}
		}
	}, 10)
	if err != nil {
		t.Fatal(err)
	}
	const meta, data = "ETag: \"v1\"\r\nCache-Status: up; hit\r\nVary: accept-encoding\r\n", "Content-Type: text/css\r\nRepr-Digest: d\r\n"
	now := appendDate(nil, time.Unix(784111777, 0))
	date := "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
	for _, c := range []struct {
		a    Answer
		o    outcome
		want string
	}{
		{Answer{Age: -1}, outcome{}, "HTTP/1.1 200 OK\r\n" + meta + data + "Content-Length: 10\r\n" + date + "\r\n"},
		{Answer{Age: 0, CacheStatus: []byte("LON; hit"), Extra: []byte("X: y\r\n")}, outcome{close: true, altSvc: "Alt-Svc: z\r\n"},
			"HTTP/1.1 200 OK\r\n" + meta + data + "Content-Length: 10\r\n" + date + "Age: 0\r\nCache-Status: LON; hit\r\nX: y\r\nAlt-Svc: z\r\nConnection: close\r\n\r\n"},
		{Answer{Age: -1, Status: 206, First: 2, Length: 3, Size: 10}, outcome{}, "HTTP/1.1 206 Partial Content\r\n" + meta + data + "Content-Range: bytes 2-4/10\r\nContent-Length: 3\r\n" + date + "\r\n"},
		{Answer{Age: -1, Status: 304}, outcome{}, "HTTP/1.1 304 Not Modified\r\n" + meta + date + "\r\n"},
		{Answer{Age: -1, Status: 416, Size: 10}, outcome{}, "HTTP/1.1 416 Range Not Satisfiable\r\n" + meta + "Content-Range: bytes */10\r\nContent-Length: 0\r\n" + date + "\r\n"},
	} {
		c.a.Head, c.o.date = h, now
		if got := string(appendHead(nil, &c.a, c.o)); got != c.want {
			t.Errorf("got %q\nwant %q", got, c.want)
		}
	}
	dated, _ := NewHead(404, Header(http.Header{"Date": {"then"}}), 0)
	if got := string(appendHead(nil, &Answer{Head: dated, Age: -1}, outcome{date: now})); got != "HTTP/1.1 404 Not Found\r\nDate: then\r\nContent-Length: 0\r\n\r\n" {
		t.Errorf("stored date: %q", got)
	}
}

func TestHeadRefuses(t *testing.T) {
	for _, f := range [][2]string{{"A", "b\r\nX: y"}, {"A", "b\n"}, {"A", "\x00"}, {"A b", "c"}, {"", "c"}, {"A:", "c"}, {"A\r\nB", "c"}} {
		if _, err := NewHead(200, Header(http.Header{f[0]: {f[1]}}), 0); err == nil {
			t.Errorf("%q taken", f)
		}
	}
	for _, s := range []int{0, 100, 199, 600} {
		if _, err := NewHead(s, Header(nil), 0); err == nil {
			t.Errorf("status %d taken", s)
		}
	}
	if _, err := NewHead(200, Header(nil), -1); err == nil {
		t.Error("length -1 taken")
	}
}

// TestAnswers asks stored objects of many sizes, from memory and files, whole and in parts, in both forms of connection.
func TestAnswers(t *testing.T) {
	var hits shelf
	type kind struct{ file, parts bool }
	sizes := []int{0, 1, 1000, shortFile, shortFile + 1, oneWrite - 300, oneWrite, oneWrite + 1, 100_000, 3_000_000}
	paths := map[string][]byte{}
	for _, n := range sizes {
		for _, k := range []kind{{}, {true, false}, {false, true}, {true, true}} {
			path, data := fmt.Sprintf("/%d-%v-%v", n, k.file, k.parts), pattern(n)
			var o *object
			if k.file {
				o = hits.putFile(t, path, data)
			} else {
				o = hits.put(t, path, data, nil)
			}
			if k.parts {
				o.cut = int64(n/3 + 1)
			}
			paths[path] = data
		}
	}
	s := start(t, nil, &hits, func(o *Options) {
		o.Listen = append(o.Listen, Listen{Address: "[::1]:0"})
	})
	six, err := net.Dial("tcp", s.Addrs()[2].String())
	if err != nil {
		t.Fatal(err)
	}
	defer six.Close()
	for name, c := range map[string]net.Conn{"plain": s.dial(), "tls": s.dialTLS(), "six": six} {
		t.Run(name, func(t *testing.T) {
			br := bufio.NewReader(c)
			for path, data := range paths {
				checkObject(t, c, br, path, data)
			}
		})
	}
	hits.mu.Lock()
	defer hits.mu.Unlock()
	for _, x := range hits.sent {
		if x.Err != nil || x.HeadBytes == 0 || x.Ended.Before(x.Began) || x.Conn == nil {
			t.Fatalf("told %+v", x)
		}
	}
	if s.Stats().General != 0 || s.Stats().BadAnswers != 0 {
		t.Errorf("%+v", s.Stats())
	}
}

func checkObject(t *testing.T, c net.Conn, br *bufio.Reader, path string, data []byte) {
	t.Helper()
	req := func(method, lines string) *http.Response {
		return ask(t, c, br, method+" "+path+" HTTP/1.1\r\nHost: x\r\n"+lines+"\r\n", method)[0]
	}
	n := len(data)
	if r := req("GET", ""); r.StatusCode != 200 || body(r) != string(data) || r.ContentLength != int64(n) {
		t.Fatalf("%s: %d, length %d", path, r.StatusCode, r.ContentLength)
	}
	if r := req("HEAD", ""); r.StatusCode != 200 || body(r) != "" || r.ContentLength != int64(n) {
		t.Fatalf("%s: HEAD %d, length %d", path, r.StatusCode, r.ContentLength)
	}
	if r := req("GET", "If-None-Match: \"v1\"\r\n"); r.StatusCode != 304 || r.Header.Get("Etag") == "" || r.Header.Get("Content-Type") != "" {
		t.Fatalf("%s: %v", path, r)
	}
	for _, span := range [][2]int{{0, 0}, {n / 2, n - 1}, {n / 3, n/3 + n/2}, {0, n - 1}} {
		r := req("GET", fmt.Sprintf("Range: bytes=%d-%d\r\n", span[0], max(span[1], span[0])))
		if span[0] >= n {
			if r.StatusCode != 416 || r.Header.Get("Content-Range") != "bytes */"+strconv.Itoa(n) {
				t.Fatalf("%s %v: %v", path, span, r)
			}
			continue
		}
		last := min(span[1], n-1)
		if want := fmt.Sprintf("bytes %d-%d/%d", span[0], last, n); r.StatusCode != 206 || r.Header.Get("Content-Range") != want || body(r) != string(data[span[0]:last+1]) {
			t.Fatalf("%s %v: %v", path, span, r)
		}
	}
}

// sloppy gives answers whose parts do not fit their head.
type sloppy struct {
	shelf
	change func(a *Answer)
	told   error
}

func (s *sloppy) Hit(r *Request, a *Answer) bool {
	if !s.shelf.Hit(r, a) {
		return false
	}
	a.Done = s
	s.change(a)
	return true
}

func (s *sloppy) Finish(_ *Request, _ *Answer, x *Sent) { s.told = x.Err }

func TestAnswersThatDoNotFit(t *testing.T) {
	for i, change := range []func(*Answer){
		func(a *Answer) { a.AddBytes([]byte("more")) },
		func(a *Answer) { a.parts = nil },
		func(a *Answer) { a.Status = 206; a.Size = 3 },
		func(a *Answer) { a.Status = 304 },
		func(a *Answer) { a.Status = 201 },
		func(a *Answer) { a.Head = nil },
		func(a *Answer) { a.parts[0].Length++ },
	} {
		s := &sloppy{change: change}
		s.put(t, "/a", []byte("hello"), nil)
		st := start(t, nil, s, nil)
		c := st.dial()
		r := ask(t, c, bufio.NewReader(c), "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET")[0]
		if body(r) != "general GET /a" || st.Stats().BadAnswers != 1 || s.told == nil {
			t.Errorf("%d: %v, told %v", i, r, s.told)
		}
	}
}

// TestFileEnds: a file shorter than promised ends the connection; nothing is made up.
func TestFileEnds(t *testing.T) {
	var hits shelf
	o := hits.putFile(t, "/a", pattern(50_000))
	o.file.Truncate(30_000)
	s := start(t, nil, &hits, nil)
	for name, c := range map[string]net.Conn{"plain": s.dial(), "tls": s.dialTLS()} {
		io.WriteString(c, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
		b, _ := io.ReadAll(c)
		_, rest, _ := bytes.Cut(b, []byte("\r\n\r\n"))
		if len(rest) > 29_900 || !bytes.HasPrefix(pattern(50_000), rest) {
			t.Errorf("%s: %d bytes", name, len(rest))
		}
	}
	until(t, "both told", func() bool {
		hits.mu.Lock()
		defer hits.mu.Unlock()
		return len(hits.sent) == 2
	})
	for _, x := range hits.sent {
		if x.Err != io.ErrUnexpectedEOF {
			t.Errorf("told %v", x.Err)
		}
	}
}

// sendBoth asks for 2 MB over the fast and over the general path in cleartext.
func sendBoth(t *testing.T) *stand {
	data := pattern(2_000_000)
	var hits shelf
	o := hits.putFile(t, "/fast", data)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		w.WriteHeader(200)
		if n, err := Send(w, r, o.file, 100, int64(len(data))); n != int64(len(data)) || err != nil {
			t.Errorf("Send: %d %v", n, err)
		}
	}, &hits, nil)
	c := s.dial()
	br := bufio.NewReader(c)
	for _, path := range []string{"/fast", "/general", "/fast"} {
		if r := ask(t, c, br, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n", "GET")[0]; body(r) != string(data) {
			t.Fatalf("%s: wrong body", path)
		}
	}
	return s
}

// TestSendfileKept counts: files go by sendfile on both paths, all but the 512 bytes that net/http sends with its head.
func TestSendfileKept(t *testing.T) {
	s := sendBoth(t)
	until(t, "all counted", func() bool { st := s.Stats(); return st.SendfileBytes+st.CopiedBytes >= 6_000_000 })
	st := s.Stats()
	if st.SendfileBytes+st.CopiedBytes != 6_000_000 || st.CopiedBytes > 512 || st.Sendfile == 0 {
		t.Errorf("by sendfile %d in %d calls, copied %d", st.SendfileBytes, st.Sendfile, st.CopiedBytes)
	}
}

// TestSendfileTraced looks at the system calls themselves, where strace can be used.
func TestSendfileTraced(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil || testing.Short() {
		t.Skip("no strace")
	}
	out := filepath.Join(t.TempDir(), "trace")
	if exec.Command(strace, "-o", out, "true").Run() != nil {
		t.Skip("strace may not trace here")
	}
	cmd := exec.Command(strace, "-f", "-qq", "-e", "trace=sendfile,pread64", "-o", out, os.Args[0], "-test.run=^TestSendfileKept$")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	b, _ := os.ReadFile(out)
	sum := func(re string) (n int) {
		for _, m := range regexp.MustCompile(re).FindAllStringSubmatch(string(b), -1) {
			v, _ := strconv.Atoi(m[1])
			n += v
		}
		return n
	}
	sent, copied := sum(`(?m)sendfile.* = (\d+)$`), sum(`(?m)pread64.* = (\d+)$`)
	if sent+512 < 6_000_000 || copied > 16<<10 { // the loader reads a little too
		t.Errorf("sendfile %d bytes, pread %d\n%s", sent, copied, strings.Join(strings.SplitN(string(b), "\n", 20), "\n"))
	}
}

// TestSendWrapped: a wrapper with Unwrap keeps sendfile; where it cannot be, the bytes are right all the same.
func TestSendWrapped(t *testing.T) {
	data := pattern(300_000)
	var hits shelf
	o := hits.putFile(t, "/none", data)
	type wrapper struct{ http.ResponseWriter }
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/chunked" {
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		}
		w.WriteHeader(200)
		if r.URL.Path == "/wrapped" {
			w = unwrapping{w}
		} else if r.URL.Path == "/opaque" {
			w = wrapper{w}
		}
		Send(w, r, o.file, 100, int64(len(data)))
	}, &hits, nil)
	for _, path := range []string{"/wrapped", "/opaque", "/chunked"} {
		for name, c := range map[string]net.Conn{"plain": s.dial(), "tls": s.dialTLS()} {
			before := s.Stats()
			r := ask(t, c, bufio.NewReader(c), "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n", "GET")[0]
			if body(r) != string(data) {
				t.Errorf("%s %s: wrong body", path, name)
			}
			want := uint64(0)
			if path == "/wrapped" && name == "plain" {
				want = uint64(len(data)) - 512
			}
			// The client may have all before the server has counted it.
			until(t, path+" "+name+" counted", func() bool {
				st := s.Stats()
				return st.SendfileBytes-before.SendfileBytes+st.CopiedBytes-before.CopiedBytes >= uint64(len(data)) || path != "/wrapped"
			})
			if got := s.Stats().SendfileBytes - before.SendfileBytes; got != want {
				t.Errorf("%s %s: %d bytes by sendfile, want %d", path, name, got, want)
			}
		}
	}
}

type unwrapping struct{ http.ResponseWriter }

func (u unwrapping) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// TestPanics: a panic ends one connection, not the server.
func TestPanics(t *testing.T) {
	s := &sloppy{change: func(*Answer) { panic("hitter") }}
	s.put(t, "/hit", nil, nil)
	st := start(t, func(w http.ResponseWriter, r *http.Request) { panic("handler") }, s, nil)
	for _, path := range []string{"/hit", "/general"} {
		c := st.dial()
		io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if b, ok := ended(c); !ok || len(b) > 0 {
			t.Errorf("%s: %q", path, b)
		}
	}
	if n := st.Stats().Panics; n != 2 {
		t.Errorf("%d panics counted", n)
	}
}

// TestStreamAnswers asks the same objects over HTTP/2 and 3: status, fields and bytes are those of HTTP/1.1.
func TestStreamAnswers(t *testing.T) {
	var hits shelf
	for _, n := range []int{0, 1, 1000, 70_000, 1_000_000} {
		hits.put(t, fmt.Sprintf("/m%d", n), pattern(n), http.Header{"Etag": {`"v1"`}, "Vary": {"a", "b"}, "Cache-Status": {"up; hit"}, "Content-Type": {"text/x"}})
		hits.putFile(t, fmt.Sprintf("/f%d", n), pattern(n))
		hits.put(t, fmt.Sprintf("/p%d", n), pattern(n), http.Header{"Etag": {`"v1"`}}).cut = int64(n/3 + 1)
	}
	s := start(t, nil, &hits, allProtocols)
	one := s.dial()
	br := bufio.NewReader(one)
	var asked uint64
	clients := map[string]struct {
		client *http.Client
		url    string
	}{"h2": {s.client2(), "https://" + s.secure}, "h2c": {s.clientH2C(), "http://" + s.addr}, "h3": {s.client3(), "https://" + s.secure}}
	for path, o := range hits.objects {
		n := int(o.head.Length())
		for _, req := range [][2]string{{"GET", ""}, {"HEAD", ""}, {"GET", "If-None-Match: \"v1\""}, {"GET", "Range: bytes=0-0"}, {"GET", fmt.Sprintf("Range: bytes=%d-", n/2)}, {"GET", "Range: bytes=-9"}} {
			line := ""
			if req[1] != "" {
				line = req[1] + "\r\n"
			}
			want := ask(t, one, br, req[0]+" "+path+"?q HTTP/1.1\r\nHost: x\r\n"+line+"\r\n", req[0])[0]
			wantBody := body(want)
			for name, c := range clients {
				r, _ := http.NewRequest(req[0], c.url+path+"?q", nil)
				r.Header.Set("Te", "trailers")
				if k, v, ok := strings.Cut(req[1], ": "); ok {
					r.Header.Set(k, v)
				}
				got, err := c.client.Do(r)
				if err != nil {
					t.Fatalf("%s %s %v: %v", name, path, req, err)
				}
				b, err := io.ReadAll(got.Body)
				got.Body.Close()
				asked++
				if err != nil || got.StatusCode != want.StatusCode || string(b) != wantBody || got.ContentLength != want.ContentLength && req[0] != "HEAD" && got.StatusCode < 300 {
					t.Fatalf("%s %s %v: %d, %d bytes, %v; want %d, %d bytes", name, path, req, got.StatusCode, len(b), err, want.StatusCode, len(wantBody))
				}
				for _, k := range []string{"Etag", "Vary", "Content-Type", "Content-Range", "Age", "Content-Length", "Cache-Status"} {
					if k == "Content-Length" && got.StatusCode == 416 {
						continue
					}
					if g, w := strings.Join(got.Header.Values(k), ", "), strings.Join(want.Header.Values(k), ", "); g != w {
						t.Errorf("%s %s %v: %s %q, want %q", name, path, req, k, g, w)
					}
				}
			}
		}
	}
	if st := s.Stats(); st.General != 0 || st.BadAnswers != 0 || st.Fast < asked {
		t.Errorf("%d asked: %+v", asked, st)
	}
	hits.mu.Lock()
	defer hits.mu.Unlock()
	for _, x := range hits.sent {
		if x.Err != nil || x.Conn == nil {
			t.Fatalf("told %+v", x)
		}
	}
}

// TestStreamMisses: what the short way must not take goes to the handler.
func TestStreamMisses(t *testing.T) {
	var hits shelf
	hits.put(t, "/a", []byte("hit"), nil)
	s := start(t, nil, &hits, func(o *Options) { o.SlowNames = []string{"X-Token"} })
	c := s.client2()
	for i, x := range []struct{ method, path, name, value, body, want string }{
		{"GET", "/a", "X", "y", "", "hit"}, {"GET", "/b", "X", "y", "", "general GET /b"}, {"POST", "/a", "X", "y", "z", "general POST /a"},
		{"GET", "/a", "X", "y", "body", "general GET /a"}, {"GET", "/a", "Authorization", "y", "", "general GET /a"}, {"GET", "/a", "X-Token", "y", "", "general GET /a"},
		{"GET", "/a", "Cache-Control", "no-cache", "", "general GET /a"}, {"DELETE", "/a", "X", "y", "", "general DELETE /a"},
	} {
		var rd io.Reader
		if x.body != "" {
			rd = strings.NewReader(x.body)
		}
		r, _ := http.NewRequest(x.method, "https://"+s.secure+x.path, rd)
		r.Header.Set(x.name, x.value)
		got, err := c.Do(r)
		if err != nil {
			t.Logf("%d: %v", i, err) // the library refuses some itself
			continue
		}
		b, _ := io.ReadAll(got.Body)
		got.Body.Close()
		if string(b) != x.want {
			t.Errorf("%d: %q, want %q", i, b, x.want)
		}
	}
}
