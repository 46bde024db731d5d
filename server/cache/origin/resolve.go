package origin

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// resolver keeps the addresses of names for a while: at most ttl, whatever the
// record says, and stale longer if the name cannot be resolved again. One
// question per name is under way.
type resolver struct {
	lookup     func(ctx context.Context, host string) ([]netip.Addr, error)
	ttl, stale time.Duration
	timeout    time.Duration

	mu    sync.Mutex
	names map[string]*name
}

type name struct {
	addrs []netip.Addr
	asked time.Time
	err   error
	// running is closed when the question under way is answered; nil: none is.
	running chan struct{}
}

func newResolver(e Env, timeout time.Duration) *resolver {
	return &resolver{lookup: e.Lookup, ttl: e.TTL, stale: e.Stale, timeout: timeout, names: map[string]*name{}}
}

// addresses are those of host, both families in turn, the resolver's first choice
// first (RFC 8305 §4).
func (r *resolver) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	for {
		r.mu.Lock()
		n := r.names[host]
		if n == nil {
			n = &name{}
			r.names[host] = n
		}
		now := time.Now()
		if len(n.addrs) > 0 && now.Sub(n.asked) < r.ttl {
			defer r.mu.Unlock()
			return n.addrs, nil
		}
		if n.running == nil {
			n.running = make(chan struct{})
			r.mu.Unlock()
			return r.ask(ctx, host, n)
		}
		wait := n.running
		r.mu.Unlock()
		select {
		case <-wait:
			r.mu.Lock()
			err := n.err
			r.mu.Unlock()
			if err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ask resolves host for all who wait. Its own caller's leaving does not end it.
func (r *resolver) ask(ctx context.Context, host string, n *name) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.timeout)
	defer cancel()
	addrs, err := r.lookup(ctx, host)
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	close(n.running)
	n.running, n.err = nil, err
	now := time.Now()
	switch {
	case err == nil:
		n.addrs, n.asked = interleave(addrs), now
	case len(n.addrs) > 0 && now.Sub(n.asked) < r.ttl+r.stale:
		n.err = nil
		// Old addresses are better than none: asked again in a while.
		return n.addrs, nil
	default:
		n.addrs = nil
		return nil, err
	}
	return n.addrs, nil
}

// interleave orders addresses so that families take turns.
func interleave(addrs []netip.Addr) []netip.Addr {
	if len(addrs) == 0 {
		return nil
	}
	var first, second []netip.Addr
	for _, a := range addrs {
		if a.Is4() == addrs[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	out := make([]netip.Addr, 0, len(addrs))
	for len(first) > 0 || len(second) > 0 {
		if len(first) > 0 {
			out, first = append(out, first[0]), first[1:]
		}
		if len(second) > 0 {
			out, second = append(out, second[0]), second[1:]
		}
	}
	return out
}
