package probe

import (
	"context"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/catchment/catchment/health"
)

// grpcCheck asks grpc.health.v1 over a connection of its own.
type grpcCheck struct {
	dialer
	address string
	service string
	tls     *tlsParams // nil: plain
}

func newGRPC(c Config) (health.Checker, error) {
	g := &grpcCheck{dialer: newDialer(c), address: c.Address, service: c.Service}
	if c.TLS {
		host, _, _ := net.SplitHostPort(c.Address)
		p, err := newTLSParams(c, host)
		if err != nil {
			return nil, err
		}
		g.tls = p
	}
	return g, nil
}

func (g *grpcCheck) Check(ctx context.Context) health.Result {
	started := time.Now()
	var dialed dialOutcome
	conn, err := grpc.NewClient("passthrough:///"+g.address,
		grpc.WithTransportCredentials(g.credentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := g.dial(ctx, "tcp", g.address)
			dialed.set(err)
			return c, err
		}),
		grpc.WithDisableServiceConfig(), grpc.WithUserAgent("catchment"), grpc.WithNoProxy())
	if err != nil {
		return health.Result{Detail: oneLine(err.Error())}
	}
	defer conn.Close()
	var server peer.Peer
	reply, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: g.service}, grpc.Peer(&server))
	if err != nil {
		return g.failed(ctx, err, dialed.get())
	}
	if s := reply.GetStatus(); s != healthpb.HealthCheckResponse_SERVING {
		return fail("%s", s)
	}
	res := g.pass(started, "SERVING")
	if info, ok := server.AuthInfo.(credentials.TLSInfo); ok {
		res = worse(res, g.tls.expiry(info.State))
	}
	return res
}

func (g *grpcCheck) credentials() credentials.TransportCredentials {
	if g.tls == nil {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(g.tls.config.Clone())
}

func (g *grpcCheck) failed(ctx context.Context, err, dial error) health.Result {
	switch {
	case ctx.Err() == nil && dial != nil:
		return g.judge(ctx, dial)
	case ctx.Err() != nil:
		return g.judge(ctx, err)
	}
	s := status.Convert(err)
	if s.Code() == codes.Unimplemented {
		return fail("the server has no grpc.health.v1")
	}
	return fail("%s: %s", s.Code(), s.Message())
}

// dialOutcome is how the last dial ended, which gRPC hides in a text.
type dialOutcome struct {
	mu  sync.Mutex
	err error
}

func (d *dialOutcome) set(err error) { d.mu.Lock(); d.err = err; d.mu.Unlock() }

func (d *dialOutcome) get() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}
