package cli

import (
	"bufio"
	"fmt"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// routeTable is routes as text, with columns as wide as the widest cell of
// any row. The last two columns are not padded.
type routeTable struct {
	rib              rib
	labels, sessions bool

	widths []int // of the columns between the marks and the attributes
	head   []string
	rows   [][]string
}

// newRouteTable has the columns that the table and the family need. sessions:
// those of MUP session routes.
func newRouteTable(r rib, rf bgp.RouteFamily, sessions bool) *routeTable {
	t := &routeTable{rib: r, labels: labelled(rf) || vpn(rf) || rf == bgp.RF_EVPN, sessions: sessions}
	column := func(name string, width int) {
		t.head = append(t.head, name)
		t.widths = append(t.widths, width)
	}
	column("", 3)
	if r.id != bgp.BGP_ADD_PATH_NONE {
		column("ID", 3)
	}
	column("Network", 20)
	if t.labels {
		column("Labels", 10)
	}
	if sessions {
		column("TEID", 10)
		column("QFI", 10)
		column("Endpoint", 20)
	}
	column("Next Hop", 20)
	column("AS_PATH", 20)
	if r.age {
		column("Age", 10)
	}
	t.head = append(t.head, "Attrs")
	if r.fate {
		t.head = append(t.head, "Filtered")
	}
	return t
}

func (t *routeTable) add(p *api.Path) {
	nlri, _ := apiutil.GetNativeNlri(p)
	attrs, _ := apiutil.GetNativePathAttributes(p)
	row := make([]string, 0, len(t.head))
	widen := func(cell string) {
		row = append(row, cell)
		t.widths[len(row)-1] = max(t.widths[len(row)-1], len(cell))
	}
	row = append(row, marks(p, t.rib.best))
	switch t.rib.id { // these columns keep their width
	case bgp.BGP_ADD_PATH_RECEIVE:
		row = append(row, fmt.Sprint(p.GetIdentifier()))
	case bgp.BGP_ADD_PATH_SEND:
		row = append(row, fmt.Sprint(p.GetLocalIdentifier()))
	}
	widen(nlriText(nlri))
	if t.labels {
		widen(bgp.LabelString(nlri))
	}
	if t.sessions {
		widen(bgp.TEIDString(nlri))
		widen(bgp.QFIString(nlri))
		widen(bgp.EndpointString(nlri))
	}
	widen(nextHopText(attrs))
	widen(asPathText(attrs))
	if t.rib.age {
		row = append(row, sinceText(p.GetAge().AsTime()))
	}
	row = append(row, attributesText(nlri, attrs))
	if t.rib.fate {
		row = append(row, fate(p))
	}
	t.rows = append(t.rows, row)
}

func (t *routeTable) write(w *bufio.Writer) {
	t.writeRow(w, t.head)
	for _, r := range t.rows {
		t.writeRow(w, r)
	}
}

// writeRow ends every padded cell but the marks with a blank.
func (t *routeTable) writeRow(w *bufio.Writer, row []string) {
	for i, cell := range row {
		w.WriteString(cell)
		if i >= len(t.widths) {
			continue
		}
		for range t.widths[i] - len(cell) {
			w.WriteByte(' ')
		}
		if i > 0 {
			w.WriteByte(' ')
		}
	}
	w.WriteByte('\n')
}

// marks are what stands before a route: S stale; N, V or I what RPKI says; *
// usable, *> the best.
func marks(p *api.Path, best bool) string {
	s := ""
	if p.Stale {
		s = "S"
	}
	if v := p.GetValidation(); v != nil {
		switch v.State {
		case api.Validation_STATE_NOT_FOUND:
			s += "N"
		case api.Validation_STATE_VALID:
			s += "V"
		case api.Validation_STATE_INVALID:
			s += "I"
		}
	}
	switch {
	case !best:
	case p.Best && !p.IsNexthopInvalid:
		s += "*>"
	default:
		s += "* "
	}
	return s
}

// fate says whether and why a path is not sent.
func fate(p *api.Path) string {
	switch {
	case p.SendMaxFiltered:
		return "send-max-filtered"
	case p.Filtered:
		return "policy-filtered"
	}
	return "not filtered"
}

func nlriText(n bgp.AddrPrefixInterface) string {
	if n == nil {
		return ""
	}
	return n.String()
}

func nextHopText(attrs []bgp.PathAttributeInterface) string {
	for _, a := range attrs {
		switch a := a.(type) {
		case *bgp.PathAttributeNextHop:
			if a.Value != nil {
				return a.Value.String()
			}
			return "fictitious"
		case *bgp.PathAttributeMpReachNLRI:
			if a.Nexthop != nil {
				return a.Nexthop.String()
			}
			return "fictitious"
		}
	}
	return "fictitious"
}

func asPathText(attrs []bgp.PathAttributeInterface) string {
	for _, a := range attrs {
		if p, ok := a.(*bgp.PathAttributeAsPath); ok {
			return bgp.AsPathString(p)
		}
	}
	return ""
}

// attributesText is all other attributes, and what of an EVPN route is not
// its key.
func attributesText(nlri bgp.AddrPrefixInterface, attrs []bgp.PathAttributeInterface) string {
	var s []string
	for _, a := range attrs {
		switch a.GetType() {
		case bgp.BGP_ATTR_TYPE_NEXT_HOP, bgp.BGP_ATTR_TYPE_MP_REACH_NLRI, bgp.BGP_ATTR_TYPE_AS_PATH, bgp.BGP_ATTR_TYPE_AS4_PATH:
		default:
			s = append(s, a.String())
		}
	}
	if n, ok := nlri.(*bgp.EVPNNLRI); ok {
		switch r := n.RouteTypeData.(type) {
		case *bgp.EVPNMacIPAdvertisementRoute:
			s = append(s, "[ESI: "+r.ESI.String()+"]")
		case *bgp.EVPNIPPrefixRoute:
			s = append(s, "[ESI: "+r.ESI.String()+"]")
			if r.GWIPAddress != nil {
				s = append(s, "[GW: "+r.GWIPAddress.String()+"]")
			}
		}
	}
	return "[" + strings.Join(s, " ") + "]"
}
