package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Relay is the relay tree as this POP sees it.
type Relay struct {
	Rooted                               bool
	Parent                               string // empty: nobody is followed
	Depth                                int    // hops to the top
	Revision, Behind, BehindBelow        int64
	Age                                  time.Duration // since the parent said something
	Children, Below, POPs                int
	Sent, Received, Mismatches, Switches uint64
	Refused                              map[string]uint64 // presences, by why
}

// WatchRelay names whom to ask about the relay tree when Prometheus asks; a
// POP outside names nobody. Without ok there is nothing to tell yet.
func (m *Metrics) WatchRelay(f func() (r Relay, ok bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.relay = f
}

var (
	relayRootedDesc     = prometheus.NewDesc(RelayRooted, "1 while the top of the relay tree, as seen from this POP, hears the control core. No series outside of a tree.", nil, nil)
	relayDepthDesc      = prometheus.NewDesc(RelayDepth, "Hops from this POP to the top of the relay tree.", nil, nil)
	relayBehindDesc     = prometheus.NewDesc(RelayBehind, "Revisions that are known above and not here.", nil, nil)
	relayBelowDesc      = prometheus.NewDesc(RelayBelow, "POPs that follow through this one, itself included.", nil, nil)
	relayBehindBelow    = prometheus.NewDesc(RelayBehindBelow, "Revisions that are known here and not yet at the last of those that follow through this POP.", nil, nil)
	relayAgeDesc        = prometheus.NewDesc(RelayAge, "Time since the followed POP said something. No series at the top.", []string{lPOP}, nil)
	relayPOPsDesc       = prometheus.NewDesc(RelayPOPs, "POPs whose presence counts here, itself included.", nil, nil)
	relaySnapshotsDesc  = prometheus.NewDesc(RelaySnapshots, "Snapshots of the core's state, by direction: sent and received.", []string{lDirection}, nil)
	relayMismatchesDesc = prometheus.NewDesc(RelayMismatches, "States that would have had another hash than told: not taken, asked for anew.", nil, nil)
	relaySwitchesDesc   = prometheus.NewDesc(RelaySwitches, "Times that this POP began to follow a POP.", nil, nil)
	relayRefusedDesc    = prometheus.NewDesc(RelayRefused, "Presences that were not taken in, by reason; overtaken ones are normal.", []string{lReason}, nil)
)

// relayAsked collects what is known of the tree.
type relayAsked struct{ m *Metrics }

// Describe implements prometheus.Collector.
func (relayAsked) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		relayRootedDesc, relayDepthDesc, relayBehindDesc, relayBelowDesc, relayBehindBelow, relayAgeDesc,
		relayPOPsDesc, relaySnapshotsDesc, relayMismatchesDesc, relaySwitchesDesc, relayRefusedDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (a relayAsked) Collect(ch chan<- prometheus.Metric) {
	a.m.mu.Lock()
	ask := a.m.relay
	a.m.mu.Unlock()
	if ask == nil {
		return
	}
	r, ok := ask()
	if !ok {
		return
	}
	for d, x := range map[*prometheus.Desc]float64{
		relayRootedDesc: flag(r.Rooted), relayDepthDesc: float64(r.Depth), relayBehindDesc: float64(r.Behind),
		relayBelowDesc: float64(r.Below), relayBehindBelow: float64(r.BehindBelow), relayPOPsDesc: float64(r.POPs),
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x)
	}
	if r.Parent != "" {
		ch <- prometheus.MustNewConstMetric(relayAgeDesc, prometheus.GaugeValue, r.Age.Seconds(), r.Parent)
	}
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	count(relaySnapshotsDesc, r.Sent, "sent")
	count(relaySnapshotsDesc, r.Received, "received")
	count(relayMismatchesDesc, r.Mismatches)
	count(relaySwitchesDesc, r.Switches)
	for why, n := range r.Refused {
		count(relayRefusedDesc, n, why)
	}
}
