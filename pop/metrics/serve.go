package metrics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// late collects what is only known when Prometheus asks.
type late struct{ m *Metrics }

var (
	ageDesc     = prometheus.NewDesc(FleetPeerAge, "Time since another POP was last heard, by our own clock; +Inf if never.", []string{lPOP, lSource}, nil)
	entriesDesc = prometheus.NewDesc(JournalEntries, "Journal entries written to the disk.", nil, nil)
	errorsDesc  = prometheus.NewDesc(JournalErrors, "Failed attempts to write the journal.", nil, nil)
	droppedDesc = prometheus.NewDesc(JournalDropped, "Journal entries lost because the disk did not take them in time.", nil, nil)
	failingDesc = prometheus.NewDesc(JournalFailing, "1 while the journal cannot be written, 0 otherwise.", nil, nil)
)

// Describe implements prometheus.Collector.
func (l *late) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{ageDesc, entriesDesc, errorsDesc, droppedDesc, failingDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (l *late) Collect(ch chan<- prometheus.Metric) {
	l.m.mu.Lock()
	journal := l.m.journal
	for k, at := range l.m.peers {
		age := math.Inf(1)
		if !at.IsZero() {
			age = max(0, time.Since(at).Seconds())
		}
		ch <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, age, string(k.pop), k.source)
	}
	l.m.mu.Unlock()
	if journal == nil {
		return
	}
	j := journal()
	ch <- prometheus.MustNewConstMetric(entriesDesc, prometheus.CounterValue, float64(j.Written))
	ch <- prometheus.MustNewConstMetric(errorsDesc, prometheus.CounterValue, float64(j.Errors))
	ch <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(j.Dropped))
	ch <- prometheus.MustNewConstMetric(failingDesc, prometheus.GaugeValue, flag(j.Failing))
}

// Handler answers Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Server answers Prometheus at one address.
type Server struct {
	m      *Metrics
	listen string
	ready  chan struct{}
	addr   net.Addr // before ready is closed
}

// Server makes a server for host:port; Run starts it.
func (m *Metrics) Server(listen string) *Server {
	return &Server{m: m, listen: listen, ready: make(chan struct{})}
}

func (s *Server) String() string { return "metrics" }

// Ready is closed when Prometheus can ask.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// mostConnections bounds how many ask at the same time; more wait in the
// kernel's queue.
const mostConnections = 64

// Run listens and answers GET /metrics until ctx ends. An address that cannot
// be had is an error at once.
func (s *Server) Run(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	s.addr = l.Addr()
	close(s.ready)
	return s.m.serve(ctx, netutil.LimitListener(l, mostConnections))
}

func (m *Metrics) serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	mux.Handle("GET /{$}", http.RedirectHandler("/metrics", http.StatusFound))
	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("metrics: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if srv.Shutdown(grace) != nil {
		srv.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}
