package bfd

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// goodbyes is how many AdminDown packets tell the neighbor that we leave on
// purpose, and goodbyeGap the time between them: one of them should arrive,
// and a planned exit should not wait for a detection time (section 6.8.16
// only says "at least").
const (
	goodbyes   = 3
	goodbyeGap = 10 * time.Millisecond
)

// inboxLen is how many packets of one session may wait; more means that we
// are not scheduled, and only the newest would matter.
const inboxLen = 16

// transmitter sends the packets of one session.
type transmitter interface {
	send(b []byte) error
	close()
}

// session runs one machine. Its goroutine is the only one that steps it.
type session struct {
	id       key
	tx       transmitter
	onChange func(Event)
	log      *slog.Logger
	inbox    chan Packet
	retime   chan timers
	stop     context.CancelFunc // set by the manager when started

	mu     sync.Mutex // of what follows
	config SessionConfig
	m      *machine
	silent bool // handed over: the next life speaks
	since  time.Time
	stats  struct{ sent, received, dropped, downs uint64 }
	err    error // of the last send
}

func newSession(c SessionConfig, m *machine, tx transmitter, onChange func(Event), log *slog.Logger) *session {
	return &session{id: c.key(), config: c, m: m, tx: tx, onChange: onChange,
		log:   log.With("neighbor", c.Neighbor.String(), "multihop", c.Multihop),
		inbox: make(chan Packet, inboxLen), retime: make(chan timers, 1)}
}

func (c SessionConfig) timers() timers {
	return timers{c.Transmit, c.Receive, uint8(c.Multiplier)}
}

// deliver gives a packet to the session; it never blocks.
func (s *session) deliver(p Packet) {
	select {
	case s.inbox <- p:
	default:
		s.mu.Lock()
		s.stats.dropped++
		s.mu.Unlock()
	}
}

// configure changes timers and MinTTL of a session that may be running; the
// manager is its only caller.
func (s *session) configure(c SessionConfig) {
	s.mu.Lock()
	s.config = c
	s.mu.Unlock()
	select {
	case <-s.retime: // not taken yet, and no longer wanted
	default:
	}
	s.retime <- c.timers()
}

func (s *session) current() SessionConfig {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config
}

// run is the session until ctx ends; then it says goodbye.
func (s *session) run(ctx context.Context) {
	defer s.tx.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		in := input{kind: inTick}
		select {
		case <-ctx.Done():
			s.goodbye()
			return
		case in.packet = <-s.inbox:
			in.kind = inPacket
		case in.timers = <-s.retime:
			in.kind = inConfigure
		case <-timer.C:
			select { // a packet that waits is news, an expired timer only its absence
			case in.packet = <-s.inbox:
				in.kind = inPacket
			default:
			}
		}
		if wake := s.step(in); wake.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(wake))
		}
	}
}

func (s *session) goodbye() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for range goodbyes {
		<-timer.C
		s.step(input{kind: inAdminDown})
		timer.Reset(goodbyeGap)
	}
}

// step feeds the machine and does what it wants; nothing once the session
// is handed over.
func (s *session) step(in input) (wake time.Time) {
	now := time.Now()
	s.mu.Lock()
	if s.silent {
		s.mu.Unlock()
		return time.Time{}
	}
	out := s.m.step(in, now)
	if in.kind == inPacket {
		s.stats.received++
	}
	s.mu.Unlock()
	for _, p := range out.send {
		s.transmit(p)
	}
	if out.changed {
		s.changed(out.was, now)
	}
	return out.wake
}

func (s *session) transmit(p Packet) {
	err := s.tx.send(p.AppendTo(make([]byte, 0, packetLen)))
	s.mu.Lock()
	if err == nil {
		s.stats.sent++
	}
	news := (err == nil) != (s.err == nil)
	s.err = err
	s.mu.Unlock()
	if news && err != nil {
		s.log.Warn("bfd: cannot send", "error", err)
	}
}

func (s *session) changed(was State, now time.Time) {
	s.mu.Lock()
	e := Event{Neighbor: s.id.neighbor, Multihop: s.id.multihop, State: s.m.state, Was: was,
		Remote: s.m.remoteState, Diagnostic: s.m.diagnostic, EverUp: s.m.everUp, Independent: s.m.independent, Time: now}
	s.since = now
	if was == Up {
		s.stats.downs++
	}
	s.mu.Unlock()
	s.log.Info("bfd: session", "state", e.State.String(), "was", was.String(), "remote", e.Remote.String(),
		"diagnostic", e.Diagnostic.String())
	s.onChange(e)
}

func (s *session) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Neighbor: s.id.neighbor, Local: s.id.local, Device: s.id.device, Multihop: s.id.multihop,
		State: s.m.state, RemoteState: s.m.remoteState, Diagnostic: s.m.diagnostic, RemoteDiagnostic: s.m.remoteDiag,
		LocalDiscriminator: s.m.local, RemoteDiscriminator: s.m.remote, Since: s.since, EverUp: s.m.everUp,
		Polling: s.m.polling, Transmit: Interval(s.m.interval()), Detection: Interval(s.m.detection()),
		RemoteTransmit: Interval(s.m.remoteTrans), RemoteReceive: Interval(s.m.remoteReceive),
		RemoteMultiplier: s.m.remoteMultiplier,
		Sent:             s.stats.sent, Received: s.stats.received, Dropped: s.stats.dropped, Downs: s.stats.downs,
	}
	if s.err != nil {
		st.LastError = s.err.Error()
	}
	return st
}
