package cli

import (
	"bytes"
	"io"
	"strings"
	"testing"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"google.golang.org/protobuf/proto"
)

// FuzzPath: whatever is typed is a route that can be sent, or an error.
func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"10.0.0.0/24 origin igp aspath 1,2,{3} med 5 nexthop 10.0.0.1",
		"2001:db8::/32 community 1:2,no-export large-community 1:2:3 aigp metric 5 identifier 4",
		"10.0.0.0/24 aggregator 64500:10.0.0.1 rt 64500:1 10.0.0.1:2 encap vxlan esi-label 1 all-active",
		"10.0.0.0/24 rate-limit 10.5 as 3 redirect 2001:db8::1:5 mark 3 action sample mup 1:2 lb 1 2 color 5",
		"10.0.0.0/24 label 100 rd 64500:1 identifier 3 valid", "10.0.0.0/24 100/200 default-gateway router-mac 0:0:0:0:0:1",
		"10.0.0.0/24 rate-limit 1 redirect 1.1:1 stray discard accept",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, rf := range []bgp.RouteFamily{bgp.RF_IPv4_UC, bgp.RF_IPv6_UC, bgp.RF_IPv4_VPN, bgp.RF_IPv6_VPN, bgp.RF_IPv4_MPLS, bgp.RF_IPv6_MPLS} {
			p, err := parsePath(rf, strings.Fields(s))
			if (p == nil) == (err == nil) {
				t.Fatalf("%q: %v, %v", s, p, err)
			}
			if err == nil {
				if _, err := proto.Marshal(&api.AddPathRequest{Path: p}); err != nil && !strings.Contains(err.Error(), "UTF-8") {
					t.Fatalf("%q: %v", s, err)
				}
			}
		}
	})
}

// FuzzDump: a dump is read to its end or to an error, whatever is in it.
func FuzzDump(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 13, 0, 1, 0, 0, 0, 8, 10, 0, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 13, 0, 2, 0, 0, 0, 12, 0, 0, 0, 1, 8, 10, 0, 1, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 13, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for range len(b) {
			if _, err := readRecord(r); err == io.EOF {
				return
			} else if _, bad := err.(badRecord); err != nil && !bad {
				return
			}
		}
		if r.Len() > 0 {
			t.Fatalf("%d bytes left", r.Len())
		}
	})
}
