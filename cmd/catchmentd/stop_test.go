package main

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// never is a check that says nothing as long as a test lasts.
const never = `checks: [{name: never, type: exec, command: [sleep, "600"], interval: 1h, timeout: 1h}]`

// TestStop: every way to end a daemon in order has the routers hear the drain,
// then the withdraw, then the Cease.
func TestStop(t *testing.T) {
	for name, stop := range map[string]func(w *world, p *process){
		"TERM": func(_ *world, p *process) { p.signal(syscall.SIGTERM) },
		"INT":  func(_ *world, p *process) { p.signal(syscall.SIGINT) },
		"API": func(w *world, p *process) {
			if _, err := w.client().Stop(soon(w.t), api.Change{Why: "test"}); err != nil {
				w.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.configure(w.web())
			w.up("web")
			p := w.start(nil)
			w.r4.await(0, "announce "+web4)
			w.r6.await(0, "announce "+web6)
			stop(w, p)
			p.ends(0)
			for i, r := range w.routers() {
				r.settle()
				web := []string{web4, web6}[i]
				want := []string{"announce " + web, "announce " + web + " gshut", "withdraw " + web, "notification 6/2", "end"}
				if got := r.routes(0); !slices.Equal(got, want) {
					t.Errorf("router heard %q, want %q", got, want)
				}
			}
			if exists(w.file("api.sock")) || exists(w.file("gobgp.sock")) {
				t.Error("left a socket behind")
			}
			// The next life does not begin where this one was made to end.
			w.configure(w.web(never))
			from := len(w.r4.heard())
			w.start(nil)
			w.r4.await(from, "open", "eor")
			if st, err := w.client().Status(soon(t)); err != nil || st.Services[0].Slices[0].Announced != nil {
				t.Errorf("status %+v, %v", st, err)
			}
		})
	}
}

// TestStopTwice: the second signal ends the drain, which would take 30 s, and
// still withdraws; other signals do not.
func TestStopTwice(t *testing.T) {
	w := newWorld(t)
	w.configure(w.web("drain: {wait: 30s}"))
	w.up("web")
	p := w.start(nil)
	for i, r := range w.routers() {
		r.await(0, "announce "+[]string{web4, web6}[i])
	}
	p.signal(syscall.SIGTERM)
	for i, r := range w.routers() {
		r.await(0, "announce "+[]string{web4, web6}[i]+" gshut")
	}
	p.signal(syscall.SIGHUP)
	p.says("ignored while stopping")
	p.signal(syscall.SIGUSR2)
	p.says("ignored while stopping", "ignored while stopping")
	w.sees(func(st api.Status) bool { return st.Stopping && st.Services[0].Slices[0].Announced != nil })
	p.signal(syscall.SIGTERM)
	p.says("told twice: the drain is cut short")
	p.ends(0)
	for i, r := range w.routers() {
		r.settle()
		web := []string{web4, web6}[i]
		want := []string{"announce " + web, "announce " + web + " gshut", "withdraw " + web, "notification 6/2", "end"}
		if got := r.routes(0); !slices.Equal(got, want) {
			t.Errorf("router heard %q, want %q", got, want)
		}
	}
	drained := w.entries(func(e journal.Entry) bool {
		return e.Kind == journal.Decision && e.Slice == slice4 && *e.After == policy.Stance{} && e.Before.Action == policy.Drain
	})
	if len(drained) > 0 {
		t.Errorf("the drain came to its own end: %+v", drained)
	}
}

// TestRestart: after USR2, and after kill -9, the sessions end without a word
// and the next life announces what was announced although no check has said
// anything yet.
func TestRestart(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"USR2": syscall.SIGUSR2, "KILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.configure(w.web())
			w.up("web")
			p := w.start(nil)
			for i, r := range w.routers() {
				r.await(0, "announce "+[]string{web4, web6}[i])
			}
			w.saved("announce")
			p.signal(signal)
			p.ends(map[string]int{"USR2": 0, "KILL": -1}[name])
			for i, r := range w.routers() {
				r.settle()
				if got, want := r.routes(0), []string{"announce " + []string{web4, web6}[i], "end"}; !slices.Equal(got, want) {
					t.Errorf("router heard %q, want %q", got, want)
				}
			}
			w.configure(w.web(never))
			w.r6.l.Close() // it is back only when all is over between the other and us
			p = w.start(nil)
			w.r4.await(0, "end", "open restarting", "announce "+web4, "eor")
			p.says("sync finished")
			w.r6.listen()
			w.r6.await(0, "end", "open restarting", "announce "+web6, "eor")
			w.sees(func(st api.Status) bool {
				return st.Services[0].Checks[0].Verdict == policy.Unknown && st.Services[0].Slices[0].Announced != nil
			})
			if name == "USR2" && !strings.Contains(p.stderr.String(), "msg=ready") {
				p.says("msg=ready")
			}
		})
	}
}

// saved waits until the state on disk has the word: a kill may come before.
func (w *world) saved(word string) {
	w.t.Helper()
	w.waits("state.json", func(text string) bool { return strings.Contains(text, word) })
}
