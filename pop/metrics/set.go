package metrics

import (
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
)

var (
	verdicts = []policy.Verdict{policy.Unknown, policy.Up, policy.Degraded, policy.Down}
	actions  = []policy.Action{policy.Announce, policy.Drain, policy.Withdraw}
	states   = []bgp.SessionState{bgp.Idle, bgp.Connect, bgp.Active, bgp.OpenSent, bgp.OpenConfirm, bgp.Established}
)

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// ObserveResult counts one run of a check. outcome is one of pass, warn, fail
// and cannot-tell.
func (m *Metrics) ObserveResult(s policy.ServiceID, c policy.CheckID, outcome string, latency time.Duration) {
	m.checkResults.WithLabelValues(string(s), string(c), outcome).Inc()
	m.checkLatency.WithLabelValues(string(s), string(c)).Set(latency.Seconds())
}

// SetCheck says what verdict a check has.
func (m *Metrics) SetCheck(s policy.ServiceID, c policy.CheckID, v policy.Verdict) {
	for _, w := range verdicts {
		m.checkVerdict.WithLabelValues(string(s), string(c), w.String()).Set(flag(v == w))
	}
}

// SetHealth says what the checks of a service say together.
func (m *Metrics) SetHealth(s policy.ServiceID, h policy.Health) {
	for _, w := range verdicts {
		m.serviceVerdict.WithLabelValues(string(s), w.String()).Set(flag(h.Verdict == w))
	}
	m.serviceHealth.WithLabelValues(string(s)).Set(h.Fraction)
}

// SetStance says what is wanted for a slice, and why. It counts nothing: see
// CountChange.
func (m *Metrics) SetStance(s policy.ServiceID, slice policy.SliceID, st policy.Stance, r policy.Reason) {
	for _, a := range actions {
		m.stance.WithLabelValues(string(s), slice.String(), a.String()).Set(flag(st.Action == a))
	}
	m.rung.WithLabelValues(string(s), slice.String()).Set(float64(st.Rung))
	labels := []string{string(s), slice.String(), string(r.Code), r.Guard}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.reasons[slice]; old != nil {
		m.reason.DeleteLabelValues(old...)
	}
	m.reasons[slice] = labels
	m.reason.WithLabelValues(labels...).Set(1)
}

// CountChange counts a change of stance.
func (m *Metrics) CountChange(s policy.ServiceID, r policy.Reason) {
	m.changes.WithLabelValues(string(s), string(r.Code)).Inc()
}

// CountGuard counts what a guard did to a change; verdict is veto or weaken.
func (m *Metrics) CountGuard(guard, verdict string) {
	m.vetoes.WithLabelValues(guard, verdict).Inc()
}

// SetDrain says whether a slice of the service is being drained.
func (m *Metrics) SetDrain(s policy.ServiceID, on bool) {
	m.drain.WithLabelValues(string(s)).Set(flag(on))
}

// SetAnnouncements says how many prefixes are in the set for the speaker.
func (m *Metrics) SetAnnouncements(set []bgp.Announcement) {
	var v4, v6 float64
	for _, a := range set {
		if a.Prefix.Addr().Is4() {
			v4++
		} else {
			v6++
		}
	}
	m.announcements.WithLabelValues("ipv4").Set(v4)
	m.announcements.WithLabelValues("ipv6").Set(v6)
}

// ObserveDecision notes the time from a verdict to the UPDATE written.
func (m *Metrics) ObserveDecision(d time.Duration) { m.decision.Observe(d.Seconds()) }

// ObserveDetection notes the time from a hint or first failed result to the verdict.
func (m *Metrics) ObserveDetection(d time.Duration) { m.detection.Observe(d.Seconds()) }

// SetSession says how a BGP session is. Flaps are counted from what
// PeerState.Flaps grows by.
func (m *Metrics) SetSession(p bgp.PeerState) {
	n := p.Address.String()
	for _, s := range states {
		m.sessionState.WithLabelValues(n, string(s)).Set(flag(p.State == s))
	}
	m.sessionUp.WithLabelValues(n).Set(flag(p.State == bgp.Established))
	m.sessionAdvertised.WithLabelValues(n).Set(float64(p.Advertised))
	m.sessionReceived.WithLabelValues(n).Set(float64(p.Received))
	if p.BFD != "" {
		m.bfdUp.WithLabelValues(n).Set(flag(p.BFD == "up"))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.sessionFlaps.WithLabelValues(n)
	if last := m.flaps[n]; p.Flaps > last {
		c.Add(float64(p.Flaps - last))
	}
	m.flaps[n] = p.Flaps
}

// SetReload says how reading the configuration went.
func (m *Metrics) SetReload(ok bool, at time.Time) {
	m.reloadOK.Set(flag(ok))
	if ok {
		m.reloadTime.Set(float64(at.UnixNano()) / 1e9)
	}
}

// SetAlarm turns an alarm on or off. Names come from the program, not from
// outside.
func (m *Metrics) SetAlarm(name string, on bool) { m.alarm.WithLabelValues(name).Set(flag(on)) }

// SetPeerHeard says when another POP was last heard; the age is made when
// Prometheus asks. A zero time, never heard, exports +Inf.
func (m *Metrics) SetPeerHeard(pop policy.POPID, source string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peers[peerKey{pop, source}] = at
}

// WatchJournal names whom to ask about the journal when Prometheus asks.
func (m *Metrics) WatchJournal(f func() Journal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.journal = f
}

// ForgetService removes every series of a service that is no longer there.
func (m *Metrics) ForgetService(s policy.ServiceID) {
	match := prometheus.Labels{lService: string(s)}
	for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
		m.checkVerdict, m.checkLatency, m.checkResults, m.serviceVerdict, m.serviceHealth, m.drain,
		m.stance, m.rung, m.reason, m.changes,
	} {
		v.DeletePartialMatch(match)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for slice, labels := range m.reasons {
		if labels[0] == string(s) {
			delete(m.reasons, slice)
		}
	}
}

// ForgetSlice removes every series of a slice that is no longer there.
func (m *Metrics) ForgetSlice(s policy.ServiceID, slice policy.SliceID) {
	match := prometheus.Labels{lService: string(s), lSlice: slice.String()}
	m.stance.DeletePartialMatch(match)
	m.rung.DeletePartialMatch(match)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reason.DeletePartialMatch(match)
	if labels := m.reasons[slice]; labels != nil && labels[0] == string(s) {
		delete(m.reasons, slice)
	}
}

// ForgetCheck removes every series of a check that is no longer there.
func (m *Metrics) ForgetCheck(s policy.ServiceID, c policy.CheckID) {
	match := prometheus.Labels{lService: string(s), lCheck: string(c)}
	m.checkVerdict.DeletePartialMatch(match)
	m.checkLatency.DeletePartialMatch(match)
	m.checkResults.DeletePartialMatch(match)
}

// ForgetNeighbor removes every series of a neighbor that is no longer there.
func (m *Metrics) ForgetNeighbor(a netip.Addr) {
	n := a.String()
	match := prometheus.Labels{lNeighbor: n}
	m.sessionState.DeletePartialMatch(match)
	for _, v := range []*prometheus.GaugeVec{m.sessionUp, m.sessionAdvertised, m.sessionReceived, m.bfdUp} {
		v.DeleteLabelValues(n)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessionFlaps.DeleteLabelValues(n)
	delete(m.flaps, n)
}

// ForgetPeer removes another POP, from every source.
func (m *Metrics) ForgetPeer(pop policy.POPID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.peers {
		if k.pop == pop {
			delete(m.peers, k)
		}
	}
}
