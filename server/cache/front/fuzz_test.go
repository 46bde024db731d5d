package front

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// testRules are the default limits.
func testRules() *rules { return &rules{Limits: Options{}.filled().Limits} }

// FuzzParse holds the parser against net/http: what the fast path accepts, net/http accepts and understands alike; what the
// general path gets, net/http either refuses or frames alike.
func FuzzParse(f *testing.F) {
	for _, list := range [][]rawCase{refusedCases(), acceptedCases(), brokenBodies()} {
		for _, c := range list {
			if len(c.raw) < 2000 {
				f.Add([]byte(c.raw))
			}
		}
	}
	for _, v := range []string{"bytes=0-1", "bytes=5-", "bytes=-5", "bytes=1-0", "Bytes=0-0", "bytes=0-1,3-4", "bytes= 0-1", "items=0-1", "bytes=-", "bytes=--1", "bytes=-0"} {
		f.Add([]byte(get("Range: " + v + "\r\nIf-Range: \"a\"\r\n")))
	}
	f.Add([]byte("HEAD /a%20b/?c=d%zz&e=[]|\"<> HTTP/1.1\r\nhost: Example.COM:80\r\nconnection: Keep-Alive, close\r\ncookie: a=b\r\n\r\n"))
	f.Add([]byte("GET //a//b HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nPragma: no-cache\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) { checkParse(t, data) })
}

func checkParse(t *testing.T, data []byte) {
	end, _, ref := scanHead(data, 0)
	if ref != nil || end == 0 {
		return
	}
	head1 := data[:end]
	var w work
	if w.head.parse(head1, testRules()) != nil {
		return
	}
	h := &w.head
	br := bufio.NewReaderSize(bytes.NewReader(data), 128<<10)
	r, err := http.ReadRequest(br)
	if err != nil {
		if !h.slow {
			t.Fatalf("the fast path accepts %q, net/http says %v", head1, err)
		}
		return
	}
	if r.Method != string(h.method) || r.RequestURI != string(h.target) || r.ProtoMinor != h.minor {
		t.Fatalf("%q: read %q %q 1.%d; net/http %q %q 1.%d", head1, h.method, h.target, h.minor, r.Method, r.RequestURI, r.ProtoMinor)
	}
	if h.nHost == 1 && !strings.EqualFold(r.Host, string(h.host)) {
		t.Fatalf("%q: host %q, net/http %q", head1, h.host, r.Host)
	}
	chunked := len(r.TransferEncoding) == 1 && r.TransferEncoding[0] == "chunked"
	if length := max(h.length, 0); chunked != h.chunked || !chunked && r.ContentLength != length {
		t.Fatalf("%q: length %d chunked %v; net/http %d %v", head1, h.length, h.chunked, r.ContentLength, r.TransferEncoding)
	}
	if got := len(data) - br.Buffered(); got != end {
		t.Fatalf("%q: head of %d bytes, net/http %d", data, end, got)
	}
	if r.Close && !h.close {
		t.Fatalf("%q: net/http closes, we do not", head1)
	}
	if !h.slow {
		w.fillRequest(&Conn{})
		compareRequest(t, &w.req, r)
	}
}

var simpleRange = regexp.MustCompile(`(?i)^bytes=(\d{0,18})-(\d{0,18})$`)

// compareRequest compares what a Hitter sees with net/http's request.
func compareRequest(t *testing.T, q *Request, r *http.Request) {
	if q.Head != (r.Method == "HEAD") || r.Method != "HEAD" && r.Method != "GET" {
		t.Fatalf("method %s", r.Method)
	}
	if r.URL.EscapedPath() != string(q.Path) && r.URL.Path != string(q.Path) {
		t.Fatalf("path %q, net/http %q", q.Path, r.URL.EscapedPath())
	}
	if r.URL.RawQuery != string(q.Query) || (r.URL.ForceQuery || r.URL.RawQuery != "") != (q.Query != nil) {
		t.Fatalf("query %q, net/http %q", q.Query, r.URL.RawQuery)
	}
	for name, v := range map[string][]byte{"Accept": q.Accept, "Accept-Encoding": q.AcceptEncoding, "Accept-Language": q.AcceptLanguage,
		"Cookie": q.Cookie, "If-Modified-Since": q.IfModifiedSince, "If-None-Match": q.IfNoneMatch, "If-Range": q.IfRange,
		"Origin": q.Origin, "Range": q.Range, "Referer": q.Referer, "User-Agent": q.UserAgent} {
		all := r.Header.Values(name)
		if len(all) > 1 || (len(all) == 1) != (v != nil) || v != nil && all[0] != string(v) {
			t.Fatalf("%s: %q, net/http %q", name, v, all)
		}
	}
	for _, name := range []string{"Authorization", "Cache-Control", "Pragma", "Expect", "Upgrade", "Te", "Trailer", "Via", "Cdn-Loop",
		"If-Match", "If-Unmodified-Since", "Max-Forwards", "Content-Length", "Transfer-Encoding", "Proxy-Authorization"} {
		if _, ok := r.Header[name]; ok {
			t.Fatalf("the fast path has %s", name)
		}
	}
	n := 0
	q.Fields(func(name, value []byte) bool { n++; return true })
	want := 1 // Host
	for name, list := range r.Header {
		want += len(list)
		if v, ok := q.Get(strings.ToLower(name)); !ok || string(v) != list[0] {
			t.Fatalf("Get(%s) = %q %v, net/http %q", name, v, ok, list)
		}
	}
	if n != want {
		t.Fatalf("%d fields, net/http %d", n, want)
	}
	compareSpan(t, q)
}

func compareSpan(t *testing.T, q *Request) {
	want := Span{Kind: SpanOther}
	if q.Range == nil {
		want.Kind = SpanNone
	} else if m := simpleRange.FindStringSubmatch(string(q.Range)); m != nil {
		a, _ := strconv.ParseInt(m[1], 10, 64)
		b, _ := strconv.ParseInt(m[2], 10, 64)
		switch {
		case m[1] != "" && m[2] != "" && a <= b:
			want = Span{SpanFromTo, a, b}
		case m[1] != "" && m[2] == "":
			want = Span{SpanFrom, a, -1}
		case m[1] == "" && m[2] != "":
			want = Span{SpanSuffix, b, -1}
		}
	}
	if q.Span != want {
		t.Fatalf("range %q: %+v, want %+v", q.Range, q.Span, want)
	}
}

// TestParseMutations runs the fuzz property over all cases with one byte changed, dropped or doubled.
func TestParseMutations(t *testing.T) {
	var seeds []string
	for _, list := range [][]rawCase{refusedCases(), acceptedCases()} {
		for _, c := range list {
			if len(c.raw) < 200 {
				seeds = append(seeds, c.raw)
			}
		}
	}
	fast := 0
	for _, s := range seeds {
		for i := range len(s) {
			for _, c := range []string{"", "\r", "\n", "\r\n", " ", "\t", ":", "\x00", "0", s[i:i+1] + s[i:i+1], ",", "\x80"} {
				data := []byte(s[:i] + c + s[i+1:])
				checkParse(t, data)
				var h head
				if end, _, ref := scanHead(data, 0); ref == nil && end > 0 && h.parse(data[:end], testRules()) == nil && !h.slow {
					fast++
				}
			}
		}
	}
	if fast < 100 {
		t.Errorf("only %d mutations were accepted by the fast path", fast)
	}
}

// FuzzChunks holds the chunk scanner against net/http's reader: what it calls complete, that one reads to the same end with
// the same content, in whatever pieces it comes.
func FuzzChunks(f *testing.F) {
	for _, list := range [][]rawCase{acceptedCases(), brokenBodies()} {
		for _, c := range list {
			if _, b, ok := strings.Cut(c.raw, "\r\n\r\n"); ok && strings.Contains(strings.ToLower(c.raw), "chunked") {
				f.Add([]byte(b), uint8(3))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		whole := chunkScanner{maxExt: 256}
		n, done, err := whole.scan(data)
		parts := chunkScanner{maxExt: 256}
		var n2 int
		var done2 bool
		var err2 error
		for n2 < len(data) && !done2 && err2 == nil {
			var m int
			m, done2, err2 = parts.scan(data[n2:min(len(data), n2+int(piece)+1)])
			n2 += m
		}
		if n != n2 || done != done2 || (err == nil) != (err2 == nil) {
			t.Fatalf("%q: whole %d %v %v, in pieces %d %v %v", data, n, done, err, n2, done2, err2)
		}
		if !done || err != nil {
			return
		}
		req := "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		br := bufio.NewReaderSize(io.MultiReader(strings.NewReader(req), bytes.NewReader(data)), 64<<10)
		r, err := http.ReadRequest(br)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatalf("%q: complete, net/http says %v", data[:n], err)
		}
		naive, _ := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(data)))
		if !bytes.Equal(got, naive) {
			t.Fatalf("%q: %q and %q", data[:n], got, naive)
		}
		rest, _ := io.ReadAll(br)
		if !bytes.Equal(rest, data[n:]) {
			t.Fatalf("%q: ends at %d, net/http leaves %q", data, n, rest)
		}
	})
}

func TestValidHostAndSpan(t *testing.T) {
	for _, h := range []string{"a", "A.b-c_d~e", "1.2.3.4", "x:0", "x:65535", "[::1]", "[2001:db8::1]:443", "[::ffff:1.2.3.4]"} {
		if !validHost([]byte(h)) {
			t.Errorf("%q refused", h)
		}
	}
	for _, c := range []struct {
		v           string
		size        int64
		first, n    int64
		satisfiable bool
	}{
		{"bytes=0-0", 10, 0, 1, true}, {"bytes=9-", 10, 9, 1, true}, {"bytes=10-", 10, 0, 0, false}, {"bytes=5-100", 10, 5, 5, true},
		{"bytes=-3", 10, 7, 3, true}, {"bytes=-30", 10, 0, 10, true}, {"bytes=-0", 10, 0, 0, false}, {"bytes=-1", 0, 0, 0, false},
		{"bytes=0-", 0, 0, 0, false}, {"bytes=0-1,2-3", 10, 0, 0, false},
	} {
		first, n, ok := parseSpan([]byte(c.v)).Resolve(c.size)
		if first != c.first || n != c.n || ok != c.satisfiable {
			t.Errorf("%s of %d: %d %d %v", c.v, c.size, first, n, ok)
		}
	}
}
