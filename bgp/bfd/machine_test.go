package bfd

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const ms = time.Millisecond

func plain() float64 { return 0 } // no jitter for multipliers above 1

// remotePacket is what a neighbor with discriminator 9 says: it sends each
// 50 ms, takes one each 40 ms.
func remotePacket(s State) Packet {
	return Packet{State: s, Multiplier: 3, MyDiscriminator: 9, YourDiscriminator: 1, DesiredTransmit: 50000, RequiredReceive: 40000}
}

func (m *machine) recv(p Packet, now time.Time) output {
	return m.step(input{kind: inPacket, packet: p}, now)
}

// machineIn returns a machine brought to a state the way the protocol does.
func machineIn(t *testing.T, s State) *machine {
	t.Helper()
	m := newMachine(1, timers{100 * ms, 200 * ms, 5}, plain)
	m.step(input{}, epoch)
	switch s {
	case Init:
		m.recv(remotePacket(Down), epoch)
	case Up:
		m.recv(remotePacket(Init), epoch)
	case AdminDown:
		m.step(input{kind: inAdminDown}, epoch)
	}
	if m.state != s {
		t.Fatalf("machine is %v, want %v", m.state, s)
	}
	return m
}

// TestTransitions is the diagram of RFC 5880 section 6.2, whole.
func TestTransitions(t *testing.T) {
	const timer = State(9)
	tests := []struct {
		in, remote, want State
		diag             Diagnostic
	}{
		{Down, AdminDown, Down, DiagNone}, {Down, Down, Init, DiagNone}, {Down, Init, Up, DiagNone},
		{Down, Up, Down, DiagNone}, {Down, timer, Down, DiagNone},
		{Init, AdminDown, Down, DiagNeighborDown}, {Init, Down, Init, DiagNone}, {Init, Init, Up, DiagNone},
		{Init, Up, Up, DiagNone}, {Init, timer, Down, DiagDetectionTime},
		{Up, AdminDown, Down, DiagNeighborDown}, {Up, Down, Down, DiagNeighborDown}, {Up, Init, Up, DiagNone},
		{Up, Up, Up, DiagNone}, {Up, timer, Down, DiagDetectionTime},
		{AdminDown, AdminDown, AdminDown, DiagAdminDown}, {AdminDown, Down, AdminDown, DiagAdminDown},
		{AdminDown, Init, AdminDown, DiagAdminDown}, {AdminDown, Up, AdminDown, DiagAdminDown},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%v on %v", tt.in, tt.remote), func(t *testing.T) {
			m := machineIn(t, tt.in)
			var out output
			if tt.remote == timer {
				now := epoch.Add(time.Minute)
				if !m.detectAt.IsZero() {
					now = m.detectAt
				}
				out = m.step(input{}, now)
			} else {
				out = m.recv(remotePacket(tt.remote), epoch.Add(ms))
			}
			if m.state != tt.want || m.diagnostic != tt.diag {
				t.Errorf("now %v (%v), want %v (%v)", m.state, m.diagnostic, tt.want, tt.diag)
			}
			if out.changed != (tt.in != tt.want) || out.was != tt.in {
				t.Errorf("changed %v from %v", out.changed, out.was)
			}
			if out.changed && (len(out.send) != 1 || out.send[0].State != tt.want || out.send[0].Diagnostic != tt.diag) {
				t.Errorf("a change must be sent at once; sent %+v", out.send)
			}
		})
	}
}

func TestDetectionForgetsTheNeighbor(t *testing.T) {
	m := machineIn(t, Up)
	if want := epoch.Add(3 * 200 * ms); m.detectAt != want { // its multiplier, the slower of our receive and its transmit
		t.Fatalf("detection at %v, want %v", m.detectAt.Sub(epoch), want.Sub(epoch))
	}
	if out := m.step(input{}, m.detectAt.Add(-1)); out.changed {
		t.Fatal("down before the detection time")
	}
	out := m.step(input{}, m.detectAt)
	p := out.send[0]
	if p.YourDiscriminator != 0 || p.DesiredTransmit != 1000000 || p.Poll {
		t.Errorf("after the detection time sent %+v: want no discriminator, 1 s, no poll", p)
	}
	if !m.everUp {
		t.Error("a session that was up counts as never up")
	}
}

func TestSlowUntilUp(t *testing.T) {
	m := newMachine(1, timers{100 * ms, 200 * ms, 5}, plain)
	out := m.step(input{}, epoch)
	if p := out.send[0]; p.DesiredTransmit != 1000000 || p.RequiredReceive != 200000 || p.Multiplier != 5 {
		t.Errorf("first packet %+v", p)
	}
	if out.wake != epoch.Add(time.Second) {
		t.Errorf("next packet after %v, want 1s", out.wake.Sub(epoch))
	}
	out = m.recv(remotePacket(Init), epoch.Add(10*ms))
	if p := out.send[0]; p.State != Up || !p.Poll || p.DesiredTransmit != 100000 {
		t.Errorf("first packet in state up %+v: want 100 ms and a poll", p)
	}
	if out.wake != epoch.Add(110*ms) {
		t.Errorf("next packet after %v, want 100 ms after the last", out.wake.Sub(epoch.Add(10*ms)))
	}
}

func TestFinalAnswersPollAtOnce(t *testing.T) {
	m := machineIn(t, Up)
	p := remotePacket(Up)
	p.Poll = true
	out := m.recv(p, epoch.Add(ms))
	if len(out.send) != 1 || !out.send[0].Final || out.send[0].Poll {
		t.Errorf("answer to a poll: %+v", out.send)
	}
	if out.wake != epoch.Add(100*ms) {
		t.Errorf("an answer must not move the timer: next after %v", out.wake.Sub(epoch))
	}
}

// final ends the poll sequence that a machine is in.
func final(m *machine, now time.Time) output {
	p := remotePacket(Up)
	p.Final = true
	return m.recv(p, now)
}

func TestIntervalsChangeByPoll(t *testing.T) {
	m := machineIn(t, Up)
	final(m, epoch.Add(ms))
	if m.polling {
		t.Fatal("Final does not end the poll sequence")
	}
	// Slower transmit and faster receive wait for the neighbor.
	m.step(input{kind: inConfigure, timers: timers{500 * ms, 60 * ms, 4}}, epoch.Add(2*ms))
	if m.interval() != 100*ms || m.detection() != 3*200*ms {
		t.Errorf("before Final: transmit %v, detection %v; want the old 100ms, 600ms", m.interval(), m.detection())
	}
	if p := m.packet(false); !p.Poll || p.DesiredTransmit != 500000 || p.RequiredReceive != 60000 || p.Multiplier != 4 {
		t.Errorf("announced %+v", p)
	}
	// Changed again while the sequence runs: parted by a packet without Poll.
	m.step(input{kind: inConfigure, timers: timers{400 * ms, 60 * ms, 4}}, epoch.Add(3*ms))
	final(m, epoch.Add(4*ms))
	if m.interval() != 100*ms {
		t.Errorf("the Final of the first sequence confirmed the second: %v", m.interval())
	}
	if p := m.transmit(epoch.Add(5 * ms)); p.Poll {
		t.Error("two sequences without a packet between them")
	}
	if p := m.transmit(epoch.Add(6 * ms)); !p.Poll {
		t.Error("the second sequence did not start")
	}
	final(m, epoch.Add(7*ms))
	if m.interval() != 400*ms || m.detection() != 3*60*ms {
		t.Errorf("after Final: transmit %v, detection %v; want 400ms, 180ms", m.interval(), m.detection())
	}
	// The other way round holds at once, and the detection already running is extended.
	m.step(input{kind: inConfigure, timers: timers{80 * ms, 900 * ms, 4}}, epoch.Add(8*ms))
	if m.interval() != 80*ms || m.detectAt != epoch.Add(7*ms+3*900*ms) {
		t.Errorf("at once: transmit %v, detection at %v; want 80ms, 2.707s", m.interval(), m.detectAt.Sub(epoch))
	}
	// A new multiplier alone needs no poll.
	final(m, epoch.Add(9*ms))
	m.step(input{kind: inConfigure, timers: timers{80 * ms, 900 * ms, 9}}, epoch.Add(10*ms))
	if p := m.packet(false); p.Poll || p.Multiplier != 9 {
		t.Errorf("multiplier alone: %+v", p)
	}
}

func TestNeighborsReceiveIntervalCounts(t *testing.T) {
	m := machineIn(t, Up)
	p := remotePacket(Up)
	p.RequiredReceive = 700000
	m.recv(p, epoch.Add(ms))
	m.transmit(epoch.Add(ms))
	if m.nextSend != epoch.Add(701*ms) {
		t.Errorf("next after %v, want 700ms", m.nextSend.Sub(epoch.Add(ms)))
	}
	out := m.recv(remotePacket(Up), epoch.Add(2*ms)) // back to 40 ms: ours of 100 ms counts, from the last packet
	if out.wake != epoch.Add(101*ms) {
		t.Errorf("next after %v, want 100ms after the last", out.wake.Sub(epoch))
	}
	p.RequiredReceive = 0 // nothing periodic
	m.recv(p, epoch.Add(3*ms))
	if !m.nextSend.IsZero() || m.interval() != 0 {
		t.Errorf("periodic packets to a neighbor that wants none, at %v", m.nextSend)
	}
}

func TestDemandModeIsObeyed(t *testing.T) {
	m := machineIn(t, Up)
	p := remotePacket(Up)
	p.Demand, p.Final = true, true
	m.recv(p, epoch.Add(ms))
	if m.interval() != 0 {
		t.Error("periodic packets to a neighbor in demand mode")
	}
	p.Poll, p.Final = true, false
	if out := m.recv(p, epoch.Add(2*ms)); len(out.send) != 1 || !out.send[0].Final {
		t.Error("a poll in demand mode got no Final")
	}
}

func TestJitter(t *testing.T) {
	for _, tt := range []struct {
		multiplier  uint8
		least, most time.Duration
	}{{1, 75 * ms, 90 * ms}, {2, 75 * ms, 100 * ms}, {255, 75 * ms, 100 * ms}} {
		m := newMachine(1, timers{100 * ms, 100 * ms, tt.multiplier}, rand.New(rand.NewPCG(1, 2)).Float64)
		lo, hi := time.Hour, time.Duration(0)
		for range 10000 {
			d := m.jittered(100 * ms)
			lo, hi = min(lo, d), max(hi, d)
		}
		slack := ms / 2 // ten thousand draws come that near to both ends
		if lo < tt.least || lo > tt.least+slack || hi > tt.most || hi < tt.most-slack {
			t.Errorf("multiplier %d: %v to %v, want %v to %v", tt.multiplier, lo, hi, tt.least, tt.most)
		}
	}
}

func TestOversleptTickIsNoFailure(t *testing.T) {
	m := machineIn(t, Up)
	woken := m.detectAt.Add(time.Hour) // the machine was paused
	if out := m.step(input{}, woken); out.changed {
		t.Fatal("down although it was we who slept")
	}
	if m.detectAt != woken.Add(200*ms) {
		t.Fatalf("granted %v, want one interval", m.detectAt.Sub(woken))
	}
	if out := m.step(input{}, m.detectAt.Add(time.Hour)); !out.changed || m.state != Down {
		t.Error("granted twice")
	}
}

func TestFailure(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    Event
		want bool
	}{
		{"lost", Event{Was: Up, State: Down, Remote: Down, EverUp: true}, true},
		{"never up", Event{Was: Init, State: Down, Remote: Down}, false},
		{"init lost after it was up", Event{Was: Init, State: Down, Remote: Down, EverUp: true}, false},
		{"neighbor's admin down", Event{Was: Up, State: Down, Remote: AdminDown, EverUp: true}, false},
		{"our admin down", Event{Was: Up, State: AdminDown, Remote: Up, EverUp: true}, false},
		{"goes up", Event{Was: Init, State: Up, Remote: Up, EverUp: true}, false},
	} {
		if got := tt.e.Failure(); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
