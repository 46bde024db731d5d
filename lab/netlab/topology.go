package netlab

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/catchment/catchment/lab/wire"
)

// Topology is a lab file, checked, with defaults, kinds and groups already
// applied to its nodes.
type Topology struct {
	Name   string
	Prefix string
	Dir    string // of the file: relative binds start here
	Nodes  []NodeSpec
	Links  []LinkSpec
}

// NodeSpec is one node after merging.
type NodeSpec struct {
	Name       string
	Kind       string // linux or bridge
	Image      string
	Binds      []string
	Exec       []string
	Env        map[string]string
	Sysctls    map[string]string
	Entrypoint string
	Cmd        string
}

// LinkSpec is a cable between two endpoints.
type LinkSpec struct {
	A, B Endpoint
	MTU  int         // 0: the kernel's default
	Wire wire.Config // zero: a plain cable
}

// Endpoint is one end of a cable.
type Endpoint struct{ Node, Dev string }

func (e Endpoint) String() string { return e.Node + ":" + e.Dev }

// The shape of the file. Fields named "ignored" exist so that files written
// for containerlab are read.
type (
	file struct {
		Name     string    `yaml:"name"`
		Prefix   *string   `yaml:"prefix"`
		Mgmt     yaml.Node `yaml:"mgmt"`
		Topology topology  `yaml:"topology"`
	}
	topology struct {
		Defaults node            `yaml:"defaults"`
		Kinds    map[string]node `yaml:"kinds"`
		Groups   map[string]node `yaml:"groups"`
		Nodes    map[string]node `yaml:"nodes"`
		Links    []link          `yaml:"links"`
	}
	node struct {
		Kind            string            `yaml:"kind"`
		Group           string            `yaml:"group"`
		Image           string            `yaml:"image"`
		Binds           []string          `yaml:"binds"`
		Exec            []string          `yaml:"exec"`
		Env             map[string]string `yaml:"env"`
		Sysctls         map[string]string `yaml:"sysctls"`
		Entrypoint      string            `yaml:"entrypoint"`
		Cmd             string            `yaml:"cmd"`
		Labels          yaml.Node         `yaml:"labels"`
		Privileged      yaml.Node         `yaml:"privileged"`
		CapAdd          yaml.Node         `yaml:"cap-add"`
		ImagePullPolicy yaml.Node         `yaml:"image-pull-policy"`
		NetworkMode     yaml.Node         `yaml:"network-mode"`
		MgmtIPv4        yaml.Node         `yaml:"mgmt-ipv4"`
		MgmtIPv6        yaml.Node         `yaml:"mgmt-ipv6"`
	}
	link struct {
		Endpoints []string          `yaml:"endpoints"`
		MTU       int               `yaml:"mtu"`
		Vars      map[string]string `yaml:"vars"`
		Labels    yaml.Node         `yaml:"labels"`
	}
)

// Load reads a topology file. vars are the values of ${NAME} in it, before
// those of the environment. An error names the file and the line.
func Load(path string, vars map[string]string) (*Topology, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := parse(raw, vars)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if t.Dir, err = filepath.Abs(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return t, nil
}

func parse(raw []byte, vars map[string]string) (*Topology, error) {
	text, err := expand(string(raw), vars)
	if err != nil {
		return nil, err
	}
	var f file
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		return nil, explain(err)
	}
	t := &Topology{Name: f.Name, Prefix: "clab"}
	if f.Prefix != nil {
		t.Prefix = *f.Prefix
	}
	if !nameOK(f.Name) {
		return nil, fmt.Errorf("name %q: want letters, digits, '-' and '_'", f.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Topology.Nodes)) {
		n, err := f.Topology.merged(name)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", name, err)
		}
		t.Nodes = append(t.Nodes, n)
	}
	for i, l := range f.Topology.Links {
		spec, err := l.spec()
		if err != nil {
			return nil, fmt.Errorf("link %d: %w", i+1, err)
		}
		t.Links = append(t.Links, spec)
	}
	return t, t.check()
}

var nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

func nameOK(s string) bool { return nameRE.MatchString(s) }

var variable = regexp.MustCompile(`\$\{(\w+)(?::[-=]([^}]*))?\}`)

// expand replaces ${NAME} and ${NAME:-default} as containerlab does. A name
// with neither value nor default is an error: an empty address would only
// fail later and less clearly.
func expand(text string, vars map[string]string) (string, error) {
	var missing []error
	out := variable.ReplaceAllStringFunc(text, func(m string) string {
		sub := variable.FindStringSubmatch(m)
		if v, ok := vars[sub[1]]; ok {
			return v
		}
		if v, ok := os.LookupEnv(sub[1]); ok {
			return v
		}
		if !strings.Contains(m, ":") {
			missing = append(missing, fmt.Errorf("variable %s is not set and has no default", sub[1]))
		}
		return sub[2]
	})
	return out, errors.Join(missing...)
}

// merged applies defaults, kind and group to a node, the most particular
// value winning; lists are joined, maps are laid over each other.
func (t *topology) merged(name string) (NodeSpec, error) {
	if !nameOK(name) {
		return NodeSpec{}, errors.New("want letters, digits, '-' and '_' in the name")
	}
	own := t.Nodes[name]
	group, ok := t.Groups[own.Group]
	if own.Group != "" && !ok {
		return NodeSpec{}, fmt.Errorf("group %q is not defined", own.Group)
	}
	kind := first(own.Kind, group.Kind, t.Defaults.Kind)
	if kind != "linux" && kind != "bridge" {
		return NodeSpec{}, fmt.Errorf("kind %q: netlab knows linux and bridge", kind)
	}
	layers := []node{t.Defaults, t.Kinds[kind], group, own}
	n := NodeSpec{Name: name, Kind: kind, Env: map[string]string{}, Sysctls: map[string]string{}}
	for _, l := range layers {
		n.Image = first(l.Image, n.Image)
		n.Entrypoint = first(l.Entrypoint, n.Entrypoint)
		n.Cmd = first(l.Cmd, n.Cmd)
		for _, b := range l.Binds {
			n.Binds = append(n.Binds, strings.ReplaceAll(b, "__clabNodeName__", name))
		}
		for _, e := range l.Exec {
			n.Exec = append(n.Exec, strings.ReplaceAll(e, "__clabNodeName__", name))
		}
		maps.Copy(n.Env, l.Env)
		maps.Copy(n.Sysctls, l.Sysctls)
	}
	return n, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func (l link) spec() (LinkSpec, error) {
	if len(l.Endpoints) != 2 {
		return LinkSpec{}, fmt.Errorf("has %d endpoints, want 2", len(l.Endpoints))
	}
	var ends [2]Endpoint
	for i, e := range l.Endpoints {
		node, dev, ok := strings.Cut(e, ":")
		if !ok || node == "" || dev == "" || len(dev) > 15 {
			return LinkSpec{}, fmt.Errorf("endpoint %q: want node:interface (at most 15 letters)", e)
		}
		ends[i] = Endpoint{node, dev}
	}
	cfg, err := wire.ParseVars(l.Vars)
	if err != nil {
		return LinkSpec{}, fmt.Errorf("%s -- %s: %w", ends[0], ends[1], err)
	}
	return LinkSpec{A: ends[0], B: ends[1], MTU: l.MTU, Wire: cfg}, nil
}

// check finds what is wrong between the parts of a file.
func (t *Topology) check() error {
	if len(t.Nodes) == 0 {
		return errors.New("topology has no nodes")
	}
	known := map[string]bool{}
	for _, n := range t.Nodes {
		known[n.Name] = true
	}
	used := map[Endpoint]bool{}
	for _, l := range t.Links {
		for _, e := range []Endpoint{l.A, l.B} {
			if !known[e.Node] {
				return fmt.Errorf("link %s -- %s: node %s is not defined", l.A, l.B, e.Node)
			}
			if used[e] {
				return fmt.Errorf("link %s -- %s: %s is already used", l.A, l.B, e)
			}
			used[e] = true
		}
	}
	return nil
}

// Node returns the node with that name.
func (t *Topology) Node(name string) (NodeSpec, bool) {
	i := slices.IndexFunc(t.Nodes, func(n NodeSpec) bool { return n.Name == name })
	if i < 0 {
		return NodeSpec{}, false
	}
	return t.Nodes[i], true
}
