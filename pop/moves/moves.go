// Package moves says what becomes of the clients of a POP's addresses as its
// decisions about their routes come and go: which addresses may take over
// clients of others, whose clients are on their way elsewhere, when others are
// to hear of them at once, and when what is left is reset.
//
// It follows decisions and makes none: what is announced and withdrawn was
// decided before, guards and all. It is pure: no clock, no socket.
package moves

import (
	"net/netip"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
)

// Address is a service address as the last decision left it.
type Address struct {
	Addr   netip.Addr
	Stance policy.Stance // of the slice by which clients come to it
	// Heard: a neighbor hears it as decided.
	Heard bool
	// Held: a less specific route leads here all the same, and nobody else
	// announces the slice: its clients stay, whatever becomes of the slice.
	Held bool
}

// Step is what is to be done now.
type Step struct {
	// Announced are the addresses whose clients may be woken, and Came says
	// that one of them was not before.
	Announced []netip.Addr
	Came      bool
	// Moving are the addresses whose clients are on their way elsewhere, and
	// Moved says that these are others than before.
	Moving []netip.Addr
	Moved  bool
	// Kick: a route got weaker, so others are to hear at once of its clients.
	Kick bool
	// Reset are the addresses whose connections are to be reset.
	Reset []netip.Addr
	// Next is when there is something to reset by then; zero: nothing is.
	Next time.Time
}

// Moves follows addresses. It is not safe for concurrent use.
type Moves struct {
	after     time.Duration // from the withdraw to the reset; 0: never
	announced []netip.Addr
	moving    []netip.Addr
	of        map[netip.Addr]*place
}

type place struct {
	stance policy.Stance
	was    bool      // announced, in this life
	gone   time.Time // since when it is withdrawn; zero: it is not, or never was announced
	reset  bool      // since then
}

// New follows addresses whose connections are reset so long after the
// withdraw.
func New(after time.Duration) *Moves {
	return &Moves{after: after, of: map[netip.Addr]*place{}}
}

// Look takes in what was decided. An address that is not there any more is
// forgotten.
func (m *Moves) Look(all []Address, now time.Time) (s Step) {
	seen := make(map[netip.Addr]bool, len(all))
	for i := range all {
		a := &all[i]
		seen[a.Addr] = true
		p := m.of[a.Addr]
		if p == nil {
			p = &place{stance: a.Stance}
			m.of[a.Addr] = p
		}
		s.Kick = s.Kick || a.Stance.Less(p.stance)
		p.stance = a.Stance
		if a.Stance.Action == policy.Announce {
			if a.Heard {
				s.Announced = append(s.Announced, a.Addr)
			}
		} else {
			s.Moving = append(s.Moving, a.Addr)
		}
		m.resets(a, p, &s, now)
	}
	for addr := range m.of {
		if !seen[addr] {
			delete(m.of, addr)
		}
	}
	slices.SortFunc(s.Announced, netip.Addr.Compare)
	slices.SortFunc(s.Moving, netip.Addr.Compare)
	for _, a := range s.Announced {
		s.Came = s.Came || !slices.Contains(m.announced, a)
	}
	s.Moved = !slices.Equal(s.Moving, m.moving)
	m.announced, m.moving = s.Announced, s.Moving
	return s
}

// resets says whether the connections of an address are to be reset now, or
// when. One that is announced again in between keeps them.
func (m *Moves) resets(a *Address, p *place, s *Step, now time.Time) {
	if a.Stance.Announced() {
		p.was, p.gone, p.reset = true, time.Time{}, false
		return
	}
	if !p.was || m.after <= 0 || a.Held {
		p.gone = time.Time{} // counted from when it is not held any more
		return
	}
	if p.gone.IsZero() {
		p.gone = now
	}
	due := p.gone.Add(m.after)
	switch {
	case p.reset:
	case now.Before(due):
		if s.Next.IsZero() || due.Before(s.Next) {
			s.Next = due
		}
	default:
		p.reset = true
		s.Reset = append(s.Reset, a.Addr)
	}
}
