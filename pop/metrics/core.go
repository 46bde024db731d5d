package metrics

import "github.com/prometheus/client_golang/prometheus"

// Core is the control core as this POP sees it.
type Core struct {
	Reachable, Leader bool
	Members           int
	Revision          int64
	Database          int64             // bytes on disk
	Taken             uint64            // writes of this process
	Refused           map[string]uint64 // by why
}

// WatchCore names whom to ask about the control core when Prometheus asks; a
// POP without one names nobody.
func (m *Metrics) WatchCore(f func() Core) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.core = f
}

var (
	coreReachableDesc = prometheus.NewDesc(CoreReachable, "1 while the control core answers this POP with a majority behind it, 0 while it does not. No series without a core.", nil, nil)
	coreLeaderDesc    = prometheus.NewDesc(CoreLeader, "1 while the member in this daemon leads the control core.", nil, nil)
	coreMembersDesc   = prometheus.NewDesc(CoreMembers, "Members of the control core, those that catch up included.", nil, nil)
	coreRevisionDesc  = prometheus.NewDesc(CoreRevision, "Revision of the control core, as this POP sees it.", nil, nil)
	coreDatabaseDesc  = prometheus.NewDesc(CoreDatabase, "Size of the control core's database on disk.", nil, nil)
	coreWritesDesc    = prometheus.NewDesc(CoreWrites, "Writes of this daemon that the control core took.", nil, nil)
	coreRefusedDesc   = prometheus.NewDesc(CoreRefused, "Writes of this daemon that the control core refused, by reason.", []string{lReason}, nil)
)

// coreAsked collects what is known of the core.
type coreAsked struct{ m *Metrics }

// Describe implements prometheus.Collector.
func (coreAsked) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		coreReachableDesc, coreLeaderDesc, coreMembersDesc, coreRevisionDesc, coreDatabaseDesc, coreWritesDesc, coreRefusedDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (a coreAsked) Collect(ch chan<- prometheus.Metric) {
	a.m.mu.Lock()
	ask := a.m.core
	a.m.mu.Unlock()
	if ask == nil {
		return
	}
	c := ask()
	for d, x := range map[*prometheus.Desc]float64{
		coreReachableDesc: flag(c.Reachable), coreLeaderDesc: flag(c.Leader), coreMembersDesc: float64(c.Members),
		coreRevisionDesc: float64(c.Revision), coreDatabaseDesc: float64(c.Database),
	} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x)
	}
	ch <- prometheus.MustNewConstMetric(coreWritesDesc, prometheus.CounterValue, float64(c.Taken))
	for why, n := range c.Refused {
		ch <- prometheus.MustNewConstMetric(coreRefusedDesc, prometheus.CounterValue, float64(n), why)
	}
}
