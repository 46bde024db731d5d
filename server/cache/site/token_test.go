package site

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	vectorExact   = "e=1800000000~k=k1~s=fecGmLNmzHDIOTdYcDQuVs2dlPcN1GFtKncFIDs608E"
	vectorPrefix  = "e=1800000000~k=k1~p=/video/~s=MNUP8MA0f5tb_l1tPovaa75fr8MGKBpZwporrlPhPag"
	vectorNetwork = "e=1800000000~k=k1~n=192.0.2.0/24~s=GrFDbmUsctb9jaXH5Y-lx3BMzoh-KmInAYwQbsxiB04"
	vectorBoth    = "e=1800000000~k=k1~p=/v/~n=2001:db8::/32~s=8cobQyC5X8alxjfCcrYgkGQWmYN-V1LqmC5g57dlmPQ"
)

var tokenEnd = time.Unix(1_800_000_000, 0)

// The vectors were made by another implementation of HMAC.
func TestSign(t *testing.T) {
	for _, c := range []struct {
		token      Token
		path, want string
	}{
		{Token{tokenEnd, "k1", "", netip.Prefix{}}, "/video/./a.mp4", vectorExact},
		{Token{tokenEnd, "k1", "/video/", netip.Prefix{}}, "/ignored", vectorPrefix},
		{Token{tokenEnd, "k1", "", netip.MustParsePrefix("192.0.2.9/24")}, "/a", vectorNetwork},
		{Token{tokenEnd, "k1", "/v/", netip.MustParsePrefix("2001:db8::/32")}, "", vectorBoth},
	} {
		got, err := Sign([]byte(secretText), c.token, c.path)
		if err != nil || got != c.want {
			t.Errorf("%+v: %s, %v; want %s", c.token, got, err, c.want)
		}
	}
	for _, c := range []struct {
		token  Token
		path   string
		secret string
	}{
		{Token{KeyID: ""}, "/", secretText}, {Token{KeyID: "a~b"}, "/", secretText}, {Token{KeyID: "a"}, "x", secretText},
		{Token{KeyID: "a", Prefix: "x"}, "/", secretText}, {Token{KeyID: "a", Prefix: "/a~b"}, "/", secretText}, {Token{KeyID: "a"}, "/", "short"},
	} {
		if got, err := Sign([]byte(c.secret), c.token, c.path); err == nil {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func tokenSite(t *testing.T, change func(*Config)) *Site {
	c := config("s", "*")
	c.Token = TokenRules{Keys: []TokenKey{{ID: "k1", Secret: secretText}, {ID: "k2", Secret: strings.Repeat("x", 16)}}, Cookie: "auth"}
	if change != nil {
		change(&c)
	}
	return table(t, c).Site("s")
}

func TestCheckToken(t *testing.T) {
	s := tokenSite(t, nil)
	in, v6 := "192.0.2.200", "2001:db8:1::1"
	for _, c := range []struct {
		name, url, client, cookie, want string
		late                            time.Duration
	}{
		{"exact", "/video/a.mp4?token=" + vectorExact, in, "", "", 0},
		{"exact, other spelling", "/x/../video/%61.mp4?a=b&token=" + url.QueryEscape(vectorExact), in, "", "", 0},
		{"exact, other path", "/video/b.mp4?token=" + vectorExact, in, "", TokenSignature, 0},
		{"prefix", "/video/b.mp4?token=" + vectorPrefix, in, "", "", 0},
		{"prefix, left by dots", "/video/../b.mp4?token=" + vectorPrefix, in, "", TokenPath, 0},
		{"prefix, left by hidden dots", "/video/..%2Fb.mp4?token=" + vectorPrefix, in, "", TokenPath, 0},
		{"prefix, not below", "/videos?token=" + vectorPrefix, in, "", TokenPath, 0},
		{"network", "/a?token=" + vectorNetwork, in, "", "", 0},
		{"network, mapped", "/a?token=" + vectorNetwork, "::ffff:192.0.2.1", "", "", 0},
		{"network, other", "/a?token=" + vectorNetwork, "198.51.100.1", "", TokenNetwork, 0},
		{"network, other family", "/a?token=" + vectorNetwork, v6, "", TokenNetwork, 0},
		{"both", "/v/a?token=" + vectorBoth, v6, "", "", 0},
		{"cookie", "/video/a.ts", in, "x=y; auth=" + vectorPrefix, "", 0},
		{"two cookies", "/video/a.ts", in, "auth=x; auth=" + vectorPrefix, TokenMalformed, 0},
		{"the parameter comes first", "/video/a.ts?token=x", in, "auth=" + vectorPrefix, TokenMalformed, 0},
		{"two parameters", "/video/a.mp4?token=" + vectorExact + "&token=" + vectorExact, in, "", TokenMalformed, 0},
		{"none", "/video/a.mp4", in, "", TokenMissing, 0},
		{"empty", "/video/a.mp4?token=", in, "", TokenMissing, 0},
		{"last moment", "/a?token=" + vectorNetwork, in, "", "", time.Hour - 1},
		{"expired", "/a?token=" + vectorNetwork, in, "", TokenExpired, time.Hour},
		{"later expiry made up", "/a?token=" + strings.Replace(vectorNetwork, "e=18", "e=19", 1), in, "", TokenSignature, 0},
		{"no signature", "/a?token=e=1800000000~k=k1", in, "", TokenMalformed, 0},
		{"signature cut", "/a?token=" + vectorNetwork[:len(vectorNetwork)-1], in, "", TokenMalformed, 0},
		{"signature empty", "/a?token=e=1800000000~k=k1~s=", in, "", TokenSignature, 0},
		{"other key's id", "/a?token=" + strings.Replace(vectorNetwork, "k=k1", "k=k2", 1), in, "", TokenSignature, 0},
		{"unknown key", "/a?token=" + strings.Replace(vectorNetwork, "k=k1", "k=k3", 1), in, "", TokenUnknown, 0},
		{"parts in another order", "/a?token=k=k1~e=1800000000~s=AAAA", in, "", TokenMalformed, 0},
		{"part too many", "/a?token=e=1800000000~k=k1~x=1~s=AAAA", in, "", TokenMalformed, 0},
		{"too long", "/a?token=e=1800000000~k=k1~p=/" + strings.Repeat("a", 3000) + "~s=AAAA", in, "", TokenMalformed, 0},
	} {
		path, query, _ := strings.Cut(c.url, "?")
		r := &Request{Host: []byte("h"), Path: []byte(path), Query: []byte(query), Header: http.Header{"Cookie": {c.cookie}}}
		err := s.CheckToken(r, netip.MustParseAddr(c.client), tokenEnd.Add(c.late-time.Hour))
		got := ""
		var te *TokenError
		if errors.As(err, &te) {
			got = te.Reason
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What an origin may take for a path below the prefix needs a token as well.
func TestNeedsToken(t *testing.T) {
	s := tokenSite(t, func(c *Config) { c.Token.Paths = []string{"/private/", "/p"}; c.Key.LowerCase = true })
	for path, want := range map[string]bool{
		"/": false, "/public": false, "/privates": false, "/private": true, "/private/a": true, "/PRIVATE/a": true, "//private/a": true,
		"/x/../private": true, "/x/..%2fprivate/a": true, "/%70rivate/a": true, "/private%2Fa": true, "/private/../x": false, "/p": true, "/pp": false,
	} {
		if got := s.NeedsToken([]byte(path)); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	open := table(t, config("s", "*")).Site("s")
	if open.NeedsToken([]byte("/")) || open.CheckToken(&Request{Path: []byte("/")}, netip.Addr{}, time.Time{}) != nil {
		t.Error("a site without keys wants a token")
	}
}

// The token is in no key, and no origin sees it.
func TestTokenNotInKey(t *testing.T) {
	s := tokenSite(t, nil)
	var k Key
	s.Key(&k, &Request{Host: []byte("h"), Path: []byte("/a"), Query: []byte("x=1&token=" + vectorExact + "&y=2&%74oken=z")})
	if string(k.Bytes) != "s http://h/a?x=1&y=2" {
		t.Errorf("%s", k.Bytes)
	}
}

// Whatever is given as a token, only what Sign made opens.
func FuzzToken(f *testing.F) {
	for _, v := range []string{vectorExact, vectorPrefix, vectorNetwork, vectorBoth, "e=1~k=k1~s=", "~s="} {
		f.Add(v, "/video/a.mp4")
	}
	s := &signer{keys: map[string][]byte{"k1": []byte(secretText)}}
	f.Fuzz(func(t *testing.T, text, path string) {
		err := s.check(text, []byte(path), netip.MustParseAddr("192.0.2.1"), tokenEnd.Add(-time.Hour))
		if err != nil {
			return
		}
		signed, _, _ := cutLast(text, "~s=")
		parsed, err := parseToken(signed)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Sign([]byte(secretText), parsed, path)
		if err != nil || again != text {
			t.Errorf("%q opens %q; made again: %q, %v", text, path, again, err)
		}
	})
}
