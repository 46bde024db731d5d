package web

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
)

// TestMaintenanceIsShown: what is planned is on the page, and what is under way.
func TestMaintenanceIsShown(t *testing.T) {
	b := atNight()
	b.POP.Maintenance = []api.MaintenanceWindow{
		{Name: "power", At: "daily 03:00 UTC", For: api.Duration(time.Hour), Service: "web", By: "uid 1000 (ann)", Why: "the feed is changed", Start: now, End: now.Add(time.Hour), State: api.WindowUnder},
		{Name: "disks", At: "daily 04:00 UTC", For: api.Duration(time.Hour), By: "configuration", Start: now.Add(24 * time.Hour), End: now.Add(25 * time.Hour)},
	}
	u := visits(t, start(t, b, "", false), wide, high, "light")
	said := eval[string](u, `document.getElementById("intents").innerText`)
	for _, want := range []string{
		"power of web, " + now.UTC().Format("2006-01-02 15:04") + " UTC to " + now.Add(time.Hour).UTC().Format("2006-01-02 15:04") + " UTC: the feed is changed, under way, uid 1000 (ann)",
		"disks of everything, " + now.Add(24*time.Hour).UTC().Format("2006-01-02 15:04") + " UTC",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("does not say %q:\n%s", want, said)
		}
	}
}
