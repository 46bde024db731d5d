package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/catchment/catchment/pop/lapse"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// maxMessage bounds one message.
const maxMessage = 8 << 20

// server makes the listener; the function it returns serves until its context
// ends. nil: nothing is to be served.
func (n *Node) server(ctx context.Context) (func(context.Context) error, error) {
	if n.opt.listen != nil {
		return func(ctx context.Context) error { return n.opt.listen(ctx, n) }, nil
	}
	if n.opt.dial == nil {
		certs, ok := n.opt.id.(*certificates)
		if !ok {
			return nil, errors.New("no certificate to connect with")
		}
		if _, err := certs.pair(); err != nil {
			return nil, err
		}
		n.opt.dial = certs.dial
	}
	if n.opt.Listen == "" {
		return nil, nil
	}
	certs, ok := n.opt.id.(*certificates)
	if !ok {
		return nil, errors.New("no certificate to listen with")
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", n.opt.Listen)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return n.serve(ctx, l, certs) }, nil
}

func (n *Node) serve(ctx context.Context, l net.Listener, certs *certificates) error {
	srv := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(certs.server())), grpc.ConnectionTimeout(5*time.Second),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage), grpc.MaxConcurrentStreams(256), grpc.MaxHeaderListSize(16<<10),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: time.Minute, Time: 10 * time.Second, Timeout: 5 * time.Second}),
	)
	pb.RegisterRelayServer(srv, &service{n: n, certs: certs})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve %v: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	srv.Stop()
	<-done
	return nil
}

// service is the gRPC side of a node.
type service struct {
	pb.UnimplementedRelayServer
	n     *Node
	certs *certificates
}

// caller is the POP that calls, by its certificate, which must count still.
func (s *service) caller(ctx context.Context) (string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", status.Error(codes.Unauthenticated, "no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return "", status.Error(codes.Unauthenticated, "no certificate")
	}
	cert, err := s.certs.judge(info.State.PeerCertificates[0].Raw)
	if err != nil {
		return "", status.Error(codes.Unauthenticated, "the certificate does not count")
	}
	who := cert.Subject.CommonName
	if !validName(who) || who == s.n.opt.POP {
		return "", status.Errorf(codes.PermissionDenied, "%.200q is no name of another POP", who)
	}
	return who, nil
}

func (s *service) Follow(stream grpc.BidiStreamingServer[pb.Up, pb.Down]) error {
	who, err := s.caller(stream.Context())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	s.n.guests.Go(func() { // ends the stream when the certificate counts no more
		for lapse.Of(ctx, s.certs.again) {
			if _, err := s.caller(ctx); err != nil {
				s.n.expel(who, err)
			}
		}
	})
	return s.n.follow(who, stream)
}

func (s *service) Read(ctx context.Context, req *pb.ReadRequest) (*pb.ReadResponse, error) {
	who, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	return s.n.read(ctx, who, req), nil
}

func (s *service) Commit(ctx context.Context, req *pb.CommitRequest) (*pb.CommitResponse, error) {
	who, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	return s.n.commit(ctx, who, req), nil
}

func (s *service) Lease(ctx context.Context, req *pb.LeaseRequest) (*pb.LeaseResponse, error) {
	who, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	return s.n.lease(ctx, who, req), nil
}

// expel ends a child's stream.
func (n *Node) expel(pop string, why error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.tree.children[pop]; c != nil {
		c.cancel(why)
	}
}

// parentConn is an upstream over gRPC.
type parentConn struct {
	pb.Relay_FollowClient
	client pb.RelayClient
	close  func()
}

// dial connects to a parent. The connection outlives ctx, which bounds only
// how long it may take.
func (c *certificates) dial(ctx context.Context, p Parent) (upstream, error) {
	conn, err := grpc.NewClient("passthrough:///"+p.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(c.client(p.POP))), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
	)
	if err != nil {
		return nil, err
	}
	client := pb.NewRelayClient(conn)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	stream, err := client.Follow(life)
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		conn.Close()
		return nil, err
	}
	return &parentConn{stream, client, sync.OnceFunc(func() { cancel(); conn.Close() })}, nil
}

func (p *parentConn) Close() { p.close() }

func (p *parentConn) Read(ctx context.Context, req *pb.ReadRequest) (*pb.ReadResponse, error) {
	return p.client.Read(ctx, req)
}

func (p *parentConn) Commit(ctx context.Context, req *pb.CommitRequest) (*pb.CommitResponse, error) {
	return p.client.Commit(ctx, req)
}

func (p *parentConn) Lease(ctx context.Context, req *pb.LeaseRequest) (*pb.LeaseResponse, error) {
	return p.client.Lease(ctx, req)
}
