package probe

import (
	"context"
	"net"
	"time"

	"github.com/catchment/catchment/health"
)

// tcpCheck connects, shakes hands if it is a tls check, sends and expects. A
// plain connect passes on a process that is stopped, because the kernel
// accepts in its stead: give it something to expect.
type tcpCheck struct {
	dialer
	address      string
	send, expect string
	tls          *tlsParams // nil: plain
}

func newTCP(c Config) (health.Checker, error) {
	t := &tcpCheck{dialer: newDialer(c), address: c.Address, send: c.Send, expect: c.Expect}
	if c.Type == TLS {
		host, _, _ := net.SplitHostPort(c.Address)
		p, err := newTLSParams(c, host)
		if err != nil {
			return nil, err
		}
		t.tls = p
	}
	return t, nil
}

func (t *tcpCheck) Check(ctx context.Context) health.Result {
	started := time.Now()
	conn, err := t.dial(ctx, "tcp", t.address)
	if err != nil {
		return t.judge(ctx, err)
	}
	defer conn.Close()
	defer bind(ctx, conn)()
	res := health.Result{Outcome: health.Pass}
	detail := "connected"
	if t.tls != nil {
		client, err := t.tls.client(ctx, conn)
		if err != nil {
			return t.judge(ctx, err)
		}
		conn = client
		res = t.tls.expiry(client.ConnectionState())
		detail = "TLS up"
	}
	if t.send != "" {
		if _, err := conn.Write([]byte(t.send)); err != nil {
			return t.judge(ctx, err)
		}
	}
	if t.expect != "" {
		got, err := expect(conn, t.expect)
		switch {
		case ctx.Err() != nil:
			return fail("timeout: %q did not come, got %.80q", t.expect, got)
		case err != nil:
			return fail("want %q, got %.80q: %v", t.expect, got, err)
		}
		detail = "answered"
	}
	return worse(t.pass(started, detail), res)
}
