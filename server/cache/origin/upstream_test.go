package origin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

func get(path string) *Request {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		panic(err)
	}
	return &Request{Method: "GET", URL: u, Host: "www.example.com", Header: http.Header{}, Client: netip.MustParseAddr("2001:db8::7")}
}

func upstream(t *testing.T, cfg Config) *Upstream {
	t.Helper()
	cfg.Name = "test"
	u, err := New(cfg, Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range u.all() {
			s.transport.CloseIdleConnections()
		}
	})
	return u
}

func TestRequestAsItArrives(t *testing.T) {
	var got *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(r.Context())
		h := w.Header()
		h.Set("Connection", "X-Named, Cache-Control")
		h.Set("X-Named", "gone")
		h.Set("Cache-Control", "max-age=3")
		h.Set("Content-Encoding", "gzip")
		h.Set("Keep-Alive", "timeout=3")
		io.WriteString(w, "not really gzip")
	}))
	defer srv.Close()
	id := &Identity{Node: "LON-a", POP: "LON"}
	u := upstream(t, Config{
		Origins: []Server{{URL: srv.URL + "/base%2Fdir/", Host: "origin.example"}}, Identity: id,
		Forward: Forward{Forwarded: true, XForwardedFor: true},
	})
	r := get("/a%2Fb?q=1&r=%20")
	r.Scheme, r.Proto = "https", "2"
	r.Header = http.Header{
		"Connection": {"close, x-secret , Cookie"}, "X-Secret": {"1"}, "Cookie": {"c=1"}, "Te": {"gzip"},
		"Upgrade": {"websocket"}, "Proxy-Authorization": {"x"}, "Accept": {"*/*"}, "Range": {"bytes=0-1"},
		"X-Forwarded-For": {"192.0.2.1"}, "Via": {"1.1 other"}, "Catchment-Hop": {`"x"`}, "Cdn-Loop": {"foo", "bar; x=1"},
	}
	before := fmt.Sprint(r.Header)
	resp, err := u.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != "not really gzip" {
		t.Fatalf("body %q, %v", body, err)
	}
	if after := fmt.Sprint(r.Header); after != before {
		t.Errorf("the request was changed: %s", after)
	}
	if got.RequestURI != "/base%2Fdir/a%2Fb?q=1&r=%20" || got.Host != "origin.example" {
		t.Errorf("asked %q of %q", got.RequestURI, got.Host)
	}
	want := http.Header{
		"Cookie": {"c=1"}, "Accept": {"*/*"}, "Range": {"bytes=0-1"},
		"X-Forwarded-For": {"192.0.2.1, 2001:db8::7"}, "X-Forwarded-Proto": {"https"},
		"Forwarded": {`for="[2001:db8::7]";host=www.example.com;proto=https`},
		"Via":       {"1.1 other, 2 catchment"}, "Cdn-Loop": {"foo, bar; x=1, catchment; node=LON-a"},
	}
	if fmt.Sprint(got.Header) != fmt.Sprint(want) {
		t.Errorf("header\n got %v\nwant %v", got.Header, want)
	}
	for _, k := range []string{"Connection", "X-Named", "Keep-Alive"} {
		if resp.Header[k] != nil {
			t.Errorf("%s came through", k)
		}
	}
	if resp.Header.Get("Cache-Control") == "" || resp.Header.Get("Content-Encoding") != "gzip" || !resp.Framed || resp.Length != 15 {
		t.Errorf("response %+v", resp)
	}
	if resp.From.String() != "origin/"+u.all()[0].Name || resp.From.Attempts != 1 || !resp.From.Addr.IsValid() {
		t.Errorf("from %+v", resp.From)
	}
}

// script answers the n-th request on all servers together by its n-th word.
func script(words string, calls *atomic.Int32) http.Handler {
	list := strings.Fields(words)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(calls.Add(1)) - 1
		word := list[min(n, len(list)-1)]
		switch word {
		case "ok":
			io.WriteString(w, "ok")
		case "reset":
			panic(http.ErrAbortHandler)
		case "short":
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "short")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "chunk":
			io.WriteString(w, "chunk")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		default:
			var code int
			fmt.Sscan(word, &code)
			w.WriteHeader(code)
		}
	})
}

func TestRetries(t *testing.T) {
	for _, test := range []struct {
		name, method, words string
		servers             int
		retry               Retry
		header              http.Header
		body                string
		want                string // status, or the error's kind
		calls               int32
	}{
		{name: "good", words: "ok", servers: 2, want: "200", calls: 1},
		{name: "reset once", words: "reset ok", servers: 2, want: "200", calls: 2},
		{name: "reset once, one server", words: "reset ok", servers: 1, want: "200", calls: 2},
		{name: "reset for ever", words: "reset", servers: 2, want: "reset", calls: 3},
		{name: "two attempts", words: "reset", servers: 2, retry: Retry{Attempts: 2}, want: "reset", calls: 2},
		{name: "no budget", words: "reset ok", servers: 2, retry: Retry{Budget: -1}, want: "reset", calls: 1},
		{name: "503 elsewhere", words: "503 ok", servers: 2, want: "200", calls: 2},
		{name: "503 and nobody else", words: "503 ok", servers: 1, want: "503", calls: 1},
		{name: "503 everywhere", words: "503", servers: 2, want: "503", calls: 2},
		{name: "500 is an answer", words: "500 ok", servers: 2, want: "500", calls: 1},
		{name: "own statuses", words: "500 ok", servers: 2, retry: Retry{Statuses: []int{500}}, want: "200", calls: 2},
		{name: "POST is not repeated", method: "POST", words: "reset ok", servers: 2, want: "reset", calls: 1},
		{name: "POST 503", method: "POST", words: "503 ok", servers: 2, want: "503", calls: 1},
		{name: "POST that may", method: "POST", header: http.Header{"Idempotency-Key": {"1"}}, words: "reset ok", servers: 2, want: "200", calls: 2},
		{name: "PUT with a body", method: "PUT", body: "x", words: "reset ok", servers: 2, want: "reset", calls: 1},
		{name: "DELETE", method: "DELETE", words: "reset ok", servers: 2, want: "200", calls: 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var calls atomic.Int32
			cfg := Config{Retry: test.retry, Health: Health{Failures: -1}}
			for range test.servers {
				srv := httptest.NewServer(script(test.words, &calls))
				defer srv.Close()
				cfg.Origins = append(cfg.Origins, Server{URL: srv.URL})
			}
			r := get("/")
			if test.method != "" {
				r.Method = test.method
			}
			if test.header != nil {
				r.Header = test.header
			}
			if test.body != "" {
				r.Body, r.Length = strings.NewReader(test.body), int64(len(test.body))
			}
			resp, err := upstream(t, cfg).Do(t.Context(), r)
			got := ""
			if err != nil {
				got = KindOf(err).String()
			} else {
				got = fmt.Sprint(resp.Status)
				if resp.From.Attempts != int(calls.Load()) {
					t.Errorf("%d attempts told", resp.From.Attempts)
				}
				resp.Body.Close()
			}
			if got != test.want || calls.Load() != test.calls {
				t.Errorf("got %s after %d calls, want %s after %d (%v)", got, calls.Load(), test.want, test.calls, err)
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	for _, word := range []string{"short", "chunk"} {
		var calls atomic.Int32
		srv := httptest.NewServer(script(word, &calls))
		defer srv.Close()
		u := upstream(t, Config{Origins: []Server{{URL: srv.URL}}})
		resp, err := u.Do(t.Context(), get("/"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		var e *Error
		if string(body) != word || !errors.As(err, &e) || e.Kind != KindTruncated || e.From.Name == "" {
			t.Errorf("%s: %q, %v", word, body, err)
		}
		if s := u.Status()[0]; s.Failures != 1 || s.Busy != 0 {
			t.Errorf("%s: %+v", word, s)
		}
	}
}
