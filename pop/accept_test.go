package pop_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// TestDrainAccept: drain.accept says when new connections are refused, and they
// are before a router hears that the route leaves, or after it was withdrawn,
// and taken again before a router hears that it is back.
func TestDrainAccept(t *testing.T) {
	const leaves, on, off = "set [192.0.2.0/24 graceful-shutdown]", "refuse [192.0.2.1]", "refuse []"
	for _, tc := range []struct {
		accept        config.Accept
		listen        string
		drain, gone   string // what is done when the drain begins, and ends
		undrain, back string // undrained in the drain, and after it
	}{
		{config.AcceptAlways, "192.0.2.1:80", leaves, setNone, setWeb, setWeb},
		{"", "192.0.2.1:80", leaves, setNone, setWeb, setWeb},
		{config.AcceptUntilWithdrawn, "192.0.2.1:80", leaves, setNone + "; " + on, setWeb, off + "; " + setWeb},
		{config.AcceptNever, "[::]:80", on + "; " + leaves, setNone, off + "; " + setWeb, off + "; " + setWeb},
		{config.AcceptNever, "192.0.2.2:80", leaves, setNone, setWeb, setWeb},
	} {
		t.Run(string(tc.accept)+" "+tc.listen, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, t.TempDir())
				w.cfg.Services[0].Accept = tc.accept
				w.cfg.Services[0].HoldDown, w.cfg.Services[0].VIPs.Keep = time.Second, true
				w.cfg.Cache.Listen = []netip.AddrPort{netip.MustParseAddrPort(tc.listen)}
				w.start()
				defer w.stop()
				w.verdict(policy.Up)
				w.lines()
				drain := func() {
					t.Helper()
					if _, err := w.c.Intent(t.Context(), policy.Intent{Kind: policy.IntentDrain, Service: "web", By: "eng"}); err != nil {
						t.Fatal(err)
					}
				}
				undrain := func() {
					t.Helper()
					if _, err := w.c.Release(t.Context(), api.Released{Kinds: []policy.IntentKind{policy.IntentDrain}, Service: "web", By: "eng"}); err != nil {
						t.Fatal(err)
					}
				}
				drain()
				w.expect(tc.drain)
				undrain()
				w.expect(tc.undrain)
				drain()
				w.lines()
				w.pass(21 * time.Second)
				w.expect(tc.gone)
				w.refused(strings.Contains(tc.drain+tc.gone, on))
				undrain()
				w.pass(5 * time.Second)
				w.expect(tc.back)
				w.refused(false)
			})
		})
	}
}

// refused checks what status, explanation and journal say.
func (w *world) refused(want bool) {
	w.t.Helper()
	st, err := w.c.Status(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := w.c.Explain(w.t.Context(), web)
	if err != nil {
		w.t.Fatal(err)
	}
	addrs := []string{}
	if want {
		addrs = []string{"192.0.2.1"}
	}
	if got := st.Services[0].Slices[0].Refused; !slices.Equal(got, addrs) || !slices.Equal(e.Slice.Refused, addrs) {
		w.t.Errorf("status %q, explanation %q, want %q", got, e.Slice.Refused, addrs)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last := ""
	for _, x := range w.entries {
		if strings.HasPrefix(x.Text, "new connections to 192.0.2.1 ") {
			last = x.Text
		}
	}
	if want && !strings.HasSuffix(last, "are refused (drain.accept)") || !want && last != "" && !strings.HasSuffix(last, "are taken again") {
		w.t.Errorf("the journal says %q", last)
	}
}
