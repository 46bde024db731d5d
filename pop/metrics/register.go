package metrics

import "github.com/prometheus/client_golang/prometheus"

// Register adds what another part of the daemon counts by itself. Its names
// begin with catchment_ and the part's own; it panics for one that is there
// already.
func (m *Metrics) Register(c prometheus.Collector) { m.registry.MustRegister(c) }
