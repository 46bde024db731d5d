package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/slowness"
)

// slownessOf answers for the control API; nil where nothing is measured.
func (d *parts) slownessOf() api.Slowness {
	if d.slow == nil {
		return nil
	}
	return d.slow
}

// SlownessStatus implements api.Slowness.
func (s *slowNets) SlownessStatus(context.Context) (api.SlownessStatus, error) {
	c, st := s.cfg.Load(), s.store.Stats()
	out := api.SlownessStatus{
		POP: s.d.cfg.POP, Now: time.Now(), Rate: c.Rate, Judge: api.Duration(c.Judge), Kept: int64(st.Networks), Evicted: int64(st.Evicted),
		Own: int64(s.served.Following()), Steer: c.Steer, POPs: s.heard(),
	}
	for i, n := range st.Samples {
		out.Samples = append(out.Samples, api.SlownessSamples{Class: slowness.Class(i).String(), Count: n})
	}
	if j := s.last.Load(); j != nil {
		n := j.report.Counts()
		out.At, out.Took, out.Networks, out.Slow, out.Unsure = j.report.At, api.Duration(j.took), int64(len(j.report.Networks)), int64(n.Slow[0]+n.Slow[1]), int64(n.Unsure)
		out.Stale, out.Held = int64(j.moves.Stale), j.moves.Held
		if c.Steer {
			out.Moved = int64(len(j.moves.Networks))
		}
	}
	if t := s.d.table; t != nil && c.Rate > 0 {
		x := tableStatus(t.Stats())
		out.Table = &x
	}
	l := s.lists.Load()
	for _, x := range []struct {
		name string
		is   *steer.Nets
	}{{"operator", l.Operator}, {"places", l.Places}, {"providers", l.Providers}} {
		if x.is != nil {
			out.Lists = append(out.Lists, api.SlownessList{Name: x.name, Ranges: int64(x.is.Ranges())})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(s.errs)) {
		if err := s.errs[what]; err != nil {
			out.Errors = append(out.Errors, err.Error())
		}
	}
	return out, nil
}

// SlownessNetworks implements api.Slowness.
func (s *slowNets) SlownessNetworks(_ context.Context, q api.SlownessQuery) (out []api.SlownessNetwork, err error) {
	p, err := q.Prefix()
	if err != nil {
		return nil, err
	}
	slow, err := s.current()
	if err != nil {
		return nil, err
	}
	if q.Network != "" && p.IsSingleIP() {
		return s.one(slow, p.Addr()), nil
	}
	j := s.last.Load()
	if j == nil {
		return nil, nil
	}
	for i := range j.report.Networks {
		n := &j.report.Networks[i]
		if p.IsValid() && !p.Overlaps(n.Prefix) {
			continue
		}
		if x := s.show(n, slow, n.Prefix.Addr()); !q.Slow || x.Verdict == verdictSlow {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, order(q.Sort))
	if n := int(q.Limit); n > 0 && len(out) > n {
		out = out[:n]
	}
	return out, nil
}

// one is what is known of one address: of the network that was judged, or of
// what was seen of its own, or by a list alone.
func (s *slowNets) one(slow *steer.Slow, a netip.Addr) []api.SlownessNetwork {
	var n slowness.Network
	ok := false
	if j := s.last.Load(); j != nil {
		n, ok = j.report.Find(a)
	}
	if !ok {
		n, ok = s.book.Look(a, time.Now())
	}
	if _, listed := slow.Why(a); !ok && !listed {
		return nil
	}
	if !ok {
		n = slowness.Network{}
	}
	return []api.SlownessNetwork{s.show(&n, slow, a)}
}

const verdictSlow = "slow"

// show is a network as people see it; what counts is told for one of its
// addresses.
func (s *slowNets) show(n *slowness.Network, slow *steer.Slow, a netip.Addr) api.SlownessNetwork {
	x := api.SlownessNetwork{
		Network: n.Prefix, Class: n.Class.String(), Slow: n.Slow, Confidence: n.Sure, Why: n.Why(), Samples: int64(n.Samples), Clients: int64(n.Clients), P10: n.P10, P50: n.P50, P90: n.P90,
		Receiver: n.Limited, RTT: api.Duration(n.RTT), MinRTT: api.Duration(n.MinRTT), Loss: n.Loss, Seen: n.Seen, Verdict: "fast",
	}
	if !x.Network.IsValid() {
		x.Network, x.Why = netip.PrefixFrom(a, a.BitLen()), "nothing was seen of it"
	}
	by, listed := slow.Why(a)
	switch {
	case listed:
		x.Verdict, x.By, x.Moved = verdictSlow, strings.TrimSuffix(by, " "+n.Class.String()), s.steers()
	case n.Slow && s.spared(a):
		x.Verdict, x.By = "fast", slowness.NotSlow
	case n.Slow:
		x.Verdict, x.By = verdictSlow, "measured"
		x.Why += "; it moves nobody: " + s.whyNot(n)
	case n.Class == slowness.Unclear:
		x.Verdict = "unsure"
	}
	return x
}

// spared reports whether the operator says that an address is not slow.
func (s *slowNets) spared(a netip.Addr) bool {
	if l := s.lists.Load().Operator; l != nil {
		said, _ := l.Find(a)
		return said == slowness.NotSlow
	}
	return false
}

// whyNot is why a slow network's clients are not moved.
func (s *slowNets) whyNot(n *slowness.Network) string {
	j, c := s.last.Load(), s.cfg.Load()
	switch {
	case j != nil && j.moves.Held != "":
		return j.moves.Held
	case time.Since(n.Seen) > c.Stale:
		return fmt.Sprintf("not seen for longer than %v", c.Stale)
	}
	return "not judged so yet, or a list says otherwise"
}

// order is one of api.SlownessSorts.
func order(by string) func(a, b api.SlownessNetwork) int {
	return func(a, b api.SlownessNetwork) int {
		switch by {
		case "samples":
			return cmp.Compare(b.Samples, a.Samples)
		case "seen":
			return b.Seen.Compare(a.Seen)
		case "loss":
			return cmp.Compare(b.Loss, a.Loss)
		case "rtt":
			return cmp.Compare(b.RTT, a.RTT)
		case "network":
			return 0 // they are in order of address
		}
		return cmp.Compare(a.P50, b.P50)
	}
}

// SlownessExport implements api.Slowness.
func (s *slowNets) SlownessExport(_ context.Context, w io.Writer) error {
	j := s.last.Load()
	if j == nil {
		return (&slowness.Report{}).WriteCSV(w)
	}
	return j.report.WriteCSV(w)
}

// explain adds to the steps of an answer what was measured of the client, and
// what of that is in force.
func (s *slowNets) explain(t *steer.Trace, q *steer.Question, slow *steer.Slow) {
	if s == nil {
		return
	}
	j, a := s.last.Load(), q.Resolver
	if q.Client.Bits() > 0 {
		a = q.Client.Addr()
	}
	if j == nil {
		return
	}
	n, ok := j.report.Find(a)
	if !ok {
		return
	}
	text := fmt.Sprintf("%v: %s; half of them below %.3g Mbit/s; last seen %v ago", n.Prefix, n.Why(), 8*n.P50/1e6, max(0, time.Since(n.Seen).Truncate(time.Minute)))
	if n.Slow && !s.steers() {
		text += "; DNS is not told (slowness.steer)"
	} else if by, moved := slow.Why(a); n.Slow && !moved {
		text += "; it moves nobody: " + s.whyNot(&n)
	} else if moved {
		text += "; slow by " + by
	}
	t.Steps = append(t.Steps, steer.Step{Name: "slowness", Text: text})
}

// Describe implements prometheus.Collector: what there is shows when it is
// asked.
func (s *slowNets) Describe(chan<- *prometheus.Desc) {}

func slownessDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("catchment_slowness_"+name, help, labels, nil)
}

// Collect implements prometheus.Collector. No network is a label.
func (s *slowNets) Collect(ch chan<- prometheus.Metric) {
	j := s.last.Load()
	slowness.Collector(s.store, func() *slowness.Report {
		if j == nil {
			return nil
		}
		return j.report
	}).Collect(ch)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	held := 1.0
	if j != nil {
		if j.moves.Held == "" {
			held = 0
		}
		gauge(slownessDesc("judged_age_seconds", "Time since all networks were judged."), time.Since(j.report.At).Seconds())
		gauge(slownessDesc("judge_seconds", "How long that took."), j.took.Seconds())
		gauge(slownessDesc("moved_networks", "Networks that were measured, whose clients the DNS server is to send to cheap POPs."), float64(len(j.moves.Networks)))
		gauge(slownessDesc("stale_networks", "Slow networks that were not seen for too long to be moved."), float64(j.moves.Stale))
	}
	gauge(slownessDesc("held", "1 while what was measured moves nobody."), held)
	gauge(slownessDesc("connections", "Connections of the cache server that are looked at."), float64(s.served.Following()))
	for _, p := range s.heard() {
		gauge(slownessDesc("told_networks", "Networks that a POP has told of.", "pop"), float64(p.Networks), string(p.POP))
		if !p.At.IsZero() {
			gauge(slownessDesc("told_age_seconds", "Time since a POP told of its networks.", "pop"), time.Since(p.At).Seconds(), string(p.POP))
		}
	}
	failing := 0
	s.mu.Lock()
	for _, err := range s.errs {
		if err != nil {
			failing++
		}
	}
	s.mu.Unlock()
	gauge(slownessDesc("failing", "Files that could not be read or written last time."), float64(failing))
}
