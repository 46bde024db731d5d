package front

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// echoOrigin is an origin of its own kind: a naive reader of HTTP/1.1 that notes every request it believes to have got.
type echoOrigin struct {
	ln   net.Listener
	mu   sync.Mutex
	seen []string
	wg   sync.WaitGroup
}

func newEchoOrigin(t *testing.T) *echoOrigin {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &echoOrigin{ln: ln}
	o.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			o.wg.Go(func() { o.serve(c) })
		}
	})
	return o
}

func (o *echoOrigin) serve(c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(c)
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		method, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		target, _, _ := strings.Cut(rest, " ")
		length, chunked := 0, false
		for {
			l, err := br.ReadString('\n')
			if err != nil {
				return
			}
			l = strings.TrimRight(l, "\r\n")
			if l == "" {
				break
			}
			n, v, _ := strings.Cut(strings.ToLower(l), ":")
			switch strings.TrimSpace(n) {
			case "content-length":
				length, _ = strconv.Atoi(strings.TrimSpace(v))
			case "transfer-encoding":
				chunked = true
			}
		}
		body, err := readNaive(br, length, chunked)
		if err != nil {
			return
		}
		o.mu.Lock()
		o.seen = append(o.seen, method+" "+target+" "+body)
		o.mu.Unlock()
		text := method + " " + target + " " + body
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(text))
		if method != "HEAD" {
			io.WriteString(c, text)
		}
	}
}

func readNaive(br *bufio.Reader, length int, chunked bool) (string, error) {
	if !chunked {
		b := make([]byte, length)
		_, err := io.ReadFull(br, b)
		return string(b), err
	}
	b, err := io.ReadAll(httputil.NewChunkedReader(br))
	if err == nil {
		_, err = br.ReadString('\n')
	}
	return string(b), err
}

func (o *echoOrigin) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.seen
	o.seen = nil
	return s
}

// rawCase is what a client sends and what must come of it: the statuses of all responses, and what the origin saw. After
// a refusal nothing more may be answered or seen, though a canary request follows each case.
type rawCase struct {
	name   string
	raw    string
	status []int
	seen   []string
}

const canary = "GET /canary HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

// get makes a request of the general path with further lines.
func get(lines string) string { return "GET /g HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n" }

func post(lines, body string) string {
	return "POST /p HTTP/1.1\r\nHost: x\r\n" + lines + "\r\n" + body
}

func refusedCases() []rawCase {
	var list []rawCase
	add := func(status int, name, raw string) {
		list = append(list, rawCase{name: name, raw: raw, status: []int{status}})
	}
	refusedFraming(add)
	refusedBytes(add)
	refusedTargets(add)
	return list
}

// refusedFraming are lengths and codings that two hops could read in two ways.
func refusedFraming(add func(status int, name, raw string)) {
	bad := func(name, raw string) { add(400, name, raw) }
	chunked := "Transfer-Encoding: chunked\r\n"
	smuggled := "0\r\n\r\nGET /evil HTTP/1.1\r\nHost: x\r\n\r\n"
	bad("CL.TE", post("Content-Length: 6\r\n"+chunked, "0\r\n\r\nX"))
	bad("TE.CL", post(chunked+"Content-Length: 3\r\n", "8\r\nSMUGGLED\r\n0\r\n\r\n"))
	bad("CL 0 and TE", post("Content-Length: 0\r\n"+chunked, smuggled))
	bad("CL twice the same", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"))
	bad("CL twice", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"))
	bad("CL of GET twice", get("Content-Length: 0\r\nContent-Length: 0\r\n"))
	for _, v := range []string{"", "+3", "-1", "3 3", "3,3", "3, 3", "0x3", "3.0", "3;", "1e1", "３", "99999999999999999999", "3\x00", "3\v", "\v3", "'3'", "_3"} {
		bad("CL "+strconv.Quote(v), post("Content-Length: "+v+"\r\n", "abc"))
	}
	for _, v := range []string{"chunked, chunked", "xchunked", "chunkedx", "chunked;q=1", "identity, chunked", "chunked,identity",
		"\vchunked", "chunked\v", "\"chunked\"", "gzip, chunked", "", "chunked,", ",chunked", "chu nked", "x chunked"} {
		bad("TE "+strconv.Quote(v), post("Transfer-Encoding: "+v+"\r\n", smuggled))
	}
	add(501, "TE identity", post("Transfer-Encoding: identity\r\n", smuggled))
	add(501, "TE gzip", post("Transfer-Encoding: gzip\r\n", smuggled))
	bad("TE twice", post(chunked+chunked, smuggled))
	bad("TE gzip and chunked", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip, chunked\r\n", smuggled))
	bad("TE in HTTP/1.0", "POST /p HTTP/1.0\r\nHost: x\r\n"+chunked+"\r\n"+smuggled)
	bad("TE space before colon", post("Transfer-Encoding : chunked\r\n", smuggled))
	bad("TE tab before colon", post("Transfer-Encoding\t: chunked\r\n", smuggled))
	bad("CL space before colon", post("Content-Length : 3\r\n", "abc"))
	bad("Connection names CL", post("Connection: close, Content-Length\r\nContent-Length: 3\r\n", "abc"))
	bad("Connection names TE", post("Connection: Transfer-Encoding\r\n"+chunked, smuggled))
	bad("obs-fold of TE", post("Transfer-Encoding:\r\n chunked\r\n", smuggled))
	bad("underscore CL", post("Content_Length: 3\r\n", "abc"))
	bad("underscore TE", post("Transfer_Encoding: chunked\r\n", smuggled))
}

// refusedBytes are lines that end or begin in ways that not everyone agrees on, and bytes that belong in no head.
func refusedBytes(add func(status int, name, raw string)) {
	bad := func(name, raw string) { add(400, name, raw) }
	bad("any space before colon", get("X-Any : 1\r\n"))
	bad("space before the name", get(" X-Any: 1\r\n"))
	bad("tab before the name", get("A: b\r\n\tX-Any: 1\r\n"))
	bad("obs-fold", get("A: b\r\n c\r\n"))
	bad("obs-fold first", "GET /g HTTP/1.1\r\n Host: x\r\n\r\n")
	bad("bare LF everywhere", "GET /g HTTP/1.1\nHost: x\n\n")
	bad("bare LF after the request line", "GET /g HTTP/1.1\nHost: x\r\n\r\n")
	bad("bare LF in fields", get("A: b\nTransfer-Encoding: chunked\r\n"))
	bad("bare LF at the end", "GET /g HTTP/1.1\r\nHost: x\r\n\n")
	bad("bare CR in a value", get("A: b\rX: c\r\n"))
	bad("bare CR as end", "GET /g HTTP/1.1\r\nHost: x\r\n\r"+"GET /evil HTTP/1.1\r\n\r\n")
	bad("CR CR LF", "GET /g HTTP/1.1\r\r\nHost: x\r\n\r\n")
	bad("NUL in a value", get("A: b\x00c\r\n"))
	bad("NUL in a name", get("A\x00: b\r\n"))
	bad("NUL in the target", "GET /g\x00 HTTP/1.1\r\nHost: x\r\n\r\n")
	bad("DEL in a value", get("A: \x7f\r\n"))
	bad("escape in a value", get("A: \x1b[2J\r\n"))
	bad("no colon", get("Abc\r\n"))
	bad("empty name", get(": b\r\n"))
	bad("name with brackets", get("(A): b\r\n"))
	bad("name of bytes over 0x7f", get("\xc3\xa4: b\r\n"))
}

// refusedTargets are hosts, targets, versions and sizes.
func refusedTargets(add func(status int, name, raw string)) {
	bad := func(name, raw string) { add(400, name, raw) }
	bad("no Host", "GET /g HTTP/1.1\r\n\r\n")
	bad("Host twice", get("Host: y\r\n"))
	bad("Host twice the same", get("Host: x\r\n"))
	for _, h := range []string{"", "x y", "x@y", "x/y", "x,y", "x:y", "x:", "x:123456", "[::1", "::1", "[::1%25eth0]", "[127.0.0.1]", "x?", "x#", "x\\y", "user:pw@x", "x%00", "\xffx"} {
		bad("Host "+strconv.Quote(h), "GET /g HTTP/1.1\r\nHost: "+h+"\r\n\r\n")
	}
	for _, l := range []string{"GET  /g HTTP/1.1", "GET /g  HTTP/1.1", "GET /g HTTP/1.1 ", " GET /g HTTP/1.1", "GET\t/g HTTP/1.1", "GET /g", "GET",
		"GET /g HTTP/1.11", "GET /g HTTP/1", "GET /g http/1.1", "GET /g HTTP/1.1\t", "GET /a b HTTP/1.1", "GET g HTTP/1.1", "G(T /g HTTP/1.1", "GET /g#f HTTP/1.1",
		"GET /%zz HTTP/1.1", "GET /% HTTP/1.1", "GET * HTTP/1.1", "GET ftp://x/ HTTP/1.1", "GET http://y/ HTTP/1.1", "GET http://u@x/ HTTP/1.1", "GET http:///g HTTP/1.1",
		"GET x:80 HTTP/1.1", "GET /g XTTP/1.1"} {
		bad("line "+strconv.Quote(l), l+"\r\nHost: x\r\n\r\n")
	}
	add(505, "HTTP/2.0", "GET /g HTTP/2.0\r\nHost: x\r\n\r\n")
	add(505, "HTTP/1.2", "GET /g HTTP/1.2\r\nHost: x\r\n\r\n")
	add(505, "preface without h2c", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	add(405, "CONNECT", "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	bad("Connection names Host", get("Connection: host\r\n"))
	bad("three empty lines", "\r\n\r\n\r\n"+get(""))
	add(414, "long URL", "GET /"+strings.Repeat("a", 9000)+" HTTP/1.1\r\nHost: x\r\n\r\n")
	add(414, "endless URL", "GET /"+strings.Repeat("a", 17000))
	add(431, "long head", get("A: "+strings.Repeat("a", 17000)+"\r\n"))
	add(431, "many fields", get(strings.Repeat("A: b\r\n", 101)))
}

func acceptedCases() []rawCase {
	var list []rawCase
	add := func(name, raw string, seen ...string) {
		status := make([]int, len(seen))
		for i := range status {
			status[i] = 200
		}
		list = append(list, rawCase{name, raw, status, seen})
	}
	chunked := "Transfer-Encoding: chunked\r\n"
	add("plain", get(""), "GET /g ")
	add("one empty line before", "\r\n"+get(""), "GET /g ")
	add("empty lines between", get("")+"\r\n"+get(""), "GET /g ", "GET /g ")
	add("body", post("Content-Length: 3\r\n", "abc"), "POST /p abc")
	add("leading zero", post("Content-Length: 003\r\n", "abc"), "POST /p abc")
	add("body like a request", post("Content-Length: 35\r\n", "GET /evil HTTP/1.1\r\nHost: x\r\n\r\nabcd"), "POST /p GET /evil HTTP/1.1\r\nHost: x\r\n\r\nabcd")
	add("GET with a body", get("Content-Length: 4\r\n")+"body", "GET /g body")
	add("GET with a body like a hit", get("Content-Length: 32\r\n")+"GET /hit HTTP/1.1\r\nHost: x\r\n\r\nab", "GET /g GET /hit HTTP/1.1\r\nHost: x\r\n\r\nab")
	add("chunked", post(chunked, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "POST /p abcde")
	add("chunked in capitals", post("TRANSFER-ENCODING: Chunked\r\n", "A\r\n0123456789\r\n0\r\n\r\n"), "POST /p 0123456789")
	add("chunk leading zeros", post(chunked, "0003\r\nabc\r\n000\r\n\r\n"), "POST /p abc")
	add("chunk extension", post(chunked, "3;a=b;c\r\nabc\r\n0;x=\"y\"\r\n\r\n"), "POST /p abc")
	add("chunk with CRLF inside", post(chunked, "4\r\n\r\n0\r\r\n0\r\n\r\n"), "POST /p \r\n0\r")
	add("trailer", post(chunked, "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"), "POST /p abc")
	add("empty chunked", post(chunked, "0\r\n\r\n"), "POST /p ")
	add("empty CL", post("Content-Length: 0\r\n", ""), "POST /p ")
	add("absolute form", "GET http://x/abs HTTP/1.1\r\nHost: x\r\n\r\n", "GET /abs ")
	add("spaces round a value", get("A:   b\t \r\n"), "GET /g ")
	add("bytes over 0x7f in a value", get("A: \xe4\r\n"), "GET /g ")
	add("two pipelined posts", post("Content-Length: 1\r\n", "a")+post(chunked, "1\r\nb\r\n0\r\n\r\n"), "POST /p a", "POST /p b")
	add("odd method", "BREW /p HTTP/1.1\r\nHost: x\r\n\r\n", "BREW /p ")
	add("IPv6 host", "GET /g HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "GET /g ")
	hit := "GET /hit HTTP/1.1\r\nHost: x\r\n\r\n"
	list = append(list,
		rawCase{"hit, miss, hit", hit + get("") + hit, []int{200, 200, 200}, []string{"GET /g "}},
		rawCase{"hit after a body", post("Content-Length: 3\r\n", "abc") + hit, []int{200, 200}, []string{"POST /p abc"}},
		rawCase{"refused after a hit", hit + get("A : b\r\n"), []int{200, 400}, nil},
		rawCase{"refused after a miss", get("") + get("A : b\r\n"), []int{200, 400}, []string{"GET /g "}})
	return list
}

// brokenBodies begin well and go wrong inside the body: whatever is answered, no further request may be seen.
func brokenBodies() []rawCase {
	var list []rawCase
	for _, b := range []string{"3\nabc\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n", "3\r\nabcX0\r\n\r\n", "3 \r\nabc\r\n0\r\n\r\n", " 3\r\nabc\r\n0\r\n\r\n",
		"0x3\r\nabc\r\n0\r\n\r\n", "+3\r\nabc\r\n0\r\n\r\n", "-3\r\nabc\r\n0\r\n\r\n", "\r\n0\r\n\r\n", ";a\r\n0\r\n\r\n", "g\r\nabc\r\n0\r\n\r\n",
		"ffffffffffffffff\r\nabc\r\n0\r\n\r\n", "1000000000000000\r\nabc\r\n0\r\n\r\n", "3\r\nab\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n",
		"0\r\nContent-Length: 5\r\n\r\n", "0\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\nHost: y\r\n\r\n", "0\r\nbad trailer\r\n\r\n", "0\r\nA: b\n\r\n",
		"0\r\nA : b\r\n\r\n", "0\n\r\n", "0\r\n\n", "0\r\rX\r\n", "3;a=\x00\r\nabc\r\n0\r\n\r\n", "3;" + strings.Repeat("a", 300) + "\r\nabc\r\n0\r\n\r\n",
		"3;a\nX\r\nabc\r\n0\r\n\r\n", "0\r\n" + strings.Repeat("A: b\r\n", 1000) + "\r\n"} {
		list = append(list, rawCase{name: "chunks " + strconv.Quote(b[:min(len(b), 24)]), raw: post("Transfer-Encoding: chunked\r\n", b)})
	}
	return list
}

// smuggleStand is a Front whose general path is a proxy to the echoing origin, and that has /hit.
func smuggleStand(t *testing.T) (*stand, *echoOrigin) {
	o := newEchoOrigin(t)
	u, _ := url.Parse("http://" + o.ln.Addr().String())
	tr := &http.Transport{}
	proxy := &httputil.ReverseProxy{Transport: tr, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) },
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { w.WriteHeader(502) }}
	var hits shelf
	hits.put(t, "/hit", []byte("stored"), nil)
	s := start(t, proxy.ServeHTTP, &hits, nil)
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		o.ln.Close()
		s.Close()
		o.wg.Wait()
	})
	return s, o
}

// exchange sends raw in pieces of size n (0: at once), perhaps ends its side, and gives the statuses of all responses.
func exchange(t *testing.T, s *stand, raw string, n int, end bool) []int {
	t.Helper()
	c := s.dial()
	defer c.Close()
	go func() {
		for rest := []byte(raw); len(rest) > 0; {
			m := len(rest)
			if n > 0 {
				m = min(n, m)
			}
			if _, err := c.Write(rest[:m]); err != nil {
				return
			}
			rest = rest[m:]
		}
		if end {
			c.(*net.TCPConn).CloseWrite()
		}
	}()
	b, err := io.ReadAll(c)
	if err != nil && len(b) == 0 {
		t.Fatalf("read: %v", err)
	}
	var list []int
	br := bufio.NewReader(bytes.NewReader(b))
	for {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return list
		}
		io.Copy(io.Discard, resp.Body)
		list = append(list, resp.StatusCode)
	}
}

func TestSmuggling(t *testing.T) {
	s, o := smuggleStand(t)
	refused, accepted, broken := refusedCases(), acceptedCases(), brokenBodies()
	if n := len(refused) + len(accepted) + len(broken); n < 80 {
		t.Fatalf("only %d cases", n)
	}
	for _, piece := range []int{0, 1, 7} {
		for _, c := range refused {
			if piece == 1 && len(c.raw) > 1000 {
				continue
			}
			got := exchange(t, s, c.raw+canary, piece, false)
			if seen := o.take(); !slices.Equal(got, c.status) || len(seen) != 0 {
				t.Errorf("refused %s, pieces of %d: statuses %v, want %v; origin saw %q", c.name, piece, got, c.status, seen)
			}
		}
		for _, c := range accepted {
			got := exchange(t, s, c.raw+canary, piece, false)
			status, want := c.status, c.seen
			if !slices.Contains(status, 400) {
				status = append(slices.Clone(status), 200)
				want = append(slices.Clone(want), "GET /canary ")
			}
			if seen := o.take(); !slices.Equal(got, status) || !slices.Equal(seen, want) {
				t.Errorf("accepted %s, pieces of %d: statuses %v, want %v; origin saw %q, want %q", c.name, piece, got, status, seen, want)
			}
		}
		for _, c := range broken {
			if piece == 1 && len(c.raw) > 1000 {
				continue
			}
			got := exchange(t, s, c.raw+canary, piece, true)
			if len(got) > 1 || slices.Contains(got, 200) {
				t.Errorf("broken %s, pieces of %d: statuses %v", c.name, piece, got)
			}
			if seen := o.take(); len(seen) != 0 {
				t.Errorf("broken %s, pieces of %d: origin saw %q", c.name, piece, seen)
			}
		}
	}
}

// A body that ends short is never answered as if it were whole.
func TestShortBody(t *testing.T) {
	s, o := smuggleStand(t)
	for _, raw := range []string{post("Content-Length: 10\r\n", "abc"), post("Transfer-Encoding: chunked\r\n", "5\r\nabc"), post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"), post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n")} {
		got := exchange(t, s, raw, 0, true)
		if slices.Contains(got, 200) {
			t.Errorf("%q: answered %v", raw, got)
		}
		if seen := o.take(); len(seen) != 0 {
			t.Errorf("%q: origin saw %q", raw, seen)
		}
	}
}
