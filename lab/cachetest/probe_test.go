package cachetest

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/catchment/catchment/lab/sandbox"
)

func TestMain(m *testing.M) {
	ServeIfAsked()
	sandbox.Main(m)
}

// TestChecksSee holds the checks against a proxy that stores nothing, in front
// of the probe's origin: what is about single ranges passes, for the origin
// knows them; what is about stored objects does not.
func TestChecksSee(t *testing.T) {
	org := newOrigin()
	at, end, err := Loopback(org)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	r, err := goProxy().Start(t.Context(), Setup{Origin: at, Dir: t.TempDir(), CPU: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, want := range map[string]string{
		"partial a cold range is right":                        "",
		"partial last bytes of a cold object":                  "",
		"partial a cold range costs at most two chunks":        "",
		"partial the whole after a range is right":             "",
		"partial a cold range is stored":                       "asked the origin again",
		"partial two halves, then the whole: nothing more":     "bytes more from the origin",
		"partial two ranges of a cold object":                  "want 206 with multipart",
		"ranges in the middle":                                 "asked the origin again",
		"sharing an answer with Set-Cookie is not shared":      "",
		"sharing waiters get their own variant":                "requests at the origin",
		"sharing 10 clients on one cold range: one fetch":      "10 fetches",
		"stale must-revalidate: not served stale":              "",
		"stale stale-if-error: an origin that answers 503":     "served stale: false; want true",
		"stale ten clients on a stale object: one":             "requests at the origin",
		"partial a fill cut short is not stored as whole":      "",
		"partial an object that changes between ranges is nev": "",
	} {
		wg.Go(func() {
			found, _ := askAll(t.Context(), org, r.HTTP, name)
			if len(found) != 1 {
				t.Errorf("%d checks are named %q", len(found), name)
			}
			for _, err := range found {
				if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("%s: %v, want %q", name, err, want)
				}
			}
		})
	}
}

// What the origin sends is what the checks compare with: ranges by its own
// rules are those of net/http.
func TestOriginAsNetHTTP(t *testing.T) {
	body := content("x", 70_000)
	org := newOrigin()
	org.put("/x", resource{body: body, etag: `"v1"`, modified: modified})
	at, end, err := Loopback(org)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	like, endLike, err := Loopback(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", modified, bytes.NewReader(body))
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer endLike()
	for _, fields := range [][]string{
		{}, {"Range", "bytes=0-0"}, {"Range", "bytes=5-"}, {"Range", "bytes=-7"}, {"Range", "bytes=69999-80000"}, {"Range", "bytes=70000-"},
		{"Range", "bytes=0-9", "If-Range", `"v1"`}, {"Range", "bytes=0-9", "If-Range", `"v2"`},
		{"If-None-Match", `"v1"`}, {"If-Modified-Since", modified.Format(http.TimeFormat)},
	} {
		ask := func(addr string) reply {
			p := &probe{ctx: t.Context(), cache: addr, client: http.DefaultClient}
			return p.ask(http.MethodGet, "/x", fields...)
		}
		got, want := ask(at.String()), ask(like.String())
		if got.status != want.status || got.status != 416 && !bytes.Equal(got.body, want.body) || got.header.Get("Content-Range") != want.header.Get("Content-Range") {
			t.Errorf("%v: %s, want %s", fields, got, want)
		}
	}
}

// TestOurRanges asks our own cache all that does not depend on time.
func TestOurRanges(t *testing.T) {
	org := newOrigin()
	at, end, err := Loopback(org)
	if err != nil {
		t.Fatal(err)
	}
	r, err := catchmentLib().Start(t.Context(), Setup{Origin: at, Dir: t.TempDir(), CPU: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Stop(); end() })
	for i, c := range slices.Concat(rangeChecks(), partialChecks()) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := c.ask(t.Context(), org, r.HTTP, fmt.Sprintf("/ranges/%d", i), map[string]float64{}); err != nil {
				t.Error(err)
			}
		})
	}
}
