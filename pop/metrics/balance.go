package metrics

import "github.com/prometheus/client_golang/prometheus"

// Balance is what the load loop did.
type Balance struct {
	Disabled bool              // off: no series
	Rounds   map[string]uint64 // by what they came to
	Steps    map[string]uint64 // made, refused, surprise
	POPs     []BalancePOP
}

// BalancePOP is a POP as the loop sees it.
type BalancePOP struct {
	POP            string
	Load, Capacity float64 // capacity 0: not known
	Room           float64 // that may still be reserved there
	Reserved       float64 // of it, by whomever
	Lent           float64 // share of its new clients that DNS sends to other POPs
}

// WatchBalance names whom to ask about the load loop when Prometheus asks.
func (m *Metrics) WatchBalance(f func() Balance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.balance = f
}

var (
	balanceRoundsDesc   = prometheus.NewDesc(BalanceRounds, "Rounds of the load loop, by what they came to.", []string{lReason}, nil)
	balanceStepsDesc    = prometheus.NewDesc(BalanceSteps, "Steps of the load loop: made, refused (no room or a guard), surprise (something else happened than was forecast).", []string{lState}, nil)
	balanceUsedDesc     = prometheus.NewDesc(BalanceUsed, "Share of its capacity that a POP carries, as the load loop here knows it. No series where it is not known.", []string{lPOP}, nil)
	balanceRoomDesc     = prometheus.NewDesc(BalanceRoom, "Load that may still be sent to a POP, in the unit of balance.unit.", []string{lPOP}, nil)
	balanceReservedDesc = prometheus.NewDesc(BalanceReserved, "Load that is reserved at a POP and not all arrived, in the unit of balance.unit.", []string{lPOP}, nil)
	balanceLentDesc     = prometheus.NewDesc(BalanceLent, "Share of a POP's new clients that DNS sends to other POPs, with room reserved there (balance.dns).", []string{lPOP}, nil)
)

// balanceAsked collects what the load loop did.
type balanceAsked struct{ m *Metrics }

// Describe implements prometheus.Collector.
func (balanceAsked) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{balanceRoundsDesc, balanceStepsDesc, balanceUsedDesc, balanceRoomDesc, balanceReservedDesc, balanceLentDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (a balanceAsked) Collect(ch chan<- prometheus.Metric) {
	a.m.mu.Lock()
	ask := a.m.balance
	a.m.mu.Unlock()
	if ask == nil {
		return
	}
	b := ask()
	if b.Disabled {
		return
	}
	send := func(d *prometheus.Desc, kind prometheus.ValueType, x float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, kind, x, label)
	}
	for code, n := range b.Rounds {
		send(balanceRoundsDesc, prometheus.CounterValue, float64(n), code)
	}
	for state, n := range b.Steps {
		send(balanceStepsDesc, prometheus.CounterValue, float64(n), state)
	}
	for _, p := range b.POPs {
		if p.Capacity > 0 {
			send(balanceUsedDesc, prometheus.GaugeValue, p.Load/p.Capacity, p.POP)
		}
		send(balanceRoomDesc, prometheus.GaugeValue, p.Room, p.POP)
		send(balanceReservedDesc, prometheus.GaugeValue, p.Reserved, p.POP)
		send(balanceLentDesc, prometheus.GaugeValue, p.Lent, p.POP)
	}
}
