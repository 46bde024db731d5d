package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catchment/catchment/pop/api"
)

// Describe implements prometheus.Collector: what there is shows when it is
// asked.
func (f *flows) Describe(chan<- *prometheus.Desc) {}

// The metrics of flows in flight.
func resyncDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("catchment_resync_"+name, help, labels, nil)
}

// Collect implements prometheus.Collector.
func (f *flows) Collect(ch chan<- prometheus.Metric) {
	s, _ := f.ResyncStatus(context.Background())
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(resyncDesc("flows", "Flows of this POP that others are told of."), float64(s.Flows))
	gauge(resyncDesc("moving_addresses", "Service addresses whose clients are on their way to other POPs."), float64(len(s.Moving)))
	f.collectPOPs(&s, gauge, count)
	count(resyncDesc("resumed_total", "Requests that went on with a flow of another POP."), s.Resumed)
	jumps := resyncDesc("jumps_total", "Flows from other POPs by how they began: validated, retreated, ended, failed, or why they did not jump.", "outcome")
	for _, x := range []struct {
		outcome string
		n       uint64
	}{{"validated", s.Jumps.Validated}, {"retreated", s.Jumps.Retreated}, {"ended", s.Jumps.Ended}, {"failed", s.Jumps.Failed}} {
		count(jumps, x.n, x.outcome)
	}
	for _, r := range s.Jumps.Refused {
		count(jumps, r.Flows, r.Reason)
	}
	probes := resyncDesc("probes_total", "Segments sent to clients of POPs that are gone, and flows refused, by why.", "result")
	for result, n := range map[string]uint64{"sent": s.Probes.Sent, "foreign": s.Probes.Foreign, "stale": s.Probes.Stale, "full": s.Probes.Full, "calm": s.Probes.Calm, "failed": s.Probes.Failed} {
		count(probes, n, result)
	}
	vacated := resyncDesc("vacated_total", "Closed connections (TIME-WAIT) in the place of connections that other POPs have told of: taken away, or not, by why.", "result")
	for result, n := range map[string]uint64{"ended": s.Vacated.Ended, "refused": s.Vacated.Refused, "full": s.Vacated.Full} {
		count(vacated, n, result)
	}
	warmed := resyncDesc("fetched_ahead_total", "Parts of objects fetched for clients that were about to come, by result.", "result")
	for result, n := range map[string]uint64{"done": s.Warmed.Done, "failed": s.Warmed.Failed, "full": s.Warmed.Full} {
		count(warmed, n, result)
	}
	count(resyncDesc("connections_refused_total", "Connections that were not heard: of no other POP of the fleet."), s.Refused)
	count(resyncDesc("expired_total", "Flows forgotten because their POP was not heard any more."), s.Expired)
	count(resyncDesc("resets_total", "Connections reset after the withdraw of their address."), s.Reset)
	gauge(resyncDesc("table_pass_seconds", "CPU time of the last look at the kernel's sockets."), time.Duration(s.Table.Cost).Seconds())
	count(resyncDesc("left_out_total", "Flows left out for want of room."), s.LeftOut)
	gauge(resyncDesc("lacks", "What the kernel or the daemon's rights keep from working."), float64(len(s.Lacks)))
}

// collectPOPs are the metrics of each other POP.
func (f *flows) collectPOPs(s *api.ResyncStatus, gauge func(*prometheus.Desc, float64, ...string), count func(*prometheus.Desc, uint64, ...string)) {
	up := resyncDesc("line_up", "Whether a POP is being told of our flows.", "pop")
	known := resyncDesc("known_flows", "Flows that a POP has told of.", "pop")
	sent := resyncDesc("sent_bytes_total", "Bytes that a POP was told.", "pop")
	refused := resyncDesc("refused_total", "What a POP said and was not kept, by why.", "pop", "reason")
	for i := range s.POPs {
		p := &s.POPs[i]
		pop := string(p.POP)
		if p.Address != "" {
			state := 0.0
			if p.Up {
				state = 1
			}
			gauge(up, state, pop)
			count(sent, p.Sent, pop)
		}
		gauge(known, float64(p.Known), pop)
		for why, n := range map[string]uint64{"foreign": p.Foreign, "full": p.Full, "broken": p.Broken} {
			count(refused, n, pop, why)
		}
	}
	takeovers := resyncDesc("takeovers_total", "Times that the clients of a POP that was gone were woken.")
	c := f.core.Counts()
	count(takeovers, c.Takeovers)
	count(resyncDesc("doubts_total", "Times that a POP was silent and not known to be gone, and its clients were asked for signs of life."), c.Doubts)
}
