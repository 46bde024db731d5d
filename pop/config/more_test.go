package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
)

// base is what these tests change.
const base = "testdata/reload-base.yaml"

func read(t *testing.T, edit func(string) string, o Options) (*Config, error) {
	t.Helper()
	text, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(strings.NewReader(edit(string(text))), "yaml", o)
}

func replace(pairs ...string) func(string) string { return strings.NewReplacer(pairs...).Replace }

func TestDiffAndReload(t *testing.T) {
	old, err := Load(base, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, refused string
		edit          func(string) string
		diff          []string
	}{
		{"nothing", "", replace("# see reference", "# look at reference"), nil},
		{"a default written out", "", replace("    ladder:", "    hold-down: 10s\n    ladder:"), nil},
		{"a service", "", replace("    ladder:", "    hold-down: 20s\n    ladder:", "prepend: 3", "med: 7", "http4, type", "www4, type"), []string{
			"services[web].checks[http4].assist: true -> not set",
			"services[web].checks[http4].fall: 3 -> not set", "services[web].checks[http4].fast: 200ms -> not set",
			"services[web].checks[http4].interval: 2s -> not set", "services[web].checks[http4].jitter: 0.1 -> not set",
			"services[web].checks[http4].name: http4 -> not set", "services[web].checks[http4].rise: 2 -> not set",
			"services[web].checks[http4].timeout: 1s -> not set", "services[web].checks[http4].type: http -> not set",
			"services[web].checks[http4].url: http://192.0.2.1/healthz -> not set",
			"services[web].checks[http4].watch: [192.0.2.1:80] -> not set", "services[web].checks[http4].weight: 1 -> not set",
			"services[web].checks[www4].assist: true (was not set)",
			"services[web].checks[www4].fall: 3 (was not set)", "services[web].checks[www4].fast: 200ms (was not set)",
			"services[web].checks[www4].interval: 2s (was not set)", "services[web].checks[www4].jitter: 0.1 (was not set)",
			"services[web].checks[www4].name: www4 (was not set)", "services[web].checks[www4].rise: 2 (was not set)",
			"services[web].checks[www4].timeout: 1s (was not set)", "services[web].checks[www4].type: http (was not set)",
			"services[web].checks[www4].url: http://192.0.2.1/healthz (was not set)",
			"services[web].checks[www4].watch: [192.0.2.1:80] (was not set)", "services[web].checks[www4].weight: 1 (was not set)",
			"services[web].hold-down: 10s -> 20s",
			"services[web].ladder[backup].med: 7 (was not set)", "services[web].ladder[backup].prepend: 3 -> not set",
		}},
		{"a password", "", replace("change-me}\n      ttl-security: {config: {enabled: true, ttl-min: 255}}\n      graceful-restart: {config: {enabled: true, restart-time: 120}}\n      afi-safis:\n        - config: {afi-safi-name: ipv4", "other}\n      ttl-security: {config: {enabled: true, ttl-min: 255}}\n      graceful-restart: {config: {enabled: true, restart-time: 120}}\n      afi-safis:\n        - config: {afi-safi-name: ipv4"), []string{
			"bgp.neighbors[10.0.0.2].config.auth-password: (hidden) -> (hidden)",
		}},
		{"what needs a restart",
			"bgp.global.config.as: 64500 -> 64499: needs a restart (sessions would have to be closed); the reload is refused, nothing changed\n" +
				"bgp.global.config.router-id: 10.0.0.1 -> 10.0.0.9: needs a restart (sessions would have to be closed); the reload is refused, nothing changed\n" +
				"pop: LON -> PAR: needs a restart (other POPs know this one by it); the reload is refused, nothing changed\n" +
				"state-dir: /var/lib/catchment -> /srv/c: needs a restart (the journal and the intents are open there); the reload is refused, nothing changed",
			replace("pop: LON", "pop: PAR\nstate-dir: /srv/c", "as: 64500, router-id: 10.0.0.1", "as: 64499, router-id: 10.0.0.9"), []string{
				"bgp.global.config.as: 64500 -> 64499", "bgp.global.config.router-id: 10.0.0.1 -> 10.0.0.9", "pop: LON -> PAR", "state-dir: /var/lib/catchment -> /srv/c",
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed, err := read(t, c.edit, Options{})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, "change", Diff(old, changed), c.diff)
			got := ""
			if err := CheckReload(old, changed); err != nil {
				got = err.Error()
			}
			if got != c.refused {
				t.Errorf("got %s\nwant %s", got, c.refused)
			}
		})
	}
}

// TestEnvironmentValues: the environment wins, and has the types of the file.
func TestEnvironmentValues(t *testing.T) {
	text, err := os.ReadFile("testdata/env-ok.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, _, env := wanted(t, text)
	c, err := Parse(strings.NewReader(string(text)), "yaml", Options{Env: env})
	if err != nil {
		t.Fatal(err)
	}
	as := valueAt(c.BGP, "global.config.as")
	if c.POP != "FRA2" || !c.FIB.Install || c.Journal.Keep != 3 || c.Limits.BlastShare != 0.5 ||
		*c.Fleet.Site != (bgp.LargeCommunity{Global: 64500, Local1: 1, Local2: 7}) || as != int64(64999) {
		t.Errorf("%+v, as %v", c, as)
	}
	if id := valueAt(c.BGP, "global.config.router-id"); id != "10.0.0.1" {
		t.Error("the rest of the section is gone:", id)
	}
}

// TestBGPIsAsked: the judge of the section sees it as read, its neighbors are
// the known ones, and its errors come with ours, on their lines.
func TestBGPIsAsked(t *testing.T) {
	var seen map[string]any
	_, err := read(t, replace("name: web", "name: web!"), Options{BGP: func(s map[string]any) ([]netip.Addr, error) {
		seen = s
		return nil, errors.Join(errors.New("bgp.neighbors[1].config.peer-as: wrong"), errors.New("something else"))
	}})
	if valueAt(seen, "neighbors[0].config.peer-as") != int64(64501) {
		t.Error("section:", seen)
	}
	want := []string{
		"line 5: bgp: something else",
		"line 15: bgp.neighbors[1].config.peer-as: wrong",
		`line 27: services[0].name: "web!": want letters, digits, dots, dashes and underscores, at most 63`,
	}
	compare(t, "error", messages(err), want)
	_, err = read(t, replace(), Options{BGP: func(map[string]any) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.2"), {}}, nil
	}})
	compare(t, "error", messages(err), []string{"line 24: bfd[1].neighbor: 2001:db8:1::2 is not in bgp.neighbors"})
}

// TestGroupIsAsked: the judge sees the group as written, and its word stands
// at the key; without a judge, and without the key, nobody is asked.
func TestGroupIsAsked(t *testing.T) {
	seen := ""
	judge := Options{Group: func(g string) error { seen = g; return errors.New("there is no group " + g) }}
	_, err := read(t, replace("pop: LON", "pop: LON\napi: {group: ops}"), judge)
	compare(t, "error", messages(err), []string{"line 4: api.group: there is no group ops"})
	if seen != "ops" {
		t.Errorf("asked for %q", seen)
	}
	if _, err := read(t, replace(), judge); err != nil {
		t.Error(err)
	}
	_, err = read(t, replace("pop: LON", "pop: LON\napi: {group: 77}"), Options{})
	compare(t, "error", messages(err), []string{"line 4: api.group: want text, got 77"})
	c, err := read(t, replace("pop: LON", "pop: LON\napi: {group: \"77\"}"), Options{})
	if err != nil || c.API.Group != "77" {
		t.Error(c, err)
	}
}

// TestInheritance: what a rung and drain take from normal, toward all and
// toward single neighbors.
func TestInheritance(t *testing.T) {
	c, err := read(t, replace("    ladder:\n      - {name: backup, prepend: 3}", `    attributes:
      med: 10
      prepend: 1
      communities: ["64500:2"]
      neighbors:
        - {neighbor: 10.0.0.2, prepend: 2, med: 50, communities: ["64500:1"]}
        - {neighbor: "2001:db8:1::2", withhold: true}
    ladder:
      - {name: one, prepend: 3, communities: ["64500:3"]}
      - {name: two, med: 20, prepend: 0, neighbors: [{neighbor: 10.0.0.2, prepend: 7}]}`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	n4, n6 := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8:1::2")
	com := func(n ...uint32) (out []bgp.Community) {
		for _, v := range n {
			out = append(out, bgp.Community(64500<<16|v))
		}
		return out
	}
	gshut := bgp.GracefulShutdown
	for i, want := range []struct {
		rung Rung
		att  bgp.Attributes
		n4   bgp.Attributes
	}{
		{c.Services[0].Ladder[0], bgp.Attributes{MED: new(uint32(10)), Prepend: 1, Communities: com(2)},
			bgp.Attributes{MED: new(uint32(50)), Prepend: 2, Communities: com(1, 2)}},
		{c.Services[0].Ladder[1], bgp.Attributes{MED: new(uint32(10)), Prepend: 3, Communities: com(2, 3)},
			bgp.Attributes{MED: new(uint32(50)), Prepend: 3, Communities: com(1, 2, 3)}},
		{c.Services[0].Ladder[2], bgp.Attributes{MED: new(uint32(20)), Communities: com(2)},
			bgp.Attributes{MED: new(uint32(50)), Prepend: 7, Communities: com(1, 2)}},
		{c.Services[0].Drain, bgp.Attributes{MED: new(uint32(10)), Prepend: 1, Communities: append(com(2), gshut)},
			bgp.Attributes{MED: new(uint32(50)), Prepend: 2, Communities: append(com(1, 2), gshut)}},
	} {
		want.att.LargeCommunities = []bgp.LargeCommunity{{Global: 64500, Local1: 1, Local2: 1}} // the site
		if !want.rung.Attributes.Equal(want.att) {
			t.Errorf("rung %d: got %+v\nwant %+v", i, want.rung.Attributes, want.att)
		}
		if o := want.rung.Neighbors[n4]; o.Withhold || !o.Attributes.Equal(want.n4) {
			t.Errorf("rung %d toward %s: got %+v\nwant %+v", i, n4, o, want.n4)
		}
		if !want.rung.Neighbors[n6].Withhold {
			t.Errorf("rung %d: announced to %s", i, n6)
		}
	}
}

func TestShortIntervalPullsDefaults(t *testing.T) {
	c, err := Load("testdata/check-short-interval.yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	k := c.Services[0].Checks[0]
	if k.Fast != 100*time.Millisecond || k.Timeout != 100*time.Millisecond {
		t.Errorf("%+v", k)
	}
	spec := k.Spec("web", nil)
	if spec.Key == "" || spec.ID != "http" || spec.Service != "web" || spec.Interval != k.Interval || spec.Rise != 2 || spec.Fall != 3 {
		t.Errorf("%+v", spec)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("pop: LON\nlgo: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		bad:                             bad + `:2: lgo: unknown key (did you mean "log"?)`,
		filepath.Join(dir, "none.yaml"): "config: open " + filepath.Join(dir, "none.yaml") + ": no such file or directory",
		"config.go":                     `config.go: format "go": want a name that ends in .yaml, .yml or .toml`,
	} {
		c, err := Load(file, Options{})
		if c != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]size{"64MiB": 64 << 20, "1.5KiB": 1536, "10 MB": 10_000_000, "4096": 4096, "5B": 5} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%q: %d %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "MiB", "-1MiB", "1mib", "1e30TiB", "NaN", "1MiBB"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("%q: %d", s, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.*ml")
	more, _ := filepath.Glob(configs + "*.*ml")
	for _, file := range append(files, more...) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), strings.HasSuffix(file, "toml"), "CATCHMENT_POP=X")
	}
	f.Fuzz(func(t *testing.T, text string, toml bool, env string) {
		format := "yaml"
		if toml {
			format = "toml"
		}
		c, err := Parse(strings.NewReader(text), format, Options{Env: []string{env}})
		if (c == nil) == (err == nil) {
			t.Fatal("neither or both:", c, err)
		}
		if c == nil {
			return
		}
		if d := Diff(c, c); len(d) > 0 {
			t.Fatal("differs from itself:", d)
		}
		for _, s := range c.Services {
			if len(s.Ladder) != s.Rungs || s.DegradedRung >= s.Rungs || s.SharedRung >= s.Rungs || s.LastRung >= s.Rungs {
				t.Fatalf("%+v", s)
			}
			if !reflect.DeepEqual(s.Ladder[0], s.Normal) || len(s.Checks) == 0 && !s.Always {
				t.Fatalf("%+v", s)
			}
		}
	})
}
