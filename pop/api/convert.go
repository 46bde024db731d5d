package api

import (
	"net/netip"
	"slices"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/policy"
)

var outcomes = map[health.Outcome]string{
	health.CannotTell: "cannot-tell", health.Pass: "pass", health.Warn: "warn", health.Fail: "fail",
}

// CheckOf puts a check's state into the API's words.
func CheckOf(s health.State) CheckStatus {
	return CheckStatus{
		ID: s.Spec.ID, Service: s.Spec.Service,
		Verdict: s.Verdict, Since: s.Since,
		Outcome: outcomes[s.Last.Outcome], Detail: s.Last.Detail, Latency: Duration(s.Last.Latency),
		Streak: s.Streak, InDoubt: s.InDoubt, Hung: s.Hung,
		Shared: s.Spec.Shared, Maintenance: s.Spec.Maintenance, DetectedBy: s.DetectedBy,
	}
}

// AttributesOf puts an announcement into the API's words.
func AttributesOf(a bgp.Announcement) Attributes {
	out := attributes(a.Attributes)
	if out.NextHop == "" {
		out.NextHop = "self"
	}
	for _, n := range sortedKeys(a.Neighbors) {
		o := a.Neighbors[n]
		out.Neighbors = append(out.Neighbors, Neighbor{Neighbor: n.String(), Withhold: o.Withhold, Attributes: attributes(o.Attributes)})
	}
	return out
}

func attributes(a bgp.Attributes) Attributes {
	out := Attributes{MED: a.MED, LocalPref: a.LocalPref, Prepend: a.Prepend}
	for _, c := range a.Communities {
		out.Communities = append(out.Communities, c.String())
	}
	for _, c := range a.LargeCommunities {
		out.LargeCommunities = append(out.LargeCommunities, c.String())
	}
	if a.NextHop.IsValid() {
		out.NextHop = a.NextHop.String()
	}
	return out
}

func sortedKeys(m map[netip.Addr]bgp.Override) []netip.Addr {
	keys := make([]netip.Addr, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, netip.Addr.Compare)
	return keys
}

// GuardOf puts a guard's verdict into the API's words: an objection that time
// or an answer already asked for will lift is a wait.
func GuardOf(v policy.GuardVerdict) GuardStatus {
	g := GuardStatus{Guard: v.Guard, Says: v.Answer.String(), Detail: v.Detail}
	if v.Answer != policy.Allow && (!v.Wake.IsZero() || v.Answer == policy.Veto && v.Ask || v.Queued) {
		g.Says = Wait
	}
	return g
}
