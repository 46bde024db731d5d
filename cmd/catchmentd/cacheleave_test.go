package main

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

func slicesOf(list ...string) (out []policy.SliceID) {
	for _, s := range list {
		out = append(out, policy.SliceID(netip.MustParsePrefix(s)))
	}
	return out
}

func addrsOf(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// TestLeaving: an address is left when the longest slice that brings clients to
// it is drained or gone, and only if the cache server has it.
func TestLeaving(t *testing.T) {
	service := func(name string, ps []policy.SliceID, vips ...string) config.Service {
		return config.Service{Service: policy.Service{ID: policy.ServiceID(name), Slices: ps}, VIPs: config.VIPs{Addresses: addrsOf(vips...)}}
	}
	cfg := &config.Config{
		Cache: config.Cache{Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.129:80"), netip.MustParseAddrPort("[::]:80")}},
		Services: []config.Service{
			service("web", slicesOf("192.0.2.0/24", "192.0.2.128/25", "2001:db8:100::/48"), "192.0.2.1", "192.0.2.129", "2001:db8:100::1"),
			service("dns", slicesOf("198.51.100.0/24"), "198.51.100.1"),
		},
	}
	all := map[string]policy.Action{"192.0.2.0/24": policy.Announce, "192.0.2.128/25": policy.Announce, "2001:db8:100::/48": policy.Announce, "198.51.100.0/24": policy.Announce}
	status := func(set map[string]policy.Action) (out []api.SliceStatus) {
		for p, a := range all {
			if b, ok := set[p]; ok {
				a = b
			}
			out = append(out, api.SliceStatus{Slice: policy.SliceID(netip.MustParsePrefix(p)), Stance: policy.Stance{Action: a}})
		}
		return out
	}
	for name, tc := range map[string]struct {
		set  map[string]policy.Action
		want []string
	}{
		"none":        {nil, nil},
		"drained":     {map[string]policy.Action{"192.0.2.0/24": policy.Drain}, []string{"192.0.2.1"}},
		"the longest": {map[string]policy.Action{"192.0.2.128/25": policy.Withdraw, "2001:db8:100::/48": policy.Drain}, []string{"192.0.2.129", "2001:db8:100::1"}},
		"by [::]":     {map[string]policy.Action{"198.51.100.0/24": policy.Drain}, []string{"198.51.100.1"}},
	} {
		if got := leaving(cfg, status(tc.set)); !slices.Equal(got, addrsOf(tc.want...)) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	cfg.Cache.Listen = cfg.Cache.Listen[:1]
	if got := leaving(cfg, status(map[string]policy.Action{"198.51.100.0/24": policy.Drain, "192.0.2.0/24": policy.Drain})); !slices.Equal(got, addrsOf("192.0.2.1")) {
		t.Errorf("an address that it does not serve: %v", got)
	}
	if got := leaving(cfg, nil); got != nil {
		t.Errorf("nothing is decided: %v", got)
	}
}
