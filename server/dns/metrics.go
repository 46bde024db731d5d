package dns

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

const maxRcode = 24

// counters are what one worker counts; those of streams share one.
type counters struct {
	queries, fast, dropped, truncated, limited, dynamic, unsent, panics atomic.Uint64
	rcodes                                                              [maxRcode]atomic.Uint64
	udp                                                                 bool
	_                                                                   [64]byte // workers do not share a cache line
}

// stats are all counters of a server.
type stats struct {
	mu      sync.Mutex
	udp     []*counters
	streams counters

	connsAccepted, connsRefused                     atomic.Uint64
	transfers, notified, notifyFailed, reloadFailed atomic.Uint64
}

func (s *Server) newCounters(udp bool) *counters {
	if !udp {
		return &s.stats.streams
	}
	s.stats.mu.Lock()
	defer s.stats.mu.Unlock()
	c := &counters{udp: true}
	s.stats.udp = append(s.stats.udp, c)
	return c
}

// count notes the code of an answer.
func (w *worker) count(rcode int) { w.stats.rcodes[min(rcode, maxRcode-1)].Add(1) }

var (
	descQueries   = desc("queries_total", "Questions that were read.", "transport")
	descAnswers   = desc("answers_total", "Answers by code.", "transport", "rcode")
	descFast      = desc("fast_total", "Questions answered by the fast path.", "transport")
	descDropped   = desc("dropped_total", "Messages that get no answer: no questions, or cut off.", "transport")
	descTruncated = desc("truncated_total", "Answers that did not fit.", "transport")
	descLimited   = desc("limited_total", "Answers over a rate limit: not sent, or sent truncated.", "transport")
	descDynamic   = desc("dynamic_total", "Answers for which a choice was made.", "transport")
	descUnsent    = desc("unsent_total", "Answers that the kernel did not take.", "transport")
	descPanics    = desc("panics_total", "Questions answered with a failure because of a mistake of ours.", "transport")
	descConns     = desc("connections", "TCP and TLS connections now.")
	descAccepted  = desc("connections_total", "TCP and TLS connections taken.")
	descRefused   = desc("connections_refused_total", "TCP and TLS connections over a limit.")
	descTransfers = desc("transfers_total", "Zone transfers that were sent to the end.")
	descNotified  = desc("notified_total", "Secondaries that answered a NOTIFY.")
	descNotNotify = desc("notify_failed_total", "Secondaries that did not answer any NOTIFY of a version.")
	descReload    = desc("zone_reload_failed_total", "Zone files that were not taken.")
	descSerial    = desc("zone_serial", "Serial of a zone.", "zone")
	descNames     = desc("zone_names", "Names in a zone.", "zone")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("catchment_dns_"+name, help, labels, nil)
}

// Describe sends nothing: the set of metrics depends on the zones (an unchecked
// collector).
func (s *Server) Describe(chan<- *prometheus.Desc) {}

// Collect sends all metrics.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s.stats.mu.Lock()
	udp := s.stats.udp
	s.stats.mu.Unlock()
	s.collectQueries(counter, "udp", udp)
	s.collectQueries(counter, "tcp", []*counters{&s.stats.streams})
	s.mu.Lock()
	conns := len(s.conns)
	s.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(descConns, prometheus.GaugeValue, float64(conns))
	counter(descAccepted, s.stats.connsAccepted.Load())
	counter(descRefused, s.stats.connsRefused.Load())
	counter(descTransfers, s.stats.transfers.Load())
	counter(descNotified, s.stats.notified.Load())
	counter(descNotNotify, s.stats.notifyFailed.Load())
	counter(descReload, s.stats.reloadFailed.Load())
	for _, z := range s.table.Load().zones {
		ch <- prometheus.MustNewConstMetric(descSerial, prometheus.GaugeValue, float64(z.Serial), z.Apex)
		ch <- prometheus.MustNewConstMetric(descNames, prometheus.GaugeValue, float64(z.Len()), z.Apex)
	}
}

func (s *Server) collectQueries(counter func(*prometheus.Desc, uint64, ...string), transport string, all []*counters) {
	sum := func(of func(*counters) *atomic.Uint64) (n uint64) {
		for _, c := range all {
			n += of(c).Load()
		}
		return n
	}
	for _, m := range []struct {
		d  *prometheus.Desc
		of func(*counters) *atomic.Uint64
	}{
		{descQueries, func(c *counters) *atomic.Uint64 { return &c.queries }},
		{descFast, func(c *counters) *atomic.Uint64 { return &c.fast }},
		{descDropped, func(c *counters) *atomic.Uint64 { return &c.dropped }},
		{descTruncated, func(c *counters) *atomic.Uint64 { return &c.truncated }},
		{descLimited, func(c *counters) *atomic.Uint64 { return &c.limited }},
		{descDynamic, func(c *counters) *atomic.Uint64 { return &c.dynamic }},
		{descUnsent, func(c *counters) *atomic.Uint64 { return &c.unsent }},
		{descPanics, func(c *counters) *atomic.Uint64 { return &c.panics }},
	} {
		counter(m.d, sum(m.of), transport)
	}
	for code := range maxRcode {
		if n := sum(func(c *counters) *atomic.Uint64 { return &c.rcodes[code] }); n > 0 {
			counter(descAnswers, n, transport, rcodeName(code))
		}
	}
}

func rcodeName(code int) string {
	if s := dns.RcodeToString[code]; s != "" && code < maxRcode-1 {
		return strings.ToLower(s)
	}
	return "other"
}
