package socket

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/probe"
	"github.com/catchment/catchment/lab/sandbox"
	"github.com/catchment/catchment/server/sockdiag"
)

const listenOn = "SOCKET_TEST_LISTEN"

func TestMain(m *testing.M) {
	if addr := os.Getenv(listenOn); addr != "" {
		serve(addr)
	}
	sandbox.Main(m)
}

// serve is the service: a process of its own that listens until it is killed.
func serve(addr string) {
	network, address, _ := strings.Cut(addr, "/")
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}}
	lc.SetMultipathTCP(false)
	if network == "udp" {
		pc, err := lc.ListenPacket(context.Background(), network, address)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ready")
		buf := make([]byte, 100)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err == nil {
				pc.WriteTo(buf[:n], from)
			}
		}
	}
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	for {
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}
}

// startService starts one and returns it when it listens.
func startService(t *testing.T, addr string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), listenOn+"="+addr)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("service on %s: %q, %v", addr, line, err)
	}
	return cmd
}

func addVIPs(t *testing.T) {
	t.Helper()
	for _, a := range []string{"192.0.2.1", "2001:db8::1"} {
		if err := sandbox.Address(netip.MustParseAddr(a)); err != nil {
			t.Fatal(err)
		}
	}
}

// start runs f until the test ends.
func start(t *testing.T, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Run does not return")
		}
	})
}

// soon waits for something on a channel.
func soon[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not come", what)
		panic("not reached")
	}
}

func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// One of two listeners on a port dies: a hint, and the check still passes.
func TestReusePortGroup(t *testing.T) {
	addVIPs(t)
	startService(t, "tcp/192.0.2.1:280")
	one := startService(t, "tcp/192.0.2.1:280")
	hints := make(chan health.Hint, 100)
	w := NewWatcher(Options{OnHint: func(h health.Hint) { hints <- h }})
	vip := netip.MustParseAddrPort("192.0.2.1:280")
	w.Set([]netip.AddrPort{vip, netip.MustParseAddrPort("192.0.2.1:281")}, nil)
	start(t, w.Run)
	waitFor(t, "self test", w.Works)
	one.Process.Kill()
	if h := soon(t, hints, "hint"); h.Addr != vip || h.By != health.BySocket || h.At.IsZero() {
		t.Errorf("hint %+v", h)
	}
	checker, err := probe.New(probe.Config{Type: probe.TCP, Address: vip.String()})
	if err != nil {
		t.Fatal(err)
	}
	if r := checker.Check(t.Context()); r.Outcome != health.Pass {
		t.Errorf("the other listener: %+v", r)
	}
	if len(hints) != 0 {
		t.Errorf("more hints than one: %+v", <-hints)
	}
}

// Connections and listeners elsewhere give no hint, and what Set adds later does.
func TestOnlyWhatIsWatched(t *testing.T) {
	addVIPs(t)
	hints := make(chan health.Hint, 100)
	w := NewWatcher(Options{OnHint: func(h health.Hint) { hints <- h }})
	w.Set([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:180")}, nil)
	start(t, w.Run)
	waitFor(t, "self test", w.Works)
	web := startService(t, "tcp/192.0.2.1:180")
	c, err := net.Dial("tcp", "192.0.2.1:180")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	startService(t, "tcp/[2001:db8::1]:180").Process.Kill()
	startService(t, "tcp/192.0.2.1:190").Process.Kill()
	later := startService(t, "tcp/[2001:db8::1]:190")
	w.Set([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:180"), netip.MustParseAddrPort("[2001:db8::1]:190")}, nil)
	later.Process.Kill()
	if h := soon(t, hints, "hint"); h.Addr.String() != "[2001:db8::1]:190" {
		t.Errorf("hint %+v", h)
	}
	web.Process.Kill()
	if h := soon(t, hints, "hint"); h.Addr.String() != "192.0.2.1:180" {
		t.Errorf("hint %+v", h)
	}
}

// lines passes on what is logged about one process.
type lines struct {
	slog.Handler
	c chan string
}

func (l lines) Enabled(context.Context, slog.Level) bool { return true }

func (l lines) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "pid" {
			l.c <- fmt.Sprintf("%s %v", strings.TrimPrefix(r.Message, "health/socket: "), a.Value)
		}
		return true
	})
	return nil
}

// A process that takes over the PID file is watched in its turn; one whose
// file is no longer named is not; one that is dead but not reaped is told once.
func TestPIDFileChanges(t *testing.T) {
	hints := make(chan health.Hint, 100)
	log := lines{slog.DiscardHandler, make(chan string, 100)}
	w := NewWatcher(Options{OnHint: func(h health.Hint) { hints <- h }, Logger: slog.New(log)})
	file, fence := filepath.Join(t.TempDir(), "pid"), filepath.Join(t.TempDir(), "fence")
	w.Set(nil, []string{file}) // not there yet
	start(t, w.Run)
	write := func(file string, pid int) {
		t.Helper()
		if err := os.WriteFile(file, fmt.Appendln(nil, pid), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	logged := func(format string, pid int) {
		t.Helper()
		for want := fmt.Sprintf(format, pid); soon(t, log.c, want) != want; {
		}
	}
	hint := func(file string) {
		t.Helper()
		if h := soon(t, hints, "hint"); h.PIDFile != file || h.By != health.ByProcess || h.At.IsZero() {
			t.Errorf("hint %+v, want %s", h, file)
		}
	}
	old, young := startService(t, "tcp/127.0.0.1:81"), startService(t, "tcp/127.0.0.1:81")
	write(file, old.Process.Pid)
	logged("watching %d", old.Process.Pid)
	write(file, young.Process.Pid)
	logged("watching %d", young.Process.Pid)
	old.Process.Kill()
	old.Wait()
	young.Process.Kill() // stays a zombie
	hint(file)

	last, guard := startService(t, "tcp/127.0.0.1:81"), startService(t, "tcp/127.0.0.1:81")
	write(file, last.Process.Pid)
	logged("watching %d", last.Process.Pid)
	write(fence, guard.Process.Pid)
	w.Set(nil, []string{fence})
	logged("no longer watching %d", last.Process.Pid)
	last.Process.Kill()
	last.Wait()
	guard.Process.Kill()
	hint(fence)
	if len(hints) != 0 {
		t.Errorf("more hints: %+v", <-hints)
	}
}

// TestConnectionsToTheEnd: what a server has written and closed counts until
// the client has all of it.
func TestConnectionsToTheEnd(t *testing.T) {
	addVIPs(t)
	l, err := net.Listen("tcp", "192.0.2.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}
	c, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).SetReadBuffer(16 << 10)
	s.(*net.TCPConn).SetWriteBuffer(64 << 10)
	s.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // more than the buffers take
	if _, err := s.Write(make([]byte, 64<<20)); err == nil {
		t.Fatal("all of it was taken")
	}
	s.Close()
	vip := netip.MustParseAddr("192.0.2.1")
	count := func() int {
		got, err := Connections(t.Context(), []netip.Addr{vip})
		if err != nil {
			t.Fatal(err)
		}
		return got[vip]
	}
	if n := count(); n != 1 {
		t.Errorf("%d connections while the client has not read, want 1", n)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "an end", func() bool { return count() == 0 })
}

func TestConnections(t *testing.T) {
	addVIPs(t)
	l, err := net.Listen("tcp", "[::]:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for i := range 7 {
		to := "192.0.2.1:80"
		if i >= 4 {
			to = "[2001:db8::1]:80"
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}
		if i >= 4 {
			d.LocalAddr = &net.TCPAddr{IP: net.IPv6loopback}
		}
		c, err := d.Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	few := []netip.Addr{v4, netip.MustParseAddr("198.51.100.1"), v6}
	many := append([]netip.Addr{}, few...) // too many for the kernel's filter
	for i := range sockdiag.MaxAddrs {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	for _, addrs := range [][]netip.Addr{few, many, {v4}, {v6}} {
		waitFor(t, fmt.Sprintf("%d addresses", len(addrs)), func() bool {
			got, err := Connections(t.Context(), addrs)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range addrs {
				want := map[netip.Addr]int{v4: 4, v6: 3}[a]
				if got[a] != want {
					return false
				}
			}
			return len(got) == len(addrs)
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Connections(ctx, few); err == nil {
		t.Error("no error after the context has ended")
	}
	if got, err := Connections(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("nothing asked: %v, %v", got, err)
	}
}
