package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Upstream asks servers for what is not stored here: the key's owner among the
// peers, if that is not we; else the first healthy rank of parents; else, if
// there are no parents or they may be left out, an origin.
type Upstream struct {
	cfg     Config
	origins *pool
	parents []*pool
	budget  budget
}

// New makes an upstream. It opens no connection; Do works before Run is called.
func New(cfg Config, env Env) (*Upstream, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Timeouts = cfg.Timeouts.withDefaults()
	cfg.Health = cfg.Health.withDefaults()
	cfg.Retry = cfg.Retry.withDefaults()
	def(&cfg.MaxHeader, 256<<10)
	env = env.withDefaults()
	c := common{
		timeouts: cfg.Timeouts, health: cfg.Health, forward: cfg.Forward, identity: cfg.Identity,
		header: cfg.MaxHeader, env: env, resolver: newResolver(env, cfg.Timeouts.Connect),
	}
	u := &Upstream{cfg: cfg, budget: budget{share: cfg.Retry.Budget, most: float64(cfg.Retry.Reserve), tokens: float64(cfg.Retry.Reserve)}}
	var err error
	if u.origins, err = makePool(cfg.Balance, cfg.Origins, Origin, 0, c); err != nil {
		return nil, fmt.Errorf("upstream %s: %w", cfg.Name, err)
	}
	for rank, servers := range cfg.Parents {
		p, err := makePool(ByKey, servers, Parent, rank, c)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", cfg.Name, err)
		}
		u.parents = append(u.parents, p)
	}
	return u, nil
}

func makePool(b Balance, servers []Server, tier Tier, rank int, c common) (*pool, error) {
	var out []*server
	for _, s := range servers {
		made, err := newServer(s, tier, rank, c)
		if err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	return newPool(b, out), nil
}

// Name is the upstream's.
func (u *Upstream) Name() string { return u.cfg.Name }

// Run probes the servers, if the config says so, until ctx ends; then it closes
// idle connections.
func (u *Upstream) Run(ctx context.Context) error {
	runChecks(ctx, u.cfg.Name, u.cfg.Health.Check, u.all)
	for _, s := range u.all() {
		s.transport.CloseIdleConnections()
	}
	return nil
}

func (u *Upstream) all() []*server {
	out := slices.Clone(u.origins.servers)
	for _, p := range u.parents {
		out = append(out, p.servers...)
	}
	return out
}

// Do asks. Any HTTP status is an answer and no error; an error is an *Error. The
// response's body is read under ctx. Do may be called by many at once.
func (u *Upstream) Do(ctx context.Context, r *Request) (*Response, error) {
	if ctx.Err() != nil {
		return nil, &Error{Kind: KindCanceled, Upstream: u.cfg.Name, Err: context.Cause(ctx)}
	}
	u.budget.earn()
	c := &call{u: u, r: r}
	if resp, err, over := c.peers(ctx); over {
		return result(resp, err)
	}
	if resp, err, over := c.upward(ctx); over || c.last == nil {
		return result(resp, err)
	}
	return nil, c.last
}

// result keeps a nil *Error from becoming an error.
func result(resp *Response, err *Error) (*Response, error) {
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// call is one Do.
type call struct {
	u        *Upstream
	r        *Request
	attempts int
	last     *Error
}

// peers asks the key's owner. over is false if it is our turn.
func (c *call) peers(ctx context.Context) (*Response, *Error, bool) {
	p := c.u.cfg.Peers
	plain := c.r.Body == nil && (c.r.Method == http.MethodGet || c.r.Method == http.MethodHead)
	if p == nil || c.r.Direct || !plain || c.r.Hop.Tier == Peer || c.r.Key == ([32]byte{}) {
		return nil, nil, false
	}
	var tried []*server
	for range p.cfg.Attempts {
		s := p.pick(c.r.Key, tried, time.Now())
		if s == nil {
			break
		}
		tried = append(tried, s)
		resp, err := c.ask(ctx, s)
		if err != nil {
			if err.Kind == KindCanceled {
				return nil, err, true
			}
			continue
		}
		// A peer that is full, leaves or sees a circle: our own work.
		if resp.Status == http.StatusServiceUnavailable || resp.Status == http.StatusLoopDetected {
			resp.Body.Close()
			continue
		}
		return resp, nil, true
	}
	done := p.own()
	resp, err, _ := c.upward(ctx)
	if resp == nil {
		done()
		if err == nil {
			err = c.last
		}
		return nil, err, true
	}
	resp.Body = &noted{resp.Body, done}
	return resp, nil, true
}

// noted calls done at the body's Close.
type noted struct {
	io.ReadCloser
	done func()
}

func (n *noted) Close() error {
	defer n.done()
	return n.ReadCloser.Close()
}

// upward asks parents, then origins.
func (c *call) upward(ctx context.Context) (*Response, *Error, bool) {
	for i, p := range c.u.parents {
		// A rank without a healthy server is asked only if no later one is better.
		if !p.healthy(time.Now()) && slices.ContainsFunc(c.u.parents[i+1:], func(q *pool) bool { return q.healthy(time.Now()) }) {
			continue
		}
		if resp, err, over := c.stage(ctx, p); over {
			return resp, err, true
		}
	}
	if len(c.u.parents) == 0 || c.u.cfg.Bypass {
		if resp, err, over := c.stage(ctx, c.u.origins); over {
			return resp, err, true
		}
	}
	if c.last == nil {
		c.last = &Error{Kind: KindUnavailable, Upstream: c.u.cfg.Name, Err: errors.New("no server to ask")}
	}
	return nil, c.last, false
}

// stage asks the servers of one pool until one answers. over is false if the next
// stage may try.
func (c *call) stage(ctx context.Context, p *pool) (*Response, *Error, bool) {
	retry := c.u.cfg.Retry
	var tried []*server
	for n := range retry.Attempts {
		s := p.pick(c.r.Key, tried, time.Now())
		if s == nil && len(tried) > 0 {
			s = tried[n%len(tried)]
		}
		if s == nil {
			break
		}
		if n > 0 && !c.u.budget.spend() {
			break
		}
		if slices.Contains(tried, s) {
			if !pause(ctx, retry.Backoff<<(n-1)) {
				break
			}
		} else {
			tried = append(tried, s)
		}
		resp, err := c.ask(ctx, s)
		if err != nil {
			if err.Kind == KindCanceled || err.Kind == KindLoop || !err.Kind.unsent() && !c.r.again() {
				return nil, err, true
			}
			continue
		}
		if s.tier != Origin && resp.Status == http.StatusLoopDetected {
			// A circle of parents: it has to be left here.
			resp.Body.Close()
			c.last = &Error{Kind: KindLoop, Upstream: c.u.cfg.Name, From: resp.From, Err: errors.New("a parent sees a circle")}
			continue
		}
		other := n+1 < retry.Attempts && c.r.again() && slices.Contains(retry.Statuses, resp.Status) &&
			p.pick(c.r.Key, tried, time.Now()) != nil && c.u.budget.can()
		if !other {
			return resp, nil, true
		}
		resp.Body.Close()
	}
	return nil, nil, false
}

func (c *call) ask(ctx context.Context, s *server) (*Response, *Error) {
	c.attempts++
	resp, err := s.do(ctx, c.r, c.u.cfg.Name)
	if err != nil {
		err.From.Attempts = c.attempts
		c.last = err
		return nil, err
	}
	resp.From.Attempts = c.attempts
	return resp, nil
}

// pause waits d; false if ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// budget keeps retries a share of the requests, so that they do not bring down
// what is slow already.
type budget struct {
	share, most float64

	mu     sync.Mutex
	tokens float64
}

func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.share > 0 {
		b.tokens = min(b.tokens+b.share, b.most)
	}
}

func (b *budget) can() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.share > 0 && b.tokens >= 1
}

func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.share <= 0 || b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
