package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/bgp/rpki"
)

// RPKI is what was heard about our prefixes.
type RPKI struct {
	// Caches are the daemon's RTR sessions; empty where a cache was asked
	// directly.
	Caches []gobgp.RPKICache
	// Known: somebody has told all that he has. VRPs are those of it that
	// cover our prefixes.
	Known bool
	VRPs  []rpki.VRP
}

// rtrPatience bounds a cache's answer: some 30 MB where it has all of the
// Internet's.
const rtrPatience = 20 * time.Second

// lookAtRPKI asks the cache that was named, or the daemon about its own
// sessions, or the configured caches.
func (h *Host) lookAtRPKI(ctx context.Context, o Options) {
	if h.Config == nil {
		return
	}
	own := h.prefixes()
	servers := h.rtrServers
	switch {
	case len(h.Origins) == 0:
		h.Skipped = append(h.Skipped, "RPKI: the AS is for private use, and others see the AS of the network that strips it")
		return
	case o.RTR != "":
		servers = []string{o.RTR}
	case h.Status != nil && h.Config.API.GoBGPSocket != "":
		ctx, cancel := context.WithTimeout(ctx, rtrPatience)
		defer cancel()
		view, err := gobgp.InspectRPKI(ctx, h.Config.API.GoBGPSocket, own)
		if err != nil {
			h.blind("RPKI", err)
			return
		}
		if len(view.Caches) > 0 {
			h.RPKI = &RPKI{Caches: view.Caches, Known: view.Synchronized(), VRPs: view.VRPs}
			return
		}
	}
	if len(servers) == 0 {
		h.Skipped = append(h.Skipped, "RPKI: bgp.rpki-servers names no cache; --rtr HOST:PORT asks one")
		return
	}
	h.fetchVRPs(ctx, servers, own)
}

// fetchVRPs asks caches directly.
func (h *Host) fetchVRPs(ctx context.Context, servers []string, own []netip.Prefix) {
	ctx, cancel := context.WithTimeout(ctx, rtrPatience)
	defer cancel()
	all := &RPKI{}
	var errs []error
	for _, s := range servers {
		vrps, err := rpki.Fetch(ctx, s, rpki.NewFilter(own).Wants)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all.Known = true
		all.VRPs = append(all.VRPs, vrps...)
	}
	if len(errs) > 0 {
		h.blind("RPKI", errors.Join(errs...))
	}
	h.RPKI = all
}

// prefixes are those that may be announced.
func (h *Host) prefixes() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range h.Config.Services {
		for _, id := range slices.Concat(s.Slices, s.Cover) {
			all = append(all, id.Prefix())
		}
	}
	return all
}

// rpkiFindings are about our prefixes as other networks judge them (RFC 6811),
// and about the caches that the daemon goes by.
func rpkiFindings(h *Host) []Finding {
	if h.RPKI == nil || h.Config == nil {
		return nil
	}
	var out []Finding
	for _, c := range h.RPKI.Caches {
		if c.Synchronized {
			continue
		}
		f := Finding{
			Severity: Warn, Name: "rtr", About: c.Address, What: "the RTR session is down",
			Why:     "the daemon does not go by what this cache says: a prefix that has become another's would be announced",
			Command: "catchment doctor --rtr " + c.Address, Change: "the command asks the cache itself; it must run, and let this host in",
		}
		if c.Up {
			f.What = "the RTR session is up, and the cache has not come to the end of its data"
		}
		out = append(out, f)
	}
	if !h.RPKI.Known {
		return out
	}
	for _, p := range h.prefixes() {
		for _, as := range h.Origins {
			out = append(out, originFindings(rpki.Validate(h.RPKI.VRPs, p, as))...)
		}
	}
	return out
}

func originFindings(v rpki.Verdict) []Finding {
	f := Finding{
		Name: "roa", About: v.Prefix.String(), What: fmt.Sprintf("as announced by AS %d it is %v: %s", v.Origin, v.State, v.Why()),
		Change: fmt.Sprintf("where the ROAs of the prefix are made (the RIR's portal): one for AS %d, %v, maximum length %d", v.Origin, v.Prefix, v.Prefix.Bits()),
	}
	switch v.State {
	case rpki.Valid:
		return nil
	case rpki.NotFound:
		f.Severity = Warn
		f.Why = "whoever announces it too, or a part of it, is not stopped by networks that validate origins"
	default:
		f.Severity = Bad
		f.Why = "networks that validate origins drop it; own-prefix keeps it from being newly announced, where caches are configured"
		f.Change += "; until it is there, `catchment global rib add --force` announces it all the same"
	}
	return []Finding{f}
}
