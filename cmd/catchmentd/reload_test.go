package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

const refused = "reload refused, nothing has changed"

// TestReloadRefused: a configuration with a mistake in it changes nothing,
// and what is wrong is said in the log, the journal, the metrics and the
// answer; the old one goes on judging.
func TestReloadRefused(t *testing.T) {
	w := newWorld(t)
	w.configure(w.web())
	w.up("web")
	p := w.start(nil)
	for i, r := range w.routers() {
		r.await(0, "announce "+[]string{web4, web6}[i], "eor")
	}
	good := w.sections
	for _, c := range []struct {
		name, says string
		write      func()
	}{
		{"no YAML", "c.yaml: ", func() { w.write("c.yaml", "pop: [") }},
		{"unknown key", `services[0].chekcs: unknown key`, func() { w.configure(w.web("chekcs: []")) }},
		{"no services", "an empty configuration is refused, not obeyed", func() { w.configure() }},
		{"an empty list of services", "an empty configuration is refused, not obeyed", func() { w.configure("  []\n") }},
		{"an empty file", "pop: not set", func() { w.write("c.yaml", "") }},
		{"no checks", "an empty check set never means up", func() { w.configure(w.web("checks: []")) }},
		{"needs a restart", "pop: LON -> PAR: needs a restart", func() {
			w.sections = map[string]string{}
			for k, v := range good {
				w.sections[k] = v
			}
			w.sections["pop"] = "PAR"
			w.configure(w.web())
			w.sections = good
		}},
	} {
		c.write()
		before := p.stderr.String()
		p.signal(syscall.SIGHUP)
		p.says(before, refused, c.says)
		_, err := w.client().Reload(soon(t))
		var e *api.Error
		if !errors.As(err, &e) || !strings.Contains(e.Message, c.says) {
			t.Errorf("%s: reload says %v, want %q", c.name, err, c.says)
		}
		if !strings.Contains(w.scrape(), "catchment_config_last_reload_successful 0") {
			t.Errorf("%s: the metrics do not say it", c.name)
		}
	}
	st, err := w.client().Status(soon(t))
	if err != nil || len(st.Services) != 1 || len(st.Services[0].Checks) != 1 || st.POP != "LON" {
		t.Errorf("status %+v, %v", st, err)
	}
	w.down("web")
	for i, r := range w.routers() {
		web := []string{web4, web6}[i]
		r.await(0, "withdraw "+web)
		if got, want := r.routes(0), []string{"announce " + web, "withdraw " + web}; !slices.Equal(got, want) {
			t.Errorf("router heard %q, want %q", got, want)
		}
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
	if n := len(w.entries(func(e journal.Entry) bool { return strings.HasPrefix(e.Text, "reload refused: ") })); n != 14 {
		t.Errorf("the journal has %d refusals, want two for each of 7", n)
	}
}

// TestReload: a new service is announced when its checks say so; removed ones
// are withdrawn no faster than the blast guard lets them; what stays is not
// touched.
func TestReload(t *testing.T) {
	const interval = time.Second
	w := newWorld(t)
	w.sections["guards"] = "{blast: {slices: 1, share: 0, interval: " + interval.String() + "}}"
	web, one, two := w.web(), w.service("one", "198.51.100.0/24", "2001:db8:101::/48"), w.service("two", "203.0.113.0/24", "2001:db8:102::/48")
	w.configure(web)
	w.up("web")
	w.up("two")
	p := w.start(nil)
	w.r4.await(0, "announce "+web4)
	w.r6.await(0, "announce "+web6)

	w.sections["stop"] = "{deadline: 39s}"
	w.configure(web, one, two)
	p.signal(syscall.SIGHUP)
	p.says("msg=reloaded", "services[one]", "services[two]")
	w.r4.await(0, "announce 203.0.113.0/24")
	w.r6.await(0, "announce 2001:db8:102::/48")
	w.up("one") // which was down until now, and not announced
	for i, r := range w.routers() {
		want := [][]string{
			{"announce " + web4, "announce 203.0.113.0/24", "announce 198.51.100.0/24"},
			{"announce " + web6, "announce 2001:db8:102::/48", "announce 2001:db8:101::/48"},
		}[i]
		r.await(0, want...)
		if got := r.routes(0); !slices.Equal(got, want) {
			t.Errorf("router heard %q, want %q", got, want)
		}
	}

	w.counts(`catchment_check_verdict{check="file",service="one",verdict="up"} 1`, `catchment_service_verdict{service="one",verdict="up"} 1`,
		`catchment_slice_stance{service="one",slice="198.51.100.0/24",stance="announce"} 1`)
	w.configure(web)
	if changes, err := w.client().Reload(soon(t)); err != nil || !slices.ContainsFunc(changes, func(s string) bool { return strings.HasPrefix(s, "services[one]") }) {
		t.Fatalf("reload: %q, %v", changes, err)
	}
	for i, r := range w.routers() {
		gone := [][]string{{"203.0.113.0/24", "198.51.100.0/24"}, {"2001:db8:101::/48", "2001:db8:102::/48"}}[i]
		for _, prefix := range gone {
			r.await(0, "withdraw "+prefix)
		}
		if got := r.routes(0); len(got) != 5 {
			t.Errorf("router heard %q", got)
		}
	}
	for deadline := time.Now().Add(patience); strings.Contains(w.scrape(), `service="one"`); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the metrics of a service that is gone stay")
		}
	}
	p.signal(syscall.SIGTERM)
	p.says("msg=\"stopping: drain, withdraw, close\"", "deadline=39s") // of the reload
	p.ends(0)
	withdrawn := w.entries(func(e journal.Entry) bool {
		return e.Kind == journal.Decision && e.Reason.Code == policy.Removed && e.After.Action == policy.Withdraw && *e.Before != *e.After
	})
	if len(withdrawn) != 4 {
		t.Fatalf("the journal has %d withdraws of what was removed, want 4", len(withdrawn))
	}
	for i := range withdrawn[1:] {
		if gap := withdrawn[i+1].Time.Sub(withdrawn[i].Time); gap < interval {
			t.Errorf("withdraws %d and %d are %v apart, the blast guard allows one in %v", i, i+1, gap, interval)
		}
	}
	guarded := w.entries(func(e journal.Entry) bool { return e.Kind == journal.Decision && e.Reason.Guard == "blast" })
	if len(guarded) == 0 {
		t.Error("the journal does not say that the guard kept anything")
	}
}

// TestReloadGoesBack: a part that cannot take a right configuration over has
// all the others go back to the old one.
func TestReloadGoesBack(t *testing.T) {
	w := newWorld(t)
	web, one := w.web(), w.service("one", "198.51.100.0/24", "2001:db8:101::/48")
	w.configure(web)
	w.up("web")
	w.up("one")
	p := w.start(nil)
	w.r4.await(0, "announce "+web4)
	theirs, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "udp4", ":3784") // BFD's port
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	w.sections["bfd"] = "[{neighbor: " + w.r4.addr.String() + "}]"
	w.configure(w.web(never), one)
	_, err = w.client().Reload(soon(t))
	if err == nil || !strings.Contains(err.Error(), "bfd session "+w.r4.addr.String()) || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("reload: %v", err)
	}
	st, err := w.client().Status(soon(t))
	if err != nil || len(st.Services) != 1 {
		t.Errorf("status: %+v, %v", st, err)
	}
	w.down("web") // the old checks are at work, not those that say nothing
	w.r4.await(0, "withdraw "+web4)
	w.up("web")
	w.r4.await(0, "withdraw "+web4, "announce "+web4)
	theirs.Close()
	w.configure(web, one)
	if _, err := w.client().Reload(soon(t)); err != nil {
		t.Fatal(err)
	}
	w.r4.await(0, "announce 198.51.100.0/24")
	if got, want := w.r4.routes(0), []string{"announce " + web4, "withdraw " + web4, "announce " + web4, "announce 198.51.100.0/24"}; !slices.Equal(got, want) {
		t.Errorf("router heard %q, want %q", got, want)
	}
	p.signal(syscall.SIGUSR2)
	p.ends(0)
}
