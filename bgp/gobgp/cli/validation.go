package cli

import (
	"fmt"
	"net/netip"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// showValidation prints what RPKI says about a prefix, once for each origin AS.
func (c *client) showValidation(dsts []*api.Destination, prefix string) error {
	for _, d := range dsts {
		if d.Prefix != prefix {
			continue
		}
		shown := make(map[uint32]bool)
		for _, p := range d.Paths {
			if err := c.showVerdict(p, shown); err != nil {
				return err
			}
		}
		return nil
	}
	c.println("Network not in table")
	return nil
}

func (c *client) showVerdict(p *api.Path, shown map[uint32]bool) error {
	nlri, _ := apiutil.GetNativeNlri(p)
	origin, ok := originAS(p)
	if !ok {
		return fmt.Errorf("the path to %s was locally generated", nlriText(nlri))
	}
	if shown[origin] {
		return nil
	}
	shown[origin] = true
	v := p.GetValidation()
	c.printf("Target Prefix: %s, AS: %d\n", nlriText(nlri), origin)
	c.printf("  This route is %s", v.GetState())
	switch v.GetState() {
	case api.Validation_STATE_INVALID:
		c.printf("  reason: %s\n", v.GetReason())
		switch v.GetReason() {
		case api.Validation_REASON_ASN:
			c.println("  No VRP ASN matches the route origin ASN.")
		case api.Validation_REASON_LENGTH:
			c.println("  Route Prefix length is greater than the maximum length allowed by VRP(s) matching this route origin ASN.")
		}
	case api.Validation_STATE_NOT_FOUND:
		c.println("\n  No VRP Covers the Route Prefix")
	default:
		c.printf("\n\n")
	}
	for _, l := range []struct {
		title string
		vrps  []*api.Roa
	}{{"Matched", v.GetMatched()}, {"Unmatched AS", v.GetUnmatchedAsn()}, {"Unmatched Length", v.GetUnmatchedLength()}} {
		c.printf("  %s VRPs: \n", l.title)
		c.showVRPs(nlriText(nlri), l.vrps)
	}
	return nil
}

// originAS is the last AS of the path; false: there is none.
func originAS(p *api.Path) (uint32, bool) {
	attrs, _ := apiutil.GetNativePathAttributes(p)
	for _, a := range attrs {
		path, ok := a.(*bgp.PathAttributeAsPath)
		if !ok || len(path.Value) == 0 {
			continue
		}
		if as := path.Value[len(path.Value)-1].GetAS(); len(as) > 0 {
			return as[len(as)-1], true
		}
	}
	return 0, false
}

func (c *client) showVRPs(prefix string, vrps []*api.Roa) {
	if len(vrps) == 0 {
		c.println("    No Entry")
		return
	}
	width := 42
	if p, err := netip.ParsePrefix(prefix); err == nil && p.Addr().Is4() {
		width = 18
	}
	c.printf("    %-*s %-6s %-10s\n", width, "Network", "AS", "MaxLen")
	for _, r := range vrps {
		c.printf("    %-*s %-6d %-10d\n", width, r.Prefix, r.Asn, r.Maxlen)
	}
}
