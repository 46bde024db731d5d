// Package addr puts service addresses (VIPs) on loopback or another device by
// netlink, so that the POP answers for what it announces.
//
// It owns the addresses that it added, and only those: an address that was
// there before, whoever put it there, is never removed. What it added is
// written to a state file before the kernel is asked, so that a process killed
// at any point still knows its own; the file names the boot, because after a
// reboot no address is left and one that is there is somebody else's. A file
// that cannot be read or written keeps no address away: a service without its
// address is worse than an address that somebody must remove by hand. (The
// kernel's IFA_PROTO attribute would say it on the address itself, but the
// netlink library neither sets nor reads it, and kernels before 5.18 drop it.)
//
// It never decides which addresses are wanted, and knows nothing of routes.
package addr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DefaultDevice is where addresses go that name none.
const DefaultDevice = "lo"

// settle is how long Run waits after a change before it looks, so that a
// burst is looked at once; retry how long after a failure.
const (
	settle = 20 * time.Millisecond
	retry  = time.Second
)

// Options of a Manager.
type Options struct {
	Device    string // of addresses that name none; empty: DefaultDevice
	StateFile string // what is ours; empty: not remembered over a restart
	Logger    *slog.Logger
}

// Address is one wanted address: a /32 or a /128.
type Address struct {
	Addr   netip.Addr `json:"addr"`
	Device string     `json:"device"`         // empty: the manager's device
	Keep   bool       `json:"keep,omitempty"` // stays when it is no longer wanted
}

func (a Address) String() string { return a.Addr.String() + " on " + a.Device }

// id is what the kernel tells addresses of one namespace apart by; the prefix
// length is always the full one.
type id struct {
	addr   netip.Addr
	device string
}

func (a Address) id() id { return id{a.Addr, a.Device} }

// Manager keeps addresses on devices.
type Manager struct {
	opts Options

	mu     sync.Mutex
	wanted map[id]Address
	owned  map[id]Address // added by us, this run or an earlier one of this boot
	loaded bool
	store  store
	note   error // why what is ours is not in the state file; nil: it is
}

// New starts nothing and touches nothing.
func New(o Options) (*Manager, error) {
	if o.Device == "" {
		o.Device = DefaultDevice
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	return &Manager{opts: o, wanted: map[id]Address{}, owned: map[id]Address{}, store: store{o.StateFile, boot}}, nil
}

// NotNoted says that the state file does not have what is ours. Every address
// may be in its place all the same; one that is no longer wanted after a
// restart stays then.
type NotNoted struct{ Err error }

func (e *NotNoted) Error() string {
	return "a restart will not know which addresses are ours: " + e.Err.Error()
}

// Unwrap returns why.
func (e *NotNoted) Unwrap() error { return e.Err }

// Ensure makes addresses the whole wanted set: it adds what is missing and
// removes what is ours, no longer wanted and not Keep. It does all it can; the
// error joins one per address that failed, each naming address and device, and
// a *NotNoted where the state file could not be read or written.
func (m *Manager) Ensure(ctx context.Context, addresses []Address) error {
	wanted, err := m.normalize(addresses)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wanted, m.note = wanted, m.load()
	err = errors.Join(m.add(ctx), m.removeUnwanted(ctx))
	if m.save(); m.note != nil {
		err = errors.Join(err, &NotNoted{m.note})
	}
	return err
}

func (m *Manager) normalize(addresses []Address) (map[id]Address, error) {
	wanted := make(map[id]Address, len(addresses))
	for _, a := range addresses {
		a.Device = cmp.Or(a.Device, m.opts.Device)
		a.Addr = a.Addr.Unmap()
		if !a.Addr.IsValid() || a.Addr.IsUnspecified() || a.Addr.IsMulticast() || a.Addr.Zone() != "" {
			return nil, fmt.Errorf("address %v: not a unicast address without zone", a)
		}
		if old, ok := wanted[a.id()]; ok { // two services may share one; the one that keeps it wins
			a.Keep = a.Keep || old.Keep
		}
		wanted[a.id()] = a
	}
	return wanted, nil
}

// load reads the state file until it could be read. With mu held.
func (m *Manager) load() error {
	if m.loaded {
		return nil
	}
	found, err := m.store.load()
	if err != nil {
		return err
	}
	for _, a := range found {
		if _, ok := m.owned[a.id()]; !ok {
			m.owned[a.id()] = a
		}
	}
	m.loaded = true
	return nil
}

// present lists the full-length addresses of a device. With Addr in the
// answer, whatever its prefix length: adding a second one would be pointless.
func present(link netlink.Link) (map[netip.Addr]bool, error) {
	list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	all := make(map[netip.Addr]bool, len(list))
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			all[ip.Unmap()] = true
		}
	}
	return all, nil
}

// byDevice groups addresses, sorted.
func byDevice(addresses map[id]Address) map[string][]Address {
	groups := map[string][]Address{}
	for _, a := range addresses {
		groups[a.Device] = append(groups[a.Device], a)
	}
	for _, g := range groups {
		slices.SortFunc(g, func(a, b Address) int { return a.Addr.Compare(b.Addr) })
	}
	return groups
}

// look returns which of the addresses are missing, sorted, and an error for
// those that cannot be looked at.
func look(addresses map[id]Address) (missing []Address, err error) {
	groups := byDevice(addresses)
	for _, device := range slices.Sorted(maps.Keys(groups)) {
		link, e := netlink.LinkByName(device)
		var have map[netip.Addr]bool
		if e == nil {
			have, e = present(link)
		}
		for _, a := range groups[device] {
			if e != nil {
				err = errors.Join(err, explain("address", a, e))
			}
			if !have[a.Addr] {
				missing = append(missing, a)
			}
		}
	}
	return missing, err
}

// add adds what is missing. The state file is written before the kernel is
// asked: an address that is in it but not on the device does no harm, the
// other way round it may stay for ever. With mu held.
func (m *Manager) add(ctx context.Context) error {
	m.refreshKeep()
	missing, err := look(m.wanted)
	if len(missing) == 0 {
		return err
	}
	for _, a := range missing {
		m.owned[a.id()] = a
	}
	m.save()
	for _, a := range missing {
		added, e := addOne(ctx, a)
		err = errors.Join(err, e)
		if !added { // it is not there, or somebody was faster and it is theirs
			delete(m.owned, a.id())
			continue
		}
		m.opts.Logger.Info("address added", "address", a.Addr.String(), "device", a.Device)
	}
	m.save()
	return err
}

func addOne(ctx context.Context, a Address) (added bool, err error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	link, err := netlink.LinkByName(a.Device)
	if err != nil {
		return false, nil // look has said so
	}
	switch err := netlink.AddrAdd(link, kernelForm(a)); {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EEXIST):
		return false, nil
	default:
		return false, explain("add address", a, err)
	}
}

// refreshKeep carries a changed Keep to what we own. With mu held.
func (m *Manager) refreshKeep() {
	for k, a := range m.wanted {
		if _, ok := m.owned[k]; ok {
			m.owned[k] = a
		}
	}
}

// removeUnwanted removes what is ours, not wanted and not Keep. A kept one
// stays ours, so that a later change of Keep can remove it. With mu held.
func (m *Manager) removeUnwanted(ctx context.Context) error {
	var errs []error
	for k, a := range m.owned {
		if _, ok := m.wanted[k]; ok || a.Keep {
			continue
		}
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err := m.remove(a); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(m.owned, k)
	}
	return errors.Join(errs...)
}

func (m *Manager) remove(a Address) error {
	link, err := netlink.LinkByName(a.Device)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil // gone with its device
	} else if err != nil {
		return explain("remove address", a, err)
	}
	err = netlink.AddrDel(link, kernelForm(a))
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return explain("remove address", a, err)
	}
	m.opts.Logger.Info("address removed", "address", a.Addr.String(), "device", a.Device)
	return nil
}

// save writes down what is ours, or notes why it cannot. A file that cannot be
// read is left as it is. With mu held.
func (m *Manager) save() {
	if m.note = m.load(); m.note != nil {
		return
	}
	m.note = m.store.save(slices.SortedFunc(maps.Values(m.owned), func(a, b Address) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), a.Addr.Compare(b.Addr))
	}))
}

// kernelForm is the address as /32 or /128. IPv6 without duplicate address
// detection: an anycast address is on many hosts, and must answer at once.
func kernelForm(a Address) *netlink.Addr {
	bits := a.Addr.BitLen()
	k := &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr.AsSlice(), Mask: net.CIDRMask(bits, bits)}, Scope: unix.RT_SCOPE_UNIVERSE}
	switch {
	case a.Addr.Is6():
		k.Flags = unix.IFA_F_NODAD
	case a.Addr.IsLoopback():
		k.Scope = unix.RT_SCOPE_HOST
	}
	return k
}

func explain(doing string, a Address, err error) error {
	switch {
	case errors.As(err, &netlink.LinkNotFoundError{}):
		return fmt.Errorf("%s %v: there is no device %s", doing, a, a.Device)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s %v: %w (CAP_NET_ADMIN is needed; for IPv6, sysctl disable_ipv6 of the device must be 0)", doing, a, err)
	}
	return fmt.Errorf("%s %v: %w", doing, a, err)
}

// Check returns which of the wanted addresses are missing now, sorted by
// device and address. It changes nothing. The error is about devices that
// cannot be looked at; their addresses count as missing.
func (m *Manager) Check(context.Context) ([]Address, error) {
	m.mu.Lock()
	wanted := maps.Clone(m.wanted)
	m.mu.Unlock()
	return look(wanted)
}

// Owned returns the addresses that we added, wanted or kept, sorted by device.
func (m *Manager) Owned() []Address {
	m.mu.Lock()
	defer m.mu.Unlock()
	groups := byDevice(m.owned)
	var all []Address
	for _, d := range slices.Sorted(maps.Keys(groups)) {
		all = append(all, groups[d]...)
	}
	return all
}

// Run adds wanted addresses again that somebody removed, or whose device comes
// later, until ctx ends. It removes nothing at the end: call Ensure with an
// empty set for that.
func (m *Manager) Run(ctx context.Context) error {
	changes, stop, err := Watch()
	if err != nil {
		return err
	}
	defer stop()
	timer := time.NewTimer(settle)
	defer timer.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-changes:
			if !ok {
				return errors.New("netlink closed the subscription to devices and addresses")
			}
			timer.Reset(settle)
		case <-timer.C:
			problem := ""
			if err := m.repair(ctx); err != nil {
				problem = err.Error()
				timer.Reset(retry)
			}
			if problem != "" && problem != last {
				m.opts.Logger.Warn("addresses are missing", "error", problem)
			}
			last = problem
		}
	}
}

// repair adds what is missing, if a set is wanted at all.
func (m *Manager) repair(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.wanted) == 0 {
		return nil
	}
	return m.add(ctx)
}
