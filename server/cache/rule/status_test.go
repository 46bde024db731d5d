package rule_test

import (
	"testing"

	"github.com/catchment/catchment/server/cache/rule"
	"github.com/dunglas/httpsfv"
)

func TestCacheStatus(t *testing.T) {
	for _, c := range []struct {
		s        rule.CacheStatus
		upstream []string
		want     string
	}{
		{rule.CacheStatus{Cache: "LON", Hit: true, TTL: 376, HasTTL: true}, nil, `LON; hit; ttl=376`},
		{rule.CacheStatus{Cache: "LON", Fwd: rule.FwdStale, FwdStatus: 304, Stored: true, Collapsed: true, TTL: -4, HasTTL: true, Detail: rule.Expired}, nil,
			`LON; fwd=stale; fwd-status=304; ttl=-4; stored; collapsed; detail=expired`},
		{rule.CacheStatus{Cache: "Pop 1", Fwd: rule.FwdURIMiss, Key: "a\"\\\xff\n"}, nil, `"Pop 1"; fwd=uri-miss; key="a\"\\??"`},
		{rule.CacheStatus{Cache: "1st"}, nil, `"1st"`},
		{rule.CacheStatus{Cache: "b.example:80"}, []string{`parent;hit`, `"x y"; fwd=miss`}, `parent;hit, "x y";fwd=miss, b.example:80`},
		{rule.CacheStatus{Cache: "b"}, []string{`broken;;`}, `b`},
		{rule.CacheStatus{Cache: "b"}, []string{``}, `b`},
	} {
		if got := c.s.Line(c.upstream); got != c.want {
			t.Errorf("%+v after %q: %s, want %s", c.s, c.upstream, got, c.want)
		}
	}
}

// TestReasonsRender: each reason is a valid detail and each fwd a token of RFC 9211.
func TestReasonsRender(t *testing.T) {
	for r := rule.None; r.String() != "unknown"; r++ {
		s := rule.CacheStatus{Cache: "c", Fwd: r.Fwd(), Detail: r}
		list, err := httpsfv.UnmarshalList([]string{s.Line(nil)})
		if err != nil || len(list) != 1 {
			t.Fatalf("%v: %v", r, err)
		}
		fwd, _ := list[0].(httpsfv.Item).Params.Get("fwd")
		if fwd != httpsfv.Token(r.Fwd().String()) {
			t.Errorf("%v: fwd %v", r, fwd)
		}
	}
	for r, want := range map[rule.Reason]string{rule.URIMiss: "uri-miss", rule.VaryMiss: "vary-miss", rule.Expired: "stale",
		rule.RequestNoCache: "request", rule.PartialMiss: "partial", rule.MethodNotCacheable: "method", rule.PolicyBypass: "bypass", rule.Purged: "miss"} {
		if r.Fwd().String() != want {
			t.Errorf("%v: %v, want %s", r, r.Fwd(), want)
		}
	}
}

// FuzzCacheStatus: whatever upstream sent and whatever the key holds, the line is a valid list that ends with our member.
func FuzzCacheStatus(f *testing.F) {
	f.Add(`a; hit`, "name", "key")
	f.Add(`a; hit, "`, "", `"\`)
	f.Fuzz(func(t *testing.T, upstream, name, key string) {
		s := rule.CacheStatus{Cache: name, Hit: true, Key: key}
		list, err := httpsfv.UnmarshalList([]string{s.Line([]string{upstream})})
		if err != nil {
			t.Fatalf("%q: %v", s.Line([]string{upstream}), err)
		}
		last := list[len(list)-1].(httpsfv.Item)
		if hit, _ := last.Params.Get("hit"); hit != true {
			t.Fatalf("%q: no hit", s.Line([]string{upstream}))
		}
	})
}
