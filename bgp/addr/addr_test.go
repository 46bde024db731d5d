package addr

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/lab/sandbox"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

var (
	v4    = netip.MustParseAddr("192.0.2.1")
	v6    = netip.MustParseAddr("2001:db8:100::1")
	other = netip.MustParseAddr("198.51.100.1")
)

func link(t *testing.T, device string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// device makes a device that is up.
func device(t *testing.T, name string) {
	t.Helper()
	d := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}
	if err := netlink.LinkAdd(d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(d) })
	for _, n := range []string{name, name + "p"} {
		if err := netlink.LinkSetUp(link(t, n)); err != nil {
			t.Fatal(err)
		}
	}
}

// on reports whether the device has the address, as the kernel says.
func on(t *testing.T, device string, a netip.Addr) bool {
	t.Helper()
	list, err := netlink.AddrList(link(t, device), netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(list, func(k netlink.Addr) bool {
		bits, size := k.Mask.Size()
		return k.IP.Equal(a.AsSlice()) && bits == size
	})
}

func expect(t *testing.T, device string, want bool, all ...netip.Addr) {
	t.Helper()
	for _, a := range all {
		if on(t, device, a) != want {
			t.Errorf("%v on %s: %v, want %v", a, device, !want, want)
		}
	}
}

func newManager(t *testing.T, o Options) *Manager {
	t.Helper()
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ensure(t *testing.T, m *Manager, all ...Address) {
	t.Helper()
	if err := m.Ensure(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

// cleanLoopback takes off what a test left on lo.
func cleanLoopback(t *testing.T) {
	t.Cleanup(func() {
		for _, a := range []netip.Addr{v4, v6, other} {
			_ = netlink.AddrDel(link(t, "lo"), kernelForm(Address{Addr: a}))
		}
	})
}

func TestEnsure(t *testing.T) {
	cleanLoopback(t)
	device(t, "vip0")
	m := newManager(t, Options{StateFile: filepath.Join(t.TempDir(), "addresses.json")})
	all := []Address{{Addr: v4}, {Addr: v6, Device: "lo"}, {Addr: v4, Device: "vip0"}, {Addr: v6, Device: "vip0"}}
	for range 2 { // the second time nothing is to be done
		ensure(t, m, all...)
		expect(t, "lo", true, v4, v6)
		expect(t, "vip0", true, v4, v6)
	}
	list, err := netlink.AddrList(link(t, "vip0"), netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.IP.Equal(v6.AsSlice()) && (a.Flags&unix.IFA_F_NODAD == 0 || a.Flags&unix.IFA_F_TENTATIVE != 0) {
			t.Errorf("%v waits for duplicate address detection: flags %#x", v6, a.Flags)
		}
	}
	if n := len(m.Owned()); n != 4 {
		t.Errorf("%d owned: %v", n, m.Owned())
	}
	ensure(t, m, Address{Addr: v4})
	expect(t, "lo", true, v4)
	expect(t, "lo", false, v6)
	expect(t, "vip0", false, v4, v6)
	ensure(t, m)
	expect(t, "lo", false, v4)
}

func TestWhatWasThereIsNeverRemoved(t *testing.T) {
	cleanLoopback(t)
	for _, a := range []netip.Addr{v4, v6} {
		if err := netlink.AddrAdd(link(t, "lo"), kernelForm(Address{Addr: a})); err != nil {
			t.Fatal(err)
		}
	}
	m := newManager(t, Options{})
	ensure(t, m, Address{Addr: v4}, Address{Addr: v6}, Address{Addr: other})
	ensure(t, m)
	expect(t, "lo", true, v4, v6)
	expect(t, "lo", false, other)
}

func TestKilledAndStartedAgain(t *testing.T) {
	cleanLoopback(t)
	file := filepath.Join(t.TempDir(), "addresses.json")
	first := newManager(t, Options{StateFile: file})
	ensure(t, first, Address{Addr: v4}, Address{Addr: v6, Keep: true}) // and now it is gone without a word
	second := newManager(t, Options{StateFile: file})
	ensure(t, second, Address{Addr: other})
	expect(t, "lo", false, v4)
	expect(t, "lo", true, v6, other)
	third := newManager(t, Options{StateFile: file})
	ensure(t, third, Address{Addr: v6}) // no longer Keep
	ensure(t, third)
	expect(t, "lo", false, v6, other)
}

func TestAfterARebootNothingIsOurs(t *testing.T) {
	cleanLoopback(t)
	file := filepath.Join(t.TempDir(), "addresses.json")
	first := newManager(t, Options{StateFile: file})
	ensure(t, first, Address{Addr: v4})
	second := newManager(t, Options{StateFile: file})
	second.store.boot = "another"
	ensure(t, second, Address{Addr: v4}) // found there: somebody else's
	ensure(t, second)
	expect(t, "lo", true, v4)
}

func TestErrors(t *testing.T) {
	cleanLoopback(t)
	m := newManager(t, Options{})
	err := m.Ensure(t.Context(), []Address{{Addr: v4, Device: "nope"}, {Addr: v6}})
	if want := "address 192.0.2.1 on nope: there is no device nope"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	expect(t, "lo", true, v6) // the others are not held up
	if got := m.Owned(); len(got) != 1 || got[0].Addr != v6 {
		t.Errorf("owned %v", got)
	}
	missing, err := m.Check(t.Context())
	if len(missing) != 1 || missing[0].Addr != v4 || err == nil {
		t.Errorf("missing %v, %v", missing, err)
	}
	if err := m.Ensure(t.Context(), []Address{{Addr: netip.MustParseAddr("ff02::1")}}); err == nil {
		t.Error("a multicast address was accepted")
	}
	expect(t, "lo", true, v6) // a refused set changes nothing
	if err := explain("add address", Address{Addr: v4, Device: "lo"}, unix.EPERM); !strings.Contains(err.Error(), "add address 192.0.2.1 on lo: operation not permitted (CAP_NET_ADMIN") {
		t.Errorf("permission: %v", err)
	}
	ensure(t, m)

	file := filepath.Join(t.TempDir(), "addresses.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := newManager(t, Options{StateFile: file})
	if err := broken.Ensure(t.Context(), []Address{{Addr: v4}}); !errors.As(err, new(*NotNoted)) || !strings.Contains(err.Error(), file+" is damaged") {
		t.Errorf("damaged state: %v", err)
	}
	expect(t, "lo", true, v4)
	if b, err := os.ReadFile(file); err != nil || string(b) != "{" {
		t.Errorf("the damaged file is now %q, %v", b, err)
	}
	if missing, err := broken.Check(t.Context()); len(missing) > 0 || err != nil {
		t.Errorf("missing %v, %v", missing, err)
	}
}

// A full or read-only disk after a boot: the address comes all the same, and
// is written down as soon as that can be done.
func TestDiskThatTakesNothing(t *testing.T) {
	cleanLoopback(t)
	dir := filepath.Join(t.TempDir(), "not", "there")
	file := filepath.Join(dir, "addresses.json")
	m := newManager(t, Options{StateFile: file})
	err := m.Ensure(t.Context(), []Address{{Addr: v4}, {Addr: v6, Device: "nope"}})
	if !errors.As(err, new(*NotNoted)) || !strings.Contains(err.Error(), "no device nope") || strings.Count(err.Error(), "write state") != 1 {
		t.Errorf("error: %v", err)
	}
	expect(t, "lo", true, v4)
	if missing, _ := m.Check(t.Context()); len(missing) != 1 || missing[0].Addr != v6 {
		t.Errorf("missing %v", missing)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ensure(t, m, Address{Addr: v4})
	after := newManager(t, Options{StateFile: file})
	ensure(t, after)
	expect(t, "lo", false, v4) // the next life knows that it is ours
}

func TestRunAddsAgain(t *testing.T) {
	cleanLoopback(t)
	m := newManager(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	if err := m.Ensure(ctx, []Address{{Addr: v4}, {Addr: v6}, {Addr: other, Device: "late0"}}); err == nil {
		t.Error("no error for a device that is not there")
	}
	await := func(device string, a netip.Addr) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !on(t, device, a); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%v is not on %s", a, device)
			}
		}
	}
	for _, a := range []netip.Addr{v4, v6} {
		await("lo", a)
		if err := netlink.AddrDel(link(t, "lo"), kernelForm(Address{Addr: a})); err != nil {
			t.Fatal(err)
		}
		await("lo", a)
	}
	device(t, "late0")
	await("late0", other)
	if missing, err := m.Check(ctx); err != nil || missing != nil {
		t.Errorf("missing %v, %v", missing, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	expect(t, "lo", true, v4, v6) // Run removes nothing
}
