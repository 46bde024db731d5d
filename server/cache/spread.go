package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/purge"
)

// spread brings a purge to all caches that this one fetches from: the peers of
// the POP and the parents of its sites. A purge here alone would not hold: the
// next miss would bring what they still store.
//
// It goes round twice. While the first round runs, a cache that was told may
// fetch from one that was not; when it has ended all fetch what is new, and the
// second round takes away what came meanwhile. Whoever cannot be told is owed
// the purge, and told when it answers, as long as this server runs.
type spread struct {
	mu   sync.Mutex
	owed map[string]*debt // by URL
	wake chan struct{}    // somebody is owed something
}

// debt is what one cache has not been told, oldest first.
type debt struct {
	to   origin.Other
	list []purge.Request
}

// Bounds of what is owed.
const (
	mostOwed  = 256 // purges for one cache; of more all it has becomes stale instead
	owedEvery = 2 * time.Second
)

// UntoldError says that a purge is in force here, and not yet at other caches
// that this one fetches from.
type UntoldError struct {
	Caches []string // name and why
}

func (e *UntoldError) Error() string {
	return "not yet at " + strings.Join(e.Caches, ", ") + ": told as soon as it answers"
}

// others are the caches that must hear of purges.
func (s *Server) others() []origin.Other {
	var out []origin.Other
	add := func(list []origin.Other) {
		for _, o := range list {
			if !slices.ContainsFunc(out, func(x origin.Other) bool { return x.URL() == o.URL() }) {
				out = append(out, o)
			}
		}
	}
	if s.peers != nil {
		add(s.peers.Others())
	}
	for _, u := range s.state.Load().upstreams {
		add(u.origin.Others())
	}
	return out
}

// purgeAll takes a purge into force here and at the other caches.
func (s *Server) purgeAll(ctx context.Context, r purge.Request) (purge.Entry, error) {
	e, err := s.purges.Purge(r)
	all := s.others()
	if len(all) == 0 || err != nil && e.ID == 0 {
		return e, err
	}
	r.Who = strings.TrimSpace(r.Who + " at " + s.cfg.Name)
	untold := s.tell(ctx, all, r, origin.Hop{})
	reached := slices.DeleteFunc(all, func(o origin.Other) bool { return untold[o.URL()] != nil })
	if len(reached) > 0 {
		again, failed := s.purges.Purge(r)
		if failed == nil || again.ID != 0 {
			e.ID = again.ID
		}
		err = errors.Join(err, failed)
		for u, why := range s.tell(ctx, reached, r, origin.Hop{}) {
			untold[u] = why
		}
	}
	if len(untold) == 0 {
		return e, err
	}
	out := &UntoldError{}
	for _, o := range s.others() {
		if why := untold[o.URL()]; why != nil {
			out.Caches = append(out.Caches, fmt.Sprintf("%s (%v)", o.Name(), why))
			s.owe(o, r)
		}
	}
	return e, errors.Join(err, out)
}

// tell tells caches of a purge, all at a time, and gives by URL why some did
// not take it.
func (s *Server) tell(ctx context.Context, all []origin.Other, r purge.Request, hop origin.Hop) map[string]error {
	text := message(r)
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, o := range all {
		wg.Go(func() { errs[i] = o.Tell(ctx, text, hop) })
	}
	wg.Wait()
	out := map[string]error{}
	for i, err := range errs {
		if err != nil {
			out[all[i].URL()] = err
		}
	}
	return out
}

// owe remembers that a cache has to be told.
func (s *Server) owe(o origin.Other, r purge.Request) {
	p := &s.spread
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.owed == nil {
		p.owed = map[string]*debt{}
	}
	d := p.owed[o.URL()]
	if d == nil {
		d = &debt{}
		p.owed[o.URL()] = d
	}
	d.to = o
	if d.list = append(d.list, r); len(d.list) > mostOwed {
		s.log.Warn("cache: a cache missed too many purges: all it has becomes stale", "cache", o.Name(), "purges", len(d.list))
		d.list = []purge.Request{{Kind: purge.All, Soft: true, Who: r.Who, Why: "missed purges"}}
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// payOwed tells what is owed until ctx ends.
func (s *Server) payOwed(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.spread.wake:
		}
		for s.payOnce(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(owedEvery):
			}
		}
	}
}

// payOnce tries once for each cache; false when nothing is owed any more.
func (s *Server) payOnce(ctx context.Context) bool {
	p := &s.spread
	p.mu.Lock()
	open := make(map[string]debt, len(p.owed))
	for u, d := range p.owed {
		open[u] = debt{d.to, slices.Clone(d.list)}
	}
	p.mu.Unlock()
	known := s.others()
	for u, d := range open {
		paid := 0
		if !slices.ContainsFunc(known, func(o origin.Other) bool { return o.URL() == u }) {
			paid = len(d.list) // it is no cache of ours any more
		}
		for ; paid < len(d.list) && d.to.Tell(ctx, message(d.list[paid]), origin.Hop{}) == nil; paid++ {
			s.late(ctx, known, u, d.list[paid])
		}
		p.mu.Lock()
		if now := p.owed[u]; len(now.list) >= len(d.list) && slices.Equal(now.list[:len(d.list)], d.list) {
			now.list = now.list[paid:]
		} // else there were too many meanwhile, and all of them are in one
		if len(p.owed[u].list) == 0 {
			delete(p.owed, u)
		}
		p.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.owed) > 0
}

// late is the second round for a cache that was told late: until then all may
// have fetched from it what it still had.
func (s *Server) late(ctx context.Context, known []origin.Other, u string, r purge.Request) {
	if _, err := s.purges.Purge(r); err != nil {
		s.log.Warn("cache: purge not saved", "err", err)
	}
	rest := slices.DeleteFunc(slices.Clone(known), func(o origin.Other) bool { return o.URL() == u })
	for at, why := range s.tell(ctx, rest, r, origin.Hop{}) {
		s.log.Warn("cache: purge not told", "cache", at, "err", why)
	}
}

// message is a purge as the query of what our caches tell one another.
func message(r purge.Request) url.Values {
	q := url.Values{}
	for k, v := range map[string]string{
		"kind": string(r.Kind), "site": r.Site, "host": r.Host, "path": r.Path, "url": r.URL, "tag": r.Tag, "by": r.Who, "why": r.Why,
	} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if r.Soft {
		q.Set("soft", "1")
	}
	return q
}

// takePurge answers another cache of ours that tells of a purge. One that has
// us as its parent has it told to the caches that we fetch from as well.
func (s *Server) takePurge(w http.ResponseWriter, r *http.Request) {
	var remote netip.Addr
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		remote = ap.Addr()
	}
	hop, err := s.identity.ReadHop(r.Header, origin.TellMethod, r.Host, r.RequestURI, remote)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusLoopDetected)
		return
	case r.Method != http.MethodPost || hop.Tier == origin.Origin:
		http.Error(w, "purges are taken from caches of the fleet only: fleet.secret-file, or cache.trusted, proves them", http.StatusForbidden)
		return
	}
	q := r.URL.Query()
	req := purge.Request{
		Kind: purge.Kind(q.Get("kind")), Site: q.Get("site"), Host: q.Get("host"), Path: q.Get("path"), URL: q.Get("url"), Tag: q.Get("tag"),
		Soft: q.Get("soft") == "1", Who: q.Get("by"), Why: q.Get("why"),
	}
	e, err := s.purges.Purge(req)
	if err != nil && e.ID == 0 {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.log.Info("purge", "id", e.ID, "kind", req.Kind, "of", req.Site+req.Host+req.Path+req.URL+req.Tag, "soft", req.Soft, "by", req.Who)
	if hop.Tier == origin.Parent {
		if untold := s.tell(r.Context(), s.others(), req, hop); len(untold) > 0 {
			var names []string
			for _, o := range s.others() {
				if why := untold[o.URL()]; why != nil {
					names = append(names, fmt.Sprintf("%s (%v)", o.Name(), why))
				}
			}
			http.Error(w, "not yet at "+strings.Join(names, ", "), http.StatusBadGateway)
			return
		}
	}
	w.WriteHeader(http.StatusOK)
}
