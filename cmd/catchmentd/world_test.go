package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/catchment/catchment/lab/sandbox"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

func TestMain(m *testing.M) {
	if !raced { // the race detector keeps the CPUs busy by itself
		if err := flag.Set("test.parallel", atOnce); err != nil {
			panic(err)
		}
	}
	sandbox.Main(cleaned{m})
}

// atOnce is how many tests run at a time, unless -parallel says otherwise: each
// has a world of its own and waits most of the time.
const atOnce = "5"

// cleaned removes the built program after the tests.
type cleaned struct{ m *testing.M }

func (c cleaned) Run() int {
	defer func() {
		if builtIn != "" {
			os.RemoveAll(builtIn)
		}
	}()
	return c.m.Run()
}

// raced: the tests run under the race detector, and so does the daemon.
var raced bool

var builtIn string

// program builds catchmentd, once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "catchmentd")
	if err != nil {
		return "", err
	}
	builtIn = dir
	args := []string{"build", "-o", filepath.Join(dir, "catchmentd")}
	if raced {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build catchmentd: %w\n%s", err, out)
	}
	return filepath.Join(dir, "catchmentd"), nil
})

var worlds atomic.Int32

// world is one host with a daemon and two routers, one a family.
type world struct {
	t        *testing.T
	n        int
	dir      string
	us4, us6 netip.Addr
	r4, r6   *router
	sections map[string]string // of the configuration, but services
}

const (
	web4 = "192.0.2.0/24"
	web6 = "2001:db8:100::/48"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	if _, err := program(); err != nil {
		t.Fatal(err)
	}
	n := int(worlds.Add(1))
	dir, err := os.MkdirTemp("", "c") // short: the kernel takes 107 bytes for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &world{
		t: t, n: n, dir: dir,
		us4: netip.AddrFrom4([4]byte{127, 0, byte(n), 1}),
		us6: netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::1", n)),
	}
	next6 := w.us6.Next()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []netip.Addr{w.us6, next6} {
		if err := netlink.AddrAdd(lo, &netlink.Addr{IPNet: netlink.NewIPNet(a.AsSlice()), Flags: 0x02 /* IFA_F_NODAD */}); err != nil {
			t.Fatalf("address %s: %v", a, err)
		}
	}
	w.r4, w.r6 = startRouter(t, w.us4.Next()), startRouter(t, next6)
	w.sections = map[string]string{
		"pop":       "LON",
		"state-dir": w.file("state"),
		"api":       fmt.Sprintf("{socket: %s, gobgp-socket: %s}", w.file("api.sock"), w.file("gobgp.sock")),
		"metrics":   fmt.Sprintf(`{listen: "%s"}`, w.metrics()),
		"stop":      "{deadline: 40s}",
		"bgp": fmt.Sprintf(`
  global: {config: {as: 64500, router-id: 10.0.0.1, local-address-list: ["%s", "%s"]}}
  neighbors: [%s, %s]`, w.us4, w.us6, neighbor(w.us4, w.r4.addr), neighbor(w.us6, w.r6.addr)),
	}
	return w
}

func neighbor(us, them netip.Addr) string {
	family := "ipv4-unicast"
	if us.Is6() {
		family = "ipv6-unicast"
	}
	return fmt.Sprintf(`{config: {neighbor-address: "%s", peer-as: 64501}, transport: {config: {local-address: "%s"}},
    graceful-restart: {config: {enabled: true, restart-time: 60}},
    afi-safis: [{config: {afi-safi-name: %s}, mp-graceful-restart: {config: {enabled: true}}}]}`, them, us, family)
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }
func (w *world) metrics() string         { return netip.AddrPortFrom(w.us4, 9798).String() }
func (w *world) routers() []*router      { return []*router{w.r4, w.r6} }

// service is a service whose checks see a file: it is up while the file is
// there. keys go into it as they are.
func (w *world) service(name, p4, p6 string, keys ...string) string {
	keys = append([]string{
		"name: " + name, fmt.Sprintf(`prefixes: [%s, "%s"]`, p4, p6), "hold-down: 50ms", "dwell: 50ms", "damping: {penalty: 0}",
		"drain: {wait: 200ms}",
		fmt.Sprintf("checks: [{name: file, type: file, path: %s, invert: true, interval: 100ms, fast: 50ms, timeout: 10s, rise: 1, fall: 1}]", w.file(name+".up")),
	}, keys...)
	have := map[string]string{} // the last of a key counts
	for _, k := range keys {
		key, _, _ := strings.Cut(k, ":")
		have[key] = k
	}
	return "  - {" + strings.Join(slices.Sorted(maps.Values(have)), ",\n     ") + "}\n"
}

func (w *world) web(keys ...string) string { return w.service("web", web4, web6, keys...) }

// configure writes the configuration.
func (w *world) configure(services ...string) {
	w.t.Helper()
	w.configureAs("c.yaml", services...)
}

func (w *world) configureAs(file string, services ...string) {
	w.t.Helper()
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(w.sections)) {
		fmt.Fprintf(&b, "%s: %s\n", k, w.sections[k])
	}
	b.WriteString("services:\n" + strings.Join(services, ""))
	w.write(file, b.String())
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.file(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) up(service string) { w.write(service+".up", "") }
func (w *world) down(service string) {
	w.t.Helper()
	if err := os.Remove(w.file(service + ".up")); err != nil {
		w.t.Fatal(err)
	}
}

// process is a catchmentd.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr watched
	done           chan struct{}
}

// watched is output that can be waited for.
type watched struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed != nil {
		close(w.changed)
	}
	w.changed = make(chan struct{})
	return w.buf.Write(b)
}

func (w *watched) look() (string, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.buf.String(), w.changed
}

func (w *watched) String() string {
	s, _ := w.look()
	return s
}

// start runs catchmentd with the world's configuration and more arguments;
// env are variables for it.
func (w *world) start(env []string, args ...string) *process {
	w.t.Helper()
	path, err := program()
	if err != nil {
		w.t.Fatal(err)
	}
	p := &process{t: w.t, done: make(chan struct{}), cmd: exec.Command(path, append([]string{"--config", w.file("c.yaml")}, args...)...)}
	env = append(env, "GORACE=exitcode=0") // the end of the test judges
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "CATCHMENT_") }), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { defer close(p.done); p.cmd.Wait() }()
	w.t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		if w.t.Failed() {
			w.t.Logf("catchmentd said:\n%s%s", &p.stdout, &p.stderr)
		}
		for _, race := range races(p.stderr.String()) {
			w.t.Errorf("race of the daemon:\n%s", race)
		}
	})
	return p
}

// races returns the data races in which either access is in code of ours. v3
// of GoBGP has some of its own, on the lengths of messages and on paths.
func races(output string) (ours []string) {
	first := regexp.MustCompile(`(?m)^(?:Previous )?(?:[Rr]ead|[Ww]rite|atomic \w+) at .*\n((?:  .*\n)*)`)
	frame := regexp.MustCompile(`(?m)^  ([a-z0-9.-]+\.[a-z]+/\S+)`)
	for _, block := range strings.Split(output, "==================\n") {
		if !strings.HasPrefix(strings.TrimSpace(block), "WARNING: DATA RACE") {
			continue
		}
		for _, access := range first.FindAllStringSubmatch(block, -1) {
			if f := frame.FindStringSubmatch(access[1]); f == nil || !strings.HasPrefix(f[1], "github.com/osrg/gobgp/") {
				ours = append(ours, block)
				break
			}
		}
	}
	return ours
}

func TestRaces(t *testing.T) {
	gobgp := "WARNING: DATA RACE\nRead at 0x00c0002c2a98 by goroutine 115:\n  runtime.mapaccess()\n      /go/map.go:1 +0x1\n" +
		"  github.com/osrg/gobgp/v3/pkg/server.(*x).loop()\n      /gobgp/fsm.go:1678 +0x5ba\n\n" +
		"Previous write at 0x00c0002c2a98 by goroutine 133:\n  github.com/osrg/gobgp/v3/pkg/server.(*y).loop()\n      /gobgp/fsm.go:1 +0x5\n\n"
	mixed := strings.Replace(gobgp, "gobgp/v3/pkg/server.(*y).loop", "gobgp.Serve", 1)
	mixed = strings.Replace(mixed, "github.com/osrg/gobgp.Serve", "main.(*parts).serve", 1)
	own := strings.Replace(mixed, "main.(*parts).serve()", "github.com/catchment/catchment/pop.New()\n      x.go:1\n  github.com/osrg/gobgp/v3/a.B()", 1)
	for name, c := range map[string]struct {
		text string
		want int
	}{"library": {gobgp, 0}, "main": {mixed, 1}, "ours": {own, 1}} {
		all := "some words\n==================\n" + c.text + "==================\nmore\n"
		if got := races(all); len(got) != c.want {
			t.Errorf("%s: %d races, want %d", name, len(got), c.want)
		}
	}
}

// says waits until the process has written each of the texts on standard
// error, in this order.
func (p *process) says(texts ...string) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		said, changed := p.stderr.look()
		missing := ""
		for _, text := range texts {
			i := strings.Index(said, text)
			if i < 0 {
				missing = text
				break
			}
			said = said[i+len(text):]
		}
		if missing == "" {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			p.t.Fatalf("waited %v for %q", patience, missing)
		}
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// ends waits for the end and wants that status.
func (p *process) ends(status int) {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("does not end within %v", patience)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		p.t.Fatalf("exit status %d, want %d", got, status)
	}
}

// refuses runs catchmentd to its end and wants that status and those words in
// what it says.
func (w *world) refuses(status int, args []string, words ...string) *process {
	w.t.Helper()
	p := w.start(nil, args...)
	p.ends(status)
	for _, word := range words {
		if !strings.Contains(p.stderr.String(), word) {
			w.t.Errorf("does not say %q:\n%s", word, &p.stderr)
		}
	}
	return p
}

// client speaks to the daemon.
func (w *world) client() *api.Client {
	c := api.NewClient(w.file("api.sock"))
	w.t.Cleanup(c.Close)
	return c
}

// sees waits for a status that pleases ok: routers hear of a decision, and the
// log has it, before the status does.
func (w *world) sees(ok func(api.Status) bool) {
	w.t.Helper()
	c := w.client()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		st, err := c.Status(soon(w.t))
		if err == nil && ok(st) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("status %+v, %v", st, err)
		}
	}
}

// entries reads the journal from the disk.
func (w *world) entries(ok func(journal.Entry) bool) []journal.Entry {
	w.t.Helper()
	entries, err := journal.ReadDir(filepath.Join(w.file("state"), "journal"), journal.Filter{})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(entries, func(e journal.Entry) bool { return !ok(e) })
}

// journaled waits until the journal of a daemon that runs, which writes after
// it acts, has at least n entries that please ok.
func (w *world) journaled(n int, ok func(journal.Entry) bool) []journal.Entry {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if got := w.entries(ok); len(got) >= n {
			return got
		} else if time.Now().After(deadline) {
			w.t.Fatalf("the journal has %d entries of %d: %+v", len(got), n, got)
		}
	}
}

// scrape asks for the metrics.
func (w *world) scrape() string {
	w.t.Helper()
	resp, err := http.Get("http://" + w.metrics() + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

// answers reports whether somebody listens.
func answers(network, addr string) bool {
	c, err := net.Dial(network, addr)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// waits looks at a file of the state until it pleases ok.
func (w *world) waits(name string, ok func(text string) bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(w.file("state"), name))
		if err == nil && ok(string(text)) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s is not as it should be: %v\n%s", name, err, text)
		}
	}
}
