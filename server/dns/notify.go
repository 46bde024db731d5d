package dns

import (
	"context"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// notices are zones whose secondaries are to be told.
type notices struct {
	mu      sync.Mutex
	pending map[string]*served // by apex
	wake    chan struct{}
}

func (n *notices) add(z *served) {
	if len(z.conf.Notify) == 0 {
		return
	}
	n.mu.Lock()
	if n.pending == nil {
		n.pending = map[string]*served{}
	}
	n.pending[z.Apex] = z
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notices) take() map[string]*served {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.pending
	n.pending = nil
	return p
}

const (
	notifyTries    = 5
	notifyFirst    = time.Second
	notifyParallel = 16
)

// notify tells secondaries of new versions until ctx ends (RFC 1996). A newer
// version does not cut short the telling of an older one: what counts is that
// the secondary comes.
func (s *Server) notify(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	room := make(chan struct{}, notifyParallel)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.notices.wake:
		}
		for _, z := range s.notices.take() {
			for _, t := range z.conf.Notify {
				select {
				case <-ctx.Done():
					return
				case room <- struct{}{}:
				}
				all.Go(func() {
					defer func() { <-room }()
					s.tell(ctx, z, t)
				})
			}
		}
	}
}

// tell sends one NOTIFY until it is answered, a few times, with growing waits.
func (s *Server) tell(ctx context.Context, z *served, t NotifyTarget) {
	wait := notifyFirst
	for try := range notifyTries {
		err := s.tellOnce(ctx, z, t)
		if err == nil {
			s.stats.notified.Add(1)
			return
		}
		if try == notifyTries-1 || ctx.Err() != nil {
			s.stats.notifyFailed.Add(1)
			s.log.Warn("secondary not notified", "zone", z.Apex, "secondary", t.Address, "error", err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait *= 2
	}
}

func (s *Server) tellOnce(ctx context.Context, z *served, t NotifyTarget) error {
	m := new(dns.Msg)
	m.SetNotify(z.Apex)
	m.Answer = []dns.RR{z.SOA()}
	c := &dns.Client{Timeout: 2 * time.Second}
	if t.Key != "" {
		name := dns.CanonicalName(t.Key)
		k := s.keys[name]
		c.TsigSecret = map[string]string{name: k.base64}
		m.SetTsig(name, k.algorithm, tsigFudge, time.Now().Unix())
	}
	_, _, err := c.ExchangeContext(ctx, m, t.Address.String())
	return err
}
