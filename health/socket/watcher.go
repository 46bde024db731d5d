// Package socket lets the kernel say when a service has died, so that no poll
// interval stands in the way, and what connections an address has.
//
// A Watcher gives hints, never verdicts: that a listening socket was closed
// (sock_diag destroy groups) or that a process ended (pidfd). Whoever gets a
// hint probes; a closed listener may be one of several, or a reload.
//
// The destroy groups need no capability, and no permission on the process.
// They report sockets of the network namespace in which Run was called: a
// service in another namespace (a container with its own) is not seen. The
// message comes when the kernel frees the socket, after a grace period of RCU
// (a few milliseconds), while a pidfd fires when the process is gone. A pidfd
// needs no capability either, but the process must be in the same or a nested
// PID namespace. Where something is missing it is logged once, and polling
// goes on without hints.
package socket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/server/sockdiag"
)

// Options of a Watcher.
type Options struct {
	Logger *slog.Logger
	// OnHint is called from the watcher's goroutines, several at a time, and
	// must be quick. health.Runner.Hint fits.
	OnHint func(health.Hint)
}

// Watcher watches listening sockets and processes.
type Watcher struct {
	opt  Options
	kick chan struct{} // the PID files have changed

	mu       sync.Mutex
	byPort   map[uint16][]netip.AddrPort
	pidFiles []string
	sock     *sockdiag.Conn // while Run has one
	test     netip.AddrPort
	works    bool
}

// NewWatcher returns a watcher of nothing.
func NewWatcher(opt Options) *Watcher {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.OnHint == nil {
		opt.OnHint = func(health.Hint) {}
	}
	return &Watcher{opt: opt, kick: make(chan struct{}, 1)}
}

// Set replaces what is watched: the addresses under which a service is
// reached (a listener on the wildcard address of the port counts too, and
// TCP as well as UDP) and the files that hold the number of its process. It
// may be called before and during Run.
func (w *Watcher) Set(addrs []netip.AddrPort, pidFiles []string) {
	byPort := make(map[uint16][]netip.AddrPort)
	for _, a := range addrs {
		byPort[a.Port()] = append(byPort[a.Port()], a)
	}
	w.mu.Lock()
	w.byPort, w.pidFiles = byPort, slices.Clone(pidFiles)
	w.filter()
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// Works reports whether the kernel has been seen to report closed sockets:
// Run closes one of its own to find out.
func (w *Watcher) Works() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.works
}

// Run watches until ctx ends and returns nil. What the kernel does not offer
// is logged, not returned: checks go on by the clock.
func (w *Watcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { w.watchSockets(ctx) })
	wg.Go(func() { w.watchProcesses(ctx) })
	wg.Wait()
	return nil
}

const (
	destroyGroups = 1<<(unix.SKNLGRP_INET_TCP_DESTROY-1) | 1<<(unix.SKNLGRP_INET6_TCP_DESTROY-1) |
		1<<(unix.SKNLGRP_INET_UDP_DESTROY-1) | 1<<(unix.SKNLGRP_INET6_UDP_DESTROY-1)
	receiveBuffer = 1 << 20
	testWait      = 3 * time.Second
	retryOpen     = 30 * time.Second
)

// watchSockets listens to the destroy groups, and tries again where that
// stops working.
func (w *Watcher) watchSockets(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		err := w.listen(ctx)
		if err != nil && err.Error() != said {
			said = err.Error()
			w.opt.Logger.Warn("health/socket: no hints from the kernel about closed sockets, polling only", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryOpen):
		}
	}
}

func (w *Watcher) listen(ctx context.Context) error {
	f, err := sockdiag.Open(destroyGroups)
	if err != nil {
		return err
	}
	defer f.Close()
	w.grow(f.File())
	w.mu.Lock()
	w.sock = f
	w.mu.Unlock()
	defer func() { w.mu.Lock(); w.sock = nil; w.mu.Unlock() }()
	w.selfTest()
	defer context.AfterFunc(ctx, func() { _ = f.File().SetReadDeadline(time.Unix(1, 0)) })()
	defer time.AfterFunc(testWait, w.tested).Stop()
	return w.read(ctx, f)
}

func (w *Watcher) read(ctx context.Context, f *sockdiag.Conn) error {
	var overrun time.Time
	for {
		b, err := f.Receive()
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, syscall.ENOBUFS):
			// Messages were lost: any listener may have gone.
			if now.Sub(overrun) > time.Second {
				overrun = now
				w.hintAll(now)
			}
			continue
		case err != nil:
			return fmt.Errorf("read sock_diag: %w", err)
		}
		if _, err := sockdiag.Parse(b, func(s *sockdiag.Socket) { w.closed(s, now) }); err != nil {
			w.opt.Logger.Debug("health/socket: message not understood", "error", err)
		}
	}
}

// grow makes room for bursts: a server with many listeners going down.
func (w *Watcher) grow(f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
		}
	})
}

// closed gives the hints about one closed socket.
func (w *Watcher) closed(s *sockdiag.Socket, now time.Time) {
	if s.Remote.Port() != 0 {
		return // a connection
	}
	w.mu.Lock()
	if s.Local == w.test {
		w.works, w.test = true, netip.AddrPort{}
		w.filter()
	}
	var hit []netip.AddrPort
	for _, a := range w.byPort[s.Local.Port()] {
		if covers(s, a.Addr()) {
			hit = append(hit, a)
		}
	}
	w.mu.Unlock()
	for _, a := range hit {
		w.opt.OnHint(health.Hint{Addr: a, By: health.BySocket, At: now})
	}
}

// covers reports whether a listener took connections to the address: it was
// bound to it, or to the wildcard of its family; that of IPv6 may take IPv4.
func covers(s *sockdiag.Socket, a netip.Addr) bool {
	local := s.Local.Addr()
	if !local.IsUnspecified() {
		return local == a.Unmap().WithZone("")
	}
	return s.Family == unix.AF_INET6 || a.Unmap().Is4()
}

func (w *Watcher) hintAll(now time.Time) {
	w.mu.Lock()
	var all []netip.AddrPort
	for _, addrs := range w.byPort {
		all = append(all, addrs...)
	}
	w.mu.Unlock()
	for _, a := range all {
		w.opt.OnHint(health.Hint{Addr: a, By: health.BySocket, At: now})
	}
}

// selfTest closes a listener of our own, whose message shows that the kernel
// tells us.
func (w *Watcher) selfTest() {
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	w.mu.Lock()
	w.test = netip.AddrPort{}
	if err == nil {
		w.test = netip.MustParseAddrPort(l.Addr().String())
	}
	w.filter()
	w.mu.Unlock()
	if err == nil {
		_ = l.Close()
	}
}

// tested complains if the test's message has not come.
func (w *Watcher) tested() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.test.IsValid() {
		w.test = netip.AddrPort{}
		w.works = false
		w.filter()
		w.opt.Logger.Warn("health/socket: the kernel does not report closed sockets (module tcp_diag?), polling only")
	}
}
