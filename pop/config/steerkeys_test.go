package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// wrongAt reads a text of which lines end in "# key: what is said of it", parses
// it, and wants just these problems, each by line and key.
func wrongAt(t *testing.T, name, text string) {
	t.Helper()
	var want []string
	for i, l := range strings.Split(text, "\n") {
		if _, said, ok := strings.Cut(l, "# "); ok {
			want = append(want, fmt.Sprintf("line %d: %s", i+1, said))
		}
	}
	_, err := Parse(strings.NewReader(text), "yaml", Options{})
	if err == nil {
		t.Errorf("%s: taken", name)
		return
	}
	got := messages(err)
	for _, w := range want {
		if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
			t.Errorf("%s: not said: %s\n%s", name, w, strings.Join(got, "\n"))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d problems, want %d:\n%s", name, len(got), len(want), strings.Join(got, "\n"))
	}
}

// TestCostErrors: each is named by its key and line, all of them at once.
func TestCostErrors(t *testing.T) {
	for name, section := range map[string]string{
		"no prices": "cost: # cost.pops: not set\n  currency: EUR\n",
		"section": `cost:
  slot: 1500ms # cost.slot: 1.5s: want whole seconds
  month-day: 31 # cost.month-day: 31: want the day
  keep: 0 # cost.keep: 0
  ceiling:
    stalls: -1 # cost.ceiling.stalls: -1: want zero or more
    least: 0 # cost.ceiling.least: 0
    window: 1s # cost.ceiling.window: 1s: want at least a slot
  pops: [{pop: LON, per-gb: 1}]
`,
		"POPs": `cost:
  pops:
    - {pop: LON, per-gb: 1}
    - {pop: LON, per-gb: 1} # cost.pops[1].pop: LON is in the list already
    - {pop: "a b", per-gb: 1} # cost.pops[2].pop: "a b"
    - {pop: FRA} # cost.pops[3]: no price
    - {pop: NYC, per-gb: 1, links: [{link: a, per-gb: 1}]} # cost.pops[4]: a price and links
`,
		"prices": `cost:
  pops:
    - {pop: AMS, per-gb: -1} # cost.pops[0].per-gb: -1: want zero or more
    - {pop: FRA, per-mbps: 1, percentile: 20} # cost.pops[1].percentile: 20: want 50 to 100
    - {pop: NYC, per-gb: 1, percentile: 95} # cost.pops[2].percentile: 95: want 50 to 100, with per-mbps
    - {pop: PAR, per-gb: 1, commit: 100} # cost.pops[3].commit: has no meaning without per-mbps
    - {pop: WAW, per-gb: 1, direction: up} # cost.pops[4].direction: "up"
    - {pop: LON, per-gb: cheap} # cost.pops[5].per-gb: want a number
`,
		"links": `cost:
  pops:
    - pop: FRA
      links:
        - {link: a, per-gb: 1}
        - {link: a, per-gb: 1} # cost.pops[0].links[1].link: a is in the list already
        - {per-gb: 1} # cost.pops[0].links[2].link: not set
        - {link: b} # cost.pops[0].links[3]: no price
    - pop: LON
      links:
        - {link: eth9, per-gb: 1} # cost.pops[1].links[0].link: eth9 is not measured
`,
		"distances": `cost:
  pops:
    - pop: LON
      per-gb: 1
      distance:
        - {pop: LON, latency: 1ms} # cost.pops[0].distance[0].pop: "LON": want another POP
        - {pop: XXX, latency: 1ms} # cost.pops[0].distance[1].pop: "XXX": want another POP
        - {pop: FRA, latency: 1m} # cost.pops[0].distance[2].latency: 1m0s: want 0 to 10s
        - {pop: FRA, latency: 1ms} # cost.pops[0].distance[3].pop: FRA is in the list already
    - {pop: FRA, per-gb: 1}
`,
	} {
		wrongAt(t, name, slowText+section)
	}
}

// TestSteerErrors: those of the section steer of a cache site.
func TestSteerErrors(t *testing.T) {
	const site = `
cache:
  listen: ["127.0.0.1:8080"]
  sites:
    - name: video
      hosts: [video.example.com, "*.pop.example.com", "at.example.com:8443"]
      upstream: {origins: [{url: "http://203.0.113.10:8080"}]}
`
	const key = "      key: {host: video.example.com}\n"
	for name, text := range map[string]string{
		"no pace":    key + "      steer:\n        redirect: true # cache.sites[0].steer.redirect: without steer.pace\n        targets: [{pop: WAW, host: waw.pop.example.com}]\n",
		"no targets": key + "      steer: # cache.sites[0].steer.targets: not set: to which POPs?\n        move-slow: true\n",
		"no key": `      steer:
        pace: true
        targets: [{pop: WAW, host: waw.pop.example.com}]
`,
		"values": key + `      steer:
        pace: true
        above: 1 # cache.sites[0].steer.above: 1: want a share
        reattach: -1s # cache.sites[0].steer.reattach: a duration cannot be negative
        buffer: -1s # cache.sites[0].steer.buffer: a duration cannot be negative
        paced-for: -1s # cache.sites[0].steer.paced-for: a duration cannot be negative
        leastt: 1MiB # cache.sites[0].steer.leastt: unknown key
`,
		"targets": key + `      steer:
        pace: true
        redirect: true
        targets:
          - {pop: WAW, host: waw.pop.example.com}
          - {pop: WAW, host: w2.pop.example.com} # cache.sites[0].steer.targets[1].pop: "WAW" is there twice
          - {pop: "", host: fra.pop.example.com} # cache.sites[0].steer.targets[2].pop: "": want the name of a POP
          - {pop: FRA, host: fra.example.org} # cache.sites[0].steer.targets[3].host: "fra.example.org" is none of this site's hosts
          - {pop: AMS, host: "at.example.com:8080"} # cache.sites[0].steer.targets[4].host: "at.example.com:8080" is none of this site's hosts
          - {pop: NYC, host: "a b"} # cache.sites[0].steer.targets[5].host: "a b": want the host
          - {pop: PAR, host: p.pop.example.com} # cache.sites[0].steer.targets[6].host: "p.pop.example.com" is the host of two POPs
          - {pop: LON, host: P.pop.example.com} # cache.sites[0].steer.targets[7].host: "P.pop.example.com" is the host of two POPs
`,
	} {
		at := site
		if name == "no key" {
			at = strings.Replace(site, "- name: video", "- name: video # cache.sites[0].key.host: not set: with steer.targets", 1)
		}
		wrongAt(t, name, slowText+at+text)
	}
}

// TestMoveSlowWithoutSlowness: a key that would do nothing is told of.
func TestMoveSlowWithoutSlowness(t *testing.T) {
	const text = slowText + `
cache:
  listen: ["127.0.0.1:8080"]
  sites:
    - name: video
      hosts: [video.example.com, waw.example.com]
      key: {host: video.example.com}
      upstream: {origins: [{url: "http://203.0.113.10:8080"}]}
      steer: {move-slow: true, targets: [{pop: WAW, host: waw.example.com}]}
`
	for more, want := range map[string]bool{"": true, "slowness: {rate: 5Mbit}\n": false, "slowness: {operator: [/o]}\n": false} {
		got, err := Parse(strings.NewReader(text+more), "yaml", Options{})
		if err != nil {
			t.Fatal(err)
		}
		if said := strings.Contains(strings.Join(got.Warnings, "\n"), "video: steer.move-slow has no meaning without slowness"); said != want {
			t.Errorf("%q: %q", more, got.Warnings)
		}
	}
}
