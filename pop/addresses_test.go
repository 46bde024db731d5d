package pop_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/config"
)

// A reload that changes an address and nothing that is announced.
func TestReloadMovesAddresses(t *testing.T) {
	next := netip.MustParseAddr("192.0.2.2")
	for name, c := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"address added": {func(cfg *config.Config) {
			cfg.Services[0].VIPs.Addresses = append(slices.Clone(cfg.Services[0].VIPs.Addresses), next)
		}, "addresses [192.0.2.1 on lo 192.0.2.2 on lo]"},
		"address taken out": {func(cfg *config.Config) { cfg.Services[0].VIPs.Addresses = nil }, vipOff},
		"service added whose address is kept, as its own check needs it": {func(cfg *config.Config) {
			dns := cfg.Services[0]
			dns.ID, dns.Slices = "dns", []policy.SliceID{policy.SliceID(netip.MustParsePrefix("198.51.100.0/24"))}
			dns.VIPs = config.VIPs{Addresses: []netip.Addr{next}, Device: "lo", Keep: true}
			cfg.Services = append(cfg.Services, dns)
		}, "addresses [192.0.2.1 on lo 192.0.2.2 on lo]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			w.start()
			defer w.stop()
			w.verdict(policy.Up)
			w.lines()
			w.reload = func(old *config.Config) (*config.Config, []string, error) {
				cfg := *old
				cfg.Services = slices.Clone(old.Services)
				c.change(&cfg)
				return &cfg, nil, nil
			}
			if _, err := w.c.Reload(t.Context(), "eng"); err != nil {
				t.Fatal(err)
			}
			if got := w.lines(); got != c.want {
				t.Errorf("%s: happened %q, want %q", name, got, c.want)
			}
		})
	}
}

// An address that a reload adds and that cannot be had is tried again.
func TestReloadedAddressIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		more := netip.MustParseAddr("192.0.2.2")
		w.reload = func(old *config.Config) (*config.Config, []string, error) {
			cfg := *old
			cfg.Services = slices.Clone(old.Services)
			cfg.Services[0].VIPs.Addresses = append(slices.Clone(cfg.Services[0].VIPs.Addresses), more)
			return &cfg, nil, nil
		}
		w.missing = []pop.VIP{{Address: more, Device: "lo"}}
		if _, err := w.c.Reload(t.Context(), "eng"); err != nil {
			t.Fatal(err)
		}
		w.lines()
		w.mu.Lock()
		w.missing = nil
		w.mu.Unlock()
		w.pass(2 * time.Second)
		if got := w.lines(); !strings.Contains(got, "192.0.2.2") {
			t.Errorf("happened: %q", got)
		}
		w.pass(time.Minute)
		w.expect("")
	})
}

// Addresses that are in place and could not be written down hold nothing up.
func TestAddressesThatAreNotNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.unnoted = errors.New("no space left on device")
		w.start()
		defer w.stop()
		w.lines()
		w.verdict(policy.Up)
		if got := w.lines(); !strings.Contains(got, setWeb) {
			t.Errorf("happened: %q", got)
		}
		st, err := w.c.Status(t.Context())
		if err != nil || len(st.Alarms) != 1 || st.Alarms[0].Name != "address" || !strings.Contains(st.Alarms[0].Detail, "no space left") {
			t.Errorf("alarms %v, %v", st.Alarms, err)
		}
		w.mu.Lock()
		w.unnoted = nil
		w.mu.Unlock()
		w.pass(2 * time.Second)
		if st, err := w.c.Status(t.Context()); err != nil || len(st.Alarms) != 0 {
			t.Errorf("noted now, alarms %v, %v", st.Alarms, err)
		}
	})
}
