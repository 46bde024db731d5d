package pop

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/journal"
)

// Doors are the listeners of the daemon's own server.
type Doors interface {
	// Refuse names the service addresses at which new connections are
	// refused, all of them at a time. It is called on the controller's
	// goroutine.
	Refuse([]netip.Addr)
}

// carryOut does what was decided in the order of a drain: who is not to be let
// in any more is refused before a router hears of the step, and who is to be
// let in again before it hears that we are back; what waits for the withdraw
// comes after it.
func (c *Controller) carryOut(ctx context.Context, d policy.Decision, in policy.Input, detected, now time.Time) {
	c.refuse(d, in, now, func(a netip.Addr, _ policy.SliceID) bool { return slices.Contains(c.refused, a) })
	c.announce(ctx, d, detected)
	inForce := c.opt.Announcer.Announced()
	c.refuse(d, in, now, func(_ netip.Addr, id policy.SliceID) bool {
		return c.setOnce && !c.blind && !slices.ContainsFunc(inForce, func(a bgp.Announcement) bool { return policy.SliceID(a.Prefix) == id })
	})
}

// refuse has the cache server refuse new connections where drain.accept and
// what was decided want that. Withdrawn says whether the withdraw of a slice
// that is decided is also done.
func (c *Controller) refuse(d policy.Decision, in policy.Input, now time.Time, withdrawn func(netip.Addr, policy.SliceID) bool) {
	if c.opt.Doors == nil || c.opt.DryRun {
		return
	}
	does := make(map[policy.SliceID]policy.Stance, len(d.Slices))
	for _, s := range d.Slices {
		does[s.Slice] = s.Stance
	}
	var out []netip.Addr
	for i := range c.cfg.Services {
		svc := &c.cfg.Services[i]
		if svc.Accept != config.AcceptNever && svc.Accept != config.AcceptUntilWithdrawn {
			continue
		}
		for _, a := range svc.VIPs.Addresses {
			id, ok := svc.SliceOf(a)
			s, decided := does[id]
			if !ok || !decided || s.Action == policy.Announce || !c.cfg.Cache.Serves(a) {
				continue
			}
			if svc.Accept == config.AcceptNever || !s.Announced() && withdrawn(a, id) && !covered(svc, a, id, does, in, now) {
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	if slices.Equal(out, c.refused) {
		return
	}
	was := c.refused
	c.refused = out
	c.opt.Doors.Refuse(out)
	c.noteRefused(was, out)
}

// covered reports whether clients still come to an address after the withdraw
// of its slice: by a shorter prefix that we announce, where nobody else is
// known to announce the slice. Those have nowhere else to go.
func covered(svc *config.Service, a netip.Addr, id policy.SliceID, does map[policy.SliceID]policy.Stance, in policy.Input, now time.Time) bool {
	cover := slices.ContainsFunc(svc.Cover, func(c policy.SliceID) bool { return c.Prefix().Contains(a) && does[c].Announced() })
	return cover && !slices.ContainsFunc(in.Fleet.Peers, func(p policy.Peer) bool {
		return p.Fresh(in.Limits, now) && p.Slices[id].Stance.Announced()
	})
}

// noteRefused journals what has changed.
func (c *Controller) noteRefused(was, is []netip.Addr) {
	for _, x := range []struct {
		list, not []netip.Addr
		what      string
	}{{is, was, " are refused (drain.accept)"}, {was, is, " are taken again"}} {
		var names []string
		for _, a := range x.list {
			if !slices.Contains(x.not, a) {
				names = append(names, a.String())
			}
		}
		if len(names) > 0 {
			c.note(journal.Entry{Kind: journal.Cache, Text: "new connections to " + strings.Join(names, ", ") + x.what})
		}
	}
}

// refusedBy are the addresses that take no new connections, by the slice that
// brings clients to them.
func (c *Controller) refusedBy() map[policy.SliceID][]string {
	out := map[policy.SliceID][]string{}
	for i := range c.cfg.Services {
		svc := &c.cfg.Services[i]
		for _, a := range svc.VIPs.Addresses {
			if id, ok := svc.SliceOf(a); ok && slices.Contains(c.refused, a) {
				out[id] = append(out[id], a.String())
			}
		}
	}
	return out
}
