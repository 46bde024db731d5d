package config

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

const cacheAlone = `
cache:
  listen: ["127.0.0.1:8080"]
`

// TestCacheAlone: a cache server needs no more than where it listens and whom
// it serves; what speaks BGP then speaks to nobody.
func TestCacheAlone(t *testing.T) {
	text, err := os.ReadFile("testdata/cache-alone.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var section map[string]any
	c, err := Parse(strings.NewReader(string(text)), "yaml", Options{BGP: func(s map[string]any) ([]netip.Addr, error) { section = s; return nil, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if c.POP != "cache" || c.Cache.Name != "cache" || !c.Cache.On() || len(c.Cache.Sites) != 1 || len(c.Services) != 0 {
		t.Errorf("%+v", c)
	}
	if port := valueAt(section, "global.config.port"); port != int64(-1) || section["neighbors"] != nil {
		t.Errorf("the speaker: %v", section)
	}
}

// sites are files of sites, in memory.
func sites(files map[string]string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		text, ok := files[path]
		if !ok {
			return nil, os.ErrNotExist
		}
		return []byte(text), nil
	}
}

const oneSite = `sites: [{name: www, hosts: [www.example.com], upstream: {origins: [{url: "http://203.0.113.1"}]}}]`

// TestSitesFile: sites in a file of their own are judged as those in the
// configuration, and a mistake names that file and its line.
func TestSitesFile(t *testing.T) {
	for name, tc := range map[string]struct {
		file, text string
		want       []string
	}{
		"right":    {"/s.yaml", oneSite, nil},
		"toml":     {"/s.toml", "[[sites]]\nname = 'www'\nhosts = ['a.example']\nupstream = {origins = [{url = 'http://203.0.113.1'}]}\n", nil},
		"missing":  {"/gone.yaml", "", []string{`line 4: cache.sites-file: file does not exist`}},
		"relative": {"s.yaml", oneSite, []string{`line 4: cache.sites-file: "s.yaml": want an absolute path`}},
		"empty":    {"/s.yaml", "", []string{"/s.yaml: sites: not set: want a list of sites"}},
		"ending":   {"/s.txt", oneSite, []string{`/s.txt: format "txt": want a name that ends in .yaml, .yml or .toml`}},
		"unknown": {"/s.yaml", "\nsites:\n  - {name: www, hosts: [a.example], origin: x}\nsitess: []\n", []string{
			`/s.yaml:3: sites[0].origin: unknown key`, `/s.yaml:3: sites[0].upstream.origins: no origins and no parents: nothing could be fetched`, `/s.yaml:4: sitess: unknown key (did you mean "sites"?)`}},
		"no YAML": {"/s.yaml", "sites: [", []string{"/s.yaml: yaml: line 1: did not find expected node content"}},
	} {
		files := map[string]string{tc.file: tc.text}
		if name == "missing" {
			files = nil
		}
		c, err := Parse(strings.NewReader(cacheAlone+"  sites-file: "+tc.file+"\n"), "yaml", Options{SitesFile: sites(files)})
		compare(t, name, messages(err), tc.want)
		if err == nil && (len(c.Cache.Sites) != 1 || c.Cache.Sites[0].Name != "www") {
			t.Errorf("%s: %+v", name, c.Cache.Sites)
		}
	}
}

// TestCacheFiles: what judges files is asked where sites are right, and its
// word names the key.
func TestCacheFiles(t *testing.T) {
	text := cacheAlone + "  tls: {listen: ['[::]:443'], certificates: [{certificate: /c.pem, key: /k.pem}]}\n  sites-file: /s.yaml\n"
	o := Options{SitesFile: sites(map[string]string{"/s.yaml": oneSite}), Cache: func(c *Cache) error {
		if len(c.Sites) != 1 {
			t.Errorf("%+v", c)
		}
		return errors.Join(errors.New("cache.tls.certificates[0]: no match"), errors.New("odd"))
	}}
	_, err := Parse(strings.NewReader(text), "yaml", o)
	compare(t, "error", messages(err), []string{"line 2: cache: odd", "line 4: cache.tls.certificates[0]: no match"})
	o.Cache = func(*Cache) error { t.Error("asked although the sites are wrong"); return nil }
	o.SitesFile = sites(nil)
	if _, err = Parse(strings.NewReader(text), "yaml", o); err == nil {
		t.Error("taken")
	}
}

// TestCacheDiff: what a reload says of sites, of which secrets stay hidden, and
// what needs a restart.
func TestCacheDiff(t *testing.T) {
	with := func(more, text string) *Config {
		c, err := Parse(strings.NewReader(cacheAlone+more), "yaml", Options{SitesFile: sites(map[string]string{"/s.yaml": text})})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	file := "  sites-file: /s.yaml\n"
	other := `sites:
  - {name: www, hosts: [www.example.com], upstream: {origins: [{url: "http://203.0.113.2"}]}}
  - {name: shop, hosts: [shop.example.com], upstream: {origins: [{url: "http://203.0.113.1"}]}}`
	a, b := with(file, oneSite), with(file, other)
	if got := Diff(a, b); !slices.Equal(got, []string{"cache.sites[shop]: new", "cache.sites[www]: changed"}) {
		t.Error(got)
	}
	if got := Diff(b, a); !slices.Equal(got, []string{"cache.sites[shop]: gone", "cache.sites[www]: changed"}) {
		t.Error(got)
	}
	inline := func(secret string) *Config {
		return with(`  sites: [{name: www, hosts: [a.example], upstream: {origins: [{url: "http://203.0.113.2"}]}, token: {keys: [{id: k, secret: `+secret+`}]},
    request-headers: {set: [{name: X, value: `+secret+`}]}, purge: {token: `+secret+`}}]`+"\n", "")
	}
	lines := strings.Join(Diff(inline("first-secret-of-the-two"), inline("other-secret-of-the-two")), "\n")
	if strings.Contains(lines, "of-the-two") || strings.Count(lines, "(hidden) -> (hidden)") != 3 {
		t.Error(lines)
	}
	for more, restart := range map[string]bool{
		"  store: {ram: 1GiB}\n": true, "  name: other\n": true, "  limits: {head-time: 7s}\n": true, "  limits: {requests: 7}\n": false,
		"  limits: {connections: 7, client-connections: 3, fills: 9, site-fills: 2}\n": false,
		"  access-log: {path: /var/log/a.log}\n":                                       true, "  h2c: true\n": true,
	} {
		if err := CheckReload(a, with(file+more, oneSite)); (err != nil) != restart {
			t.Errorf("%q: %v", more, err)
		}
	}
	if err := CheckReload(a, loaded(t, "minimal.yaml")); err == nil {
		t.Error("a cache server ends by a reload")
	}
}

// TestCacheServes: by an unspecified address every one of its family, and IPv6
// takes IPv4 too.
func TestCacheServes(t *testing.T) {
	at := netip.MustParseAddrPort
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, tc := range []struct {
		listen    string
		four, six bool
	}{
		{"192.0.2.1:80", true, false}, {"192.0.2.2:80", false, false}, {"0.0.0.0:80", true, false}, {"[::]:80", true, true}, {"[2001:db8::1]:80", false, true},
	} {
		c := Cache{TLS: CacheTLS{Listen: []netip.AddrPort{at(tc.listen)}}}
		if c.Serves(four) != tc.four || c.Serves(six) != tc.six || !c.On() {
			t.Errorf("%s: %v %v", tc.listen, c.Serves(four), c.Serves(six))
		}
	}
}

// TestCacheExamples: the examples are right.
func TestCacheExamples(t *testing.T) {
	c, err := Load(configs+"cache.yaml", Options{SitesFile: func(file string) ([]byte, error) {
		if file != "/etc/catchment/sites.yaml" {
			t.Errorf("reads %s", file)
		}
		return os.ReadFile(configs + "sites.yaml")
	}})
	if err != nil || len(c.Warnings) > 0 || len(c.Cache.Sites) != 4 {
		t.Errorf("%v, %+v", err, c)
	}
}
