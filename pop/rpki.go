package pop

import (
	"fmt"
	"net/netip"

	"github.com/catchment/catchment/policy"
)

// RPKI says which of our prefixes are announced against the word of the RPKI.
type RPKI interface {
	// Invalid lists them, with why; nothing is in it where nothing is known.
	Invalid() map[netip.Prefix]string
	// Caches counts those that have told all they have, and all of them.
	Caches() (synchronized, all int)
}

// rpkiLimit says what own-prefix has to go by.
func (v *View) rpkiLimit() string {
	if v.caches == 0 {
		return "RPKI: no caches (bgp.rpki-servers)"
	}
	return fmt.Sprintf("RPKI: %d of %d caches synchronized", v.synchronized, v.caches)
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
