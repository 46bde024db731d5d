package main

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
)

func TestCoreStatusRelay(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := api.CoreStatus{Mode: "follow", Reachable: true, Since: now.Add(-time.Hour), Revision: 70, Relay: &api.CoreRelay{
		Standing: "rooted", Path: []string{"LON", "FRA", "PAR"}, Since: now.Add(-time.Minute), Heard: now.Add(-400 * time.Millisecond),
		Revision: 70, Behind: 2, Followers: []string{"LYS", "MRS"}, Below: 4, BehindBelow: 3, POPs: 12,
	}}
	var b strings.Builder
	writeCore(&b, now, c)
	for _, want := range []string{"rooted: its top hears the core", "LON > FRA > PAR for 1m", "2 revisions behind", "LYS, MRS; 4 POPs with this one, the last 3 revisions behind", "of 12 POPs"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	c.Relay = &api.CoreRelay{Standing: "orphan", Path: []string{"PAR"}, Why: "FRA: it says nothing"}
	b.Reset()
	writeCore(&b, now, c)
	for _, want := range []string{"orphan: its top follows nobody", "FRA: it says nothing"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
