package metrics

import (
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/catchment/catchment/policy"
)

// Build is what catchment_build_info says.
type Build struct{ Version, Revision string }

// Metrics is the set of all metrics on a registry of its own. Its methods may
// be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry

	checkVerdict, checkLatency                *prometheus.GaugeVec
	checkResults                              *prometheus.CounterVec
	serviceVerdict, serviceHealth, drain      *prometheus.GaugeVec
	stance, rung, reason, announcements       *prometheus.GaugeVec
	changes, vetoes                           *prometheus.CounterVec
	decision, detection                       prometheus.Histogram
	sessionState, sessionUp                   *prometheus.GaugeVec
	sessionAdvertised, sessionReceived, bfdUp *prometheus.GaugeVec
	sessionFlaps                              *prometheus.CounterVec
	reloadOK, reloadTime                      prometheus.Gauge
	alarm                                     *prometheus.GaugeVec

	mu      sync.Mutex
	reasons map[policy.SliceID][]string // labels of the reason series that is 1
	peers   map[peerKey]time.Time
	journal func() Journal
	fleet   func() Fleet
	load    func() Load
	core    func() Core
	relay   func() (Relay, bool)
	ingress func() Ingress
	balance func() Balance
	flaps   map[string]uint32
}

type peerKey struct {
	pop    policy.POPID
	source string
}

// Journal is what the journal says about itself when it is asked.
type Journal struct {
	Written, Errors, Dropped uint64
	Failing                  bool
}

// New makes the metrics; nothing is listening yet.
func New(b Build) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		reasons:  map[policy.SliceID][]string{},
		peers:    map[peerKey]time.Time{},
		flaps:    map[string]uint32{},
	}
	m.health()
	m.policy()
	m.sessions()
	m.process(b)
	return m
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) histogram(name, help string) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: delayBuckets})
	m.registry.MustRegister(h)
	return h
}

func (m *Metrics) health() {
	m.checkVerdict = m.gauge(CheckVerdict, "Damped verdict of a check: 1 at the verdict that holds, 0 at the others.", lService, lCheck, lVerdict)
	m.checkLatency = m.gauge(CheckLatency, "How long the last run of a check took, whatever it said.", lService, lCheck)
	m.checkResults = m.counter(CheckResults, "Runs of a check by what they said; cannot-tell counts for nothing in the verdict.", lService, lCheck, lOutcome)
	m.serviceVerdict = m.gauge(ServiceVerdict, "Combined verdict of a service's checks: 1 at the verdict that holds, 0 at the others.", lService, lVerdict)
	m.serviceHealth = m.gauge(ServiceHealth, "Share of a service's capacity that its checks say is up, 0 to 1.", lService)
	m.drain = m.gauge(ServiceDrain, "1 while a slice of the service is being drained, 0 otherwise.", lService)
}

func (m *Metrics) policy() {
	m.stance = m.gauge(SliceStance, "What this POP wants for a slice: 1 at the stance that holds. Desired state, not convergence: routers hear it when their session is up.", lService, lSlice, lStance)
	m.rung = m.gauge(SliceRung, "Rung of the ladder a slice is announced on: 0 is normal, higher is less preferred, 0 also while withdrawn.", lService, lSlice)
	m.reason = m.gauge(SliceReason, "Why a slice's stance is what it is: the series is always 1, the labels say the reason.", lService, lSlice, lReason, lGuard)
	m.changes = m.counter(StanceChanges, "Changes of a slice's stance by service and reason.", lService, lReason)
	m.vetoes = m.counter(GuardVetoes, "Changes that a guard forbade (veto) or softened (weaken).", lGuard, lVerdict)
	m.announcements = m.gauge(Announcements, "Prefixes in the set handed to the speaker, by family.", lFamily)
	m.decision = m.histogram(DecisionDelay, "Time from a verdict to the UPDATE written to the sessions.")
	m.detection = m.histogram(DetectionDelay, "Time from the kernel's message or the first failed result to the verdict.")
}

func (m *Metrics) sessions() {
	m.sessionState = m.gauge(SessionState, "State of a BGP session (RFC 4271): 1 at the state that holds, 0 at the others.", lNeighbor, lState)
	m.sessionUp = m.gauge(SessionUp, "1 while a BGP session is established, 0 otherwise.", lNeighbor)
	m.sessionFlaps = m.counter(SessionFlaps, "Established BGP sessions that were lost.", lNeighbor)
	m.sessionAdvertised = m.gauge(SessionAdvertised, "Paths sent to a neighbor and not withdrawn.", lNeighbor)
	m.sessionReceived = m.gauge(SessionReceived, "Paths received from a neighbor, accepted or not.", lNeighbor)
	m.bfdUp = m.gauge(BFDUp, "1 while the BFD session with a neighbor is up, 0 otherwise.", lNeighbor)
}

func (m *Metrics) process(b Build) {
	m.gauge(BuildInfo, "Version of the daemon: the series is always 1, the labels say what runs.", "version", "revision", "goversion").
		WithLabelValues(b.Version, b.Revision, runtime.Version()).Set(1)
	m.alarm = m.gauge(Alarm, "1 while an alarm of the daemon is on, 0 when it went off again.", lAlarm)
	m.reloadOK = m.gauge(ReloadOK, "1 if the configuration was taken the last time it was read, 0 if it was refused.").WithLabelValues()
	m.reloadTime = m.gauge(ReloadTime, "When a configuration was last taken, in seconds since 1970.").WithLabelValues()
	m.registry.MustRegister(
		&late{m: m}, fleetAsked{m}, loadAsked{m}, coreAsked{m}, relayAsked{m}, ingressAsked{m}, balanceAsked{m}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
}
