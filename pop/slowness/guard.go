package slowness

import (
	"fmt"
	"time"

	"github.com/catchment/catchment/policy/steer"
)

// Guard says when what was measured moves clients. Where it holds nobody is
// moved by it; lists of people count all the same.
type Guard struct {
	// Stale is the age of a network's last sample above which it moves nobody.
	Stale time.Duration
	// Most is the share of what was seen lately that networks which are slow may
	// have: above it, it is rather this POP, or its links, that are slow. It
	// counts from Few networks on; 20 if zero.
	Most float64
	Few  int
}

// Moves are the networks whose clients are moved.
type Moves struct {
	Networks []Network // slow, seen lately
	Stale    int       // slow, and not seen for long
	Held     string    // why none are; empty: they are
}

// Judge picks the networks of a report whose clients are moved.
func (g *Guard) Judge(r *Report) (m Moves) {
	if r == nil {
		return Moves{Held: "nothing has been judged yet"}
	}
	few := g.Few
	if few == 0 {
		few = 20
	}
	fresh, all, slow := 0, 0, 0
	for i := range r.Networks {
		n := &r.Networks[i]
		if r.At.Sub(n.Seen) > g.Stale {
			if n.Slow {
				m.Stale++
			}
			continue
		}
		fresh++
		all += n.Samples
		if n.Slow {
			slow += n.Samples
			m.Networks = append(m.Networks, *n)
		}
	}
	if fresh >= few && float64(slow) > g.Most*float64(all) {
		m.Held = fmt.Sprintf("%d of %d networks, with %.0f %% of the transfers, are slow: more than slowness.most, so it is rather this POP or its links",
			len(m.Networks), fresh, 100*float64(slow)/float64(all))
		m.Networks = nil
	}
	return m
}

// Nets are the networks that are moved, by their reason.
func (m *Moves) Nets() (*steer.Nets, error) {
	b := steer.NewBuilder()
	for i := range m.Networks {
		n := &m.Networks[i]
		if err := b.Add(n.Prefix, Measured+n.Class.String(), 0); err != nil {
			return nil, fmt.Errorf("slowness: %w", err)
		}
	}
	return b.Build()
}
