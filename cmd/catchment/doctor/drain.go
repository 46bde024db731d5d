package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/pop/config"
)

// drainFindings are about neighbors that are told of a drain by
// GRACEFUL_SHUTDOWN alone. Whether a router heeds it (RFC 8326) cannot be seen
// from here: there is no capability for it.
func drainFindings(h *Host) []Finding {
	if h.Config == nil {
		return nil
	}
	var out []Finding
	for i := range h.Config.Services {
		s := &h.Config.Services[i]
		var alone []string
		for _, n := range h.Neighbors {
			normal, drain := toward(s.Normal, n), toward(s.Drain, n)
			if drain.told && !drain.withheld && !drain.weakerThan(normal) {
				alone = append(alone, n.Address.String())
			}
		}
		if len(alone) == 0 {
			continue
		}
		out = append(out, Finding{
			Severity: Warn, Name: "drain", About: string(s.ID),
			What: "GRACEFUL_SHUTDOWN (RFC 8326) is all that tells " + strings.Join(alone, ", ") + " of a drain",
			Why: "BGP does not say whether a router heeds it; one that does not goes on sending until the withdraw, " +
				"and what it sends while that spreads is lost",
			Change:  fmt.Sprintf("services[%d].drain: {prepend: 3} works with every router; or make sure that these heed it, see routers/", i),
			Command: "catchment reload",
		})
	}
	return out
}

// heard is what one neighbor hears of a rung.
type heard struct {
	prepend   int
	med       uint32
	localPref uint32
	told      bool // GRACEFUL_SHUTDOWN
	withheld  bool
	internal  bool
}

// weakerThan reports whether a router likes the route less than the other
// whatever it knows of communities.
func (a heard) weakerThan(b heard) bool {
	if a.internal { // which gets no prepend
		return a.med > b.med || a.localPref < b.localPref
	}
	return a.med > b.med || a.prepend > b.prepend
}

// usualLocalPref is what is sent where nothing is set.
const usualLocalPref = 100

func value(of *uint32, or uint32) uint32 {
	if of == nil {
		return or
	}
	return *of
}

// toward is what a neighbor hears of a rung. What is set for it alone replaces
// the rung's own, communities are added.
func toward(r config.Rung, n Neighbor) heard {
	o := r.Neighbors[n.Address]
	return heard{
		prepend:   cmp.Or(o.Prepend, r.Prepend),
		med:       value(cmp.Or(o.MED, r.MED), 0),
		localPref: value(cmp.Or(o.LocalPref, r.LocalPref), usualLocalPref),
		told:      slices.Contains(r.Communities, bgp.GracefulShutdown) || slices.Contains(o.Communities, bgp.GracefulShutdown),
		withheld:  o.Withhold,
		internal:  n.AS == n.LocalAS,
	}
}
