package cache

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/catchment/catchment/server/cache/origin"
)

// Descriptions of the metrics. Labels are names of sites and servers from the configuration, and fixed words: what a client
// sends is in none of them.
var (
	descRequests = desc("requests_total", "Requests by what became of them.", "site", "result")
	descReasons  = desc("reasons_total", "Requests that were no plain hits, by why.", "site", "reason")
	descBytes    = desc("body_bytes_total", "Bytes of bodies sent to clients.", "site")
	descActive   = desc("requests_active", "Requests on the general path now.")
	descShed     = desc("requests_shed_total", "Requests turned away because too many were served at once.")
	descBroken   = desc("answers_broken_total", "Answers broken off because the upstream broke off.")
	descPanics   = desc("panics_total", "Requests and fills ended by a mistake of ours.")
	descHooks    = desc("hooks_failed_total", "Hooks of sites that failed or took too long.")
	descRefresh  = desc("refreshes_total", "Refreshes of stale objects in the background.")
	descConns    = desc("connections", "Connections of clients now.")
	descAccepted = desc("connections_total", "Connections of clients accepted.")
	descTurned   = desc("connections_refused_total", "Connections to addresses that are being left (drain.accept) that were accepted and reset, and packets of HTTP/3 that were refused. What the kernel refuses is not seen.")
	descOut      = desc("sent_bytes_total", "Bytes taken by the kernel, heads too.")
	descFast     = desc("fast_requests_total", "Requests answered on the fast path.")
	descFills    = desc("fills_running", "Requests to upstreams under way.")
	descFetches  = desc("fetches_total", "Requests to upstreams.")
	descFetched  = desc("fetched_bytes_total", "Bytes of bodies brought into the store.")
	descJoined   = desc("joined_total", "Requests that waited for a fetch that another had begun.")
	descFailed   = desc("fetches_failed_total", "Fetches that failed.")
	descObjects  = desc("objects", "Objects in the index.")
	descRAM      = desc("ram_bytes", "Bytes of bodies and metadata held in RAM.")
	descUpstream = desc("upstream_up", "1 if the server is asked, 0 if it is taken out.", "site", "tier", "server")
	descAsked    = desc("upstream_requests_total", "Requests to the server.", "site", "tier", "server")
	descUpFailed = desc("upstream_failures_total", "Failed requests to the server.", "site", "tier", "server")
	descPurges   = desc("purges_total", "Purges taken into force.")
	descPlaying  = desc("steer_sessions", "Clients that play a stream, as far as they are known.")
	descPaced    = desc("steer_paced_total", "Times that a client's connection was held to a pace.")
	descPacedFor = desc("steer_paced_seconds_total", "How long connections were held to a pace, all together.")
	descSteered  = desc("steer_redirects_total", "Answers that were redirections to a cheaper POP.", "status")
	descSteerNot = desc("steer_kept_total", "Requests of clients that play a stream that were not redirected, by the rule that forbade it.", "reason")
	descSteerOut = desc("steer_redirected_bytes_total", "Bytes that were asked for and redirected.")
	descStalls   = desc("steer_stalls_total", "Clients whose buffer came down to nothing: as far as is known here (bound), or as they said themselves (said).", "source")
	descDropped  = desc("log_dropped_total", "Lines of the access log that were dropped.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("catchment_cache_"+name, help, labels, nil)
}

// Describe sends nothing: the set of metrics depends on the sites (an unchecked collector).
func (s *Server) Describe(chan<- *prometheus.Desc) {}

// Collect sends all metrics.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	st := s.Status()
	for _, x := range append(st.Sites, st.Unknown) {
		for r, n := range x.Results {
			counter(descRequests, n, x.Name, r)
		}
		for r, n := range x.Reasons {
			counter(descReasons, n, x.Name, r)
		}
		counter(descBytes, x.Bytes, x.Name)
		servers(x.Name, x.Origins, counter, gauge)
	}
	servers("", st.Peers, counter, gauge)
	gauge(descActive, float64(st.Active))
	counter(descShed, st.Shed)
	counter(descBroken, st.Broken)
	counter(descPanics, st.Panics)
	counter(descHooks, st.Hooks)
	counter(descRefresh, st.Refresh.Done)
	gauge(descConns, float64(st.Front.Open))
	counter(descAccepted, st.Front.Accepted)
	counter(descTurned, st.Front.RefusedLeft)
	counter(descOut, st.Front.BytesOut)
	counter(descFast, st.Front.Fast)
	gauge(descFills, float64(st.Fills.Running))
	counter(descFetches, st.Fills.Fetches)
	counter(descFetched, st.Fills.Bytes)
	counter(descJoined, st.Fills.Joined)
	counter(descFailed, st.Fills.Failed)
	gauge(descObjects, float64(st.Store.Objects))
	gauge(descRAM, float64(st.Store.RAM))
	counter(descPurges, st.Purges.Purges)
	counter(descDropped, st.Log.Dropped)
	s.collectSteered(ch, counter, gauge)
}

// collectSteered sends those of clients that play streams, where there is a site with steer.
func (s *Server) collectSteered(ch chan<- prometheus.Metric, counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	if len(s.state.Load().steer) == 0 {
		return
	}
	t := s.Steered()
	gauge(descPlaying, float64(t.Sessions))
	counter(descPaced, t.Paced)
	ch <- prometheus.MustNewConstMetric(descPacedFor, prometheus.CounterValue, t.PacedFor.Seconds())
	counter(descSteered, t.Redirected, "302")
	counter(descSteered, t.Moved, "301")
	for why, n := range t.Refused {
		counter(descSteerNot, n, why)
	}
	counter(descSteerOut, uint64(t.Bytes))
	counter(descStalls, t.Stalls, "bound")
	counter(descStalls, t.Starved, "said")
}

func servers(name string, list []origin.ServerStatus, counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	for _, o := range list {
		up := 0.0
		if o.State == origin.Up {
			up = 1
		}
		tier := o.Tier.String()
		gauge(descUpstream, up, name, tier, o.Name)
		counter(descAsked, o.Requests, name, tier, o.Name)
		counter(descUpFailed, o.Failures, name, tier, o.Name)
	}
}
