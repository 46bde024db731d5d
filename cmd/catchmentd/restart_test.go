package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/catchment/catchment/pop/api"
)

// TestRestartDamaged: the state is damaged, and routers hold our routes. No
// session comes up before the checks have spoken: an End-of-RIB without the
// routes would drop them.
func TestRestartDamaged(t *testing.T) {
	w := newWorld(t)
	w.configure(w.web())
	w.up("web")
	p := w.start(nil)
	prefixes := []string{web4, web6}
	for i, r := range w.routers() {
		r.await(0, "announce "+prefixes[i])
	}
	w.saved("announce")
	p.signal(syscall.SIGKILL)
	p.ends(-1)
	state := w.file("state/state.json")
	whole, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	w.write("state/state.json", string(whole[:len(whole)/2]))
	from := []int{len(w.r4.settle()), len(w.r6.settle())}

	w.configure(w.web(fmt.Sprintf(`checks: [{name: slow, type: exec, command: [sh, -c, "until [ -e %s ]; do sleep 0.1; done"], interval: 1h, timeout: 1h, rise: 1}]`, w.file("spoken"))))
	p = w.start(nil)
	p.says("the state of the life before is damaged", "msg=ready")
	w.mentions("state-lost")
	w.write("spoken", "")
	for i, r := range w.routers() {
		r.await(from[i], "open restarting", "announce "+prefixes[i], "eor")
		lines := r.heard()[from[i]:]
		if slices.Index(lines, "eor") < slices.Index(lines, "announce "+prefixes[i]) {
			t.Errorf("the End-of-RIB came before the route: %q", lines)
		}
	}
	if !exists(state + ".bad") {
		t.Error("the damaged state was not kept")
	}
}

// mentions waits for the alarm.
func (w *world) mentions(alarm string) {
	w.t.Helper()
	w.sees(func(st api.Status) bool {
		return slices.ContainsFunc(st.Alarms, func(a api.Alarm) bool { return a.Name == alarm })
	})
}

// TestRestartWithoutAService: what the configuration has lost while the daemon
// was away goes as the guards allow: of two slices one at once, and the other,
// announced as it was, when the interval is over.
func TestRestartWithoutAService(t *testing.T) {
	const old4, old6 = "198.51.100.0/24", "2001:db8:200::/48"
	w := newWorld(t)
	w.sections["guards"] = "{blast: {slices: 1, interval: 1h}}"
	w.configure(w.web(), w.service("old", old4, old6, "attributes: {communities: [graceful-shutdown]}"))
	w.up("web")
	w.up("old")
	p := w.start(nil)
	w.r4.await(0, "announce "+old4+" gshut")
	w.r6.await(0, "announce "+old6+" gshut")
	w.r4.await(0, "announce "+web4)
	w.waits("state.json", func(text string) bool { return strings.Count(text, `"action":"announce"`) == 4 })
	p.signal(syscall.SIGKILL)
	p.ends(-1)
	from := []int{len(w.r4.settle()), len(w.r6.settle())}

	w.configure(w.web())
	w.start(nil)
	w.r4.await(from[0], "open restarting", "announce "+web4, "eor")
	w.r6.await(from[1], "open restarting", "announce "+old6+" gshut", "eor")
	if lines := w.r4.heard()[from[0]:]; slices.Contains(lines, "announce "+old4+" gshut") {
		t.Errorf("one slice was to go: %q", lines)
	}
}
