package metrics

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Load is what is measured of what the POP carries.
type Load struct {
	Values  []LoadValue
	Sources []LoadSource
}

// LoadValue is one kind of load of the POP, one of its hosts or a service.
type LoadValue struct {
	Of       string // pop, host or service
	Name     string // of the host or service
	Unit     string // in, out, requests, connections, cpu, pressure-...
	Value    float64
	Known    bool
	Capacity float64   // 0: not set
	At       time.Time // of the last sample; zero: there was none
}

// LoadSource is one thing that is measured.
type LoadSource struct {
	Name  string
	Works bool
}

// WatchLoad names whom to ask about the load when Prometheus asks.
func (m *Metrics) WatchLoad(f func() Load) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.load = f
}

var (
	loadLabels   = []string{lOf, lName, lUnit}
	loadDesc     = prometheus.NewDesc(LoadCurrent, "Measured load, smoothed, by unit: in and out in bit/s, requests a second, connections, cpu and pressure as shares from 0 to 1. No series while it is unknown.", loadLabels, nil)
	capacityDesc = prometheus.NewDesc(LoadCapacity, "The most that can be carried, in the unit of the load. No series where it is not set.", loadLabels, nil)
	loadAgeDesc  = prometheus.NewDesc(LoadAge, "Age of the last sample of a load; +Inf if there was none.", loadLabels, nil)
	sourceDesc   = prometheus.NewDesc(LoadSourceUp, "1 while a source of load samples works, 0 while it fails.", []string{lSource}, nil)
)

// loadAsked collects what is known of the load.
type loadAsked struct{ m *Metrics }

// Describe implements prometheus.Collector.
func (loadAsked) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{loadDesc, capacityDesc, loadAgeDesc, sourceDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (a loadAsked) Collect(ch chan<- prometheus.Metric) {
	a.m.mu.Lock()
	ask := a.m.load
	a.m.mu.Unlock()
	if ask == nil {
		return
	}
	l := ask()
	gauge := func(d *prometheus.Desc, x float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, labels...)
	}
	for _, v := range l.Values {
		age := math.Inf(1)
		if !v.At.IsZero() {
			age = max(time.Since(v.At).Seconds(), 0)
		}
		gauge(loadAgeDesc, age, v.Of, v.Name, v.Unit)
		if v.Known {
			gauge(loadDesc, v.Value, v.Of, v.Name, v.Unit)
		}
		if v.Capacity > 0 {
			gauge(capacityDesc, v.Capacity, v.Of, v.Name, v.Unit)
		}
	}
	for _, s := range l.Sources {
		gauge(sourceDesc, flag(s.Works), s.Name)
	}
}
