// Package tap reads the large TCP flows of a host's anycast addresses, cheaply
// enough for each second however many sockets there are beside them. Small BPF
// programs (bpf/tap.c) mark a socket when so much is written to it that it
// counts, and read the marked ones without taking their locks; what is told of
// them goes to memory that this process has mapped. sock_diag, by contrast,
// locks each socket of the host to say how much it has sent.
//
// It needs CAP_BPF and CAP_PERFMON when it is opened, and Linux 6.3. Nothing
// of it stays after Close or the end of the process. It decides nothing and
// changes no socket; package flow uses it where it can, and sock_diag else.
package tap

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

//go:embed tap.o
var object []byte

// DefaultSlots is how many large flows one walk over the sockets tells of;
// where there are more of them, a pass makes several walks.
const DefaultSlots = 16384

// Tap is the programs in the kernel. Its methods may be called from any
// goroutine.
type Tap struct {
	mu      sync.Mutex
	vips    map[netip.Addr]bool
	objs    *ebpf.Collection
	written link.Link  // marks sockets as they are written to
	read    *link.Iter // reads those that are marked
	state   *pass      // mapped, as are
	flows   []record
	hz      uint64 // jiffies a second; 0: not known yet
	parts   uint32
	maps    [][]byte
}

// Options say what a Tap tells of.
type Options struct {
	Least uint64 // bytes from which on a flow counts
	Slots int    // memory of a walk, in flows of 120 bytes; 0: DefaultSlots
}

// Open brings the programs into the kernel, for the network namespace of the
// calling thread. Until SetVIPs they mark nothing.
func Open(o Options) (*Tap, error) {
	o.Slots = cmp.Or(o.Slots, DefaultSlots)
	spec, err := o.spec()
	if err != nil {
		return nil, fmt.Errorf("tap: the programs: %w", err)
	}
	objs, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("tap: the kernel does not take the programs: %w", err)
	}
	t := &Tap{objs: objs, vips: map[netip.Addr]bool{}, parts: 1}
	if err := t.attach(o.Slots); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// spec is what is brought into the kernel.
func (o *Options) spec() (*ebpf.CollectionSpec, error) {
	var ns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		return nil, err
	}
	spec.Maps["flows"].MaxEntries = uint32(o.Slots)
	return spec, errors.Join(spec.Variables["netns"].Set(uint32(ns.Ino)), spec.Variables["slots"].Set(uint32(o.Slots)),
		spec.Variables["least"].Set(o.Least))
}

func (t *Tap) attach(slots int) (err error) {
	if t.written, err = link.AttachTracing(link.TracingOptions{Program: t.objs.Programs["written"]}); err != nil {
		return fmt.Errorf("tap: mark: %w", err)
	}
	if t.read, err = link.AttachIter(link.IterOptions{Program: t.objs.Programs["read"], Map: t.objs.Maps["marks"]}); err != nil {
		return fmt.Errorf("tap: read: %w", err)
	}
	state, err := t.mapped("state", 1, unsafe.Sizeof(pass{}), unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return err
	}
	flows, err := t.mapped("flows", slots, unsafe.Sizeof(record{}), unix.PROT_READ)
	if err != nil {
		return err
	}
	t.state = (*pass)(unsafe.Pointer(&state[0]))
	t.flows = unsafe.Slice((*record)(unsafe.Pointer(&flows[0])), slots)
	return nil
}

// mapped makes the memory of a map of n values ours too.
func (t *Tap) mapped(name string, n int, size uintptr, prot int) ([]byte, error) {
	if have := t.objs.Maps[name].ValueSize(); uintptr(have) != size {
		return nil, fmt.Errorf("tap: a value of %s has %d bytes there and %d here: run make bpf", name, have, size)
	}
	b, err := unix.Mmap(t.objs.Maps[name].FD(), 0, n*int(size), prot, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("tap: memory of %s: %w", name, err)
	}
	t.maps = append(t.maps, b)
	return b, nil
}

// Close takes the programs and all marks out of the kernel.
func (t *Tap) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	t.state, t.flows = nil, nil
	for _, b := range t.maps {
		errs = append(errs, unix.Munmap(b))
	}
	t.maps = nil
	if t.written != nil {
		errs = append(errs, t.written.Close())
	}
	if t.read != nil {
		errs = append(errs, t.read.Close())
	}
	t.objs.Close()
	return errors.Join(errs...)
}

// SetVIPs says whose sockets are marked from now on, those that are large
// already as well: one walk over all TCP sockets of the host, where an address
// is new. Sockets of an address that is left out stay marked where they are.
func (t *Tap) SetVIPs(vips []netip.Addr) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == nil {
		return errClosed
	}
	want := make(map[netip.Addr]bool, len(vips))
	for _, a := range vips {
		want[a.Unmap().WithZone("")] = true
	}
	m, fresh := t.objs.Maps["vips"], false
	for a := range want {
		if !t.vips[a] {
			if err := m.Put(a.As16(), uint8(1)); err != nil {
				return fmt.Errorf("tap: address %v: %w", a, err)
			}
			t.vips[a], fresh = true, true
		}
	}
	for a := range t.vips {
		if !want[a] {
			if err := m.Delete(a.As16()); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return fmt.Errorf("tap: address %v: %w", a, err)
			}
			delete(t.vips, a)
		}
	}
	if !fresh {
		return nil
	}
	it, err := link.AttachIter(link.IterOptions{Program: t.objs.Programs["before"]})
	if err != nil {
		return fmt.Errorf("tap: sockets that are there: %w", err)
	}
	defer it.Close()
	return walk(it)
}

var errClosed = errors.New("tap: closed")

// walk lets a program see all that there is.
func walk(it *link.Iter) error {
	r, err := it.Open()
	if err != nil {
		return fmt.Errorf("tap: walk: %w", err)
	}
	defer r.Close()
	var b [64]byte
	for {
		// EAGAIN: it has seen a million, and goes on.
		if _, err := r.Read(b[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil && !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("tap: walk: %w", err)
		}
	}
}

// Read tells of each flow that has had Options.Least bytes acknowledged, and
// returns how many sockets are marked: these, and those that were only written
// so much. What each is given is overwritten by the next.
func (t *Tap) Read(each func(*Flow)) (sockets int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == nil {
		return 0, errClosed
	}
	parts, largest := t.parts, uint32(0)
	for part := range parts {
		*t.state = pass{Parts: parts, Part: part}
		if err := walk(t.read); err != nil {
			return sockets, err
		}
		sockets, largest = int(t.state.Sockets), max(largest, t.state.Flows)
		if t.hz == 0 && t.state.Sockets > 0 {
			t.hz = frequency(t.state.Jiffies, t.state.Clock)
		}
		var f Flow
		for i := range min(int(t.state.Flows), len(t.flows)) {
			t.flows[i].flow(&f, uint32(t.state.Jiffies), t.hz)
			each(&f)
		}
	}
	t.parts = max(1, (parts*largest*5/4+uint32(len(t.flows))-1)/uint32(len(t.flows)))
	return sockets, nil
}
