package site

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// One mistake a line: what to change in a good site, and what is said.
func TestWrong(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Name = "" }, `site "": name: "": want letters`},
		{func(c *Config) { c.Hosts = nil }, "hosts: no hosts"},
		{func(c *Config) { c.Hosts = []string{"a*b*c"} }, "hosts[0]: "},
		{func(c *Config) { c.Hosts = []string{"h", "H."} }, "hosts[1]: \"h\" is there twice"},
		{func(c *Config) { c.Hosts = []string{"http://h/"} }, "hosts[0]: "},
		{func(c *Config) { c.Paths = []string{"a"} }, "paths[0]: "},
		{func(c *Config) { c.Paths = []string{"/a", "/a/"} }, "paths[1]: "},
		{func(c *Config) { c.Schemes = []string{"ftp"} }, "schemes[0]: \"ftp\": want http or https"},
		{func(c *Config) { c.Methods = []string{"get"} }, "methods[0]: "},
		{func(c *Config) { c.Methods = []string{"TRACE"} }, "methods[0]: TRACE is never served"},
		{func(c *Config) { c.Upstream = Upstream{} }, "upstream.origins: no origins"},
		{func(c *Config) { c.Upstream.Origins[0].URL = "ftp://h" }, "upstream.origins[0].url: "},
		{func(c *Config) { c.Upstream.Origins[0].Weight = -1 }, "upstream.origins[0].weight: -1"},
		{func(c *Config) { c.Upstream.BypassParents = true }, "upstream.bypass-parents: there are no parents"},
		{func(c *Config) { c.Upstream.Balance = "best" }, "upstream.balance: "},
		{func(c *Config) { c.Upstream.Protocol = "spdy" }, "upstream.protocol: "},
		{func(c *Config) { c.Upstream.Check.Interval = time.Second }, "upstream.check.path: "},
		{func(c *Config) { c.Upstream.CA = "/does/not/exist" }, "upstream.ca: "},
		{func(c *Config) { c.Key.Query.Mode = "some" }, "key.query.mode: "},
		{func(c *Config) { c.Key.Query.Mode = "keep" }, "key.query.names: 0 names with mode \"keep\""},
		{func(c *Config) { c.Key.Query.Names = []string{"a"} }, "key.query.names: "},
		{func(c *Config) { c.Key.Headers = []string{"a b"} }, "key.headers[0]: "},
		{func(c *Config) { c.Key.RawPath, c.Key.MergeSlashes = true, true }, "key.merge-slashes: "},
		{func(c *Config) { c.Cache.ETag = "md5" }, "cache.etag: "},
		{func(c *Config) { c.Cache.Cookies = "eat" }, "cache.set-cookie: "},
		{func(c *Config) { c.Cache.Min, c.Cache.Max = 2, 1 }, "cache.min-ttl: "},
		{func(c *Config) { c.Cache.NoStale, c.Cache.StaleIfError = true, 1 }, "cache.no-stale: "},
		{func(c *Config) { c.Cache.Status = []StatusTTL{{Status: []int{99}}} }, "cache.status[0].status[0]: 99"},
		{func(c *Config) { c.Cache.Vary = []Vary{{Field: "A", Mode: "choose"}} }, "cache.vary[0].allow: "},
		{func(c *Config) { c.RequestHeaders.Remove = []string{"content-length"} }, "request-headers.remove[0]: content-length is not for edits"},
		{func(c *Config) { c.ResponseHeaders.Set = []Header{{"A", "b\r\nC: d"}} }, "response-headers.set[0].value: "},
		{func(c *Config) { c.RequestHeaders.Add = []Header{{"Host", "b"}} }, "request-headers.add[0].name: set upstream.host instead"},
		{func(c *Config) { c.Token.Parameter = "t" }, "token.keys: no keys"},
		{func(c *Config) { c.Token.Keys = []TokenKey{{ID: "a", Secret: "short"}} }, "token.keys[0]: a secret of 5 bytes"},
		{func(c *Config) { c.Token.Keys = []TokenKey{{ID: "a", SecretFile: "/does/not/exist"}} }, "token.keys[0].secret-file: "},
		{func(c *Config) { c.Token.Keys = []TokenKey{{ID: "a~", Secret: secretText}} }, "token.keys[0].id: "},
		{func(c *Config) { c.Limits.IPv4 = 33 }, "limits.ipv4: 33"},
		{func(c *Config) { c.Limits.Client.Burst = 3 }, "limits.client.burst: "},
		{func(c *Config) { c.Debug.Token = "x" }, "debug.token: 1 bytes"},
	} {
		conf := config("s", "h")
		c.change(&conf)
		err := conf.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Path == "" {
			t.Errorf("%v is no *Error with a path", err)
		}
	}
	good := config("s", "h")
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestOverlap(t *testing.T) {
	a, b := config("a", "x", "www.h"), config("b", "WWW.h.", "y")
	_, err := NewTable([]Config{a, b}, nil)
	if err == nil || !strings.Contains(err.Error(), `site "b": hosts: www.h with path / (http and https) is served for site "a" already`) {
		t.Error(err)
	}
	b.Schemes = []string{"https"}
	if _, err := NewTable([]Config{a, b}, nil); err != nil {
		t.Errorf("one scheme beside both: %v", err)
	}
	if _, err := NewTable([]Config{a, config("a", "z")}, nil); err == nil || !strings.Contains(err.Error(), "the name of another site") {
		t.Error(err)
	}
}

const secretText = "0123456789abcdef0123456789abcdef"

// full is a site in which everything is set.
func full(t *testing.T) Config {
	file := filepath.Join(t.TempDir(), "secret")
	os.WriteFile(file, []byte(secretText+"\n"), 0o600)
	var c Config
	fill(reflect.ValueOf(&c).Elem())
	c.Token.Keys[0] = TokenKey{ID: "k", SecretFile: file}
	return c
}

func fill(v reflect.Value) {
	switch v.Type() {
	case durationType:
		v.SetInt(int64(90 * time.Second))
		return
	case prefixType:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("2001:db8::/32")))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("a b")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(4096)
	case reflect.Float64:
		v.SetFloat(2.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	}
}

// Every key survives JSON, which YAML reads as well.
func TestJSON(t *testing.T) {
	c := full(t)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, c) {
		t.Errorf("%+v became %+v by %s", c, back, text)
	}
	list, err := ParseYAML([]byte("sites:\n- " + string(text)))
	if err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], c) {
		t.Errorf("by YAML: %v, %v", list, err)
	}
	if text, _ := json.Marshal(config("s", "h")); string(text) != `{"hosts":["h"],"name":"s","upstream":{"origins":[{"url":"http://192.0.2.1:8080"}]}}` {
		t.Errorf("%s", text)
	}
}

func TestParseWrong(t *testing.T) {
	for text, want := range map[string]string{
		`{"name": "s", "hots": []}`:                             "hots",
		`{"name": "s", "cache": {"ttl": 10}}`:                   "want a duration with its unit",
		`{"name": "s", "cache": {"ttl": "-1s"}}`:                "cannot be negative",
		`{"name": "s", "limits": {"max-body": "1 parsec"}}`:     "want a size",
		`{"name": "s", "debug": {"networks": ["192.0.2.1/8"]}}`: "did you mean 192.0.0.0/8",
		`{"name": "s"} {}`:                                      "more than one",
		`{"name": 7}`:                                           "want text",
	} {
		if _, err := ParseJSON([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, err := ParseYAML([]byte("- name: a\n  hots: [x]\n- b\n")); err == nil || !strings.Contains(err.Error(), "hots") || !strings.Contains(err.Error(), "sites[1]") {
		t.Error(err)
	}
}
