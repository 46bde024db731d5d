package slowness

import "github.com/prometheus/client_golang/prometheus"

// Collector gives metrics of a store and of its last report; last may give nil.
// Labels are families and classes only: no network is a label.
func Collector(s *Store, last func() *Report) prometheus.Collector { return &collector{s, last} }

type collector struct {
	store *Store
	last  func() *Report
}

var (
	networksDesc = prometheus.NewDesc("catchment_slowness_networks", "Client networks by what limits most of their transfers; sparse ones are joined with their neighbours.", []string{"family", "class"}, nil)
	slowDesc     = prometheus.NewDesc("catchment_slowness_slow_networks", "Client networks that are slow, with confidence.", []string{"family"}, nil)
	unsureDesc   = prometheus.NewDesc("catchment_slowness_unsure_networks", "Client networks with too few samples to be judged.", nil, nil)
	keptDesc     = prometheus.NewDesc("catchment_slowness_kept_networks", "Client networks (/24, /48) that this POP keeps samples of.", nil, nil)
	samplesDesc  = prometheus.NewDesc("catchment_slowness_samples_total", "Transfers seen, by what limited them.", []string{"class"}, nil)
	evictedDesc  = prometheus.NewDesc("catchment_slowness_evicted_total", "Client networks forgotten for want of room.", nil, nil)
)

// Describe implements prometheus.Collector.
func (*collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{networksDesc, slowDesc, unsureDesc, keptDesc, samplesDesc, evictedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	st := c.store.Stats()
	ch <- prometheus.MustNewConstMetric(keptDesc, prometheus.GaugeValue, float64(st.Networks))
	ch <- prometheus.MustNewConstMetric(evictedDesc, prometheus.CounterValue, float64(st.Evicted))
	for i, n := range st.Samples {
		ch <- prometheus.MustNewConstMetric(samplesDesc, prometheus.CounterValue, float64(n), Class(i).String())
	}
	r := c.last()
	if r == nil {
		return
	}
	n := r.Counts()
	ch <- prometheus.MustNewConstMetric(unsureDesc, prometheus.GaugeValue, float64(n.Unsure))
	for f, name := range [...]string{"ipv4", "ipv6"} {
		ch <- prometheus.MustNewConstMetric(slowDesc, prometheus.GaugeValue, float64(n.Slow[f]), name)
		for i := Fast; i < classes; i++ {
			ch <- prometheus.MustNewConstMetric(networksDesc, prometheus.GaugeValue, float64(n.ByClass[f][i]), name, i.String())
		}
	}
}
