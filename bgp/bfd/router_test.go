package bfd

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// router is another BFD implementation in a namespace of its own, at the
// other end of a veth pair: 10.0.0.2 and 2001:db8::2 on the link, 10.2.0.2 and
// 2001:db8:2::2 behind it. We are the same with a 1 in the last place.
type router struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	dir   string
}

// need fails the test with what to do where a program is missing.
func need(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing: install frr and bird2 (make test does)", path)
	}
}

// newRouter makes the link and a shell that waits in the namespace.
func newRouter(t *testing.T) *router {
	t.Helper()
	r := &router{dir: t.TempDir(), cmd: exec.Command("sh", "-c", `read go; exec sh -e "$go"`)}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	r.cmd.Stdout, r.cmd.Stderr = os.Stderr, os.Stderr
	var err error
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
		_ = r.cmd.Wait()
	})
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer0", PeerNamespace: netlink.NsPid(r.cmd.Process.Pid)}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	ns, err := netns.GetFromPid(r.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	there, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	here, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	addresses(t, here, "eth0", 1, 2)
	addresses(t, there, "peer0", 2, 1)
	return r
}

func addresses(t *testing.T, h *netlink.Handle, device string, self, other int) {
	t.Helper()
	link, err := h.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	lo, err := h.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetIP6AddrGenMode(link, 1); err != nil { // no link-local address but ours
		t.Fatal(err)
	}
	for _, l := range []netlink.Link{link, lo} {
		if err := h.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
	}
	for _, cidr := range []string{"10.0.0.%d/24", "2001:db8::%d/64", "10.2.0.%d/32", "2001:db8:2::%d/128", "fe80::%d/64"} {
		a, err := netlink.ParseAddr(fmt.Sprintf(cidr, self))
		if err != nil {
			t.Fatal(err)
		}
		a.Flags = syscall.IFA_F_NODAD
		on := link
		if strings.HasSuffix(cidr, "/32") || strings.HasSuffix(cidr, "/128") {
			on = lo
		}
		if err := h.AddrReplace(on, a); err != nil {
			t.Fatalf("%s: %v", cidr, err)
		}
	}
	for dst, via := range map[string]string{"10.2.0.%d/32": "10.0.0.%d", "2001:db8:2::%d/128": "2001:db8::%d"} {
		_, d, err := net.ParseCIDR(fmt.Sprintf(dst, other))
		if err != nil {
			t.Fatal(err)
		}
		gw := netip.MustParseAddr(fmt.Sprintf(via, other))
		if err := h.RouteReplace(&netlink.Route{Dst: d, Gw: gw.AsSlice(), LinkIndex: link.Attrs().Index}); err != nil {
			t.Fatalf("%s: %v", dst, err)
		}
	}
}

func (r *router) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// start lets the waiting shell run a script.
func (r *router) start(t *testing.T, script string) {
	t.Helper()
	path := r.write(t, "start.sh", script)
	if _, err := fmt.Fprintln(r.stdin, path); err != nil {
		t.Fatal(err)
	}
}
