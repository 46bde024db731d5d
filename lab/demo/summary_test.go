package demo

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
)

func TestSummaryGolden(t *testing.T) {
	got := style{}.summary([]outcome{
		{title: steps[0].short, seen: true, figures: "answered by LON, 198 requests, median 0.6 ms"},
		{title: steps[1].short, seen: true, figures: "route gone from the kernel of t1 after 3.1 ms IPv4, 4.0 ms IPv6; " +
			"answered by FRA after 22.0 ms; 2 of 206 requests failed"},
		{title: steps[3].short, figures: "not seen within 20s: LON withdraws"},
		{title: steps[4].short, skipped: true},
	})
	compare(t, "summary.golden", got)
	for l := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > columns {
			t.Errorf("%d columns: %s", n, l)
		}
	}
}

// The tally takes lines however they are cut, says what changes and counts.
func TestTally(t *testing.T) {
	var events []string
	ty := &tally{family: ipv4, add: func(e Event) { events = append(events, e.What+" "+e.Detail) }}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	refused := `Get "http://192.0.2.1/": dial tcp 192.0.2.1:80: connect: connection refused`
	list := []serve.Answer{
		{Pop: "LON", Status: 200, Millis: 1}, {Pop: "LON", Status: 200, Millis: 2},
		{Err: refused}, {Err: refused},
		{Pop: "FRA", Status: 200, Millis: 3, Again: true}, {Status: 500}, {Pop: "FRA", Status: 200, Millis: 4},
	}
	var text strings.Builder
	for i, a := range list {
		a.Time = start.Add(time.Duration(i) * every)
		text.WriteString(a.Line() + "\n")
	}
	for i, half := 0, text.Len()/2+7; i < 2; i++ {
		part := []string{text.String()[:half], text.String()[half:]}[i]
		if n, err := ty.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write: %d, %v", n, err)
		}
	}
	want := "answered by LON|failed connection refused|answered by FRA|failed with status 500|answered by FRA again"
	if got := strings.Join(events, "|"); got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	all := map[string]*tally{"IPv4": ty}
	if got := between(all, start, start.Add(time.Hour)); got != (asked{7, 3, 1, 3 * time.Millisecond}) {
		t.Errorf("all: %+v", got)
	}
	if got := between(all, start.Add(every), start.Add(2*every)); got != (asked{2, 1, 0, 2 * time.Millisecond}) {
		t.Errorf("second and third: %+v", got)
	}
	if at, ok := ty.first("FRA", start); !ok || at != start.Add(4*every+3*time.Millisecond) {
		t.Errorf("first answer of FRA at %v, %v", at, ok)
	}
}

func TestLeads(t *testing.T) {
	via := func(s ...string) (r netlab.Route) {
		for _, a := range s {
			r.Via = append(r.Via, netip.MustParseAddr(a))
		}
		return r
	}
	for want, routes := range map[string][]netlab.Route{
		nowhere:      {{}},
		"LON":        {via("10.1.1.2")},
		"LON and t2": {via("2001:db8:1:1::2"), via("2001:db8:12::2")},
		"t2 and LON": {via("10.12.0.2", "10.1.1.2")},
		"10.9.9.9":   {via("10.9.9.9")},
	} {
		if got := leads(routes); got != want {
			t.Errorf("leads(%v) = %q, want %q", routes, got, want)
		}
	}
}

// A next hop is an address of the node it is said to be, in the topology.
func TestNextHops(t *testing.T) {
	topo, err := files.ReadFile("demo.clab.yml")
	if err != nil {
		t.Fatal(err)
	}
	for addr, who := range nextHops {
		_, node, found := strings.Cut(string(topo), fmt.Sprintf("\n    %s:\n", strings.ToLower(who)))
		node, _, _ = strings.Cut(node, "\n    t")
		if !found || !strings.Contains(node, " "+addr.String()+"/") {
			t.Errorf("%v is not an address of %s", addr, who)
		}
	}
}
