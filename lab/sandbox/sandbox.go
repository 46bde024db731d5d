// Package sandbox runs a test binary in network and mount namespaces of its
// own, entered through a user namespace where the caller is not root, so that
// tests with real sockets, addresses and routes touch nothing of the host.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const marker = "CATCHMENT_SANDBOX"

// Runner is what testing.M gives.
type Runner interface{ Run() int }

// Main is called from TestMain: it re-executes the test binary inside new
// namespaces (loopback up, nothing else), runs the tests there and exits with
// their status. Where namespaces are forbidden it says so and fails: a test
// that silently does not run is worse.
func Main(m Runner) {
	if os.Getenv(marker) != "" {
		if err := Up(); err != nil {
			fmt.Fprintln(os.Stderr, "sandbox:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = Attr()
	signal.Ignore(os.Interrupt) // the child gets it too and decides
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	}
	fmt.Fprintf(os.Stderr, "sandbox: cannot make namespaces: %v\n"+
		"run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, "+
		"and kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu)\n", err)
	os.Exit(1)
}

// Attr returns the attributes that start a process in new network and mount
// namespaces, and in a user namespace where the caller is not root.
func Attr() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 {
		a.Cloneflags |= syscall.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// Up brings the loopback device of the namespace up; it has its addresses then.
func Up() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	return netlink.LinkSetUp(lo)
}

// Address puts an address on the loopback device, of either family, and
// returns once a connection to it works from the loopback address: in a
// namespace that is a moment old the first ones over IPv6 may be refused.
func Address(addr netip.Addr) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}, Flags: unix.IFA_F_NODAD}
	if err := netlink.AddrReplace(lo, a); err != nil {
		return fmt.Errorf("address %v: %w", addr, err)
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err != nil {
		return fmt.Errorf("address %v: %w", addr, err)
	}
	defer l.Close()
	d := net.Dialer{LocalAddr: loopback(addr), Timeout: 5 * time.Second}
	for range 10 {
		var c net.Conn
		if c, err = d.Dial("tcp", l.Addr().String()); err == nil {
			return c.Close()
		}
	}
	return fmt.Errorf("address %v: %w", addr, err)
}

// Pair is a TCP connection from the loopback address to one that Address has
// put there: plain TCP, which is what sock_diag and BPF tell of.
func Pair(ctx context.Context, to netip.Addr) (client, server *net.TCPConn, err error) {
	return PairAt(ctx, to, to)
}

// PairAt is Pair where the server listens at another address, such as [::].
func PairAt(ctx context.Context, listen, to netip.Addr) (client, server *net.TCPConn, err error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(listen, 0).String())
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	d := net.Dialer{LocalAddr: loopback(to)}
	d.SetMultipathTCP(false)
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(to, port).String())
	if err != nil {
		return nil, nil, err
	}
	s, err := l.Accept()
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c.(*net.TCPConn), s.(*net.TCPConn), nil
}

// loopback is where connections to an address come from: its family's.
func loopback(to netip.Addr) *net.TCPAddr {
	if to.Is6() {
		return &net.TCPAddr{IP: net.IPv6loopback}
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
}
