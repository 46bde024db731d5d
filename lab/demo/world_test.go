package demo

import (
	"io/fs"
	"net/netip"
	"path"
	"strings"
	"testing"

	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/pop/config"
)

// Every configuration of the world is valid, without a warning, and says what
// the story relies on.
func TestConfigs(t *testing.T) {
	list, err := fs.Glob(files, "world/*.yaml")
	if err != nil || len(list) != len(daemons) {
		t.Fatalf("%d files for %d daemons, %v", len(list), len(daemons), err)
	}
	for _, file := range list {
		f, err := files.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Parse(f, "yaml", config.Options{BGP: neighbors})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if len(cfg.Warnings) > 0 {
			t.Errorf("%s: %v", file, cfg.Warnings)
		}
		if name := strings.TrimSuffix(path.Base(file), ".yaml"); !strings.EqualFold(name, string(cfg.POP)) {
			t.Errorf("%s is %s", file, cfg.POP)
		}
		if router := strings.HasPrefix(path.Base(file), "t"); router == (len(cfg.Fleet.Peers) > 0) {
			t.Errorf("%s: %d peers", file, len(cfg.Fleet.Peers))
		} else if !router {
			isPOP(t, file, cfg)
		}
	}
}

func isPOP(t *testing.T, file string, cfg *config.Config) {
	t.Helper()
	svc := cfg.Services[0]
	if svc.HoldDown != holdDown || svc.ID != serviceName {
		t.Errorf("%s: service %s with hold-down %v, the story has %v", file, svc.ID, svc.HoldDown, holdDown)
	}
	for i, f := range families {
		if svc.Slices[i].Prefix() != f.prefix || svc.VIPs.Addresses[i] != f.vip.Addr() {
			t.Errorf("%s: %v with %v, the story has %v with %v", file, svc.Slices[i], svc.VIPs.Addresses[i], f.prefix, f.vip)
		}
	}
}

func neighbors(section map[string]any) ([]netip.Addr, error) {
	c, err := gobgp.ParseConfig(section)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, n := range c.Neighbors() {
		out = append(out, n.Address)
	}
	return out, nil
}
