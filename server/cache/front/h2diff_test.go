package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
)

// plays are what handlers do: each over our HTTP/2 and over that of net/http must look alike to a client.
var plays = map[string]http.HandlerFunc{
	"nothing":         func(w http.ResponseWriter, r *http.Request) {},
	"status only":     func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) },
	"short":           func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") },
	"html sniffed":    func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html><body>") },
	"twice":           func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(201); w.WriteHeader(500) },
	"long":            func(w http.ResponseWriter, r *http.Request) { w.Write(pattern(300_000)) },
	"long in pieces":  func(w http.ResponseWriter, r *http.Request) { writePieces(w, pattern(100_001), 777) },
	"flushed":         func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); io.WriteString(w, "later") },
	"flushed between": func(w http.ResponseWriter, r *http.Request) { flushPieces(w, pattern(10_000), 1500) },
	"length": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hello")
	},
	"less than length": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.(http.Flusher).Flush()
		io.WriteString(w, "hell")
	},
	"no content":   func(w http.ResponseWriter, r *http.Request) { noBody(w, 204) },
	"not modified": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Etag", `"a"`); noBody(w, 304) },
	"abort":        func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	"abort behind": func(w http.ResponseWriter, r *http.Request) {
		flushPieces(w, pattern(5000), 5000)
		panic(http.ErrAbortHandler)
	},
	"fields":      func(w http.ResponseWriter, r *http.Request) { oddFields(w.Header()); io.WriteString(w, "x") },
	"many fields": func(w http.ResponseWriter, r *http.Request) { manyFields(w.Header()) },
	"early hints": func(w http.ResponseWriter, r *http.Request) { hint(w); io.WriteString(w, "x") },
	"trailers named": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-A, X-B")
		io.WriteString(w, "x")
		w.Header().Set("X-A", "1")
	},
	"trailers late": func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "x")
		w.Header().Set(http.TrailerPrefix+"X-C", "2")
	},
	"echo":            func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) },
	"read then write": func(w http.ResponseWriter, r *http.Request) { b, err := io.ReadAll(r.Body); fmt.Fprint(w, len(b), err) },
	"body not read":   func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "no thanks") },
	"request": func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body)
		h := maps.Clone(r.Header)
		delete(h, "User-Agent")
		var lines []string
		for _, name := range slices.Sorted(maps.Keys(h)) {
			lines = append(lines, fmt.Sprint(name, h[name]))
		}
		for _, name := range slices.Sorted(maps.Keys(r.Trailer)) {
			lines = append(lines, fmt.Sprint("trailer ", name, r.Trailer[name]))
		}
		fmt.Fprint(w, r.Method, r.URL, r.RequestURI, r.Proto, r.ContentLength, r.TransferEncoding, r.Close, lines)
	},
	"body limited": func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10))
		fmt.Fprint(w, err)
	},
}

func writePieces(w io.Writer, p []byte, n int) {
	for c := range slices.Chunk(p, n) {
		w.Write(c)
	}
}

func flushPieces(w http.ResponseWriter, p []byte, n int) {
	for c := range slices.Chunk(p, n) {
		w.Write(c)
		http.NewResponseController(w).Flush()
	}
}

func noBody(w http.ResponseWriter, status int) {
	w.WriteHeader(status)
	if _, err := io.WriteString(w, "x"); !errors.Is(err, http.ErrBodyNotAllowed) {
		panic(err)
	}
}

func oddFields(h http.Header) {
	h["X-Many"] = []string{"a", "b", ""}
	h["Transfer-Encoding"] = []string{"chunked"}
	h["X-Bad"] = []string{"a\r\nb: c"}
	h["Set-Cookie"] = []string{"a=1", "b=2"}
	h.Set("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
}

func manyFields(h http.Header) {
	for i := range 300 {
		h.Set(fmt.Sprint("X-Field-", i), strings.Repeat("v", 100))
	}
}

func hint(w http.ResponseWriter) {
	w.Header().Set("Link", "</a.css>; rel=preload")
	w.WriteHeader(103)
	w.WriteHeader(102)
}

// seen is what a client sees of an answer.
func seen(client *http.Client, method, url, play string, body []byte) string {
	var early []int
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error { early = append(early, code); return nil },
	})
	var rd io.Reader
	if body != nil {
		rd = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, url+"/a/b%2Fc?q=1&q=%41", rd)
	if err != nil {
		return err.Error()
	}
	if body != nil && len(body)%2 == 1 {
		r.ContentLength = -1
		r.Trailer = http.Header{"X-Sum": {"7"}}
	}
	r.Header["X-Twice"] = []string{"1", "2"}
	r.Header["Cookie"] = []string{"a=b; c=d", "e=f"}
	r.Header.Set("Play", play)
	r.Header.Set("Accept-Encoding", "identity")
	resp, err := client.Do(r)
	if err != nil {
		return "error"
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	h := resp.Header
	if h.Get("Date") == "" {
		return "no date"
	}
	if play != "fields" {
		delete(h, "Date")
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		lines = append(lines, fmt.Sprint(name, h[name]))
	}
	sum := fmt.Sprintf("%d bytes", len(got))
	if len(got) < 1000 {
		sum = string(got)
	} else if !bytes.Equal(got, pattern(len(got))) && !bytes.Equal(got, body) {
		sum += " that are wrong"
	}
	return fmt.Sprint(resp.Status, early, resp.ContentLength, err != nil, lines, resp.Trailer, sum)
}

// TestLikeNetHTTP compares our HTTP/2 with that of net/http, as a client sees it.
func TestLikeNetHTTP(t *testing.T) {
	play := func(w http.ResponseWriter, r *http.Request) {
		name := r.Header.Get("Play")
		r.Header.Del("Play")
		plays[name](w, r)
	}
	s := start(t, play, nil, func(o *Options) { o.H2C = true })
	model := httptest.NewUnstartedServer(http.HandlerFunc(play))
	model.EnableHTTP2 = true
	model.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	model.StartTLS()
	defer model.Close()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	other := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	ours, plain := s.client2(), s.clientH2C()
	for name := range plays {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
			bodies := [][]byte{nil}
			if method == "HEAD" && strings.HasPrefix(name, "long") {
				continue // ours says Content-Length where net/http does not
			}
			if method == "POST" {
				bodies = [][]byte{nil, []byte("four"), []byte("five5"), pattern(400_000), pattern(70_001)}
			}
			for _, body := range bodies {
				want := seen(other, method, model.URL, name, body)
				for kind, got := range map[string]string{
					"tls": seen(ours, method, "https://"+s.secure, name, body), "h2c": seen(plain, method, "http://"+s.addr, name, body),
				} {
					if got != want {
						t.Errorf("%s, %s, %d bytes, %s:\n got %.600s\nwant %.600s", name, method, len(body), kind, got, want)
					}
				}
			}
		}
	}
}
