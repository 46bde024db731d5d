package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/catchment/catchment/pop/api"
)

// standings are what the top of a tree is, for people.
var standings = map[string]string{
	"rooted": "its top hears the core", "anchored": "its top is with a core that does not answer",
	"orphan": "its top follows nobody, this is what was known last",
}

// relayRows tell of the place in the relay tree.
func relayRows(w io.Writer, t *table, now time.Time, r *api.CoreRelay) {
	if r == nil {
		return
	}
	how := paint(w, good, r.Standing)
	if r.Standing != "rooted" {
		how = paint(w, bad, r.Standing)
	}
	t.row("relay", fmt.Sprintf("%s: %s", how, standings[r.Standing]))
	t.row("path", fmt.Sprintf("%s for %s", strings.Join(r.Path, " > "), age(now, r.Since)))
	if len(r.Path) > 1 {
		t.row("heard", fmt.Sprintf("%s ago, %d revisions behind", age(now, r.Heard), r.Behind))
	}
	if r.Standing == "orphan" && r.Why != "" {
		t.row("lost", oneLine(r.Why))
	}
	if len(r.Followers) > 0 {
		t.row("followers", fmt.Sprintf("%s; %d POPs with this one, the last %d revisions behind",
			strings.Join(r.Followers, ", "), r.Below, r.BehindBelow))
	}
	t.row("presence", fmt.Sprintf("of %d POPs, this one included", r.POPs))
}
