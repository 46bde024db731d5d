package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp/rpki"
	"github.com/catchment/catchment/bgp/rpki/rpkitest"
	"github.com/catchment/catchment/policy"
)

// TestRPKI: a cache says that the prefixes are another network's. A slice that
// was not announced before is refused, by name of the ROA; one that is stays.
func TestRPKI(t *testing.T) {
	w := newWorld(t)
	cache := rpkitest.Start(t, w.us4.String()+":0",
		rpki.VRP{Prefix: netip.MustParsePrefix(web4), MaxLength: 24, AS: 64999}, rpki.VRP{Prefix: netip.MustParsePrefix(web6), MaxLength: 48, AS: 64500})
	w.sections["bgp"] += fmt.Sprintf("\n  rpki-servers: [{config: {address: %q, port: %d}}]", w.us4, cache.Port())
	w.configure(w.web())
	p := w.start(nil)
	p.says("bgp: RPKI", "synchronized=true")
	w.up("web")
	w.r6.await(0, "announce "+web6)
	s := w.slice(web4, func(s policy.Reason) bool { return s.Guard == "own-prefix" })
	if !strings.Contains(s.Detail, "RPKI-invalid: its ROA is not for AS 64500: 192.0.2.0/24 AS 64999") {
		t.Errorf("because %v", s)
	}
	if heard := w.r4.heard(); slices.Contains(heard, "announce "+web4) {
		t.Errorf("the router heard %q", heard)
	}
	w.gobgp(0, "global", "rib", "add", web4, "--force", "--why", "the ROA is being mended")
	at := w.r4.await(0, "announce "+web4)
	w.gobgp(0, "global", "rib", "del", web4, "--force") // it is announced now: the RPKI takes nothing away
	w.slice(web4, func(s policy.Reason) bool { return s.Code == policy.Healthy })
	w.mentions("rpki-invalid")
	if lines := w.r4.routes(at); slices.Contains(lines, "withdraw "+web4) {
		t.Errorf("withdrawn: %q", lines)
	}
}

// slice waits for a reason that pleases ok, and returns it.
func (w *world) slice(prefix string, ok func(policy.Reason) bool) policy.Reason {
	w.t.Helper()
	c := w.client()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		e, err := c.Explain(soon(w.t), sliceOf(w.t, prefix))
		if err == nil && ok(e.Slice.Reason) {
			return e.Slice.Reason
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: %v, %v", prefix, e.Slice.Reason, err)
		}
	}
}
