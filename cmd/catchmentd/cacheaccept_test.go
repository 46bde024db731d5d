package main

import (
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// TestCacheRefuses: drain.accept reaches the cache server, which says so, and by
// a reload too; the check on this host, and so the verdict, stays as it is, and
// the way back is free.
func TestCacheRefuses(t *testing.T) {
	c := newCached(t, "")
	accept := func(word string) string { return c.cacheWeb("drain: {wait: 60s, accept: " + word + "}") }
	c.configure(accept("never"))
	d := c.start(nil)
	d.says("msg=ready")
	at := c.r4.await(0, "announce "+web4)
	client := c.client()
	if _, err := client.Drain(soon(t), api.Change{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	vip := c.vip.Addr().String()
	refuses := func(want ...string) {
		t.Helper()
		c.eventually("who is refused", func() bool {
			st, err := client.CacheStatus(soon(t))
			return err == nil && slices.Equal(st.Refused, want) && strings.Contains(st.Detail, "are refused") == (len(want) > 0)
		})
	}
	refuses(vip)
	if resp, _ := c.ask("www.example.com", "/.well-known/catchment/health"); resp.StatusCode != http.StatusOK {
		t.Errorf("the check on this host gets %s", resp.Status)
	}
	for _, word := range []string{"always", "never"} {
		c.configure(accept(word))
		if changes, err := client.Reload(soon(t)); err != nil || !strings.Contains(strings.Join(changes, "\n"), "services[web].drain.accept") {
			t.Fatalf("%q, %v", changes, err)
		}
		refuses(map[string][]string{"never": {vip}}[word]...)
	}
	c.journaled(1, func(e journal.Entry) bool { return e.Text == "new connections to "+vip+" are taken again" })
	if st, err := client.Status(soon(t)); err != nil || st.Services[0].Health.Verdict != policy.Up || !slices.Equal(st.Services[0].Slices[0].Refused, []string{vip}) {
		t.Errorf("%+v, %v", st.Services, err)
	}
	if _, err := client.Undrain(soon(t), api.Change{Service: "web"}); err != nil {
		t.Fatal(err)
	}
	c.r4.await(at, "announce "+web4)
	refuses()
	d.signal(syscall.SIGTERM)
	d.ends(0)
}
