// Package probe holds the checkers: one kind of question a file. A checker
// decides what one answer means (pass, warn, fail, cannot tell, and whether a
// fail is conclusive); it owns no schedule, counts nothing and never retries.
//
// What cannot be blamed on the service is CannotTell: no free port or
// descriptor here, a source address or device that is not there, a name that
// does not resolve, a packet that the local filter forbids, a plugin that
// does not start. A refused connection is conclusive where the address is this
// host's own: then the kernel that says "nobody listens" is the one that would
// take the client's connection. From elsewhere a refusal may come from a
// filter on the way and is one fail like any other.
package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/health"
)

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

// dialer opens connections as the check wants them.
type dialer struct {
	source     netip.Addr // or zero
	device     string     // or empty
	counted    bool       // a refusal is never conclusive
	maxLatency time.Duration
}

func newDialer(c Config) dialer {
	d := dialer{device: c.Device, counted: c.Refused == "counted", maxLatency: c.MaxLatency}
	if c.Source != "" {
		d.source = netip.MustParseAddr(c.Source).Unmap()
	}
	return d
}

// dialError is a failed dial that knows to whom.
type dialError struct {
	to  netip.AddrPort
	err error
}

func (e *dialError) Error() string {
	var op *net.OpError
	if errors.As(e.err, &op) && op.Err != nil {
		var sys *net.OpError
		if !errors.As(op.Err, &sys) {
			return fmt.Sprintf("connect %s: %s", e.to, strings.TrimPrefix(op.Err.Error(), "connect: "))
		}
	}
	return fmt.Sprintf("connect %s: %v", e.to, e.err)
}

func (e *dialError) Unwrap() error { return e.err }

// resolveError is a name that could not be looked up: not the service's fault.
type resolveError struct{ err error }

func (e *resolveError) Error() string { return e.err.Error() }
func (e *resolveError) Unwrap() error { return e.err }

// dial connects by tcp or udp to host:port, trying the host's addresses of
// the source's family one after the other.
func (d dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	n, err := net.DefaultResolver.LookupPort(ctx, network, port)
	if err != nil {
		return nil, &resolveError{err}
	}
	var errs []error
	for _, a := range addrs {
		to := netip.AddrPortFrom(a, uint16(n))
		conn, err := d.dialAddr(ctx, network, to)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, &dialError{to, err})
	}
	if len(errs) == 1 {
		return nil, errs[0]
	}
	return nil, errors.Join(errs...)
}

func (d dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, &resolveError{err}
	}
	var addrs []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); !d.source.IsValid() || a.Is4() == d.source.Is4() {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, &resolveError{fmt.Errorf("%s has no address of the family of %s", host, d.source)}
	}
	return addrs, nil
}

func (d dialer) dialAddr(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	nd := net.Dialer{KeepAlive: -1, ControlContext: d.control}
	nd.SetMultipathTCP(false)
	if d.source.IsValid() {
		if network == "tcp" {
			nd.LocalAddr = &net.TCPAddr{IP: d.source.AsSlice(), Zone: d.source.Zone()}
		} else {
			nd.LocalAddr = &net.UDPAddr{IP: d.source.AsSlice(), Zone: d.source.Zone()}
		}
	}
	return nd.DialContext(ctx, network, to.String())
}

func (d dialer) control(_ context.Context, _, _ string, raw syscall.RawConn) error {
	if d.device == "" {
		return nil
	}
	var err error
	if e := raw.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), d.device) }); e != nil {
		return e
	}
	if err != nil {
		return &bindError{d.device, err}
	}
	return nil
}

// bindError is a device that cannot be bound to.
type bindError struct {
	device string
	err    error
}

func (e *bindError) Error() string { return fmt.Sprintf("bind to device %s: %v", e.device, e.err) }
func (e *bindError) Unwrap() error { return e.err }

// ours are the errors that speak about this host, not about the service.
var ours = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EADDRINUSE,
	syscall.ENODEV, syscall.EPERM, syscall.EACCES, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT, syscall.EINVAL,
}

// judge makes a result of what went wrong.
func (d dialer) judge(ctx context.Context, err error) health.Result {
	res := health.Result{Outcome: health.Fail, Detail: oneLine(err.Error())}
	if ctx.Err() != nil {
		res.Detail = "timeout: " + timedOut(err)
		return res
	}
	var bind *bindError
	var name *resolveError
	if errors.As(err, &bind) || errors.As(err, &name) {
		res.Outcome = health.CannotTell
		return res
	}
	for _, e := range ours {
		if errors.Is(err, e) {
			res.Outcome = health.CannotTell
			return res
		}
	}
	res.Conclusive = !d.counted && refused(err)
	return res
}

// timedOut says what a run was doing when its time was over.
func timedOut(err error) string {
	var dial *dialError
	if errors.As(err, &dial) {
		return fmt.Sprintf("connect %s: no answer", dial.to)
	}
	return "no answer"
}

// refused reports whether every address that was tried is this host's own and
// refused the connection.
func refused(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if !refused(e) {
				return false
			}
		}
		return true
	}
	var dial *dialError
	return errors.Is(err, syscall.ECONNREFUSED) && errors.As(err, &dial) && local(dial.to.Addr())
}

// local reports whether the kernel delivers the address to this host itself.
func local(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	routes, err := netlink.RouteGet(a.AsSlice())
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}

// pass is the result of an answer that was right.
func (d dialer) pass(started time.Time, detail string) health.Result {
	took := time.Since(started)
	if d.maxLatency > 0 && took > d.maxLatency {
		return health.Result{Outcome: health.Warn,
			Detail: fmt.Sprintf("%s, in %v: slower than %v", detail, took.Round(time.Millisecond/10), d.maxLatency)}
	}
	return health.Result{Outcome: health.Pass, Detail: detail}
}

func fail(format string, args ...any) health.Result {
	return health.Result{Outcome: health.Fail, Detail: oneLine(fmt.Sprintf(format, args...))}
}

// worse returns the result that is further from a pass; a fail wins.
func worse(a, b health.Result) health.Result {
	if b.Outcome > a.Outcome || a.Outcome != health.Fail && b.Outcome == health.CannotTell {
		return b
	}
	return a
}

// bind makes reads and writes on the connection end with ctx.
func bind(ctx context.Context, c net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
}

// expect reads until the wanted text has come, the peer closes, or enough was
// read. It returns what was read, and an error only if the text is missing.
func expect(c net.Conn, want string) ([]byte, error) {
	var got []byte
	buf := make([]byte, 4096)
	for len(got) < maxAnswer {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if bytes.Contains(got, []byte(want)) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
	return got, fmt.Errorf("not in the first %d bytes", maxAnswer)
}

// maxDetail bounds what a result says.
const maxDetail = 300

// oneLine makes any text fit for a status line.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.TrimSpace(s)
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "") + "..."
	}
	return s
}

// peerError tells an error on a connected socket apart by its peer, as dial
// does: UDP learns of a refusal only when it reads or writes.
func peerError(c net.Conn, err error) error {
	if a, e := netip.ParseAddrPort(c.RemoteAddr().String()); e == nil {
		return &dialError{netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), err}
	}
	return err
}
