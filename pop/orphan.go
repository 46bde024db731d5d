package pop

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
)

// orphans raises an alarm for intents of what the configuration no longer
// has: they would take force again, long forgotten, the moment it is back.
func (c *Controller) orphans(now time.Time) {
	var words []string
	for _, in := range c.intents {
		if in.Kind != policy.IntentStop && !c.configured(in) {
			words = append(words, orphan(in))
		}
	}
	if c.alarms.set("orphan-intent", len(words) > 0, strings.Join(words, "; "), now) {
		c.log.Warn("intents of what is not configured", "intents", words)
	}
}

// configured reports whether there is what the intent is of.
func (c *Controller) configured(in policy.Intent) bool {
	if in.Service != "" && c.services[in.Service] == nil {
		return false
	}
	return in.Slice == policy.SliceID{} || slices.ContainsFunc(c.cfg.Services, func(s config.Service) bool {
		return (in.Service == "" || s.ID == in.Service) && (slices.Contains(s.Slices, in.Slice) || slices.Contains(s.Cover, in.Slice))
	})
}

// orphan describes such an intent and how it ends.
func orphan(in policy.Intent) string {
	verb, of := "release", ""
	if in.Kind == policy.IntentDrain {
		verb = "undrain"
	}
	if in.Service != "" {
		of += " " + string(in.Service)
	}
	if in.Slice != (policy.SliceID{}) {
		of += " --slice " + in.Slice.String()
	}
	return fmt.Sprintf("the %s of %s by %s is of what is not configured; catchment %s%s ends it", in.Kind, scope(in.Service, in.Slice), in.By, verb, of)
}
