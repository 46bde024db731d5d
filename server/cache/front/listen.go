package front

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// port is one open listener.
type port struct {
	tcp    *net.TCPListener
	packet net.PacketConn // for HTTP/3, or nil
	tls    bool
	door   *door // by which the kernel refuses connections; nil: it cannot
	many   bool  // it may have connections of several addresses

	altSvc     string // value of Alt-Svc, when HTTP/3 is served here
	altSvcLine string // the same as a whole line
}

// Listen opens all sockets. When one fails, none stays open.
func (f *Front) Listen(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.ports) > 0 {
		return errors.New("front: listening already")
	}
	for i := range f.opts.Listen {
		if err := f.open(ctx, &f.opts.Listen[i]); err != nil {
			for _, p := range f.ports {
				p.close()
			}
			f.ports = nil
			return err
		}
	}
	if err := f.prepareH3(); err != nil {
		return err
	}
	f.setDoors()
	return nil
}

// open opens one of the places to listen at.
func (f *Front) open(ctx context.Context, l *Listen) error {
	p := &port{tcp: l.Listener, packet: l.Packet, tls: l.TLS}
	if p.tcp == nil {
		lc := f.listenConfig()
		ln, err := lc.Listen(ctx, "tcp", l.Address)
		if err != nil {
			return fmt.Errorf("front: listen %s: %w", l.Address, err)
		}
		p.tcp = ln.(*net.TCPListener)
	}
	p.setDoor(l)
	f.ports = append(f.ports, p)
	if err := f.listenOptions(p.tcp); err != nil {
		return fmt.Errorf("front: listen %s: %w", p.tcp.Addr(), err)
	}
	if l.H3 && p.packet == nil {
		lc := net.ListenConfig{Control: f.control}
		pc, err := lc.ListenPacket(ctx, "udp", p.tcp.Addr().String())
		if err != nil {
			return fmt.Errorf("front: listen %s for HTTP/3: %w", l.Address, err)
		}
		p.packet = pc
	}
	return nil
}

// setDoor gives p a door where the kernel may be the one to refuse: it has one address alone, and a port that was asked for, for one
// that the kernel has chosen is lost when a socket stops listening. What is inherited may be anything.
func (p *port) setDoor(l *Listen) {
	at := addrPort(p.tcp.Addr())
	_, asked, _ := net.SplitHostPort(l.Address)
	if p.many = at.Addr().IsUnspecified() || l.Listener != nil || asked == "0"; !p.many {
		p.door = &door{addr: at.Addr().WithZone("")}
	}
}

func (f *Front) listenConfig() net.ListenConfig {
	return net.ListenConfig{KeepAlive: 15 * time.Second, Control: f.control}
}

func (p *port) close() {
	p.tcp.Close()
	if p.packet != nil {
		p.packet.Close()
	}
}

// control sets what must be set before bind. An address that is not on this host yet is one that comes later: a VIP is put on
// its device by somebody else, whenever that starts (IP_FREEBIND, which counts for sockets of both families).
func (f *Front) control(_, _ string, raw syscall.RawConn) error {
	var serr error
	if err := raw.Control(func(fd uintptr) {
		serr = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
		if f.opts.ReusePort && serr == nil {
			serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}
	}); err != nil {
		return err
	}
	return serr
}

// listenOptions sets on the listener what accepted connections inherit, so that they cost no system call each.
func (f *Front) listenOptions(ln *net.TCPListener) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	o := &f.opts
	var serr error
	set := func(fd uintptr, opt, v int) {
		if v > 0 && serr == nil {
			serr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, opt, v)
		}
	}
	err = raw.Control(func(fd uintptr) {
		set(fd, unix.TCP_DEFER_ACCEPT, int((o.DeferAccept+time.Second-1)/time.Second))
		set(fd, unix.TCP_USER_TIMEOUT, int(o.UserTimeout/time.Millisecond))
		set(fd, unix.TCP_NOTSENT_LOWAT, o.NotSentLow)
	})
	return errors.Join(err, serr)
}

// Addrs are the addresses listened at, in the order of Options.Listen; nil before Listen.
func (f *Front) Addrs() []net.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []net.Addr
	for _, p := range f.ports {
		list = append(list, p.tcp.Addr())
	}
	return list
}

// accept takes connections until the listener is closed.
func (f *Front) accept(p *port) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	turn := 0
	for {
		nc, err := p.tcp.AcceptTCP()
		switch {
		case err == nil:
			f.take(nc, p)
			continue
		case errors.Is(err, net.ErrClosed):
			return nil
		case errors.Is(err, unix.EINVAL): // it does not listen: see Refuse
			if err = p.door.await(&turn, err); err == nil {
				continue
			}
		}
		f.stats.acceptErrors.Add(1)
		f.log.Warn("accept", "listener", p.tcp.Addr(), slog.Any("err", err))
		if !temporary(err) {
			return fmt.Errorf("front: accept at %s: %w", p.tcp.Addr(), err)
		}
		pause.Reset(acceptPause)
		select {
		case <-pause.C:
		case <-f.stop:
			return nil
		}
	}
}

// acceptPause is how long a listener rests when the process is out of descriptors or memory.
const acceptPause = 20 * time.Millisecond

func temporary(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EINTR, unix.EPROTO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// take begins to serve one accepted connection, unless a limit forbids it.
func (f *Front) take(nc *net.TCPConn, p *port) {
	f.stats.accepted.Add(1)
	remote, local := addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	if f.turnsAway(p, local.Addr(), remote.Addr()) {
		f.stats.refusedLeft.Add(1)
		nc.SetLinger(0)
		nc.Close()
		return
	}
	switch f.reg.admit(remote.Addr()) {
	case overAll:
		f.stats.refusedAll.Add(1)
		nc.Close()
		return
	case overClient:
		f.stats.refusedClient.Add(1)
		nc.Close()
		return
	}
	c := &Conn{front: f, port: p, remote: remote, local: local, began: time.Now(), secure: p.tls}
	s, err := newSock(nc, c, &f.opts.Limits, &f.stats)
	if err != nil {
		nc.Close()
		f.reg.release(remote.Addr())
		return
	}
	c.sock, c.stream = s, s
	f.reg.add(c)
	if f.closed.Load() {
		c.finish()
	}
	f.wg.Go(c.serve)
}

func addrPort(a net.Addr) netip.AddrPort {
	switch v := a.(type) {
	case *net.TCPAddr:
		ap := v.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	case *net.UDPAddr:
		ap := v.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
