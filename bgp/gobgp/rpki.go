package gobgp

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"github.com/catchment/catchment/bgp/rpki"
)

// RPKICache is an RTR session of the speaker's.
type RPKICache struct {
	Address string // host:port
	Up      bool
	// Synchronized: it has told all that it has, and is not in the midst of
	// telling what changed. What others have told does not count.
	Synchronized bool
	Serial       uint32
	VRPs         int       // of it, in both families
	Since        time.Time // of the connection, to the second
	answers      int64     // how often it has told all or what changed
}

// RPKIView is what the RPKI says of our prefixes, as far as caches have told.
type RPKIView struct {
	Caches []RPKICache // by address
	// VRPs cover our prefixes; of synchronized caches only, sorted.
	VRPs []rpki.VRP
}

// Synchronized reports whether there is any cache to go by.
func (v RPKIView) Synchronized() bool {
	return slices.ContainsFunc(v.Caches, func(c RPKICache) bool { return c.Synchronized })
}

// Origins are the ASes that neighbors see our prefixes come from, sorted. An
// AS for private use is none of them: who strips it puts its own in place.
func (c *Config) Origins() []uint32 {
	all := []uint32{c.LocalAS()}
	if ns := c.Neighbors(); len(ns) > 0 {
		all = nil
		for _, n := range ns {
			all = append(all, n.LocalAS)
		}
	}
	all = slices.DeleteFunc(all, rpki.Private)
	slices.Sort(all)
	return slices.Compact(all)
}

// RPKIServers are the caches of the config, host:port.
func (c *Config) RPKIServers() []string {
	var all []string
	for _, r := range c.set.RpkiServers {
		all = append(all, net.JoinHostPort(r.Config.Address, strconv.FormatUint(uint64(r.Config.Port), 10)))
	}
	return all
}

// rpkiTable is the last that was seen of GoBGP's ROA table. GoBGP tells of no
// change, and its answers take the time of its one loop, the more the more
// VRPs there are (0.2 to 0.4 s for half a million): so caches are looked at
// now and then, and the table where one has changed.
type rpkiTable struct {
	pace rpkiPace // as rpkiPaces, but in tests

	looking sync.Mutex // one look at a time; guards what it went by
	looked  bool
	seen    []RPKICache
	own     []netip.Prefix

	mu      sync.Mutex // guards what came of it
	view    RPKIView
	invalid map[netip.Prefix]string
}

// loading reports whether caches are waited for and the table is empty, so
// that to look costs nothing.
func (v RPKIView) loading() bool {
	return len(v.Caches) > 0 && !slices.ContainsFunc(v.Caches, func(c RPKICache) bool { return c.Synchronized || c.VRPs > 0 })
}

// rpkiPace is how often caches are looked at, until one is synchronized and
// then.
type rpkiPace struct{ first, then time.Duration }

var rpkiPaces = rpkiPace{first: time.Second, then: time.Minute}

func newRPKITable() *rpkiTable { return &rpkiTable{pace: rpkiPaces} }

// RPKI is what caches have told so far of our prefixes.
func (s *Speaker) RPKI() RPKIView {
	s.rpki.mu.Lock()
	defer s.rpki.mu.Unlock()
	return RPKIView{slices.Clone(s.rpki.view.Caches), slices.Clone(s.rpki.view.VRPs)}
}

// Invalid lists our prefixes that synchronized caches call invalid for each AS
// that they may originate in, with why. Without such a cache it is empty.
func (s *Speaker) Invalid() map[netip.Prefix]string {
	s.rpki.mu.Lock()
	defer s.rpki.mu.Unlock()
	return maps.Clone(s.rpki.invalid)
}

// followRPKI keeps the view until the context ends.
func (s *Speaker) followRPKI(ctx context.Context, src rpkiSource) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		next := s.rpki.pace.then
		if s.lookAtRPKI(ctx, src).loading() {
			next = s.rpki.pace.first
		}
		timer.Reset(next)
	}
}

// lookAtRPKI looks at the caches, and at the table where one of them or what
// is ours has changed, and returns the view.
func (s *Speaker) lookAtRPKI(ctx context.Context, src rpkiSource) RPKIView {
	t := s.rpki
	t.looking.Lock()
	defer t.looking.Unlock()
	s.mu.Lock()
	own, origins := s.scope.own, s.config.Origins()
	s.mu.Unlock()
	view, err := listCaches(ctx, src)
	switch {
	case err != nil:
	case t.looked && slices.Equal(view.Caches, t.seen) && slices.Equal(own, t.own):
		view.VRPs = s.RPKI().VRPs
	default:
		if view.VRPs, err = listVRPs(ctx, src, view.Caches, rpki.NewFilter(own)); err == nil {
			t.looked, t.seen, t.own = true, view.Caches, own
		}
	}
	if err != nil { // GoBGP ends
		return s.RPKI()
	}
	s.judgeOrigins(view, own, origins)
	return view
}

// judgeOrigins takes a new view, and says what became of our prefixes.
func (s *Speaker) judgeOrigins(view RPKIView, own []netip.Prefix, origins []uint32) {
	invalid := map[netip.Prefix]string{}
	for _, p := range own {
		if why := invalidFor(view.VRPs, p, origins); why != "" {
			invalid[p] = why
		}
	}
	s.rpki.mu.Lock()
	was := s.rpki.view
	s.rpki.view, s.rpki.invalid = view, invalid
	s.rpki.mu.Unlock()
	switch is := view.Synchronized(); {
	case is && !was.Synchronized():
		s.log.Info("bgp: RPKI", "synchronized", true, "caches", len(view.Caches), "covering", len(view.VRPs))
	case !is && was.Synchronized():
		s.log.Warn("bgp: RPKI: no cache is synchronized: nothing is invalid", "caches", len(view.Caches))
	}
}

// invalidFor says why a prefix is invalid, for each of the origins; empty: it
// is not.
func invalidFor(vrps []rpki.VRP, p netip.Prefix, origins []uint32) string {
	why := ""
	for _, as := range origins {
		v := rpki.Validate(vrps, p, as)
		if v.State != rpki.Invalid {
			return ""
		}
		if why == "" {
			why = v.Why()
		}
	}
	return why
}

// rpkiSource is GoBGP, in this process or by its API.
type rpkiSource interface {
	ListRpki(context.Context, *api.ListRpkiRequest, func(*api.Rpki)) error
	ListRpkiTable(context.Context, *api.ListRpkiTableRequest, func(*api.Roa)) error
}

// listCaches returns a view without VRPs.
func listCaches(ctx context.Context, src rpkiSource) (RPKIView, error) {
	var view RPKIView
	err := src.ListRpki(ctx, &api.ListRpkiRequest{}, func(r *api.Rpki) {
		st := r.GetState()
		view.Caches = append(view.Caches, RPKICache{
			Address: cacheAddress(r.GetConf()), Up: st.GetUp(), Serial: st.GetSerial(), VRPs: int(st.GetRecordIpv4() + st.GetRecordIpv6()),
			Since: st.GetUptime().AsTime(), answers: st.GetEndOfData(),
			// Counted since the connection; while an answer comes there is
			// one beginning more than ends.
			Synchronized: st.GetUp() && st.GetEndOfData() > 0 && st.GetEndOfData() >= st.GetCacheResponse(),
		})
	})
	slices.SortFunc(view.Caches, func(a, b RPKICache) int { return strings.Compare(a.Address, b.Address) })
	return view, err
}

func cacheAddress(c *api.RPKIConf) string {
	return net.JoinHostPort(c.GetAddress(), strconv.FormatUint(uint64(c.GetRemotePort()), 10))
}

// listVRPs returns the VRPs that the filter wants, of synchronized caches.
func listVRPs(ctx context.Context, src rpkiSource, caches []RPKICache, f rpki.Filter) ([]rpki.VRP, error) {
	good := map[string]bool{}
	for _, c := range caches {
		if c.Synchronized {
			good[c.Address] = true
		}
	}
	var out []rpki.VRP
	var bad error
	if len(good) == 0 {
		return nil, nil
	}
	err := src.ListRpkiTable(ctx, &api.ListRpkiTableRequest{}, func(r *api.Roa) {
		addr, err := netip.ParseAddr(r.GetPrefix())
		if err != nil {
			bad = fmt.Errorf("ROA table: %w", err)
			return
		}
		v := rpki.VRP{Prefix: netip.PrefixFrom(addr, int(r.GetPrefixlen())).Masked(), MaxLength: int(r.GetMaxlen()), AS: r.GetAsn()}
		if f.Wants(v) && good[cacheAddress(r.GetConf())] {
			out = append(out, v)
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, rpki.Compare)
	return slices.Compact(out), bad
}
