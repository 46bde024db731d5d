package bfd

import "time"

// slowInterval is the least transmit interval while a session is not up, RFC
// 5880 section 6.8.3.
const slowInterval = time.Second

// timers are the values of a session that can change while it runs.
type timers struct {
	transmit, receive time.Duration
	multiplier        uint8
}

type inputKind uint8

const (
	inTick      inputKind = iota // the time that the last output asked for has come
	inPacket                     // a valid packet for this session
	inConfigure                  // new timers
	inAdminDown                  // stop, and tell the neighbor that it is meant so
)

// input is what happens to a session.
type input struct {
	kind   inputKind
	packet Packet
	timers timers
}

// output is what the machine wants done.
type output struct {
	send    []Packet // in this order; at most two
	changed bool     // state is another than was
	was     State
	wake    time.Time // call step with inTick then; zero: no need
}

// machine is a session, RFC 5880 section 6.8, without clock, socket or
// goroutine: everything it does follows from step's arguments.
type machine struct {
	jitter func() float64 // uniform in [0, 1)
	config timers

	state, remoteState         State
	diagnostic, remoteDiag     Diagnostic
	local, remote              uint32 // discriminators
	remoteReceive, remoteTrans time.Duration
	remoteMultiplier           int
	remoteDemand, independent  bool
	everUp                     bool

	// What we announce, and what is in force: a slower transmit or a faster
	// receive interval takes effect only when the neighbor has confirmed it by
	// Final (section 6.8.3).
	announced, inForce timers
	polling            bool // a poll sequence runs
	pollNext           bool // another one is due after a packet without Poll

	lastSent, nextSend time.Time // nextSend zero: nothing periodic
	lastReceived       time.Time
	detectAt           time.Time // zero: not armed
	overslept          bool      // one extra interval was granted, see expire
}

func newMachine(discriminator uint32, t timers, jitter func() float64) *machine {
	m := &machine{local: discriminator, jitter: jitter, config: t, state: Down, remoteState: Down,
		remoteReceive: time.Microsecond}
	m.announced = m.wanted()
	m.inForce = m.announced
	return m
}

// wanted returns the timers that the configuration and the state ask for.
func (m *machine) wanted() timers {
	t := m.config
	if m.state != Up {
		t.transmit = max(t.transmit, slowInterval)
	}
	return t
}

// step is the whole machine.
func (m *machine) step(in input, now time.Time) output {
	was := m.state
	out := output{was: was}
	final := false
	switch in.kind {
	case inPacket:
		m.receive(in.packet, now)
		m.everUp = m.everUp || m.state == Up
		final = in.packet.Poll && m.state != AdminDown
	case inConfigure:
		m.config = in.timers
		m.retime()
		if at := m.lastReceived.Add(m.detection()); !m.detectAt.IsZero() && at.After(m.detectAt) {
			m.detectAt = at // the neighbor may slow down before we hear that it knows
		}
	case inAdminDown:
		m.state, m.diagnostic = AdminDown, DiagAdminDown
		m.retime()
	case inTick:
		m.expire(now)
	}
	out.changed = m.state != was
	if out.changed {
		m.everUp = m.everUp || m.state == Up
		m.retime()
	}
	m.schedule(now)
	if final { // section 6.8.7: at once, without regard to the timer
		out.send = append(out.send, m.packet(true))
	}
	due := !m.nextSend.IsZero() && !now.Before(m.nextSend)
	if due || out.changed && !final || in.kind == inAdminDown {
		out.send = append(out.send, m.transmit(now))
	}
	out.wake = m.wake()
	return out
}

// receive is RFC 5880 section 6.8.6 from where the session is known.
func (m *machine) receive(p Packet, now time.Time) {
	m.remote, m.remoteState, m.remoteDiag = p.MyDiscriminator, p.State, p.Diagnostic
	m.remoteDemand, m.independent = p.Demand, p.Independent
	m.remoteReceive, m.remoteTrans = micros(p.RequiredReceive), micros(p.DesiredTransmit)
	m.remoteMultiplier = int(p.Multiplier)
	if p.Final && m.polling {
		m.polling = false
		if !m.pollNext {
			m.inForce = m.announced
		}
	}
	if m.state == AdminDown {
		return
	}
	m.transition(p.State)
	m.overslept, m.lastReceived = false, now
	m.detectAt = now.Add(m.detection())
}

// transition is the state machine of section 6.2 on the neighbor's state.
func (m *machine) transition(remote State) {
	down := func() { m.state, m.diagnostic = Down, DiagNeighborDown }
	switch {
	case remote == AdminDown:
		if m.state != Down {
			down()
		}
	case m.state == Down && remote == Down:
		m.state = Init
	case m.state == Down && remote == Init, m.state == Init && (remote == Init || remote == Up):
		m.state, m.diagnostic = Up, DiagNone
	case m.state == Up && remote == Down:
		down()
	}
}

// expire looks whether the detection time is over, section 6.8.4. Where the
// tick itself comes much too late, it was we who slept (a stopped process, a
// paused machine) and the neighbor's packets may be waiting unread: one more
// interval is granted.
func (m *machine) expire(now time.Time) {
	if m.detectAt.IsZero() || now.Before(m.detectAt) {
		return
	}
	if late := now.Sub(m.detectAt); late > m.detection()/2 && !m.overslept {
		m.overslept = true
		m.detectAt = now.Add(m.detection() / time.Duration(max(m.remoteMultiplier, 1)))
		return
	}
	m.detectAt = time.Time{}
	m.remote, m.remoteReceive, m.remoteDemand = 0, time.Microsecond, false // section 6.8.1
	if m.state == Init || m.state == Up {
		m.state, m.diagnostic, m.remoteState = Down, DiagDetectionTime, Down
	}
}

// retime brings what is announced and in force in line with what is wanted.
func (m *machine) retime() {
	want := m.wanted()
	if want == m.announced {
		return
	}
	intervals := want.transmit != m.announced.transmit || want.receive != m.announced.receive
	m.announced = want
	if m.state != Up {
		m.inForce, m.polling, m.pollNext = want, false, false
		return
	}
	m.inForce.multiplier = want.multiplier
	m.inForce.transmit = min(m.inForce.transmit, want.transmit)
	m.inForce.receive = max(m.inForce.receive, want.receive)
	if intervals && m.polling {
		m.pollNext = true // section 6.5: a packet without Poll must part them
	} else if intervals {
		m.polling = true
	}
}

// interval is the negotiated transmit interval, section 6.8.2; zero where
// nothing periodic may be sent: the neighbor wants none, or is in demand mode
// (section 6.8.7).
func (m *machine) interval() time.Duration {
	demand := m.remoteDemand && m.state == Up && m.remoteState == Up && !m.polling
	if m.remoteReceive == 0 || demand {
		return 0
	}
	return max(m.inForce.transmit, m.remoteReceive)
}

// detection is the detection time, section 6.8.4.
func (m *machine) detection() time.Duration {
	return time.Duration(m.remoteMultiplier) * max(m.inForce.receive, m.remoteTrans)
}

// schedule makes sure that the next packet is not later than the interval
// allows, counted from the last one sent.
func (m *machine) schedule(now time.Time) {
	interval := m.interval()
	switch {
	case interval == 0:
		m.nextSend = time.Time{}
	case m.lastSent.IsZero():
		m.nextSend = now
	case m.nextSend.IsZero() || m.nextSend.Sub(m.lastSent) > interval:
		m.nextSend = m.lastSent.Add(m.jittered(interval))
	}
}

// jittered takes 0 to 25 % off, or 10 to 25 % where a single lost packet is a
// failure, section 6.8.7.
func (m *machine) jittered(d time.Duration) time.Duration {
	least, most := 0.0, 0.25
	if m.announced.multiplier == 1 {
		least = 0.10
	}
	return d - time.Duration(float64(d)*(least+m.jitter()*(most-least)))
}

// transmit makes the packet that is due now and sets the time of the next.
func (m *machine) transmit(now time.Time) Packet {
	p := m.packet(false)
	if !p.Poll && m.pollNext {
		m.pollNext, m.polling = false, true
	}
	m.lastSent, m.nextSend = now, time.Time{}
	if interval := m.interval(); interval != 0 {
		m.nextSend = now.Add(m.jittered(interval))
	}
	return p
}

// packet is section 6.8.7.
func (m *machine) packet(final bool) Packet {
	return Packet{
		Diagnostic: m.diagnostic, State: m.state, Poll: m.polling && !final, Final: final,
		Multiplier: m.announced.multiplier, MyDiscriminator: m.local, YourDiscriminator: m.remote,
		DesiredTransmit: uint32(m.announced.transmit / time.Microsecond),
		RequiredReceive: uint32(m.announced.receive / time.Microsecond),
	}
}

func (m *machine) wake() time.Time {
	switch {
	case m.nextSend.IsZero():
		return m.detectAt
	case m.detectAt.IsZero() || m.nextSend.Before(m.detectAt):
		return m.nextSend
	}
	return m.detectAt
}

func micros(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }
