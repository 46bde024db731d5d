package netlab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const holderMarker = "NETLAB_TEST_HOLDER"

func TestMain(m *testing.M) {
	Init(Tool{Name: "say", Main: func(_ context.Context, args []string) error {
		fmt.Println(strings.Join(args, "+"))
		return nil
	}})
	if err := Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv(holderMarker) != "" {
		holdLab()
	}
	os.Exit(m.Run())
}

const twoNodes = `
name: two
topology:
  defaults:
    kind: linux
    sysctls: {net.ipv6.conf.default.accept_dad: 0}
  nodes:
    a:
      env: {COLOUR: red}
      exec:
        - ip addr add 10.0.0.1/24 dev eth1
        - ip -6 addr add 2001:db8::1/64 dev eth1 nodad
        - ip route add 192.0.2.0/24 via 10.0.0.2
        - ip -6 route add default via 2001:db8::2
        - sh -c 'echo made by exec > /var/lib/made'
    b:
      exec: ["ip addr add 10.0.0.2/24 dev eth1", "ip -6 addr add 2001:db8::2/64 dev eth1 nodad"]
  links:
    - {endpoints: ["a:eth1", "b:eth1"], mtu: 1400, vars: {%s}}
`

func up(t *testing.T, text string) *Lab {
	t.Helper()
	topo, err := parse([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	lab, err := Up(t.Context(), topo, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Down(); err != nil {
			t.Errorf("down: %v", err)
		}
	})
	return lab
}

func run(t *testing.T, lab *Lab, node string, args ...string) string {
	t.Helper()
	out, err := lab.Exec(t.Context(), node, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func TestNode(t *testing.T) {
	lab := up(t, fmt.Sprintf(twoNodes, ""))
	for _, tc := range []struct{ cmd, want string }{
		{"hostname", "a"},
		{"echo $COLOUR $CLAB_INTFS", "red 1"},
		{"id -u", "0"},
		{"cat /var/lib/made", "made by exec"},
		{"cat /sys/class/net/eth1/mtu", "1400"},
		{"ls /sys/class/net | tr '\\n' ' '", "eth1 lo"},
		{"echo x > /etc/x && mkdir /run/d /var/log/d && echo y > /tmp/y && cat /etc/x", "x"},
		{"touch /usr/x 2>&1 || echo refused", "touch: cannot touch '/usr/x': Read-only file system\nrefused"},
		{"say hello world", "hello+world"},
		{"ps -o pid= 1 | tr -d ' '", "1"},
	} {
		if got := run(t, lab, "a", "sh", "-c", tc.cmd); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.cmd, got, tc.want)
		}
	}
	if _, err := os.Stat("/etc/x"); err == nil {
		t.Error("a node wrote into the host's /etc")
	}
	run(t, lab, "a", "ping", "-c1", "-W5", "10.0.0.2")
	run(t, lab, "a", "ping", "-c1", "-W5", "2001:db8::2")
}

func TestExecSaysWhatFailed(t *testing.T) {
	lab := up(t, fmt.Sprintf(twoNodes, ""))
	_, err := lab.Exec(t.Context(), "a", "sh", "-c", "echo why >&2; exit 7")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || err.Error() != "a: sh -c echo why >&2; exit 7: exit status 7: why" {
		t.Errorf("error %v", err)
	}
	if _, err := lab.Exec(t.Context(), "c", "true"); err == nil || !strings.Contains(err.Error(), `has no node "c"`) {
		t.Errorf("unknown node: %v", err)
	}
	if _, err := lab.Exec(t.Context(), "a", "no-such-program"); err == nil || !strings.Contains(err.Error(), "not found in PATH") {
		t.Errorf("unknown program: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lab.Exec(ctx, "a", "sleep", "100"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command past its deadline: %v", err)
	}
	if _, err := lab.Exec(t.Context(), "a", "pgrep", "sleep"); err == nil {
		t.Error("a command past its deadline still runs")
	}
	// A daemon that keeps the output open does not hold Exec.
	if out := run(t, lab, "a", "sh", "-c", "sleep 100 & echo done"); out != "done" {
		t.Errorf("output %q", out)
	}
}

func TestSignals(t *testing.T) {
	lab := up(t, fmt.Sprintf(twoNodes, ""))
	ctx := t.Context()
	p, err := lab.Start("a", Command{Args: []string{"sh", "-c", "echo $$ > /run/p; echo logged; sleep 99; echo over"}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "log", func() bool { return strings.Contains(lab.Log("a"), "logged") })
	state := func(who string) string {
		return run(t, lab, "a", "sh", "-c", "ps -o state= -p $(pgrep -x "+who+" | head -1)")
	}
	eventually(t, "child", func() bool { _, err := lab.Exec(ctx, "a", "pgrep", "-x", "sleep"); return err == nil })
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { _, err := lab.Signal(ctx, "a", "sleep", unix.SIGSTOP); return err }, "T"},
		{func() error { _, err := lab.Signal(ctx, "a", "sleep", unix.SIGCONT); return err }, "S"},
		{func() error { return lab.Freeze(ctx, "a") }, "T"},
		{func() error { return lab.Thaw(ctx, "a") }, "S"},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "state "+step.want, func() bool { return state("sleep") == step.want })
	}
	if _, err := lab.Signal(ctx, "a", "pidfile:/run/p", unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var exit *ExitError
	if err := p.Wait(ctx); !errors.As(err, &exit) || exit.Status != "signal: killed" || exit.Code != -1 {
		t.Errorf("killed process: %v", err)
	}
	if _, err := lab.Signal(ctx, "a", "nobody", unix.SIGKILL); err == nil || err.Error() != `a: no process "nobody"` {
		t.Errorf("signal to nobody: %v", err)
	}
}

// TestNodesOutliveThreads: threads that end, such as those of wires, take no node
// with them, whichever has started it.
func TestNodesOutliveThreads(t *testing.T) {
	lab := up(t, fmt.Sprintf(twoNodes, ""))
	for range 200 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(runtime.LockOSThread) // for good: the thread ends with the goroutine
		}
		wg.Wait()
	}
	for _, node := range []string{"a", "b"} {
		if out, err := lab.Exec(t.Context(), node, "true"); err != nil {
			t.Errorf("%s: %v: %s", node, err, out)
		}
	}
}

func TestCrashAndBoot(t *testing.T) {
	lab := up(t, fmt.Sprintf(twoNodes, ""))
	ctx := t.Context()
	p, err := lab.Start("b", Command{Args: []string{"sleep", "100"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Crash("b"); err != nil {
		t.Fatal(err)
	}
	var exit *ExitError
	if err := p.Wait(ctx); !errors.As(err, &exit) || exit.Status != "its node died" {
		t.Errorf("process of a dead node: %v", err)
	}
	if got := run(t, lab, "a", "cat", "/sys/class/net/eth1/carrier"); got != "0" {
		t.Errorf("carrier at the neighbour: %s", got)
	}
	if _, err := lab.Exec(ctx, "b", "true"); !errors.Is(err, errNodeDown) {
		t.Errorf("exec in a dead node: %v", err)
	}
	if err := lab.Boot(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	run(t, lab, "a", "ping", "-c1", "-W5", "10.0.0.2")
	run(t, lab, "a", "ping", "-c1", "-W5", "2001:db8::2")
	if err := lab.Boot(ctx, "b"); err == nil {
		t.Error("a running node was booted")
	}
}

func TestRoutes(t *testing.T) {
	lab := up(t, fmt.Sprintf(twoNodes, ""))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := lab.WatchRoutes(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	prefix := netip.MustParsePrefix("192.0.2.0/24")
	list, err := lab.Routes("a", prefix)
	if err != nil || len(list) != 1 || !slices.Equal(list[0].Via, []netip.Addr{netip.MustParseAddr("10.0.0.2")}) {
		t.Fatalf("routes %+v, %v", list, err)
	}
	if list, err := lab.Routes("a", netip.MustParsePrefix("::/0")); err != nil || len(list) != 1 {
		t.Fatalf("default route: %+v, %v", list, err)
	}
	run(t, lab, "a", "ip", "route", "del", "192.0.2.0/24")
	run(t, lab, "a", "ip", "-6", "route", "add", "2001:db8:100::/48", "via", "2001:db8::2")
	for _, want := range []struct {
		gone   bool
		prefix string
	}{{true, "192.0.2.0/24"}, {false, "2001:db8:100::/48"}} {
		e := <-events
		if e.Gone != want.gone || e.Route.Prefix.String() != want.prefix {
			t.Errorf("event %+v, want %+v", e, want)
		}
	}
	if err := lab.SetLink("a", "eth1", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "routes go with the link", func() bool {
		list, err := lab.Routes("a", netip.MustParsePrefix("2001:db8:100::/48"))
		return err == nil && len(list) == 0
	})
	cancel()
	for range events { //nolint:revive // until it is closed
	}
}

var rtt = regexp.MustCompile(`= ([0-9.]+)/`)

func TestWireInLab(t *testing.T) {
	lab := up(t, fmt.Sprintf(twoNodes, "delay: 25ms"))
	out := run(t, lab, "a", "ping", "-c3", "-i0.1", "-W5", "10.0.0.2")
	m := rtt.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("ping said %s", out)
	}
	if least, err := strconv.ParseFloat(m[1], 64); err != nil || least < 50 {
		t.Errorf("round trip %s ms through 2 x 25 ms", m[1])
	}
}

func TestBridge(t *testing.T) {
	lab := up(t, `
name: bridged
topology:
  defaults: {kind: linux}
  nodes:
    lan: {kind: bridge}
    a: {exec: ["ip addr add 10.0.0.1/24 dev eth1"]}
    b: {exec: ["ip addr add 10.0.0.2/24 dev eth1"]}
    c: {exec: ["ip addr add 10.0.0.3/24 dev eth1"]}
  links:
    - endpoints: ["a:eth1", "lan:p1"]
    - endpoints: ["b:eth1", "lan:p2"]
    - endpoints: ["c:eth1", "lan:p3"]
`)
	run(t, lab, "a", "ping", "-c1", "-W5", "10.0.0.2")
	run(t, lab, "a", "ping", "-c1", "-W5", "10.0.0.3")
}

func TestUpThatFailsLeavesNothing(t *testing.T) {
	before := inits(t)
	topo, err := parse([]byte("name: x\ntopology: {nodes: {a: {kind: linux, exec: ['false']}, b: {kind: linux}}}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Up(t.Context(), topo, Options{})
	if err == nil || err.Error() != `lab x: node a: exec "false": a: false: exit status 1` {
		t.Errorf("error %v", err)
	}
	if after := inits(t); !slices.Equal(before, after) {
		t.Errorf("inits before %v, after %v", before, after)
	}
}

// inits are the pids of node inits on this machine that are ours.
func inits(t *testing.T) []int {
	t.Helper()
	var out []int
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if pid, numErr := strconv.Atoi(e.Name()); err == nil && numErr == nil &&
			bytes.HasPrefix(cmdline, []byte("netlab-init x-holder")) {
			out = append(out, pid)
		}
	}
	return out
}

// holdLab is a process that holds a lab until it is killed.
func holdLab() {
	topo, err := parse([]byte("name: h\ntopology: {nodes: {x-holder: {kind: linux, cmd: sleep 1000}}}"), nil)
	if err == nil {
		var lab *Lab
		if lab, err = Up(context.Background(), topo, Options{Dir: os.Getenv(holderMarker)}); err == nil {
			fmt.Println("up", lab.nodes["x-holder"].init.Process.Pid)
			select {}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// holder starts such a process, in a user namespace of one user if squash.
func holder(t *testing.T, squash bool) (cmd *exec.Cmd, pid int) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), holderMarker+"="+t.TempDir())
	if squash {
		cmd.Env = append(cmd.Env, enterMarker+"="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, scanErr := fmt.Sscanf(line, "up %d", &pid); err != nil || scanErr != nil {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	return cmd, pid
}

func TestKilledHolderLeavesNothing(t *testing.T) {
	for _, squash := range []bool{false, true} {
		t.Run(fmt.Sprintf("squash=%v", squash), func(t *testing.T) {
			cmd, pid := holder(t, squash)
			if len(inits(t)) != 1 {
				t.Errorf("inits: %v", inits(t))
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			eventually(t, "init ends", func() bool { return len(inits(t)) == 0 })
			if _, err := os.Stat(fmt.Sprintf("/proc/%d/root/bin", pid)); err == nil {
				t.Errorf("init %d lives", pid)
			}
		})
	}
}

// TestOneUser runs what routing daemons do to drop their rights where only
// one user exists.
func TestOneUser(t *testing.T) {
	if !squashNeeded() {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestOneUser$", "-test.v")
		cmd.Env = append(os.Environ(), enterMarker+"="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestOneUser")) {
			t.Fatalf("in a user namespace: %v\n%s", err, out)
		}
		return
	}
	lab := up(t, fmt.Sprintf(twoNodes, ""))
	for _, tc := range []struct{ cmd, want string }{
		{"touch /tmp/f && chown daemon:daemon /tmp/f && stat -c %U /tmp/f", "root"},
		{"setpriv --reuid daemon --regid daemon --init-groups id -u", "0"},
		{"getent passwd daemon | cut -d: -f3,4", "0:0"},
		{"getent group daemon | cut -d: -f3", "0"},
	} {
		if got := run(t, lab, "a", "sh", "-c", tc.cmd); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.cmd, got, tc.want)
		}
	}
}
