package config

import (
	"strings"
	"testing"
)

// TestReloadOfBGP: what the speaker does not take over while it runs is
// refused by its key; what it takes over passes.
func TestReloadOfBGP(t *testing.T) {
	with := func(keys ...string) *Config {
		text := "\nbgp:\n"
		for _, k := range keys {
			text += "  " + k + "\n"
		}
		c, err := read(t, replace("\nbgp:\n", text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const (
		group   = `peer-groups: [{config: {peer-group-name: edge, peer-as: 64501}}]`
		changed = `peer-groups: [{config: {peer-group-name: edge, peer-as: 64502}}]`
		dynamic = `dynamic-neighbors: [{config: {prefix: 10.1.0.0/16, peer-group: edge}}]`
		restart = "; the reload is refused, nothing changed"
	)
	for _, c := range []struct {
		name     string
		old, new []string
		want     []string
	}{
		{"nothing", []string{group, dynamic}, []string{group, dynamic}, nil},
		{"a group", nil, []string{group}, nil},
		{"a group of configured neighbors", []string{group}, []string{changed}, nil},
		{"a policy", nil, []string{`policy-definitions: [{name: x}]`}, nil},
		{"a group of dynamic neighbors", []string{group, dynamic}, []string{changed, dynamic}, []string{
			"bgp.peer-groups[edge].config.peer-as: 64501 -> 64502: needs a restart (dynamic neighbors are connected by it)"}},
		{"dynamic neighbors", []string{group}, []string{group, dynamic}, []string{
			"bgp.dynamic-neighbors[10.1.0.0/16].config.peer-group: edge (was not set): needs a restart (who came by them is connected)",
			"bgp.dynamic-neighbors[10.1.0.0/16].config.prefix: 10.1.0.0/16 (was not set): needs a restart (who came by them is connected)"}},
		{"no dynamic neighbors", []string{group, dynamic}, []string{group}, []string{
			"bgp.dynamic-neighbors[10.1.0.0/16].config.peer-group: edge -> not set: needs a restart (who came by them is connected)",
			"bgp.dynamic-neighbors[10.1.0.0/16].config.prefix: 10.1.0.0/16 -> not set: needs a restart (who came by them is connected)"}},
		{"RPKI", nil, []string{`rpki-servers: [{config: {address: 10.9.0.1}}]`}, []string{
			"bgp.rpki-servers[0].config.address: 10.9.0.1 (was not set): needs a restart (they are connected)"}},
		{"BMP", nil, []string{`bmp-servers: [{config: {address: 10.9.0.1}}]`}, []string{
			"bgp.bmp-servers[0].config.address: 10.9.0.1 (was not set): needs a restart (they are connected)"}},
		{"MRT", nil, []string{`mrt-dump: [{config: {file-name: /tmp/x}}]`}, []string{
			"bgp.mrt-dump[0].config.file-name: /tmp/x (was not set): needs a restart (the files are open)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := CheckReload(with(c.old...), with(c.new...)); err != nil {
				got = err.Error()
			}
			if want := strings.Join(c.want, restart+"\n"); got != want && got != want+restart {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestReloadOfJumps: jumps can be switched off, and on again, service by service;
// the rest of the section stays as it is.
func TestReloadOfJumps(t *testing.T) {
	with := func(jump string) *Config {
		c, err := read(t, replace("pop: LON", `pop: LON
resync: {listen: "10.0.0.1:9792", tls: {certificate: /c.pem, key: /k.pem, ca: /ca.pem}, jump: {`+jump+"}}"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct{ old, new, want string }{
		{"services: [web]", "services: []", ""},
		{"services: [web]", "", ""},
		{`services: ["*"]`, "services: [web]", ""},
		{"services: []", "services: [web]", ""},
		{"services: [web]", "services: [web], stated: 1MB", "resync.jump.stated: "},
	} {
		err := CheckReload(with(c.old), with(c.new))
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q to %q: %v, want %q", c.old, c.new, err, c.want)
		}
	}
}
