package netlab

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseMergesLayers(t *testing.T) {
	const text = `
name: x
mgmt: {network: ignored}
topology:
  defaults: {kind: linux, exec: [a], env: {A: d, B: d}, image: base, sysctls: {net.ipv4.ip_forward: 1}}
  kinds: {linux: {exec: [b], env: {B: k, C: k}}}
  groups: {g: {exec: [c], env: {C: g, D: g}, image: "${IMAGE:-of-group}", cap-add: [NET_ADMIN]}}
  nodes:
    n: {group: g, exec: [d __clabNodeName__], env: {D: n, E: 5}, privileged: false, entrypoint: "sleep ${TIME}"}
    m: {binds: ["/etc:/x/__clabNodeName__:ro"]}
  links:
    - {endpoints: ["n:eth1", "m:eth1"], mtu: 9000, vars: {delay: 20ms}}
`
	topo, err := parse([]byte(text), map[string]string{"TIME": "7"})
	if err != nil {
		t.Fatal(err)
	}
	n, _ := topo.Node("n")
	if want := []string{"a", "b", "c", "d n"}; !slices.Equal(n.Exec, want) {
		t.Errorf("exec %q, want %q", n.Exec, want)
	}
	if want := map[string]string{"A": "d", "B": "k", "C": "g", "D": "n", "E": "5"}; !maps.Equal(n.Env, want) {
		t.Errorf("env %v, want %v", n.Env, want)
	}
	if n.Image != "of-group" || n.Entrypoint != "sleep 7" || n.Sysctls["net.ipv4.ip_forward"] != "1" {
		t.Errorf("node %+v", n)
	}
	m, _ := topo.Node("m")
	if m.Image != "base" || m.Binds[0] != "/etc:/x/m:ro" {
		t.Errorf("node %+v", m)
	}
	l := topo.Links[0]
	if l.A.String() != "n:eth1" || l.MTU != 9000 || l.Wire.Delay != 20*time.Millisecond || topo.Prefix != "clab" {
		t.Errorf("link %+v, prefix %q", l, topo.Prefix)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"unknown key of a node": {"name: x\ntopology:\n  nodes:\n    a:\n      kind: linux\n      imgae: y\n",
			`line 6: unknown key "imgae" (nearest known: "image")`},
		"unknown key of a link": {"name: x\ntopology:\n  nodes: {a: {kind: linux}}\n  links:\n    - {endpoint: []}\n",
			`line 5: unknown key "endpoint" (nearest known: "endpoints")`},
		"unknown key at the top": {"nmae: x\n", `line 1: unknown key "nmae" (nearest known: "name")`},
		"kind":                   {"name: x\ntopology: {nodes: {a: {kind: ceos}}}", `node a: kind "ceos": netlab knows linux and bridge`},
		"group":                  {"name: x\ntopology: {nodes: {a: {kind: linux, group: g}}}", `node a: group "g" is not defined`},
		"name":                   {"name: a/b\ntopology: {nodes: {a: {kind: linux}}}", `name "a/b": want letters`},
		"no nodes":               {"name: x\n", "topology has no nodes"},
		"variable":               {"name: ${UNSET_NAME_OF_LAB}\n", "variable UNSET_NAME_OF_LAB is not set and has no default"},
		"unknown node of a link": {"name: x\ntopology: {nodes: {a: {kind: linux}}, links: [{endpoints: ['a:e', 'b:e']}]}",
			"link a:e -- b:e: node b is not defined"},
		"interface used twice": {"name: x\ntopology: {nodes: {a: {kind: linux}}, links: [{endpoints: ['a:e', 'a:e']}]}",
			"link a:e -- a:e: a:e is already used"},
		"endpoints":     {"name: x\ntopology: {nodes: {a: {kind: linux}}, links: [{endpoints: ['a:e']}]}", "link 1: has 1 endpoints, want 2"},
		"endpoint":      {"name: x\ntopology: {nodes: {a: {kind: linux}}, links: [{endpoints: ['a', 'a:f']}]}", `link 1: endpoint "a": want node:interface`},
		"wire of links": {"name: x\ntopology: {nodes: {a: {kind: linux}}, links: [{endpoints: ['a:e', 'a:f'], vars: {dealy: 1}}]}", "vars dealy"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse([]byte(tc.text), nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestReadImage(t *testing.T) {
	dir := t.TempDir()
	bin := t.TempDir()
	write := func(p, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "r", "Dockerfile"), `# comment
FROM debian:bookworm-slim
RUN apt-get update \
 && true
ENV A=1 B="2"
COPY --chmod=755 one two /usr/local/bin/
COPY conf /etc/x.conf
ENTRYPOINT ["one", "-x"]
CMD two "and" three
`)
	write(filepath.Join(dir, "r", "one"), "")
	write(filepath.Join(dir, "r", "conf"), "")
	write(filepath.Join(bin, "two"), "")
	img, err := readImage(dir, "catchment/r:lab", bin)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(img.entrypoint, []string{"one", "-x"}) || !slices.Equal(img.cmd, []string{"/bin/sh", "-c", `two "and" three`}) {
		t.Errorf("entrypoint %q, cmd %q", img.entrypoint, img.cmd)
	}
	if img.env["A"] != "1" || img.env["B"] != "2" {
		t.Errorf("env %v", img.env)
	}
	want := []bind{
		{Host: filepath.Join(dir, "r/one"), Node: "/usr/local/bin/one", Copy: true},
		{Host: filepath.Join(bin, "two"), Node: "/usr/local/bin/two", Copy: true},
		{Host: filepath.Join(dir, "r/conf"), Node: "/etc/x.conf", Copy: true},
	}
	if !slices.Equal(img.files, want) {
		t.Errorf("files %+v", img.files)
	}
	write(filepath.Join(dir, "bad", "Dockerfile"), "FROM x\nARG y\n")
	if _, err := readImage(dir, "bad", bin); err == nil || !strings.Contains(err.Error(), "instruction 2: ARG is not known") {
		t.Errorf("bad image: %v", err)
	}
}

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		`a  b`:             {"a", "b"},
		`a 'b c' "d \" e"`: {"a", "b c", `d " e`},
		`a\ b '' c`:        {"a b", "", "c"},
		`'a\b'`:            {`a\b`},
	} {
		if got, err := Words(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
	for _, line := range []string{`"a`, `a'`, `a\`} {
		if got, err := Words(line); err == nil {
			t.Errorf("%s: %q without an error", line, got)
		}
	}
}
