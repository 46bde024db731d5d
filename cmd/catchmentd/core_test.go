package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core/host"
	"github.com/catchment/catchment/pop/journal"
)

// node is one of several on a world's host.
type node struct {
	w    *world
	name string
	p    *process
	c    *api.Client
}

// addr is the daemon's own loopback address with a port.
func (w *world) addr(i, port int) string { return fmt.Sprintf("127.0.%d.%d:%d", w.n, 10+i, port) }

// node writes the configuration of a POP with a core (empty: the section is
// not there) and starts it.
func (w *world) node(name, core string, more ...string) *node {
	w.t.Helper()
	d := &node{w: w, name: name, c: api.NewClient(w.file(name + ".sock"))}
	d.configure(core, more...)
	w.t.Cleanup(d.c.Close)
	d.start()
	return d
}

func (d *node) configure(core string, more ...string) {
	if core != "" {
		core = "core: " + core
	}
	d.w.write(d.name+".yaml", fmt.Sprintf("pop: %s\nstate-dir: %s\napi: {socket: %s, gobgp-socket: \"\"}\nmetrics: {listen: \"\"}\nweb: {listen: \"\"}\n%s\n%s",
		d.name, d.w.file(d.name), d.w.file(d.name+".sock"), core, strings.Join(more, "\n")))
}

func (d *node) start() { d.p = d.w.start(nil, "--config", d.w.file(d.name+".yaml")) }

func (d *node) kill() {
	d.p.signal(syscall.SIGKILL)
	<-d.p.done
}

// plain is a whole configuration beside core, without neighbors.
func (w *world) plain(i int) string {
	return fmt.Sprintf(`bgp: {global: {config: {as: 64500, router-id: 10.0.0.%d, local-address-list: ["127.0.%d.%d"]}}}
services: [{name: web, prefixes: [%s], always: true}]`, i, w.n, 10+i, web4)
}

// until waits for what ok says of an answer.
func until[T any](t *testing.T, what string, ask func() (T, error), ok func(T) bool) T {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		v, err := ask()
		if err == nil && ok(v) {
			return v
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v, %v", what, v, err)
		}
	}
}

func (d *node) core(what string, ok func(api.CoreStatus) bool) api.CoreStatus {
	d.w.t.Helper()
	return until(d.w.t, d.name+": "+what, func() (api.CoreStatus, error) { return d.c.Core(soon(d.w.t)) }, ok)
}

// do makes a change of the core, again while there is no leader for it.
func (d *node) do(verb string, c api.CoreChange) api.CoreResult {
	d.w.t.Helper()
	c.Why = "test"
	return until(d.w.t, d.name+": "+verb+" "+c.Name, func() (api.CoreResult, error) {
		return d.c.CoreChange(soon(d.w.t), verb, c)
	}, func(api.CoreResult) bool { return true })
}

func voters(n int) func(api.CoreStatus) bool {
	return func(s api.CoreStatus) bool {
		all := 0
		for _, m := range s.Members {
			if m.Name != "" && !m.Learner {
				all++
			}
		}
		return s.Reachable && all == n && s.Leader != ""
	}
}

// led asks until the core has a leader: on a busy machine it may lose its own.
func led[T any](t *testing.T, ask func() (T, error)) (v T, err error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var e *api.Error
		if v, err = ask(); !errors.As(err, &e) || e.Code != api.Unavailable || time.Now().After(deadline) {
			return v, err
		}
	}
}

// answered reports whether another POP's answer is what is wanted; on a busy
// machine it may come later than it is waited for.
func answered(r api.Result, want string) bool {
	return want != "" && (r.Text == want || strings.Contains(r.Text, "has not answered yet"))
}

// TestCoreOfAFleet: a POP with a core of its own begins to listen, with what it
// knows; members and a follower join by tokens, the follower gets
// its configuration from the core and what is asked of it elsewhere; a dead
// leader delays that, and with all members dead announcing goes on, over a
// restart too.
func TestCoreOfAFleet(t *testing.T) {
	w := newWorld(t)
	member := func(i int, more string) string {
		return fmt.Sprintf(`{mode: embedded, rtt: 100ms, listen: "%s", clients: {listen: "%s"}, %s}`, w.addr(i, 9795), w.addr(i, 9794), more)
	}
	lon := w.node("LON", "", w.plain(1))
	lon.core("alone", voters(1))
	lon.do("put", api.CoreChange{Name: "fleet", Text: "stop: {deadline: 41s}"})
	lon.kill()
	lon.configure(member(1, fmt.Sprintf(`joins: {listen: "%s"}`, w.addr(1, 9793))), w.plain(1))
	lon.start()
	lon.core("listens", func(s api.CoreStatus) bool { return voters(1)(s) && !s.Alone && s.Members[0].Address != "" })
	members := []*node{lon}
	for i, name := range []string{"FRA", "NYC"} {
		i += 2
		w.write(name+".token", lon.do("token", api.CoreChange{Name: name, Address: w.addr(i, 9795)}).Token)
		d := w.node(name, member(i, "token-file: "+w.file(name+".token")), w.plain(i))
		d.core("a member", voters(i))
		members = append(members, d)
	}
	if o, err := led(t, func() (api.CoreObject, error) { return members[2].c.CoreShow(soon(t), api.CoreQuery{Key: "fleet"}) }); err != nil || o.Text != "stop: {deadline: 41s}" {
		t.Errorf("what LON knew alone, at %s: %+v, %v", members[2].name, o, err)
	}

	// The configuration is there before the POP.
	lon.do("put", api.CoreChange{Name: "fleet", Text: "stop: {deadline: 40s}\nservices:\n" + w.web()})
	lon.do("put", api.CoreChange{Name: "pop/PAR", Text: "bgp: " + w.sections["bgp"]})
	if _, err := led(t, func() (api.CoreResult, error) {
		return lon.c.CoreChange(soon(t), "put", api.CoreChange{Name: "fleet", Text: "lgo: {}", Why: "x"})
	}); err == nil || !strings.Contains(err.Error(), "PAR") || !strings.Contains(err.Error(), "lgo: unknown key") {
		t.Errorf("a wrong configuration: %v", err)
	}
	w.write("PAR.token", lon.do("token", api.CoreChange{Name: "PAR"}).Token)
	w.up("web")
	par := w.node("PAR", "{mode: follow, config: true, token-file: "+w.file("PAR.token")+"}")
	w.r4.await(0, "announce "+web4)
	w.r6.await(0, "announce "+web6)

	// Asked at one POP, done at another, by whom and why.
	in := api.Change{POP: "PAR", Service: "web", Why: "new disks"}
	if r, err := led(t, func() (api.Result, error) { return lon.c.Drain(soon(t), in) }); err != nil || !answered(r, "PAR: drain of web is in force") {
		t.Errorf("drain elsewhere: %+v, %v", r, err)
	}
	w.r4.await(0, "announce "+web4, "withdraw "+web4)
	if r, err := led(t, func() (api.Result, error) { return members[1].c.Undrain(soon(t), in) }); err != nil || !answered(r, "PAR: 1 released") {
		t.Errorf("undrain elsewhere: %+v, %v", r, err)
	}
	w.r4.await(0, "announce "+web4, "withdraw "+web4, "announce "+web4)
	var gone *api.Error
	nowhere := api.Change{POP: "PAR", Service: "nope", Why: "x"}
	r, err := led(t, func() (api.Result, error) { return lon.c.Drain(soon(t), nowhere) })
	if late := err == nil && strings.Contains(r.Text, "has not answered yet"); !late && (!errors.As(err, &gone) || gone.Code != api.NotFound) {
		t.Errorf("drain of what is not there: %+v, %v", r, err)
	}
	if _, err := led(t, func() (api.Result, error) { return lon.c.Drain(soon(t), api.Change{POP: "LYS", Why: "x"}) }); !errors.As(err, &gone) || gone.Code != api.NotFound {
		t.Errorf("drain of a POP that is not there: %v", err)
	}

	// The leader dies: a change passes all the same.
	leader := slices.IndexFunc(members, func(d *node) bool { return d.name == lon.core("a leader", voters(3)).Leader })
	members[leader].kill()
	alive := members[(leader+1)%3]
	n := alive.do("put", api.CoreChange{Name: "fleet", Text: "stop: {deadline: 39s}\nservices:\n" + w.web()}).Number
	par.p.says("stop.deadline: 40s -> 39s")
	cfg := until(t, "PAR reports", func() (api.CoreConfig, error) { return alive.c.CoreConfig(soon(t)) }, func(c api.CoreConfig) bool {
		return len(c.POPs) == 1 && c.POPs[0].Number == n
	})
	if cfg.POPs[0].POP != "PAR" || cfg.POPs[0].Refused != "" || !strings.HasSuffix(cfg.Who, " at "+alive.name) || cfg.Why != "test" {
		t.Errorf("%+v", cfg)
	}

	// What a running daemon cannot take over waits for a restart, and is said.
	n = alive.do("put", api.CoreChange{Name: "fleet/log", Text: "log: {format: json}"}).Number
	waits := par.core("a configuration waits", func(s api.CoreStatus) bool { return s.Config != nil && s.Config.Newest == n })
	if c := waits.Config; !c.Restart || c.Number != n-1 || !strings.Contains(c.Refused, "log.format: text -> json: needs a restart") {
		t.Errorf("%+v", c)
	}

	// All members die: announcing goes on, and a restart begins with what waits.
	for _, d := range members {
		if d != members[leader] {
			d.kill()
		}
	}
	par.core("unreachable", func(s api.CoreStatus) bool { return !s.Reachable })
	heard, from := w.r4.routes(0), len(w.r4.heard())
	par.p.signal(syscall.SIGUSR2)
	par.p.ends(0)
	par.start()
	par.p.says(`"msg":"ready"`)
	w.r4.await(from, "announce "+web4)
	w.down("web") // and it judges
	w.r4.await(from, "announce "+web4, "withdraw "+web4)
	if want := []string{"announce " + web4, "announce " + web4 + " gshut", "withdraw " + web4, "announce " + web4}; !slices.Equal(heard, want) {
		t.Errorf("router heard %q, want %q", heard, want)
	}

	// They come back, and nothing is lost.
	for _, d := range members {
		d.start()
	}
	for _, d := range append(members, par) {
		d.core("all are back", voters(3))
	}
	if c := par.core("in force", func(s api.CoreStatus) bool { return s.Config.Number == n }).Config; c.Refused != "" || c.Restart {
		t.Errorf("%+v", c)
	}
	if r := lon.do("revoke", api.CoreChange{Name: "PAR"}); !strings.HasPrefix(r.Text, "revoked: 1 of PAR") {
		t.Errorf("revoke: %+v", r)
	}
	until(t, "NYC knows that PAR's is revoked", func() (bool, error) { return revokedAt(w.file("NYC"), w.file("PAR")) }, func(yes bool) bool { return yes })
	drains := journalOf(t, w.file("PAR"), func(e journal.Entry) bool { return e.Kind == journal.Intent && e.Service == "web" })
	if len(drains) < 2 || !strings.HasSuffix(drains[0].By, " at LON") || !strings.Contains(drains[0].Text, "new disks") || !strings.HasSuffix(drains[len(drains)-1].By, " at FRA") {
		t.Errorf("journal: %+v", drains)
	}
}

// revokedAt reports whether the list of one POP has the certificate of another.
func revokedAt(at, of string) (bool, error) {
	der, err := os.ReadFile(filepath.Join(at, "core/identity/revoked.crl"))
	if err != nil {
		return false, err
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(filepath.Join(of, "core/identity/certificate.pem"))
	if err != nil {
		return false, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return false, errors.New("no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return err == nil && slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool {
		return e.SerialNumber.Cmp(cert.SerialNumber) == 0
	}), err
}

func journalOf(t *testing.T, state string, ok func(journal.Entry) bool) []journal.Entry {
	t.Helper()
	entries, err := journal.ReadDir(filepath.Join(state, "journal"), journal.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(entries, func(e journal.Entry) bool { return !ok(e) })
}

// TestCoreRestore: a backup taken while the core serves brings back what was
// in it, history included, and the daemon needs no more than a restart.
func TestCoreRestore(t *testing.T) {
	w := newWorld(t)
	d := w.node("LON", "{mode: embedded}", w.plain(1))
	for _, text := range []string{"log: {level: info}", "log: {level: warn}"} {
		d.do("put", api.CoreChange{Name: "fleet", Text: text})
	}
	var backup bytes.Buffer
	if err := d.c.CoreBackup(soon(t), &backup); err != nil {
		t.Fatal(err)
	}
	d.do("put", api.CoreChange{Name: "fleet", Text: "log: {level: debug}"})
	d.kill()
	file := w.file("core.db")
	w.write("core.db", backup.String())
	cfg, err := config.Load(w.file("LON.yaml"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	if err := host.RestoreHere(cfg.Core, file, nil, quiet); err == nil || !strings.Contains(err.Error(), "move it away first") {
		t.Errorf("restored over what is there: %v", err)
	}
	if err := os.Rename(filepath.Join(cfg.Core.Dir, "etcd"), w.file("old")); err != nil {
		t.Fatal(err)
	}
	if err := host.RestoreHere(cfg.Core, file, nil, quiet); err != nil {
		t.Fatal(err)
	}
	d.start()
	list := until(t, "history", func() ([]api.CoreObject, error) {
		return d.c.CoreHistory(soon(t), api.CoreQuery{Key: "config/fleet"})
	}, func(l []api.CoreObject) bool { return len(l) > 0 })
	if len(list) != 2 || list[0].Version != 2 || list[0].Why != "test" {
		t.Errorf("history: %+v", list)
	}
	if r := d.do("rollback", api.CoreChange{Name: "fleet", Version: 1}); r.Number != 3 {
		t.Errorf("rollback: %+v", r)
	}
	o, err := d.c.CoreShow(soon(t), api.CoreQuery{Key: "fleet"})
	if err != nil || o.Text != "log: {level: info}" || o.Revision < 100_000_000 {
		t.Errorf("%+v, %v", o, err)
	}
}

// TestBrokenCore: a core that cannot run takes nothing off the air, and the
// status says what is wrong with it; with mode none there is none.
func TestBrokenCore(t *testing.T) {
	w := newWorld(t)
	w.sections["guards"] = "{isolated: 1s, drains: {pops: 1}}"
	w.write("core", "not a directory")
	if err := errors.Join(os.Mkdir(w.file("state"), 0o750), os.Rename(w.file("core"), w.file("state/core"))); err != nil {
		t.Fatal(err)
	}
	w.configure(w.web())
	w.up("web")
	p := w.start(nil)
	w.r4.await(0, "announce "+web4)
	st := until(t, "alarm", func() (api.Status, error) { return w.client().Status(soon(t)) }, func(st api.Status) bool {
		return slices.ContainsFunc(st.Alarms, func(a api.Alarm) bool { return a.Name == "core" })
	})
	if st.Core == nil || st.Core.Reachable || !strings.Contains(st.Core.Trouble, w.file("state/core")) {
		t.Errorf("%+v", st.Core)
	}
	if _, err := w.client().CoreConfig(soon(t)); err == nil || !strings.Contains(err.Error(), "unavailable") {
		t.Errorf("config of a broken core: %v", err)
	}
	w.counts(`catchment_core_reachable 0`, `catchment_alarm{alarm="core"} 1`)
	until(t, "guards", func() (api.Status, error) { return w.client().Status(soon(t)) }, func(st api.Status) bool {
		return !slices.ContainsFunc(st.Alarms, func(a api.Alarm) bool { return a.Name == "core-lost" })
	})
	if r, err := w.client().Drain(soon(t), api.Change{Service: "web", Why: "x"}); err != nil { // it waits for no turn
		t.Errorf("drain: %+v, %v", r, err)
	}
	w.r4.await(0, "withdraw "+web4)
	if r, err := w.client().Undrain(soon(t), api.Change{Service: "web", Why: "x"}); err != nil {
		t.Errorf("undrain: %+v, %v", r, err)
	}
	w.r4.await(0, "withdraw "+web4, "announce "+web4)
	w.down("web")
	w.r4.await(0, "withdraw "+web4, "announce "+web4, "withdraw "+web4)
	p.signal(syscall.SIGTERM)
	p.ends(0)

	w.sections["core"] = "{mode: none}"
	w.configure(w.web())
	p = w.start(nil)
	p.says("msg=ready")
	var none *api.Error
	if _, err := w.client().Core(soon(t)); !errors.As(err, &none) || none.Code != api.NotFound {
		t.Errorf("without a core: %v", err)
	}
	if st, err := w.client().Status(soon(t)); err != nil || st.Core != nil {
		t.Errorf("without a core: %+v, %v", st.Core, err)
	}
	if strings.Contains(w.scrape(), "catchment_core_") {
		t.Error("metrics of a core that is not there")
	}
}
