package bfd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"
)

// handoverTime is how long a neighbor waits for the next life of the daemon
// before it calls the session down.
const handoverTime = 30 * time.Second

// Handover is a session that outlives its daemon, for a restart. Neither
// AdminDown nor silence would do: most routers take both for a failure and
// drop the routes that graceful restart is to keep. So the last packets of the
// old life say a large multiplier, which lengthens the neighbor's detection
// time at once (RFC 5880 section 6.8.4), and the new life goes on with the
// same discriminators in state Up, as if it had only been slow.
type Handover struct {
	Neighbor            netip.Addr    `json:"neighbor"`
	Local               netip.Addr    `json:"local,omitzero"`
	Device              string        `json:"device,omitempty"`
	Multihop            bool          `json:"multihop,omitempty"`
	LocalDiscriminator  uint32        `json:"local_discriminator"`
	RemoteDiscriminator uint32        `json:"remote_discriminator"`
	RemoteTransmit      time.Duration `json:"remote_transmit"`
	RemoteReceive       time.Duration `json:"remote_receive"`
	RemoteMultiplier    int           `json:"remote_multiplier"`
	// Until, by the wall clock, the neighbor waits; a wrong clock costs no more
	// than a session that goes down and comes up again.
	Until time.Time `json:"until"`
}

// HandOver ends all sessions: those that are up are left up at the neighbor,
// for a next life to resume. Without one, the neighbor calls them down after
// handoverTime, or after 255 intervals if that is shorter. Run still has to be
// ended.
func (m *Manager) HandOver(ctx context.Context) []Handover {
	m.mu.Lock()
	sessions := slices.Collect(maps.Values(m.sessions))
	m.mu.Unlock()
	for range goodbyes {
		for _, s := range sessions {
			s.slowDown()
		}
		select {
		case <-time.After(goodbyeGap):
		case <-ctx.Done():
		}
	}
	var kept []Handover
	for _, s := range sessions {
		if h, ok := s.handOver(); ok {
			kept = append(kept, h)
		}
	}
	return kept
}

// slowDown tells the neighbor of a session that is up to be patient.
func (s *session) slowDown() {
	s.mu.Lock()
	var p Packet
	up := s.m.state == Up && s.m.remote != 0 && !s.silent
	if up {
		s.m.announced.multiplier = patientMultiplier(s.m.interval()) // the next regular packet says it too
		p = s.m.packet(false)
	}
	s.mu.Unlock()
	if up {
		s.transmit(p)
	}
}

// patientMultiplier is how many packets at the interval fill handoverTime.
func patientMultiplier(interval time.Duration) uint8 {
	if interval <= 0 {
		return 255
	}
	return uint8(min(max(handoverTime/interval, DefaultMultiplier), 255))
}

// handOver silences a session and says how to resume it, if it is up.
func (s *session) handOver() (Handover, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent || s.m.state != Up || s.m.remote == 0 {
		return Handover{}, false
	}
	s.silent = true
	wait := time.Duration(s.m.announced.multiplier) * s.m.interval()
	return Handover{
		Neighbor: s.id.neighbor, Local: s.id.local, Device: s.id.device, Multihop: s.id.multihop,
		LocalDiscriminator: s.m.local, RemoteDiscriminator: s.m.remote,
		RemoteTransmit: s.m.remoteTrans, RemoteReceive: s.m.remoteReceive, RemoteMultiplier: s.m.remoteMultiplier,
		Until: time.Now().Add(wait),
	}, true
}

func (h Handover) key() key { return key{h.Neighbor, h.Local, h.Device, h.Multihop} }

// resume puts a new machine where the last life's was. That the session has
// been up does not count until the neighbor is heard: if it has given up
// meanwhile, that is no failure of this life.
func (m *machine) resume(h Handover, now time.Time) {
	m.local, m.remote = h.LocalDiscriminator, h.RemoteDiscriminator
	m.state, m.remoteState = Up, Up
	m.remoteTrans, m.remoteReceive, m.remoteMultiplier = h.RemoteTransmit, h.RemoteReceive, h.RemoteMultiplier
	m.announced = m.wanted()
	m.inForce = m.announced
	m.polling = true // the configuration may be a new one
	m.lastReceived, m.detectAt = now, now.Add(m.detection())
}

// KeepHandover writes what HandOver returned to a file.
func KeepHandover(path string, kept []Handover) error {
	b, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("bfd handover: %w", err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("bfd handover: %w", err)
	}
	return nil
}

// TakeHandover reads the file and removes it: a life is resumed once. No file
// is no error.
func TakeHandover(path string) ([]Handover, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	var kept []Handover
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil {
		return nil, fmt.Errorf("bfd handover: %w", err)
	}
	now := time.Now()
	return slices.DeleteFunc(kept, func(h Handover) bool { return now.After(h.Until) }), nil
}
