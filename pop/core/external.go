package core

import (
	"context"
	"crypto/tls"
	"slices"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/catchment/catchment/pop/lapse"
)

// External is an etcd cluster that somebody else runs.
type External struct {
	Endpoints []string // "https://10.0.0.1:2379"
	// Now returns the endpoints as they are known now; it is asked every few
	// seconds. nil, or an empty answer: they are those of the beginning.
	Now      func() []string
	TLS      *tls.Config // nil: only for endpoints without TLS
	User     string      // where the cluster wants a name and a password
	Password string
}

// NewExternal makes a core whose engine is a cluster by endpoints.
func NewExternal(e External, o Options) (*Core, error) {
	if len(e.Endpoints) == 0 {
		return nil, about(fail(Invalid, "no endpoints"), "new", "")
	}
	o = o.withDefaults()
	x := &external{cfg: e, opt: o}
	x.etcd.use = x.client
	return newCore(x, o), nil
}

type external struct {
	etcd
	cfg External
	opt Options
	cli atomic.Pointer[clientv3.Client]
}

func (x *external) client() (*clientv3.Client, error) {
	if c := x.cli.Load(); c != nil {
		return c, nil
	}
	return nil, errNotRunning("")
}

// run connects, and calls ready at the first answer.
func (x *external) run(ctx context.Context, ready func()) error {
	cli, err := clientv3.New(clientv3.Config{
		Endpoints: x.cfg.Endpoints, TLS: x.cfg.TLS, Username: x.cfg.User, Password: x.cfg.Password,
		DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		// The default waits up to two minutes after a long outage.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second}, MinConnectTimeout: 5 * time.Second,
		})},
		Logger: zapTo(x.opt.Log, func(why string) { x.opt.Log.Error("core: the client broke", "why", why) }),
	})
	if err != nil {
		return err
	}
	defer cli.Close()
	x.cli.Store(cli)
	defer x.cli.Store(nil)
	for {
		probe, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := x.read(probe, RawQuery{From: x.opt.Root, Limit: 1, Stale: true})
		cancel()
		if err == nil {
			break
		}
		if !lapse.Of(ctx, time.Second) {
			return nil
		}
		x.opt.Log.Warn("core: no answer yet", "endpoints", x.cfg.Endpoints, "err", err)
	}
	ready()
	for lapse.Of(ctx, 5*time.Second) {
		if x.cfg.Now == nil {
			continue
		}
		if now := x.cfg.Now(); len(now) > 0 && !slices.Equal(now, cli.Endpoints()) {
			cli.SetEndpoints(now...)
			x.opt.Log.Info("core: the endpoints are others now", "endpoints", now)
		}
	}
	return nil
}

func (x *external) status(ctx context.Context) (Status, error) {
	s, err := x.etcd.status(ctx)
	s.Engine = "external"
	return s, err
}
