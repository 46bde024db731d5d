package main

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func TestIngressTable(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	slice := func(s string) policy.SliceID { return policy.SliceID(netip.MustParsePrefix(s)) }
	r := api.IngressReport{
		POP: "CTL", Now: now, Round: now.Add(-2 * time.Second), Interval: api.Duration(10 * time.Second), Unit: "out", LocalPref: 200,
		Targets: []api.IngressTarget{
			{POP: "LON", NextHops: []string{"10.255.0.1", "2001:db8:ff::1"}, State: "open", Detail: "announced", Assigned: 1, Load: 9e9, Planned: 7e9, Capacity: 10e9},
			{POP: "FRA", NextHops: []string{"10.255.0.2"}, State: "gone", Detail: "our check: timeout"},
		},
		Assignments: []api.IngressAssignment{
			{Router: "pe1", Slice: slice("192.0.2.0/24"), POP: "LON", Planned: "AMS", Reason: "waiting", Detail: "goes to AMS in a later round", Demand: 2e9, Known: true, Since: now.Add(-time.Minute)},
			{Router: "pe2", Slice: slice("2001:db8:100::/48"), Reason: "no-room", Detail: "FRA: our check: timeout", Demand: 4e6},
		},
		Alarms: []api.Alarm{{Name: "ingress-overload", Detail: "2G more than the POPs are to carry", Since: now.Add(-time.Hour)}},
	}
	var b bytes.Buffer
	writeIngress(&b, r)
	want := `POP  STATE  ASSIGNED  LOAD                  IN USE  CAPACITY   NEXT HOPS                  NOTE
LON  open   1         9 Gbit/s -> 7 Gbit/s  90 %    10 Gbit/s  10.255.0.1 2001:db8:ff::1  announced
FRA  gone   0         0 bit/s               -       -          10.255.0.2                 our check: timeout

ROUTER  SLICE              POP      PLANNED  SINCE  DEMAND      REASON
pe1     192.0.2.0/24       LON      AMS      1m     2 Gbit/s    waiting: goes to AMS in a later round
pe2     2001:db8:100::/48  anycast  -        -      (4 Mbit/s)  no-room: FRA: our check: timeout

Told with local preference 200; a round each 10s, the last 2s ago.
ALARM ingress-overload for 1h: 2G more than the POPs are to carry
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
}
