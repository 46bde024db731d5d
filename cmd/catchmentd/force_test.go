package main

import (
	"bytes"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/catchment/catchment/bgp/gobgp/cli"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/journal"
)

// gobgp runs a command of gobgp's words and wants that exit status.
func (w *world) gobgp(status int, args ...string) string {
	w.t.Helper()
	var out bytes.Buffer
	if got := cli.Run(soon(w.t), cli.Options{Name: "catchment", Socket: w.file("gobgp.sock"), Out: &out, Err: &out}, args); got != status {
		w.t.Fatalf("%q: exit status %d, want %d\n%s", args, got, status, &out)
	}
	return out.String()
}

// TestForcedRoute: an operator changes a service's route with gobgp's words,
// and the routers hear it; a restart keeps it, and the controller's own
// decision comes back where it ends.
func TestForcedRoute(t *testing.T) {
	w := newWorld(t)
	w.configure(w.web())
	p := w.start(nil) // the service is down
	w.r4.await(0, "eor")
	if out := w.gobgp(1, "global", "rib", "add", web4); !strings.Contains(out, "refused by catchmentd") {
		t.Errorf("without --force: %s", out)
	}
	out := w.gobgp(0, "global", "rib", "add", web4, "community", "65535:0", "--force", "--why", "ticket 4711")
	w.r4.await(0, "announce "+web4+" gshut")
	if !strings.Contains(out, "announced by force: announce, operator: route added by force by ") {
		t.Errorf("add says: %s", out)
	}
	out = w.gobgp(1, "global", "rib", "add", web4, "aspath", "64511", "--force")
	if !strings.Contains(out, "the origin is AS 64500") {
		t.Errorf("another origin: %s", out)
	}
	e, err := w.client().Explain(soon(t), sliceOf(t, web4))
	if err != nil || e.Slice.Reason.Code != policy.Operator || !strings.HasSuffix(e.Slice.Reason.Detail, ": ticket 4711") || e.Slice.Rung != "forced" {
		t.Errorf("explained as %+v, %v", e.Slice, err)
	}

	p.signal(syscall.SIGUSR2)
	p.ends(0)
	from := len(w.r4.settle())
	w.start(nil)
	at := w.r4.await(from, "open restarting", "announce "+web4+" gshut", "eor")
	w.gobgp(0, "global", "rib", "del", web4, "--force")
	at = w.r4.await(at, "withdraw "+web4) // the service is down still
	w.up("web")
	at = w.r4.await(at, "announce "+web4)
	w.r6.await(0, "announce "+web6)
	w.gobgp(0, "global", "rib", "del", "-a", "ipv6", web6, "--force")
	w.r6.await(0, "announce "+web6, "withdraw "+web6)
	if lines := w.r4.routes(at); slices.Contains(lines, "withdraw "+web4) {
		t.Errorf("the other family's route went too: %q", lines)
	}
	w.waits("state.json", func(text string) bool { return strings.Contains(text, `"route":{}`) })
	intents := w.journaled(3, func(e journal.Entry) bool { return e.Kind == journal.Intent })
	texts := make([]string, len(intents))
	for i, e := range intents {
		texts[i] = e.Text
	}
	want := []string{
		"route added (forced, community graceful-shutdown) of " + web4 + " asked for: ticket 4711",
		"route added (forced, community graceful-shutdown) of " + web4 + " released",
		"route deleted (forced) of " + web6 + " asked for",
	}
	if len(texts) < len(want) || !slices.Equal(texts[:len(want)], want) {
		t.Errorf("journal:\n%s", strings.Join(texts, "\n"))
	}
}

func sliceOf(t *testing.T, s string) policy.SliceID {
	t.Helper()
	var id policy.SliceID
	if err := id.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return id
}
