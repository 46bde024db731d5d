package gobgp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/osrg/gobgp/v3/pkg/server"
	"google.golang.org/grpc"
)

// apiListener is GoBGP's gRPC API. v3 listens by itself, in a goroutine, and
// calls Fatal where it cannot; so the addresses are tried first, the socket is
// made under another name and renamed once its mode is right, and a Fatal
// that still comes ends Run with an error.
type apiListener struct {
	socket, hidden string // final and first name of the Unix socket
	tcp            string
	group          int // owns the socket, too, where not 0
}

const (
	socketMode = 0o660
	socketWait = 5 * time.Second
	socketPoll = 5 * time.Millisecond
)

func listenAPI(socket, tcp string) (*apiListener, error) {
	a := &apiListener{tcp: tcp}
	if tcp != "" {
		l, err := net.Listen("tcp", tcp)
		if err != nil {
			return nil, fmt.Errorf("GoBGP API: %w", err)
		}
		l.Close()
	}
	if socket == "" {
		return a, nil
	}
	if strings.Contains(socket, ",") {
		return nil, fmt.Errorf("GoBGP API: socket %s: a comma separates addresses there", socket)
	}
	if err := removeStale(socket); err != nil {
		return nil, fmt.Errorf("GoBGP API: %w", err)
	}
	a.socket, a.hidden = socket, fmt.Sprintf("%s.%d", socket, os.Getpid())
	if err := removeStale(a.hidden); err != nil {
		return nil, fmt.Errorf("GoBGP API: %w", err)
	}
	l, err := net.Listen("unix", a.hidden) // a missing directory is an error here
	if err != nil {
		return nil, fmt.Errorf("GoBGP API: %w", err)
	}
	l.Close() // and removes it
	return a, nil
}

// removeStale removes a socket that nobody answers on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is not a socket", path)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return fmt.Errorf("%s: another process answers on it", path)
	}
	return os.Remove(path)
}

// judge is asked about each request before GoBGP sees it. A response is the
// answer in GoBGP's place; an error refuses.
type judge func(ctx context.Context, method string, request any) (response any, err error)

func (a *apiListener) options(judge judge, o *Options) []server.ServerOption {
	var hosts []string
	if a.hidden != "" {
		hosts = append(hosts, "unix://"+a.hidden)
	}
	if a.tcp != "" {
		hosts = append(hosts, a.tcp)
	}
	if len(hosts) == 0 {
		return nil
	}
	secrets := o.SeesSecrets
	if secrets == nil {
		secrets = func(context.Context) bool { return true }
	}
	unary := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (_ any, err error) {
		defer recovered(info.FullMethod, &err)
		if answer, err := judge(ctx, info.FullMethod, req); answer != nil || err != nil {
			return answer, err
		}
		return h(ctx, req)
	}
	stream := func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) (err error) {
		defer recovered(info.FullMethod, &err)
		if !isGoBGP(info.FullMethod) {
			return h(srv, ss) // of ours, which judge themselves
		}
		return h(srv, &guarded{ss, info.FullMethod, judge, secrets})
	}
	opts := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(unary), grpc.ChainStreamInterceptor(stream),
		grpc.UnknownServiceHandler(newServices(o.APIServices).handle),
	}
	if o.APICredentials != nil {
		opts = append(opts, grpc.Creds(o.APICredentials))
	}
	return []server.ServerOption{server.GrpcListenAddress(strings.Join(hosts, ",")), server.GrpcOption(opts)}
}

// publish waits until GoBGP listens and gives the socket its mode and name.
func (a *apiListener) publish(ctx context.Context, fatal <-chan error) error {
	deadline := time.After(socketWait)
	tick := time.NewTicker(socketPoll)
	defer tick.Stop()
	for !a.up() {
		select {
		case err := <-fatal:
			return err
		case <-ctx.Done():
			return nil
		case <-deadline:
			return errors.New("GoBGP API: does not listen")
		case <-tick.C:
		}
	}
	if a.socket == "" {
		return nil
	}
	if err := os.Chmod(a.hidden, socketMode); err != nil {
		return fmt.Errorf("GoBGP API: %w", err)
	}
	if a.group != 0 {
		if err := os.Lchown(a.hidden, -1, a.group); err != nil {
			return fmt.Errorf("GoBGP API: %w", err)
		}
	}
	if err := os.Rename(a.hidden, a.socket); err != nil {
		return fmt.Errorf("GoBGP API: %w", err)
	}
	return nil
}

func (a *apiListener) up() bool {
	for network, addr := range map[string]string{"unix": a.hidden, "tcp": a.tcp} {
		if addr == "" {
			continue
		}
		c, err := net.Dial(network, addr)
		if err != nil {
			return false
		}
		c.Close()
	}
	return true
}

func (a *apiListener) remove() {
	for _, p := range []string{a.hidden, a.socket} {
		if p != "" {
			os.Remove(p) // gone already is fine
		}
	}
}
