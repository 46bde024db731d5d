package gobgp

import (
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"

	"github.com/catchment/catchment/bgp"
)

// HurryRPKI has the speaker look at its caches all the time. Before Run.
func (s *Speaker) HurryRPKI() { s.rpki.pace = rpkiPace{10 * time.Millisecond, 10 * time.Millisecond} }

// PathForTest is the path of a prefix without any mark.
func PathForTest(p netip.Prefix) (*api.Path, error) {
	path, err := toPath(bgp.Announcement{Prefix: p}, 0, time.Now())
	if err != nil {
		return nil, err
	}
	path.Pattrs = path.Pattrs[:2] // origin and next hop
	return path, nil
}
