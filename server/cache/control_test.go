package cache

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestShowAndTrace: what is stored is shown, and what a request would get is what it gets; neither asks the origin.
func TestShowAndTrace(t *testing.T) {
	r := newRig(t, nil)
	body := content(3*mib, 20)
	r.origin.answer(file(body, `Etag: "v1"`, "Cache-Control: max-age=3600", `Cache-Groups: "films"`))
	url := r.url + "/a"
	would := func(want string) {
		t.Helper()
		tr, err := r.s.Trace(t.Context(), "GET", url, nil)
		if err != nil || tr.Would != want || len(tr.Steps) == 0 || tr.Site != "all" {
			t.Errorf("trace: %q %q %v, want %q", tr.Would, tr.Why, err, want)
		}
	}
	would("miss")
	r.get("/a", "Range: bytes=0-9")
	r.cost()
	r.origin.asked()
	o, err := r.s.Show(t.Context(), url, nil)
	if err != nil || len(o.Variants) != 1 || o.Would != "hit" {
		t.Fatalf("show: %+v, %v", o, err)
	}
	v := o.Variants[0]
	if v.Size != 3*mib || v.Present != mib || v.Chunks != 3 || v.Have != 1 || v.ETag != `"v1"` || fmt.Sprint(v.Tags) != "[films]" || v.Whole {
		t.Errorf("variant %+v", v)
	}
	would("hit")
	if n := len(r.origin.asked()); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
	if _, err := r.s.Trace(t.Context(), "GET", "/only/a/path", nil); err == nil {
		t.Error("a path is taken for a URL")
	}
	if tr, _ := r.s.Trace(t.Context(), "POST", url, nil); tr.Would != "pass" {
		t.Errorf("POST would %s", tr.Would)
	}
}

// TestPurges: each kind takes away what it names, and nothing else.
func TestPurges(t *testing.T) {
	r := newRig(t, nil)
	r.origin.answer(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Cache-Groups", `"g`+q.URL.Path[1:2]+`"`)
		io.WriteString(w, "x")
	})
	paths := []string{"/a/1", "/a/2", "/b/1"}
	host := strings.TrimPrefix(r.url, "http://")
	for _, c := range []struct {
		p    Purge
		gone string
	}{
		{Purge{URL: r.url + "/a/1"}, "/a/1"}, {Purge{Prefix: r.url + "/a/"}, "/a/1 /a/2"}, {Purge{Tag: "gb"}, "/b/1"},
		{Purge{Host: host}, "/a/1 /a/2 /b/1"}, {Purge{Host: "other"}, ""}, {Purge{Site: "all"}, "/a/1 /a/2 /b/1"}, {Purge{All: true}, "/a/1 /a/2 /b/1"},
		{Purge{Tag: "ga", Site: "all"}, "/a/1 /a/2"}, {Purge{URL: r.url + "/a/1?x"}, ""},
	} {
		for _, p := range paths {
			r.get(p)
		}
		e, err := r.s.Purge(t.Context(), c.p)
		if err != nil || e.ID == 0 {
			t.Fatalf("%+v: %v", c.p, err)
		}
		var gone []string
		for _, p := range paths {
			if tr, err := r.s.Trace(t.Context(), "GET", r.url+p, nil); err != nil || tr.Would != "hit" {
				gone = append(gone, p)
			}
		}
		if strings.Join(gone, " ") != c.gone {
			t.Errorf("%+v took %v, not %s", c.p, gone, c.gone)
		}
	}
	for _, bad := range []Purge{{}, {URL: "a"}, {Site: "none"}} {
		if _, err := r.s.Purge(t.Context(), bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	if list, err := r.s.Purges(2); err != nil || len(list) != 2 || list[0].ID <= list[1].ID {
		t.Errorf("list %v, %v", list, err)
	}
}

// TestDebug: the trace is for those who may have it.
func TestDebug(t *testing.T) {
	for _, may := range []bool{true, false} {
		r := newRig(t, func(c *Config) {
			if !may {
				c.Sites[0].Debug.Networks, c.Sites[0].Purge.Networks = nil, nil
			}
		})
		r.origin.answer(reply(200, "one", "Cache-Control: max-age=60"))
		g := r.get("/a", "Catchment-Debug: 1")
		if has := len(g.Header["Catchment-Trace"]) > 2; has != may {
			t.Errorf("permitted %v, trace %q", may, g.Header["Catchment-Trace"])
		}
		for _, q := range r.origin.asked() {
			if q.Header.Get("Catchment-Debug") != "" {
				t.Error("the origin sees the debug field")
			}
		}
		if g := r.do("PURGE", "/a", nil); (g.StatusCode == 200) != may {
			t.Errorf("PURGE: %d", g.StatusCode)
		}
	}
}

// TestMetrics: they can be gathered, and count what happened.
func TestMetrics(t *testing.T) {
	r := newRig(t, nil)
	r.origin.answer(reply(200, "one", "Cache-Control: max-age=60"))
	for range 3 {
		r.get("/a")
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(r.s)
	var hits, misses float64
	eventually(t, "two hits and a miss are counted", func() bool {
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			for _, m := range f.GetMetric() {
				if f.GetName() == "catchment_cache_requests_total" {
					for _, l := range m.GetLabel() {
						switch l.GetValue() {
						case "hit":
							hits = m.GetCounter().GetValue()
						case "miss":
							misses = m.GetCounter().GetValue()
						}
					}
				}
			}
		}
		return hits == 2 && misses == 1
	})
	if c := r.s.Counters(); c.Requests != 3 || c.Hits != 2 || c.BytesOut == 0 {
		t.Errorf("counters %+v", c)
	}
}

// TestWarm brings a part into the store without a client; a later request for it costs nothing.
func TestWarm(t *testing.T) {
	r := newRig(t, nil)
	body := content(4*mib, 21)
	r.origin.answer(file(body, `Etag: "v1"`, "Cache-Control: max-age=3600"))
	for _, span := range [][2]int64{{mib, 2*mib - 1}, {3 * mib, -1}} {
		if err := r.s.Warm(t.Context(), r.url+"/a", span[0], span[1]); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.cost(); n != 2*mib {
		t.Errorf("two chunks cost %d bytes", n)
	}
	for _, from := range []int{mib, 3 * mib} {
		if g := r.get("/a", fmt.Sprintf("Range: bytes=%d-%d", from, from+99)); !g.hit() || !bytes.Equal(g.body, body[from:from+100]) {
			t.Errorf("from %d: %s", from, g.Header.Get("Cache-Status"))
		}
	}
	r.origin.answer(reply(200, "x", "Cache-Control: no-store"))
	if err := r.s.Warm(t.Context(), r.url+"/b", 0, -1); err == nil {
		t.Error("what is not stored is said to be warm")
	}
}

// TestFlows: a transfer under way is seen with its URL, tag and place, on both paths.
func TestFlows(t *testing.T) {
	r := newRig(t, nil)
	body := content(16*mib, 22)
	r.origin.answer(file(body, `Etag: "v1"`, "Cache-Control: max-age=3600"))
	r.get("/a")
	r.cost()
	eventually(t, "whole", func() bool { return r.get("/a", "Range: bytes=0-0").hit() })
	for _, field := range []string{"Accept: */*", "Catchment-Debug: 1"} { // the second takes the general path
		req, _ := http.NewRequest("GET", r.url+"/a", nil)
		setFields(req.Header, []string{"Range: bytes=1000-", field})
		resp, err := r.client.Do(req) // and does not read
		if err != nil {
			t.Fatal(err)
		}
		var f Flow
		eventually(t, "the flow is seen", func() bool {
			n := 0
			r.s.Flows(mib, func(x Flow) bool { f = x; n++; return true })
			return n == 1 && f.ETag != ""
		})
		if f.URL != r.url+"/a" || f.ETag != `"v1"` || f.First != 1000 || f.Length != 16*mib-1000 || !f.Client.IsValid() {
			t.Errorf("%s: %+v", field, f)
		}
		resp.Body.Close()
		eventually(t, "it is over", func() bool {
			n := 0
			r.s.Flows(mib, func(Flow) bool { n++; return true })
			return n == 0
		})
	}
}
