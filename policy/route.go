package policy

import (
	"fmt"
	"strings"
)

// Route holds the attributes of a route that the operator announces, in the
// words of the configuration. Nothing here looks into them.
type Route struct {
	MED              *uint32  `json:"med,omitempty"`
	LocalPref        *uint32  `json:"local_pref,omitempty"`
	Prepend          int      `json:"prepend,omitempty"`
	Communities      []string `json:"communities,omitempty"`
	LargeCommunities []string `json:"large_communities,omitempty"`
	NextHop          string   `json:"next_hop,omitempty"` // empty: each session's own address
}

// String tells the attributes in gobgp's words; empty: none.
func (r Route) String() string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if r.NextHop != "" {
		add("nexthop %s", r.NextHop)
	}
	if r.MED != nil {
		add("med %d", *r.MED)
	}
	if r.LocalPref != nil {
		add("local-pref %d", *r.LocalPref)
	}
	if r.Prepend > 0 {
		add("prepend %d", r.Prepend)
	}
	if len(r.Communities) > 0 {
		add("community %s", strings.Join(r.Communities, ","))
	}
	if len(r.LargeCommunities) > 0 {
		add("large-community %s", strings.Join(r.LargeCommunities, ","))
	}
	return strings.Join(out, " ")
}

// What says in a few words what the intent is: "drain", "pin to withdraw",
// "route added (forced, med 50)".
func (in Intent) What() string {
	what, more := string(in.Kind), ""
	switch {
	case in.Route != nil && in.Stance.Announced():
		what = "route added"
		if more = in.Route.String(); more != "" {
			more = ", " + more
		}
	case in.Route != nil:
		what = "route deleted"
	case in.Kind == IntentPin:
		what += " to " + in.Stance.String()
	}
	if in.Force {
		what += " (forced" + more + ")"
	}
	return what
}

// rank is how strong an intent is. A route that the operator forced is as
// strong as a drain, so that the later word counts.
func (in Intent) rank() int {
	switch in.Kind {
	case IntentStop:
		return 4
	case IntentDrain:
		return 3
	case IntentPin:
		if in.Route != nil {
			return 3
		}
		return 2
	case IntentHold:
		return 1
	}
	return 0
}

// pinned says what a pin did, for people.
func (in Intent) pinned() string {
	switch {
	case in.Route == nil:
		return "pinned"
	case in.Stance.Announced():
		return "route added by force"
	}
	return "route deleted by force"
}

// Route returns the attributes that the operator forced on what is announced
// now; nil: the service's own.
func (d SliceDecision) Route() *Route {
	if d.Intent == nil || !d.Stance.Announced() || d.Stance != d.Want {
		return nil
	}
	return d.Intent.Route
}
