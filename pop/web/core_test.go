package web

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
)

// TestCoreLine: the page says whether the control core answers, and what
// became of the fleet's configuration; nothing where there is none.
func TestCoreLine(t *testing.T) {
	b := atNight()
	b.POP.Core = &api.CoreStatus{
		Mode: "embedded", Since: ago(3 * time.Minute), Revision: 70, Members: []api.CoreMember{{Name: "LON"}, {Name: "FRA"}, {Name: "NYC"}},
		Config: &api.CoreApplied{POP: "LON", Number: 4, Newest: 5, Refused: "log.format: needs a restart", Restart: true},
	}
	u := visits(t, start(t, b, "", false), wide, high, "light")
	said := eval[string](u, `document.getElementById("core").innerText`)
	for _, want := range []string{"The control core does not answer, and announcing goes on, for 3m", "3 members, revision 70, configuration 4, 5 after a restart"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q does not say %q", said, want)
		}
	}
	u = visits(t, start(t, atNight(), "", false), wide, high, "light")
	if said := eval[string](u, `document.getElementById("core").innerText`); said != "" {
		t.Errorf("without a core: %q", said)
	}
}
