package config

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
)

const configs = "../../configs/"

func loaded(t *testing.T, file string) *Config {
	t.Helper()
	c, err := Load(configs+file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("%s: %q", file, c.Warnings)
	}
	return c
}

func TestYAMLAndTOMLAreEqual(t *testing.T) {
	y, m := loaded(t, "minimal.yaml"), loaded(t, "catchment.toml")
	if !reflect.DeepEqual(y, m) {
		t.Errorf("yaml %+v\ntoml %+v", y, m)
	}
	if d := Diff(y, m); len(d) > 0 {
		t.Error(d)
	}
}

// TestReferenceNamesEveryKey: a key that is not in the reference does not
// exist for the user.
func TestReferenceNamesEveryKey(t *testing.T) {
	loaded(t, "reference.yaml")
	text, err := os.ReadFile(configs + "reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]bool{}
	index := regexp.MustCompile(`\[\d+\]`)
	for path := range lines(text) {
		written[index.ReplaceAllString(path, "[]")] = true
	}
	// A rung and drain take every attribute; the reference shows them once.
	// So do the lists of POPs of a destination.
	elsewhere := regexp.MustCompile(`^services\[\]\.(ladder\[\]|drain)\.(med|local-pref|prepend|communities|large-communities|next-hop|neighbors.*)$` +
		`|^dns\.steer\.(destinations\[\]\.(pops|cheap)|asked\.(failover|cheap))\[\]\.(weight|tier)$`)
	for _, path := range known(reflect.TypeFor[rawConfig](), "") {
		if !written[path] && !elsewhere.MatchString(path) {
			t.Errorf("%s is not in reference.yaml", path)
		}
	}
}

func known(t reflect.Type, path string) (out []string) {
	eachKey(t, func(key string, kt reflect.Type) {
		q := join(path, key)
		out = append(out, q)
		if kt.Kind() == reflect.Slice {
			kt, q = kt.Elem(), q+"[]"
		}
		if !isLeaf(kt) {
			out = append(out, known(kt, q)...)
		}
	})
	return out
}

// TestReferenceTellsTheDefaults compares the "default:" comments with the table.
func TestReferenceTellsTheDefaults(t *testing.T) {
	text, err := os.ReadFile(configs + "reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	at := map[int]string{}
	for path, line := range lines(text) {
		if len(path) > len(at[line]) && !strings.HasSuffix(path, "]") {
			at[line] = regexp.MustCompile(`\[\d+\]`).ReplaceAllString(path, "[]")
		}
	}
	told := map[string]string{}
	comment := regexp.MustCompile(`# default: ([^;]*)`)
	for i, line := range strings.Split(string(text), "\n") {
		if m := comment.FindStringSubmatch(line); m != nil {
			told[at[i+1]] = strings.TrimSpace(m[1])
		}
	}
	for key, v := range defaults {
		if want := fmt.Sprint(v); told[key] != want {
			t.Errorf("%s: the reference says %q, the table %q", key, told[key], want)
		}
	}
	for key := range told {
		if _, ok := defaults[key]; !ok {
			t.Errorf("%s: the reference tells a default that is not in the table", key)
		}
	}
}

// TestDefaultsAreKeys: a default of a key that does not exist would be noise.
func TestDefaultsAreKeys(t *testing.T) {
	keys := known(reflect.TypeFor[rawConfig](), "")
	for _, key := range slices.Sorted(maps.Keys(defaults)) {
		if !slices.Contains(keys, key) {
			t.Errorf("%s is no key", key)
		}
	}
}

func TestMinimalTyped(t *testing.T) {
	c := loaded(t, "minimal.yaml")
	s := c.Services[0]
	site := bgp.LargeCommunity{Global: 64500, Local1: 1, Local2: 1}
	want := policy.Service{
		ID: "web", Slices: []policy.SliceID{
			policy.SliceID(netip.MustParsePrefix("192.0.2.0/24")), policy.SliceID(netip.MustParsePrefix("2001:db8:100::/48")),
		},
		Rungs: 2, DegradedRung: 1, SharedRung: 1, LastRung: 1, HoldDown: 10 * time.Second, Dwell: 30 * time.Second,
		Damping:        policy.Damping{Penalty: 1000, Suppress: 3000, Reuse: 750, HalfLife: 15 * time.Minute, Max: time.Hour},
		WithdrawOnDown: true, MinPOPs: 1, DrainWait: 30 * time.Second,
	}
	if !reflect.DeepEqual(s.Service, want) {
		t.Errorf("got %+v\nwant %+v", s.Service, want)
	}
	rung := func(name string, prepend int, c ...bgp.Community) Rung {
		return Rung{Name: name, Attributes: bgp.Attributes{Prepend: prepend, Communities: c, LargeCommunities: []bgp.LargeCommunity{site}}}
	}
	for _, r := range []struct{ got, want Rung }{
		{s.Normal, rung("normal", 0)}, {s.Ladder[0], rung("normal", 0)}, {s.Ladder[1], rung("backup", 3)},
		{s.Drain, rung("drain", 0, bgp.GracefulShutdown)},
	} {
		if !reflect.DeepEqual(r.got, r.want) {
			t.Errorf("got %+v\nwant %+v", r.got, r.want)
		}
	}
	if c.Journal != (Journal{64 << 20, 8}) || c.Stop.Deadline != time.Minute || c.API.Socket != "/run/catchment/catchment.sock" {
		t.Errorf("%+v", c)
	}
	if as := c.BGP["global"].(map[string]any)["config"].(map[string]any)["as"]; as != int64(64500) {
		t.Errorf("as is %T %v", as, as)
	}
}
