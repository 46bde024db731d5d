package cache

import (
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/rule"
)

func exampleMeta() *meta {
	now := time.UnixMilli(1_800_000_000_123)
	v := rule.Judge(&rule.Exchange{
		Method: "GET", Status: 200, Request: http.Header{"Accept-Language": {"de"}, "Foo": {"1", "2"}},
		Response: http.Header{
			"Cache-Control": {"max-age=60"}, "Vary": {"Accept-Language, Foo"}, "Etag": {`"x"`}, "Content-Language": {"de"},
			"Set-Thing": {"a", "b", ""}, "Cache-Groups": {`"one", "two"`},
		},
		RequestTime: now, ResponseTime: now,
	}, new(rule.DefaultPolicy()))
	return &meta{
		life: v.Life, why: v.Reason, epoch: 1<<63 + 5, site: "a", url: "https://h/p?q", vary: v.Vary, tags: v.Groups, header: v.Header,
		trailer: http.Header{"X-Sum": {"7"}}, sum: &fill.Sum{Size: 12, SHA256: [32]byte{1}, Root: [32]byte{2}}, contentTag: true,
	}
}

func TestMetaRoundTrip(t *testing.T) {
	for _, m := range []*meta{exampleMeta(), {life: rule.Life{Status: 404}, url: "http://h/"}} {
		b := m.encode()
		got, err := decodeMeta(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v\nwant %+v", got, m)
		}
		for n := range b {
			if _, err := decodeMeta(b[:n]); err == nil {
				t.Fatalf("%d of %d bytes are taken for the whole", n, len(b))
			}
		}
		if _, err := decodeMeta(append(b, 0)); err == nil {
			t.Error("a byte too many is taken")
		}
		b[0]++
		if _, err := decodeMeta(b); err == nil {
			t.Error("another version is taken")
		}
	}
}

// FuzzMeta: bytes from a disk never panic, and what is taken is written the same way again.
func FuzzMeta(f *testing.F) {
	f.Add(exampleMeta().encode())
	f.Add((&meta{url: "http://h/"}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			return
		}
		m.purgeObject()
		again, err := decodeMeta(m.encode())
		if err != nil {
			t.Fatalf("not readable again: %v", err)
		}
		if !reflect.DeepEqual(again, m) {
			t.Errorf("%+v\nis not %+v", again, m)
		}
	})
}

func TestPurgeObject(t *testing.T) {
	for _, c := range []struct{ url, host, path string }{
		{"http://h/p/q?x=/y", "h", "/p/q"}, {"https://h:8443/", "h:8443", "/"}, {"http://h", "h", ""}, {"http://[::1]:80/a", "[::1]:80", "/a"},
	} {
		o := (&meta{url: c.url}).purgeObject()
		if string(o.Host) != c.host || string(o.Path) != c.path || string(o.URL) != c.url {
			t.Errorf("%s: %q %q", c.url, o.Host, o.Path)
		}
	}
}
