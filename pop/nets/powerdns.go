package nets

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// PowerDNS is a zone of PowerDNS's geoip backend with one name, which is an
// alias (CNAME) of another name for clients of some networks.
type PowerDNS struct {
	Name    string // of the alias; the zone is its parent
	Server  string // name server of the zone, for SOA and NS
	Default string // what others get
	Serial  uint32
	TTL     int // seconds
}

// Write writes the zone; each row's location is the name that its network gets.
// PowerDNS takes it as geoip-zones-file, and again at `pdns_control reload`.
func (p *PowerDNS) Write(w io.Writer, rows func(yield func(Row) bool)) error {
	plain := func(name string) string { return strings.TrimSuffix(name, ".") }
	_, zone, _ := strings.Cut(plain(p.Name), ".")
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "domains:\n- domain: %s\n  ttl: %d\n  records:\n    %s:\n", zone, p.TTL, zone)
	fmt.Fprintf(b, "    - soa: %s hostmaster.%s %d 7200 3600 1209600 %d\n    - ns: %s\n", plain(p.Server), zone, p.Serial, p.TTL, plain(p.Server))
	fmt.Fprintf(b, "  services:\n    %s:\n      default: %s\n", plain(p.Name), plain(p.Default))
	for r := range rows {
		if _, err := fmt.Fprintf(b, "      %s: %s\n", r.Network, plain(r.Location)); err != nil {
			return err
		}
	}
	return b.Flush()
}
