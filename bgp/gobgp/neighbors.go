package gobgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/config/oc"
	"github.com/osrg/gobgp/v3/pkg/server"
)

// neighborhood changes the server's neighbors and remembers how each was.
// The server, not the config before, says what is there: operators add and
// remove neighbors with the gobgp client.
type neighborhood struct {
	srv  *server.BgpServer
	log  *slog.Logger
	back []func(context.Context) error
}

// bring adds and updates neighbors. New ones come first and those that need
// a new session last, so that a failure finds little to take back.
func (h *neighborhood) bring(ctx context.Context, was, is map[string]oc.Neighbor) error {
	var fresh, inPlace, anew []string
	for _, addr := range slices.Sorted(maps.Keys(is)) {
		before, known := was[addr]
		switch n := is[addr]; {
		case !known:
			fresh = append(fresh, addr)
		case reflect.DeepEqual(before, n):
		case changesInPlace(before, n):
			inPlace = append(inPlace, addr)
		default:
			anew = append(anew, addr)
		}
	}
	for _, addr := range slices.Concat(fresh, inPlace, anew) {
		n := is[addr]
		var old *oc.Neighbor
		replace := false
		if before, known := was[addr]; known {
			old = &before
			// v3 begins a new session for most changes, but forgets some.
			replace = !changesInPlace(before, n) && !before.NeedsResendOpenMessage(&n)
		}
		if err := h.change(ctx, addr, old, &n, replace); err != nil {
			return err
		}
	}
	return nil
}

// dismiss removes the neighbors that are no longer to be.
func (h *neighborhood) dismiss(ctx context.Context, was, is map[string]oc.Neighbor) error {
	for _, addr := range slices.Sorted(maps.Keys(was)) {
		if _, ok := is[addr]; ok {
			continue
		}
		before := was[addr]
		if err := h.change(ctx, addr, &before, nil, false); err != nil {
			return err
		}
	}
	return nil
}

// changesInPlace reports whether v3 takes the change without a new session.
func changesInPlace(a, b oc.Neighbor) bool {
	b.Timers.Config, b.EbgpMultihop.Config, b.TtlSecurity.Config = a.Timers.Config, a.EbgpMultihop.Config, a.TtlSecurity.Config
	if len(a.AfiSafis) == len(b.AfiSafis) {
		b.AfiSafis = slices.Clone(b.AfiSafis)
		for i := range b.AfiSafis {
			b.AfiSafis[i].PrefixLimit = a.AfiSafis[i].PrefixLimit
		}
	}
	return reflect.DeepEqual(a, b)
}

// change puts the neighbor that the config before knew as old and the new one
// knows as now; nil where it does not. It keeps the way back: to the old
// config's for what is there, to an operator's for what only he knew.
func (h *neighborhood) change(ctx context.Context, addr string, old, now *oc.Neighbor, replace bool) error {
	have := h.find(ctx, addr)
	if have == nil && now == nil {
		return nil // gone already
	}
	if have != nil && old != nil {
		have = oc.NewPeerFromConfigStruct(old)
	}
	h.back = append(h.back, func(ctx context.Context) error { return h.put(ctx, addr, have, replace) })
	var want *api.Peer
	if now != nil {
		want = oc.NewPeerFromConfigStruct(now)
	}
	return h.put(ctx, addr, want, replace)
}

// goBack undoes all changes, the last one first.
func (h *neighborhood) goBack(ctx context.Context) error {
	var errs []error
	for _, undo := range slices.Backward(h.back) {
		errs = append(errs, undo(ctx))
	}
	h.back = nil
	return errors.Join(errs...)
}

// put makes the neighbor be as wanted, or not be (nil), whatever it is now.
// With replace it gets a new session in any case.
func (h *neighborhood) put(ctx context.Context, addr string, want *api.Peer, replace bool) error {
	have := h.find(ctx, addr)
	if have != nil && (want == nil || replace || have.Conf.NeighborAddress != want.Conf.NeighborAddress) {
		if err := h.remove(ctx, have); err != nil {
			return err
		}
		have = nil
	}
	var err error
	switch {
	case want == nil:
	case have == nil:
		err = h.srv.AddPeer(ctx, &api.AddPeerRequest{Peer: want})
	default:
		_, err = h.srv.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: want})
	}
	if err != nil {
		return fmt.Errorf("neighbor %s: %w", addr, err)
	}
	return nil
}

// find returns the server's neighbor with the address, or nil. The client may
// have spelled an IPv6 address otherwise, which is another one to v3.
func (h *neighborhood) find(ctx context.Context, addr string) *api.Peer {
	want, _ := netip.ParseAddr(addr)
	var out *api.Peer
	// It fails only for a nil request.
	_ = h.srv.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) {
		a, err := netip.ParseAddr(p.State.NeighborAddress)
		if p.State.NeighborAddress == addr || err == nil && a.Unmap() == want {
			out = p
		}
	})
	return out
}

// remove deletes a neighbor. v3 leaves the MD5 key of a deleted neighbor on
// its listener, where it would keep out the same address without a password
// later; an update to no password takes it off.
func (h *neighborhood) remove(ctx context.Context, p *api.Peer) error {
	addr := p.State.NeighborAddress
	if key := p.Conf.AuthPassword; key != "" {
		p.Conf.AuthPassword, p.Conf.AdminDown = "", true
		_, err := h.srv.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: p})
		p.Conf.AuthPassword = key
		if err != nil {
			h.log.Warn("bgp: take MD5 key off", "neighbor", addr, "err", err)
		}
	}
	if err := h.srv.DeletePeer(ctx, &api.DeletePeerRequest{Address: addr}); err != nil {
		return fmt.Errorf("neighbor %s: remove: %w", addr, err)
	}
	return nil
}

func byAddress(c *Config) map[string]oc.Neighbor {
	out := make(map[string]oc.Neighbor)
	for _, n := range c.set.Neighbors {
		out[n.State.NeighborAddress] = n
	}
	return out
}
