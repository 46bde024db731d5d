package relay

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// network is a transport in memory with delays, cuts and losses. Addresses are
// POPs' names.
type network struct {
	mu    sync.Mutex
	up    map[string]*Node
	conns map[*conn]bool
	cuts  map[[2]string]bool
	delay func(from, to string) time.Duration
	heal  bell
	// down may change what a parent sends; nil: leaves it.
	down func(from, to string, m *pb.Down) *pb.Down
	// lose says whether the answer to a request is lost.
	lose func(from, to string) bool
}

func newNetwork() *network {
	return &network{up: map[string]*Node{}, conns: map[*conn]bool{}, cuts: map[[2]string]bool{}, delay: func(string, string) time.Duration { return 5 * time.Millisecond }}
}

func pairOfNames(a, b string) [2]string {
	if b < a {
		a, b = b, a
	}
	return [2]string{a, b}
}

// cut stops all between two: what is on its way comes when it is healed.
func (w *network) cut(a, b string, cut bool) {
	w.mu.Lock()
	w.cuts[pairOfNames(a, b)] = cut
	w.mu.Unlock()
	w.heal.ring()
}

// pass waits until nothing is cut between two.
func (w *network) pass(ctx context.Context, a, b string) error {
	for {
		rung := w.heal.wait()
		w.mu.Lock()
		cut := w.cuts[pairOfNames(a, b)]
		w.mu.Unlock()
		if !cut {
			return ctx.Err()
		}
		select {
		case <-rung:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// conn is one child's connection to a parent.
type conn struct {
	w        *network
	from, to string
	node     *Node
	ctx      context.Context
	cancel   context.CancelFunc
	ended    chan struct{} // closed when the parent has said its last word
	ups      chan timed[*pb.Up]
	downs    chan timed[*pb.Down]
}

type timed[T any] struct {
	m  T
	at time.Time
}

// window is how many messages are on their way at most.
const window = 64

func (w *network) dialer(from string) func(context.Context, Parent) (upstream, error) {
	return func(ctx context.Context, p Parent) (upstream, error) {
		if err := w.pass(ctx, from, p.Address); err != nil {
			return nil, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		n := w.up[p.Address]
		if n == nil {
			return nil, errors.New("connection refused")
		}
		c := &conn{w: w, from: from, to: p.Address, node: n, ended: make(chan struct{}), ups: make(chan timed[*pb.Up], window), downs: make(chan timed[*pb.Down], window)}
		c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
		w.conns[c] = true
		n.guests.Go(func() {
			defer close(c.ended)
			n.follow(from, server{c})
		})
		return c, nil
	}
}

func (c *conn) Close() {
	c.cancel()
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	delete(c.w.conns, c)
}

func send[T any](c *conn, ch chan timed[T], from, to string, m T) error {
	select {
	case ch <- timed[T]{m, time.Now().Add(c.w.delay(from, to))}:
		return nil
	case <-c.ctx.Done():
		return io.EOF
	}
}

func recv[T any](c *conn, ch chan timed[T]) (T, error) {
	var none T
	var t timed[T]
	select {
	case t = <-ch:
	default:
		select {
		case t = <-ch:
		case <-c.ended:
			return none, io.EOF
		case <-c.ctx.Done():
			return none, io.EOF
		}
	}
	if !lapse.Of(c.ctx, time.Until(t.at)) || c.w.pass(c.ctx, c.from, c.to) != nil {
		return none, io.EOF
	}
	return t.m, nil
}

func (c *conn) Send(m *pb.Up) error {
	return send(c, c.ups, c.from, c.to, proto.Clone(m).(*pb.Up))
}

func (c *conn) Recv() (*pb.Down, error) { return recv(c, c.downs) }

// call is a request's way there and back.
func call[Q proto.Message, R any](ctx context.Context, c *conn, req Q, do func(context.Context, string, Q) R) (R, error) {
	var none R
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	way := func() error {
		if !lapse.Of(ctx, c.w.delay(c.from, c.to)) {
			return ctx.Err()
		}
		return c.w.pass(ctx, c.from, c.to)
	}
	if err := way(); err != nil {
		return none, err
	}
	r := do(ctx, c.from, proto.Clone(req).(Q))
	if c.w.lose != nil && c.w.lose(c.from, c.to) {
		return none, errors.New("connection lost")
	}
	return r, way()
}

func (c *conn) Read(ctx context.Context, req *pb.ReadRequest) (*pb.ReadResponse, error) {
	return call(ctx, c, req, c.node.read)
}

func (c *conn) Commit(ctx context.Context, req *pb.CommitRequest) (*pb.CommitResponse, error) {
	return call(ctx, c, req, c.node.commit)
}

func (c *conn) Lease(ctx context.Context, req *pb.LeaseRequest) (*pb.LeaseResponse, error) {
	return call(ctx, c, req, c.node.lease)
}

// server is a connection as the parent sees it.
type server struct{ c *conn }

func (s server) Context() context.Context { return s.c.ctx }
func (s server) Recv() (*pb.Up, error)    { return recv(s.c, s.c.ups) }

func (s server) Send(m *pb.Down) error {
	m = proto.Clone(m).(*pb.Down)
	if s.c.w.down != nil {
		if m = s.c.w.down(s.c.to, s.c.from, m); m == nil {
			return nil
		}
	}
	return send(s.c, s.c.downs, s.c.to, s.c.from, m)
}

// serve is a node's time on the network.
func (w *network) serve(ctx context.Context, n *Node) error {
	w.mu.Lock()
	w.up[n.opt.POP] = n
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock()
	delete(w.up, n.opt.POP)
	var mine []*conn
	for c := range w.conns {
		if c.node == n {
			mine = append(mine, c)
		}
	}
	w.mu.Unlock()
	for _, c := range mine {
		c.Close()
	}
	return nil
}

// trusting is an identity whose proofs anybody could make who read this file.
type trusting string

func proofOf(pop string, statement []byte) []byte {
	h := sha256.Sum256(append([]byte("proof of "+pop+" "), statement...))
	return h[:]
}

func (t trusting) own() ([]byte, func([]byte) ([]byte, error), error) {
	return []byte(t), func(b []byte) ([]byte, error) { return proofOf(string(t), b), nil }, nil
}

func (t trusting) check(certificate, statement, signature []byte) (string, error) {
	if string(proofOf(string(certificate), statement)) != string(signature) {
		return "", errors.New("wrong proof")
	}
	return string(certificate), nil
}

// world is a tree on a network, with a model of a core at its top.
type world struct {
	t    *testing.T
	net  *network
	core *core.Memory
	node map[string]*Node
	stop map[string]func()
	log  *slog.Logger
}

var wide = core.Limits{Rate: 1e9, Burst: 1e9}

func newWorld(t *testing.T) *world {
	return &world{t: t, net: newNetwork(), core: core.NewMemory(core.Options{Limits: wide}), node: map[string]*Node{}, stop: map[string]func(){}}
}

// add starts a node: a top of the tree without parents.
func (w *world) add(pop string, set func(*Options), parents ...string) *Node {
	o := Options{POP: pop, id: trusting(pop), dial: w.net.dialer(pop), listen: w.net.serve, Log: w.log, noSync: true}
	o.Advertise = pop
	for _, p := range parents {
		o.Parents = append(o.Parents, Parent{p, p})
	}
	if len(parents) == 0 {
		o.Core = w.core.Core
	}
	if set != nil {
		set(&o)
	}
	n, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	w.node[pop] = n
	w.stop[pop] = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("%s: %v", pop, err)
		}
	})
	return n
}

// end stops all that runs; a bubble wants that before it is left.
func (w *world) end() {
	for _, stop := range w.stop {
		stop()
	}
}

var ann = core.Write{Who: "ann", Why: "test"}

func key(name string) core.Key { return core.Key{Kind: core.KindConfig, Name: name} }

func (w *world) put(name string, v int) int64 {
	o, err := w.core.Put(context.Background(), ann, key(name), []byte(fmt.Sprint(v)), core.Any)
	if err != nil {
		w.t.Fatal(err)
	}
	return o.Revision
}

// until waits for a condition, in steps of 10 ms, and returns how long it took.
func until(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(began)
}

// same waits until nodes have what the core has.
func (w *world) same(limit time.Duration, pops ...string) time.Duration {
	w.t.Helper()
	st, err := w.core.Status(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	took := time.Duration(0)
	for _, p := range pops {
		took += until(w.t, limit-took, p+" has what the core has", func() bool { return w.node[p].rep.position().revision >= st.Revision })
	}
	w.identical(pops...)
	return took
}

// identical holds nodes' states against the core's own.
func (w *world) identical(pops ...string) {
	w.t.Helper()
	ctx := context.Background()
	for _, p := range pops {
		q := core.RawQuery{From: "/catchment/1/", To: upTo("/catchment/1/"), Stale: true}
		mine, err := w.node[p].rep.read(q)
		if err != nil {
			w.t.Fatal(p, err)
		}
		q.Revision = mine.Revision
		truth, err := w.core.Engine().Read(ctx, q)
		if err != nil {
			w.t.Fatal(err)
		}
		var hash sum
		for _, kv := range truth.Pairs {
			hash = hash.plus(hashOf(kv))
		}
		if got := w.node[p].rep.position().hash; got != hash || len(mine.Pairs) != len(truth.Pairs) {
			w.t.Errorf("%s has another state at revision %d: %d objects, the core has %d", p, mine.Revision, len(mine.Pairs), len(truth.Pairs))
		}
	}
}
