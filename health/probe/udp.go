package probe

import (
	"context"
	"strings"
	"time"

	"github.com/catchment/catchment/health"
)

// udpCheck sends one datagram and wants one back. The kernel reports a port
// that nobody has opened (ICMP port unreachable) as connection refused.
type udpCheck struct {
	dialer
	address      string
	send, expect string
}

func newUDP(c Config) health.Checker {
	return &udpCheck{dialer: newDialer(c), address: c.Address, send: c.Send, expect: c.Expect}
}

func (u *udpCheck) Check(ctx context.Context) health.Result {
	started := time.Now()
	conn, err := u.dial(ctx, "udp", u.address)
	if err != nil {
		return u.judge(ctx, err)
	}
	defer conn.Close()
	defer bind(ctx, conn)()
	if _, err := conn.Write([]byte(u.send)); err != nil {
		return u.judge(ctx, peerError(conn, err))
	}
	buf := make([]byte, maxAnswer)
	last := ""
	for {
		n, err := conn.Read(buf)
		if err != nil {
			if last != "" {
				return fail("want %q, got %.80q", u.expect, last)
			}
			return u.judge(ctx, peerError(conn, err))
		}
		if last = string(buf[:n]); strings.Contains(last, u.expect) {
			return u.pass(started, "answered")
		}
	}
}
