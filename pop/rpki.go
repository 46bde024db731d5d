package pop

import (
	"net/netip"

	"github.com/catchment/catchment/policy"
)

// RPKI says which of our prefixes are announced against the word of the RPKI.
type RPKI interface {
	// Invalid lists them, with why; nothing is in it where nothing is known.
	Invalid() map[netip.Prefix]string
}

func invalid(prefixes map[netip.Prefix]string) map[policy.SliceID]string {
	if len(prefixes) == 0 {
		return nil
	}
	out := make(map[policy.SliceID]string, len(prefixes))
	for p, why := range prefixes {
		out[policy.SliceID(p)] = why
	}
	return out
}
