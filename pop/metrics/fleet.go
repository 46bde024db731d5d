package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catchment/catchment/policy"
)

// Fleet is what the exchange with other POPs says about itself when it is
// asked.
type Fleet struct {
	Peers []FleetPeer // those that are asked over HTTP
	// Refused counts messages that were not believed, by our own words for
	// why. Every word is there from the start, so that a rate sees the first.
	Refused map[string]uint64
}

// FleetPeer is one POP that is asked.
type FleetPeer struct {
	POP                 policy.POPID
	RTT                 time.Duration // of the last exchange that worked; 0: none yet
	Exchanges, Failures uint64
}

// WatchFleet names whom to ask about the exchange when Prometheus asks.
func (m *Metrics) WatchFleet(f func() Fleet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fleet = f
}

var (
	rttDesc       = prometheus.NewDesc(FleetPeerRTT, "Time from a question to another POP until its answer, the last that was believed.", []string{lPOP}, nil)
	exchangesDesc = prometheus.NewDesc(FleetExchanges, "Questions to another POP that were answered and the answer believed.", []string{lPOP}, nil)
	failuresDesc  = prometheus.NewDesc(FleetFailures, "Questions to another POP that were not answered, or the answer not believed.", []string{lPOP}, nil)
	refusedDesc   = prometheus.NewDesc(FleetRefused, "Messages of other POPs, or of strangers, that were not believed, by reason.", []string{lReason}, nil)
)

// fleetAsked collects what the exchange knows.
type fleetAsked struct{ m *Metrics }

// Describe implements prometheus.Collector.
func (fleetAsked) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{rttDesc, exchangesDesc, failuresDesc, refusedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (a fleetAsked) Collect(ch chan<- prometheus.Metric) {
	a.m.mu.Lock()
	ask := a.m.fleet
	a.m.mu.Unlock()
	if ask == nil {
		return
	}
	f := ask()
	for _, p := range f.Peers {
		if p.RTT > 0 {
			ch <- prometheus.MustNewConstMetric(rttDesc, prometheus.GaugeValue, p.RTT.Seconds(), string(p.POP))
		}
		ch <- prometheus.MustNewConstMetric(exchangesDesc, prometheus.CounterValue, float64(p.Exchanges), string(p.POP))
		ch <- prometheus.MustNewConstMetric(failuresDesc, prometheus.CounterValue, float64(p.Failures), string(p.POP))
	}
	for why, n := range f.Refused {
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(n), why)
	}
}
