package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve answers on loopback of a family.
func serve(t *testing.T, address string, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
}

const metricsPage = `# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{code="200",host="web"} 100
http_requests_total{code="204",host="web"} 20 1700000000000
http_requests_total{code="500",host="web"} 3
http_requests_total{code="200",host="a\"b"} 1e3
http_requests_total_other 5
# TYPE http_request_seconds histogram
http_request_seconds_bucket{le="0.1"} 7
http_request_seconds_bucket{le="+Inf"} 9
http_request_seconds_sum 1.5
http_request_seconds_count 9
# TYPE connections gauge
connections 42
broken line of somebody else {{{
untyped_thing 5
nan_thing NaN
# TYPE nan_thing gauge
`

func TestPages(t *testing.T) {
	long := strings.Repeat("# a comment\n", maxBody/12+1)
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		c    PageConfig
		want string // name=value kind, of each point
		err  string
	}{
		{"gauge", text(metricsPage), PageConfig{Format: Prometheus, Metric: "connections", Unit: Connections}, "=42 gauge", ""},
		{"counter of matching labels", text(metricsPage), PageConfig{Format: Prometheus, Metric: `http_requests_total{code=~"2..", host="web"}`, Unit: Requests},
			`code="200",host="web"=100 counter; code="204",host="web"=20 counter at 1700000000`, ""},
		{"a part of the value is not it", text(metricsPage), PageConfig{Format: Prometheus, Metric: `http_requests_total{code=~"20|04"}`}, "", "no series matches"},
		{"time in the line", text(metricsPage), PageConfig{Format: Prometheus, Metric: `http_requests_total{code="204"}`}, `code="204",host="web"=20 counter at 1700000000`, ""},
		{"not equal", text(metricsPage), PageConfig{Format: Prometheus, Metric: `http_requests_total{code!~"2..",absent!="x"}`}, `code="500",host="web"=3 counter`, ""},
		{"quotes", text(metricsPage), PageConfig{Format: Prometheus, Metric: `http_requests_total{host="a\"b"}`}, `code="200",host="a\"b"=1000 counter`, ""},
		{"scale", text(metricsPage), PageConfig{Format: Prometheus, Metric: "connections", Scale: 8}, "=336 gauge", ""},
		{"part of a histogram", text(metricsPage), PageConfig{Format: Prometheus, Metric: "http_request_seconds_count"}, "=9 counter", ""},
		{"bucket", text(metricsPage), PageConfig{Format: Prometheus, Metric: `http_request_seconds_bucket{le="0.1"}`}, `le="0.1"=7 counter`, ""},
		{"told kind", text(metricsPage), PageConfig{Format: Prometheus, Metric: "untyped_thing", Kind: "counter"}, "=5 counter", ""},
		{"unknown kind", text(metricsPage), PageConfig{Format: Prometheus, Metric: "untyped_thing"}, "", "set kind"},
		{"no such series", text(metricsPage), PageConfig{Format: Prometheus, Metric: `connections{host="x"}`}, "", "no series matches"},
		{"no such metric", text(metricsPage), PageConfig{Format: Prometheus, Metric: "connection", Kind: "gauge"}, "", "no series matches"},
		{"NaN is passed on, to be refused", text(metricsPage), PageConfig{Format: Prometheus, Metric: "nan_thing"}, "=NaN gauge", ""},
		{"cut off", text("# TYPE connections gauge\nconnections 4"), PageConfig{Format: Prometheus, Metric: "connections"}, "", "cut off"},
		{"no number", text("connections four\n"), PageConfig{Format: Prometheus, Metric: "connections", Kind: "gauge"}, "", "connections"},
		{"too long", text(long), PageConfig{Format: Prometheus, Metric: "connections"}, "", "more than 16777216 bytes"},
		{"too many series", text(strings.Repeat("connections 1\n", maxRows+1)), PageConfig{Format: Prometheus, Metric: "connections", Kind: "gauge"}, "", "more than 32768 series"},
		{"many others", text(strings.Repeat("others 1\n", maxRows+1) + "connections 1\n"), PageConfig{Format: Prometheus, Metric: "connections", Kind: "gauge"}, "=1 gauge", ""},
		{"json", text(`{"traffic": {"bps": 8.5e9}}`), PageConfig{Format: JSON, Path: ".traffic.bps", Unit: Out}, ".traffic.bps=8.5e+09 gauge", ""},
		{"json list", text(`{"hosts": [{"n": 1}, {"n": "2"}]}`), PageConfig{Format: JSON, Path: ".hosts[].n", Kind: "counter"}, ".hosts[0].n=1 counter; .hosts[1].n=2 counter", ""},
		{"json index", text(`[[1, 2], [3]]`), PageConfig{Format: JSON, Path: "[0][1]"}, "[0][1]=2 gauge", ""},
		{"json object", text(`{"a b": {"x": 1, "y": 2}}`), PageConfig{Format: JSON, Path: `.["a b"][]`, Scale: 2}, ".a b.x=2 gauge; .a b.y=4 gauge", ""},
		{"json, not there", text(`{"traffic": {}}`), PageConfig{Format: JSON, Path: ".traffic.bps"}, "", ".traffic.bps is not there"},
		{"json, null", text(`{"bps": null}`), PageConfig{Format: JSON, Path: ".bps"}, "", "no number is there"},
		{"json, one of two", text(`[{"n": 1}, {}]`), PageConfig{Format: JSON, Path: "[].n"}, "", "[1].n is not there"},
		{"json, beyond the end", text(`[1]`), PageConfig{Format: JSON, Path: "[1]"}, "", "no such part"},
		{"json, empty list", text(`[]`), PageConfig{Format: JSON, Path: "[]"}, "", "nothing is there"},
		{"json, cut off", text(`{"bps": 1`), PageConfig{Format: JSON, Path: ".bps"}, "", "unexpected EOF"},
		{"json, too long", text(`{"a": "` + strings.Repeat("x", maxJSON) + `"}`), PageConfig{Format: JSON, Path: ".bps"}, "", "more than 2097152 bytes"},
		{"stub", text("Active connections: 291 \nserver accepts handled requests\n 16630948 16630948 31070465 \nReading: 6 Writing: 179 Waiting: 106 \n"),
			PageConfig{Format: StubStatus}, "=291 gauge; =3.1070465e+07 counter", ""},
		{"stub, something else", text("<html>404</html>\n\n\n"), PageConfig{Format: StubStatus}, "", "no page of nginx"},
		{"stub, negative", text("Active connections: -1\nserver accepts handled requests\n1 1 1\n"), PageConfig{Format: StubStatus}, "", "no page of nginx"},
		{"status", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"bps": 1}`, http.StatusServiceUnavailable)
		}, PageConfig{Format: JSON, Path: ".bps"}, "", "503"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, PageConfig{Format: JSON, Path: ".bps"}, "", "302"},
		{"connection closed", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, PageConfig{Format: JSON, Path: ".bps"}, "", "EOF"},
	} {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
			c.c.URL = serve(t, address, c.h)
			s, units, err := NewPage(c.c)
			if err != nil || len(units) == 0 {
				t.Fatalf("%s: %v", c.name, err)
			}
			r, err := s.Sample(t.Context())
			var got []string
			for _, p := range r {
				got = append(got, fmt.Sprintf("%s=%v %v", p.Name, p.Value, p.Kind))
				if !p.At.IsZero() {
					got[len(got)-1] += fmt.Sprint(" at ", p.At.Unix())
				}
			}
			if g := strings.Join(got, "; "); g != c.want || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s by %s: %s, %v; want %s, %q", c.name, address, g, err, c.want, c.err)
			}
			s.(io.Closer).Close()
		}
	}
}

// A server that accepts and says nothing, or says it drop by drop, costs the
// timeout and no more.
func TestPageEndsWithContext(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"silent": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"drops": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				io.WriteString(w, "# drop\n")
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(time.Millisecond):
				}
			}
		},
	} {
		s, _, err := NewPage(PageConfig{URL: serve(t, "127.0.0.1:0", h), Format: Prometheus, Metric: "x"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if r, err := s.Sample(ctx); err == nil || len(r) > 0 {
			t.Errorf("%s: %v, %v", name, r, err)
		}
		cancel()
		s.(io.Closer).Close()
	}
}

func TestNewPageRefuses(t *testing.T) {
	const url = "http://192.0.2.1/"
	for _, c := range []struct {
		c    PageConfig
		want string
	}{
		{PageConfig{URL: "ftp://192.0.2.1/", Format: JSON, Path: ".a"}, "url: "},
		{PageConfig{URL: "", Format: JSON, Path: ".a"}, "url: "},
		{PageConfig{URL: url, Format: "xml"}, "format: "},
		{PageConfig{URL: url, Format: JSON}, "path: "},
		{PageConfig{URL: url, Format: JSON, Path: "a"}, "path: "},
		{PageConfig{URL: url, Format: JSON, Path: ".a..b"}, "path: "},
		{PageConfig{URL: url, Format: JSON, Path: ".a[99999999999]"}, "path: "},
		{PageConfig{URL: url, Format: JSON, Path: `.a[""]`}, "path: "},
		{PageConfig{URL: url, Format: JSON, Path: ".a", Kind: "rate"}, "kind: "},
		{PageConfig{URL: url, Format: JSON, Path: ".a", Scale: -1}, "scale: "},
		{PageConfig{URL: url, Format: Prometheus}, "metric: "},
		{PageConfig{URL: url, Format: Prometheus, Metric: "1x"}, "metric: "},
		{PageConfig{URL: url, Format: Prometheus, Metric: "x{a=1}"}, "metric: "},
		{PageConfig{URL: url, Format: Prometheus, Metric: `x{a="1"`}, "metric: "},
		{PageConfig{URL: url, Format: Prometheus, Metric: `x{a="1" b="2"}`}, "metric: "},
		{PageConfig{URL: url, Format: Prometheus, Metric: `x{a=~"("}`}, "metric: "},
		{PageConfig{URL: url, Format: Prometheus, Metric: "x", Kind: "histogram"}, "kind: "},
	} {
		if _, _, err := NewPage(c.c); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.c, err)
		}
	}
}

// FuzzPrometheus: whatever the page, a reading is a list of points or an
// error, not both nor neither.
func FuzzPrometheus(f *testing.F) {
	f.Add(`http_requests_total{code=~"2..",host!="x"}`, "", []byte(metricsPage))
	f.Add("connections", "gauge", []byte("connections 1\nconnections{} 2\n connections{a=\"\\\n\"} 3\n"))
	f.Add("x_count", "", []byte("# TYPE x summary\nx_count 4\n"))
	f.Fuzz(func(t *testing.T, metric, kind string, page []byte) {
		c := PageConfig{Metric: metric, Kind: kind}
		read, err := c.prometheus()
		if err != nil {
			return
		}
		one(t, read, page)
	})
}

// FuzzJSON: as FuzzPrometheus, for paths into JSON.
func FuzzJSON(f *testing.F) {
	f.Add(".traffic.bps", []byte(`{"traffic": {"bps": 8.5e9}}`))
	f.Add(`.hosts[].["a b"][0]`, []byte(`{"hosts": [{"a b": ["1"]}, {"a b": [-0]}]}`))
	f.Fuzz(func(t *testing.T, path string, page []byte) {
		c := PageConfig{Path: path}
		read, err := c.json()
		if err != nil {
			return
		}
		one(t, read, page)
	})
}

// FuzzStubStatus: as FuzzPrometheus.
func FuzzStubStatus(f *testing.F) {
	f.Add([]byte("Active connections: 291 \nserver accepts handled requests\n 16630948 16630948 31070465 \nReading: 6 Writing: 179 Waiting: 106 \n"))
	f.Fuzz(func(t *testing.T, page []byte) { one(t, readStubStatus, page) })
}

func one(t *testing.T, read func(io.Reader) (Reading, error), page []byte) {
	r, err := read(strings.NewReader(string(page)))
	if (err == nil) != (len(r) > 0) {
		t.Fatalf("%v, %v", r, err)
	}
	s := series{stale: time.Minute}
	for _, p := range r {
		s.add(p, at(1))
		if v := s.value(at(1)); v.Known && !(v.Value >= 0 && v.Value <= ceiling[p.Unit]) {
			t.Fatalf("%+v made %+v", p, v)
		}
	}
}
