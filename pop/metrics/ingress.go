package metrics

import "github.com/prometheus/client_golang/prometheus"

// Ingress is what ingress routers are told, summed up.
type Ingress struct {
	Targets  []IngressTarget
	Waiting  int // slices of routers that move in a later round
	Plain    int // that follow plain anycast
	Moves    map[string]uint64
	Disabled bool // no ingress routers: no series
}

// IngressTarget is a POP that slices of ingress routers are assigned to.
type IngressTarget struct {
	POP            string
	Assigned       int
	Load, Capacity float64
}

// WatchIngress names whom to ask about ingress routers when Prometheus asks.
func (m *Metrics) WatchIngress(f func() Ingress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ingress = f
}

var (
	ingressAssignedDesc = prometheus.NewDesc(IngressAssigned, "Slices of ingress routers that are assigned to a POP.", []string{lPOP}, nil)
	ingressLoadDesc     = prometheus.NewDesc(IngressLoad, "Demand that is assigned to a POP, in the unit of ingress.unit: bit/s, requests a second or connections.", []string{lPOP}, nil)
	ingressCapacityDesc = prometheus.NewDesc(IngressCapacity, "What a POP can carry of what ingress routers send, in the unit of its load. No series where it is not limited.", []string{lPOP}, nil)
	ingressWaitingDesc  = prometheus.NewDesc(IngressWaiting, "Slices of ingress routers that are to move in a later round.", nil, nil)
	ingressPlainDesc    = prometheus.NewDesc(IngressUnassigned, "Slices of ingress routers that follow plain anycast.", nil, nil)
	ingressMovesDesc    = prometheus.NewDesc(IngressMoves, "Slices of ingress routers that were moved, by reason.", []string{lReason}, nil)
)

// ingressAsked collects what ingress routers are told.
type ingressAsked struct{ m *Metrics }

// Describe implements prometheus.Collector.
func (ingressAsked) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{ingressAssignedDesc, ingressLoadDesc, ingressCapacityDesc, ingressWaitingDesc, ingressPlainDesc, ingressMovesDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (a ingressAsked) Collect(ch chan<- prometheus.Metric) {
	a.m.mu.Lock()
	ask := a.m.ingress
	a.m.mu.Unlock()
	if ask == nil {
		return
	}
	in := ask()
	if in.Disabled {
		return
	}
	gauge := func(d *prometheus.Desc, x float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, labels...)
	}
	for _, t := range in.Targets {
		gauge(ingressAssignedDesc, float64(t.Assigned), t.POP)
		gauge(ingressLoadDesc, t.Load, t.POP)
		if t.Capacity > 0 {
			gauge(ingressCapacityDesc, t.Capacity, t.POP)
		}
	}
	gauge(ingressWaitingDesc, float64(in.Waiting))
	gauge(ingressPlainDesc, float64(in.Plain))
	for reason, n := range in.Moves {
		ch <- prometheus.MustNewConstMetric(ingressMovesDesc, prometheus.CounterValue, float64(n), reason)
	}
}
