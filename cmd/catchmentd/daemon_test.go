package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

var slice4 = policy.SliceID(netip.MustParsePrefix(web4))

// TestCommandLine: what is wrong is said by its place, with status 2, before
// anything is made on the disk.
func TestCommandLine(t *testing.T) {
	w := newWorld(t)
	file := w.file("c.yaml")
	for _, c := range []struct {
		name   string
		web    []string // keys of the service
		edit   []string // pairs for a replacer
		args   []string
		status int
		words  []string
	}{
		{"unknown key", nil, []string{"checks:", "chekcs:"}, nil, 2, []string{file + ":", `services[0].chekcs: unknown key (did you mean "checks"?)`}},
		{"unknown key, asked", nil, []string{"checks:", "chekcs:"}, []string{"--check-config"}, 2, []string{`services[0].chekcs: unknown key`}},
		{"wrong value", nil, []string{"interval: 100ms", "interval: often"}, nil, 2, []string{"services[0].checks[0].interval: want a duration", `got "often"`}},
		{"two mistakes", nil, []string{"interval: 100ms", "interval: often", "pop: LON", "pop: L N"}, nil, 2, []string{"services[0].checks[0].interval:", `pop: "L N"`}},
		{"gobgpd's key", nil, []string{"peer-as: 64501", "peer-sa: 64501"}, nil, 2, []string{"bgp.neighbors[0].config.peer-sa"}},
		{"no checks", []string{"checks: []"}, nil, nil, 2, []string{"services[0]: no checks: an empty check set never means up"}},
		{"unknown group", nil, []string{"api: {", `api: {group: no-such-group, `}, []string{"--check-config"}, 2, []string{`api.group: there is no group "no-such-group" on this host`}},
		{"no file", nil, nil, []string{"--config", w.file("none.yaml")}, 2, []string{w.file("none.yaml") + ": no such file or directory"}},
		{"no flag", nil, nil, []string{"--dryrun"}, 2, []string{"flag provided but not defined: -dryrun", "usage: catchmentd"}},
		{"too much", nil, nil, []string{"start"}, 2, []string{`unexpected argument "start"`}},
		{"right, asked", nil, nil, []string{"--check-config"}, 0, []string{"warning: " + file + ": fleet: no peers and no rib"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.configure(w.web(c.web...))
			good, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w.write("c.yaml", strings.NewReplacer(c.edit...).Replace(string(good)))
			p := w.refuses(c.status, c.args, c.words...)
			if out := p.stdout.String(); (c.status == 0) != (out == file+" is right: POP LON, 1 service, 2 slices, 1 check\n") {
				t.Errorf("says %q", out)
			}
		})
	}
	if exists(w.file("state")) || exists(w.file("api.sock")) {
		t.Error("something was made on the disk")
	}
	for _, r := range w.routers() {
		if heard := r.settle(); len(heard) > 0 {
			t.Errorf("a router heard %q", heard)
		}
	}
}

// TestDryRun: a dry run decides and journals, and that is all.
func TestDryRun(t *testing.T) {
	w := newWorld(t)
	vip := fmt.Sprintf("192.0.2.%d", w.n)
	w.configure(w.web("vips: {addresses: [" + vip + "]}"))
	w.up("web")
	p := w.start(nil, "--dry-run")
	for _, r := range w.routers() {
		r.await(0, "open", "eor")
	}
	p.says("msg=decision slice="+web4, "stance=announce")
	w.sees(func(st api.Status) bool {
		s := st.Services[0].Slices[0]
		return st.DryRun && s.Stance.Action == policy.Announce && s.Announced == nil
	})
	if there(t, vip) {
		t.Error("the service address is on a device")
	}
	p.signal(syscall.SIGTERM)
	p.ends(0)
	for _, r := range w.routers() {
		if got, want := r.settle(), []string{"accept", "open", "eor", "notification 6/3", "end"}; !slices.Equal(got, want) {
			t.Errorf("router heard %q, want %q", got, want)
		}
	}
	decided := w.entries(func(e journal.Entry) bool { return e.Kind == journal.Decision && e.After.Action == policy.Announce })
	if len(decided) != 2 {
		t.Errorf("journal: %+v", decided)
	}
	if exists(w.file("state/state.json")) {
		t.Error("left a state that a real start would begin with")
	}
}

func there(t *testing.T, vip string) bool {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	list, err := netlink.AddrList(lo, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(a netlink.Addr) bool { return a.IP.String() == vip })
}

// TestListenersTaken: where somebody else has what the daemon must listen on,
// it says so and ends before anybody has heard of it, and takes nothing away.
func TestListenersTaken(t *testing.T) {
	for _, c := range []struct {
		name, network string
		addr          func(w *world) string
		words         string
	}{
		{"API socket", "unix", func(w *world) string { return w.file("api.sock") }, "control API: control socket: another daemon answers on "},
		{"GoBGP socket", "unix", func(w *world) string { return w.file("gobgp.sock") }, "bgp: GoBGP API: "},
		{"GoBGP port", "tcp", func(w *world) string { return w.us4.String() + ":50051" }, "bgp: GoBGP API: listen tcp "},
		{"metrics", "tcp", (*world).metrics, "metrics: listen tcp "},
		{"BGP port", "tcp", func(w *world) string { return w.us4.String() + ":179" }, "bgp: listen: "},
		{"fleet port", "tcp", func(w *world) string { return w.us4.String() + ":9799" }, "fleet exchange: listen: listen tcp "},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			vip := fmt.Sprintf("192.0.2.%d", w.n)
			w.sections["api"] = fmt.Sprintf(`{socket: %s, gobgp-socket: %s, gobgp-listen: "%s:50051"}`, w.file("api.sock"), w.file("gobgp.sock"), w.us4)
			w.sections["fleet"] = fmt.Sprintf(`{listen: "%s:9799", secret-file: %s}`, w.us4, w.file("secret"))
			w.write("secret", strings.Repeat("0123456789abcdef", 4))
			w.configure(w.web("vips: {addresses: ["+vip+"]}", "always: true", "checks: []"))
			addr := c.addr(w)
			l, err := net.Listen(c.network, addr)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			before, _ := os.Lstat(addr)
			w.refuses(1, nil, "catchmentd: "+c.words, addr)
			after, _ := os.Lstat(addr)
			if c.network == "unix" && !os.SameFile(before, after) || !answers(c.network, addr) {
				t.Error("the socket that was there was taken away")
			}
			for network, own := range map[string]string{"api.sock": w.file("api.sock"), "gobgp.sock": w.file("gobgp.sock")} {
				if own != addr && exists(own) {
					t.Errorf("left its %s behind", network)
				}
			}
			for _, r := range w.routers() {
				if heard := r.settle(); len(heard) > 0 {
					t.Errorf("a router heard %q", heard)
				}
			}
			if there(t, vip) {
				t.Error("the service address is on a device")
			}
		})
	}
}

// TestSecondDaemon: another daemon on the same state is refused, whatever
// else it listens on, and the first is none the worse.
func TestSecondDaemon(t *testing.T) {
	w := newWorld(t)
	w.configure(w.web())
	w.up("web")
	p := w.start(nil)
	w.r4.await(0, "announce "+web4)
	w.refuses(1, nil, "catchmentd: state-dir: ", w.file("state"), "in use by another process")
	first := w.sections
	w.sections = map[string]string{}
	for k, v := range first {
		w.sections[k] = v
	}
	w.sections["api"] = fmt.Sprintf("{socket: %s, gobgp-socket: %s}", w.file("a2.sock"), w.file("g2.sock"))
	w.sections["metrics"] = `{listen: ""}`
	w.configure(w.web())
	w.refuses(1, []string{"--dry-run"}, "catchmentd: state-dir: ", "in use by another process")
	if st, err := w.client().Status(soon(t)); err != nil || st.Services[0].Slices[0].Announced == nil {
		t.Errorf("the first: %+v, %v", st, err)
	}
	w.sections = first
	w.configure(w.web())
	p.signal(syscall.SIGTERM)
	p.ends(0)
	if got := w.r4.settle(); count(got, "accept") != 1 {
		t.Errorf("router heard %q", got)
	}
	// The lock goes with the process, however it ends.
	p = w.start(nil)
	w.r4.await(0, "end", "open", "announce "+web4)
	p.signal(syscall.SIGKILL)
	p.ends(-1)
	w.start(nil).says("msg=ready")
}

// TestGroup: the control socket belongs to the group that may use it.
func TestGroup(t *testing.T) {
	w := newWorld(t)
	gid := 4242
	w.write("probe", "")
	if err := os.Lchown(w.file("probe"), -1, gid); err != nil { // in a user namespace there are no others
		gid = os.Getgid()
	}
	w.sections["api"] = fmt.Sprintf(`{socket: %s, gobgp-socket: %s, group: "%d"}`, w.file("api.sock"), w.file("gobgp.sock"), gid)
	w.configure(w.web())
	w.start(nil).says("msg=ready")
	info, err := os.Stat(w.file("api.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); int(st.Gid) != gid || info.Mode().Perm() != 0o660 {
		t.Errorf("group %d, mode %v; want %d, 0660", st.Gid, info.Mode().Perm(), gid)
	}
}
