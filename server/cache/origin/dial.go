package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// dialError is a connection that never came up; the library's transport hands it
// through.
type dialError struct {
	kind Kind
	err  error
}

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// Timeout is for the library.
func (e *dialError) Timeout() bool   { return e.kind == KindConnectTimeout }
func (e *dialError) Temporary() bool { return true }

// dialer connects to names by Happy Eyeballs (RFC 8305): the addresses of both
// families in turn, each with a head start over the next, the first that answers
// is taken and the others are given up.
type dialer struct {
	resolver *resolver
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	stagger  time.Duration
	timeout  time.Duration
}

// DialContext is for http.Transport.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &dialError{KindConnect, err}
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	addrs, err := d.resolver.addresses(ctx, host)
	if err != nil {
		return nil, &dialError{KindDNS, err}
	}
	conn, err := d.race(ctx, network, addrs, port)
	if err == nil {
		return conn, nil
	}
	kind := KindConnect
	var t net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout() {
		kind = KindConnectTimeout
	}
	return nil, &dialError{kind, fmt.Errorf("connect to %s: %w", address, err)}
}

type dialed struct {
	conn net.Conn
	err  error
}

// race starts one attempt after the other until one has succeeded.
func (d *dialer) race(ctx context.Context, network string, addrs []netip.Addr, port string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan dialed)
	running := 0
	defer func() {
		cancel()
		for range running { // those given up; each ends by its context
			if r := <-results; r.conn != nil {
				r.conn.Close()
			}
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var first error
	for next := 0; ; {
		var start <-chan time.Time
		if next < len(addrs) {
			start = timer.C
		} else if running == 0 {
			return nil, first
		}
		select {
		case <-start:
			addr := net.JoinHostPort(addrs[next].String(), port)
			next++
			running++
			go func() {
				conn, err := d.dial(ctx, network, addr)
				results <- dialed{conn, err}
			}()
			timer.Reset(d.stagger)
		case r := <-results:
			running--
			if r.err == nil {
				return r.conn, nil
			}
			if first == nil {
				first = r.err
			}
			timer.Reset(0) // the next one at once
		}
	}
}
