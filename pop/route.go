package pop

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// RouteChange is a change of a slice's route itself that an operator insists
// on, over the guards: gobgp's `global rib add` and `del` with --force.
type RouteChange struct {
	Slice      policy.SliceID
	Withdraw   bool
	Attributes bgp.Attributes // without Withdraw
	By, Why    string
}

// ForceRoute makes the change an intent of the operator, and so something
// that is decided, journaled, shown and kept like every other: an addition
// pins the slice to announce with its own attributes, a deletion ends such a
// pin, or else pins the slice to withdraw. The answer says which, for people.
func (c *Controller) ForceRoute(ctx context.Context, r RouteChange) (string, error) {
	var svc policy.ServiceID
	var added bool
	var fail error
	// Whatever service the slice was of at that time.
	addition := func(in policy.Intent) bool {
		return in.Slice == r.Slice && in.Route != nil && in.Stance.Announced()
	}
	err := c.call(ctx, func() {
		if svc, fail = c.serviceOf(r.Slice); fail != nil {
			return
		}
		added = slices.ContainsFunc(c.intents, addition)
	})
	if err = firstError(err, fail); err != nil {
		return "", err
	}
	var res api.Result
	if r.Withdraw && added {
		res, err = c.release(ctx, api.Released{Slice: r.Slice, By: r.By, Why: r.Why}, addition)
		return c.routeNote(res, "the route added by force is released, the controller decides again", ""), err
	}
	in := policy.Intent{
		Kind: policy.IntentPin, Service: svc, Slice: r.Slice, By: r.By, Why: r.Why, At: time.Now(), Force: true, Route: &policy.Route{},
	}
	what := "withdrawn by force"
	if !r.Withdraw {
		what, in.Stance, in.Route = "announced by force", policy.Stance{Action: policy.Announce}, routeOf(r.Attributes)
	}
	res, err = c.Intent(ctx, in)
	return c.routeNote(res, what, "; `catchment release --slice "+r.Slice.String()+"` ends it"), err
}

// routeNote says what came of a change and how the slice is now.
func (c *Controller) routeNote(res api.Result, what, end string) string {
	for _, s := range res.Slices {
		what = fmt.Sprintf("%v: %s: %v, %v", s.Slice, what, s.Stance, s.Reason)
		if s.Note != "" {
			what += "; " + s.Note
		}
	}
	return what + end
}

// serviceOf names the service that a slice of the configuration belongs to.
func (c *Controller) serviceOf(id policy.SliceID) (policy.ServiceID, error) {
	for i := range c.cfg.Services {
		if s := &c.cfg.Services[i]; slices.Contains(s.Slices, id) || slices.Contains(s.Cover, id) {
			return s.ID, nil
		}
	}
	return "", api.Errorf(api.NotFound, "no service has the slice %v", id)
}

// elsewhere names the intents of single slices where none is of the whole
// service, and those of more than r names, which only end as they were asked for.
func (c *Controller) elsewhere(r api.Released) string {
	out := ""
	for _, in := range c.intents {
		of, _ := c.serviceOf(r.Slice)
		wide := in.Slice == policy.SliceID{} && (in.Service == "" || in.Service == of) && in.Kind != policy.IntentStop
		if wide && (len(r.Kinds) == 0 || slices.Contains(r.Kinds, in.Kind)) {
			out += fmt.Sprintf("; there is a %s of %s", in.What(), scope(in.Service, in.Slice))
			continue
		}
		single := in.Slice != policy.SliceID{} && r.Slice == policy.SliceID{}
		if id, err := c.serviceOf(in.Slice); single && err == nil && id == r.Service {
			out += fmt.Sprintf("; there is a %s of %v: --slice %v", in.What(), in.Slice, in.Slice)
		}
	}
	return out
}

// routeOf puts attributes into the words that an intent is kept in.
func routeOf(a bgp.Attributes) *policy.Route {
	r := &policy.Route{MED: a.MED, LocalPref: a.LocalPref, Prepend: a.Prepend}
	for _, c := range a.Communities {
		r.Communities = append(r.Communities, c.String())
	}
	for _, c := range a.LargeCommunities {
		r.LargeCommunities = append(r.LargeCommunities, c.String())
	}
	if a.NextHop.IsValid() {
		r.NextHop = a.NextHop.String()
	}
	return r
}

// attributesOf reads them back.
func attributesOf(r *policy.Route) (bgp.Attributes, error) {
	a := bgp.Attributes{MED: r.MED, LocalPref: r.LocalPref, Prepend: r.Prepend}
	for _, s := range r.Communities {
		c, err := bgp.ParseCommunity(s)
		if err != nil {
			return a, err
		}
		a.Communities = append(a.Communities, c)
	}
	for _, s := range r.LargeCommunities {
		c, err := bgp.ParseLargeCommunity(s)
		if err != nil {
			return a, err
		}
		a.LargeCommunities = append(a.LargeCommunities, c)
	}
	if r.NextHop != "" {
		next, err := netip.ParseAddr(r.NextHop)
		if err != nil {
			return a, fmt.Errorf("next hop: %w", err)
		}
		a.NextHop = next
	}
	return a, nil
}

// forced is the index with the routes that the operator forced in the place of
// the services' own, for slices that a configuration is about to lose.
func (a announcements) forced(last policy.Decision) announcements {
	out := maps.Clone(a)
	for _, d := range last.Slices {
		if _, rung, ok := a.decided(d); ok && d.Route() != nil {
			r := a[d.Slice]
			r.rungs, r.drain = []config.Rung{rung}, rung
			out[d.Slice] = r
		}
	}
	return out
}

// forcedRung is the name of the rung on which a forced route is announced.
const forcedRung = "forced"

// decided returns the announcement of a decision: that of its rung, or the
// route that the operator forced. Of what the service says of single neighbors
// only who gets nothing and what next hop stays then, and the POP's mark.
func (a announcements) decided(d policy.SliceDecision) (bgp.Announcement, config.Rung, bool) {
	an, rung, ok := a.of(d.Slice, d.Stance)
	route := d.Route()
	if !ok || route == nil {
		return an, rung, ok
	}
	attrs, err := attributesOf(route)
	if err != nil { // the state was edited by hand
		return an, rung, ok
	}
	if site := a[d.Slice].site; site != nil && !slices.Contains(attrs.LargeCommunities, *site) {
		attrs.LargeCommunities = append(attrs.LargeCommunities, *site)
		slices.SortFunc(attrs.LargeCommunities, bgp.LargeCommunity.Compare)
	}
	neighbors := map[netip.Addr]bgp.Override{}
	for addr, o := range an.Neighbors {
		keep := bgp.Override{Withhold: o.Withhold}
		if !attrs.NextHop.IsValid() {
			keep.NextHop = o.NextHop
		}
		neighbors[addr] = keep
	}
	maps.DeleteFunc(neighbors, func(_ netip.Addr, o bgp.Override) bool { return !o.Withhold && !o.NextHop.IsValid() })
	if !attrs.NextHop.IsValid() {
		attrs.NextHop = an.NextHop
	}
	forced := config.Rung{Name: forcedRung, Attributes: attrs, Neighbors: neighbors}
	return bgp.Announcement{Prefix: an.Prefix, Attributes: attrs, Neighbors: neighbors}, forced, true
}
