package front

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Refuse names the local addresses at which new connections are refused, all of them at a time; those that are there go on. nil: none
// is refused any more, at once. It may be called at any time; after Drain it means nothing.
//
// A listener that has one of them alone is taken out of the kernel's LISTEN state by shutdown(2), its port kept, until it listens
// again: who connects gets a RST for the SYN, connect fails with ECONNREFUSED, and a client that has several addresses goes to the
// next at once (RFC 6555 §4, RFC 8305 §5), which it would not do after a connect that succeeds. What waits to be accepted is served;
// a handshake that is half done ends with a RST. The kernel counts none of these.
//
// Connections from this host are taken all the same: what checks this server must not find it down because it was told to refuse
// others, for it would keep the route away when that is over. Who connects from this host comes by the loopback device, and there,
// alone, another socket listens meanwhile.
//
// Where a listener has other addresses too ([::]), or the kernel will not do this, connections are accepted and reset at once, those
// from a loopback address or the very address that they ask excepted. HTTP/3 is refused by CONNECTION_REFUSED (RFC 9000 §20.1).
func (f *Front) Refuse(addrs []netip.Addr) {
	set := setOf(addrs)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusing.Store(&set)
	f.setDoors()
}

// setDoors has each listener be as Refuse said last. f.mu is held.
func (f *Front) setDoors() {
	set := f.refusing.Load()
	if set == nil || f.draining.Load() {
		return
	}
	for _, p := range f.ports {
		d := p.door
		if d == nil {
			continue
		}
		d.resets.Store(false)
		switch want := (*set)[d.addr]; {
		case !want && d.shut():
			f.reopen(p)
		case want && !d.shut():
			if err := f.shut(p); err != nil {
				f.log.Warn("new connections are accepted and reset, for the kernel does not refuse them", "listener", p.tcp.Addr(), "err", err)
				d.resets.Store(true)
			}
		}
	}
}

// door is how the kernel refuses connections of a port.
type door struct {
	addr   netip.Addr
	inside *port       // takes connections of this host; nil: it was never shut. It stays open, so that no check comes between. Guarded by Front.mu.
	resets atomic.Bool // the kernel would not: connections are accepted and reset

	mu     sync.Mutex
	opened chan struct{} // nil: it is not shut; else closed when it is not any more
	turn   int           // how many times it was shut
	err    error         // it could not be opened again
}

func (d *door) shut() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opened != nil
}

// close notes that it is to be shut.
func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened, d.turn = make(chan struct{}), d.turn+1
}

// open notes that it is not shut any more; err says that it stays so for good.
func (d *door) open(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opened != nil {
		close(d.opened)
	}
	d.opened, d.err = nil, err
}

// await returns, for who was told EINVAL by accept, when the port listens again; an error where it was not shut since turn.
func (d *door) await(turn *int, told error) error {
	if d == nil {
		return told
	}
	d.mu.Lock()
	opened, since := d.opened, *turn
	*turn = d.turn
	d.mu.Unlock()
	if opened != nil {
		<-opened
	} else if since == *turn {
		return told
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// shut has the kernel refuse connections of p, but for those of this host.
func (f *Front) shut(p *port) error {
	raw, err := p.tcp.SyscallConn()
	if err == nil {
		err = f.openInside(p, raw) // before the other is shut: a check always finds one
	}
	if err != nil {
		return err
	}
	p.door.close()
	waiting, err := shutdown(raw)
	if err != nil {
		p.door.open(nil)
	}
	for _, nc := range waiting {
		f.take(nc, p)
	}
	return err
}

// openInside listens where p does, for connections that come by the loopback device.
func (f *Front) openInside(p *port, raw syscall.RawConn) error {
	if p.door.inside != nil {
		return nil
	}
	lc := f.listenConfig()
	lc.Control = func(network, address string, raw syscall.RawConn) error {
		return errors.Join(f.control(network, address, raw), setReuse(raw, true), control(raw, func(fd int) error { return unix.BindToDevice(fd, f.inside) }))
	}
	return f.shared(raw, func() error {
		ln, err := lc.Listen(context.Background(), "tcp", p.tcp.Addr().String())
		if err != nil {
			return err
		}
		in := &port{tcp: ln.(*net.TCPListener), tls: p.tls, altSvc: p.altSvc, altSvcLine: p.altSvcLine}
		if err := f.listenOptions(in.tcp); err != nil {
			in.close()
			return err
		}
		p.door.inside = in
		if f.served {
			f.takeInside(p)
		}
		return nil
	})
}

// shared does what needs that two sockets may have the same address and port: both say so meanwhile, and are of the same user. It is not
// for long: a socket that listens and says so may be given what the other would get.
func (f *Front) shared(raw syscall.RawConn, do func() error) error {
	if err := setReuse(raw, true); err != nil {
		return err
	}
	return errors.Join(do(), setReuse(raw, f.opts.ReusePort))
}

// takeInside accepts what comes from this host. What breaks there is for the checks to find: they use it.
func (f *Front) takeInside(p *port) {
	in := p.door.inside
	f.wg.Go(func() {
		if err := f.accept(in); err != nil {
			f.log.Error("connections of this host are not accepted", "listener", in.tcp.Addr(), "err", err)
		}
	})
}

// reopen has p listen again. What cannot is an error of its accept loop.
func (f *Front) reopen(p *port) {
	raw, err := p.tcp.SyscallConn()
	if err == nil {
		err = f.shared(raw, func() error {
			return control(raw, func(fd int) error { return unix.Listen(fd, math.MaxInt32) }) // the kernel takes as many as it may
		})
	}
	if err != nil {
		err = fmt.Errorf("front: listen %s again: %w", p.tcp.Addr(), err)
	}
	p.door.open(err)
}

// shutdown ends listening, and gives the connections that wait to be accepted, which it would reset.
func shutdown(raw syscall.RawConn) (waiting []*net.TCPConn, err error) {
	var fds []int
	err = control(raw, func(fd int) error {
		for {
			n, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch {
			case err == nil:
				fds = append(fds, n)
			case err != unix.EINTR && err != unix.ECONNABORTED: // EAGAIN: nobody waits
				return unix.Shutdown(fd, unix.SHUT_RD)
			}
		}
	})
	for _, fd := range fds {
		file := os.NewFile(uintptr(fd), "")
		if nc, err := net.FileConn(file); err == nil {
			waiting = append(waiting, nc.(*net.TCPConn))
		}
		file.Close()
	}
	return waiting, err
}

// setReuse says whether other sockets of this user may have the same address and port.
func setReuse(raw syscall.RawConn, on bool) error {
	v := 0
	if on {
		v = 1
	}
	return control(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, v) })
}

// control runs do with the descriptor.
func control(raw syscall.RawConn, do func(fd int) error) error {
	var derr error
	err := raw.Control(func(fd uintptr) { derr = do(int(fd)) })
	return errors.Join(err, derr)
}

// turnsAway says whether a connection that was accepted is to be reset: where the kernel could not refuse it.
func (f *Front) turnsAway(p *port, local, remote netip.Addr) bool {
	switch {
	case p.door == nil && !p.many, p.door != nil && !p.door.resets.Load():
		return false
	}
	return f.refuses(local, remote)
}

// refuses says whether a connection is to be refused by what Refuse said last.
func (f *Front) refuses(local, remote netip.Addr) bool {
	set := f.refusing.Load()
	local, remote = local.Unmap().WithZone(""), remote.Unmap().WithZone("")
	return set != nil && (*set)[local] && remote != local && !remote.IsLoopback()
}

// setOf are local addresses as they are compared.
func setOf(addrs []netip.Addr) map[netip.Addr]bool {
	set := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		set[a.Unmap().WithZone("")] = true
	}
	return set
}
