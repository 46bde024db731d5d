package resync

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestPayloadOf: what segments carried, whatever the length of their headers.
func TestPayloadOf(t *testing.T) {
	list := "table inet count {\n\tchain vip {\n\t\ttcp flags & (syn | rst) != 0x0 accept\n"
	for words := 5; words <= 15; words++ {
		list += fmt.Sprintf("\t\ttcp doff %d counter packets 0 bytes 0 accept\n", words)
	}
	list = strings.Replace(list, "doff 8 counter packets 0 bytes 0", "doff 8 counter packets 2 bytes 3000", 1)
	list = strings.Replace(list, "doff 5 counter packets 0 bytes 0", "doff 5 counter packets 3 bytes 121", 1)
	if got, err := payloadOf(list); err != nil || got != 3000-2*52+1 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := payloadOf(strings.Replace(list, "doff 15", "length 15", 1)); err == nil {
		t.Error("a counter is missing, and nothing is said")
	}
}

// TestJudge: the worst download is what counts of bytes read twice, and what is
// told counts from the route on.
func TestJudge(t *testing.T) {
	route := time.Unix(100, 0)
	flows := []one{
		{Right: true, Bytes: 1000, Heads: 100, Read: 1100, Told: route.Add(2 * time.Second), Resyncs: 1, Gap: 3 * time.Second, Took: 5 * time.Second},
		{Err: "lost", Bytes: 400, Heads: 200, Read: 20_600, Told: route.Add(time.Second), Took: 4 * time.Second},
		{Right: true, Bytes: 1000, Heads: 100, Read: 1100, Took: time.Second},
	}
	r := judge("x", flows, route, 3100)
	if r.n != 3 || r.whole != 2 || r.failed != 1 || r.errors["lost"] != 1 || r.resyncs != 1 || r.again != 20_000 || r.late != 100 {
		t.Errorf("%+v", r)
	}
	if of(r.told, .5) != 2*time.Second || of(r.told, 0) != time.Second || len(r.gaps) != 1 || of(r.took, 1) != 5*time.Second {
		t.Errorf("%v, %v, %v", r.told, r.gaps, r.took)
	}
	met := 0
	for _, g := range goals(r, r) {
		if g.Met() {
			met++
		}
	}
	if met != 0 {
		t.Errorf("%d goals are met: %v", met, goals(r, r))
	}
}
