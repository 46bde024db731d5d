package slowness

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/nets"
)

// columns are those of the CSV export after network and location; the location
// is the class.
var columns = []string{"slow", "confidence", "samples", "p10_bytes_per_second", "p50_bytes_per_second", "p90_bytes_per_second",
	"receiver_limited", "rtt_ms", "min_rtt_ms", "loss", "age_seconds", "clients"}

// WriteCSV writes a line a network, which nets.CSV reads as a map to classes.
func (r *Report) WriteCSV(w io.Writer) error {
	return nets.WriteCSV(w, columns, func(yield func(nets.Row) bool) {
		for i := range r.Networks {
			n := &r.Networks[i]
			row := nets.Row{Network: n.Prefix.String(), Location: n.Class.String(), More: []string{
				fmt.Sprint(n.Slow), fmt.Sprintf("%.3f", n.Sure), fmt.Sprint(n.Samples), fmt.Sprintf("%.0f", n.P10), fmt.Sprintf("%.0f", n.P50), fmt.Sprintf("%.0f", n.P90),
				fmt.Sprintf("%.3f", n.Limited), ms(n.RTT), ms(n.MinRTT), fmt.Sprintf("%.4f", n.Loss), fmt.Sprintf("%.0f", max(0, r.At.Sub(n.Seen).Seconds())), fmt.Sprint(n.Clients),
			}}
			if !yield(row) {
				return
			}
		}
	})
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }

// WriteNets writes who is slow for gdnsd's plugin geoip, each network with this
// list of datacenters ("cheap1,cheap2"). nil: nobody is.
func WriteNets(w io.Writer, datacenters string, slow *steer.Slow) error {
	return nets.WriteGdnsd(w, rows(datacenters, slow))
}

// WritePowerDNS writes the same networks as a zone of PowerDNS: its name is an
// alias of cheap for their clients.
func WritePowerDNS(w io.Writer, zone *nets.PowerDNS, cheap string, slow *steer.Slow) error {
	return zone.Write(w, rows(cheap, slow))
}

func rows(location string, slow *steer.Slow) func(yield func(nets.Row) bool) {
	return func(yield func(nets.Row) bool) {
		for p := range slow.All() {
			if !yield(nets.Row{Network: p.String(), Location: location}) {
				return
			}
		}
	}
}

// Words of lists of slow networks.
const (
	// NotSlow in the operator's list says that a network is not, whatever was measured.
	NotSlow = "fast"
	// Measured goes before the class of a network that was measured: its reason.
	Measured = "measured "
)

// Lists are what besides measurements says who is slow.
type Lists struct {
	// Operator's list: the reason of each network, or NotSlow.
	Operator *steer.Nets
	// Places and Providers are databases; who is in a location named in Slow
	// (country "FR", region "FR-IDF", provider "AS64500") is slow.
	Places, Providers *steer.Nets
	Slow              []string
}

// Join puts measurements and lists together: the operator's word goes before
// what was measured, that before a provider, and that before a place.
func (l *Lists) Join(measured *steer.Nets) (*steer.Slow, error) {
	named := map[string]bool{}
	for _, s := range l.Slow {
		named[s] = true
	}
	all := measured
	for _, db := range []*steer.Nets{l.Providers, l.Places} {
		if db == nil {
			continue
		}
		var err error
		all, err = all.Over(db.Rename(func(s string) string {
			if named[s] {
				return "listed " + s
			}
			return ""
		}))
		if err != nil {
			return nil, fmt.Errorf("slowness: %w", err)
		}
	}
	if l.Operator != nil {
		var err error
		if all, err = l.Operator.Over(all); err != nil {
			return nil, fmt.Errorf("slowness: %w", err)
		}
	}
	return steer.NewSlow(all.Rename(func(s string) string {
		if s == NotSlow {
			return ""
		}
		return s
	})), nil
}

// Counts tell how many networks of each family a report has in each class, and
// how many are slow: what metrics are made of, whatever the number of networks.
type Counts struct {
	ByClass [2][classes]int // by family: IPv4, IPv6
	Slow    [2]int
	Unsure  int
}

// Counts adds up a report.
func (r *Report) Counts() Counts {
	c := Counts{Unsure: r.Unsure}
	for i := range r.Networks {
		n := &r.Networks[i]
		f := family(n.Prefix.Addr())
		c.ByClass[f][n.Class]++
		if n.Slow {
			c.Slow[f]++
		}
	}
	return c
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
