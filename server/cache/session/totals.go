package session

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/policy/redirect"
)

// totals count since the start.
type totals struct {
	paced, redirected, moved atomic.Uint64
	stalls, starved          atomic.Uint64
	forgotten, others        atomic.Uint64
	pacedFor, bytes          atomic.Int64
	refused                  sync.Map      // reason -> *atomic.Uint64
	elsewhere                sync.Map      // POP -> *away
	movedAsks, leftAsks      atomic.Uint64 // requests of players that speak (CMCD)
	movedStalls, leftStalls  atomic.Uint64
}

// Totals are what was done since the start.
type Totals struct {
	Sessions   int64  // now
	Paced      uint64 // times that a connection was held to a pace
	PacedFor   time.Duration
	Redirected uint64 // by 302
	Moved      uint64 // by 301
	// Refused are requests that were not redirected, by the rule.
	Refused map[string]uint64
	// Stalls are sessions whose buffer, as far as it is known, came down to nothing
	// while they were sent to; Starved are requests whose client said that it had
	// stalled (CMCD bs).
	Stalls, Starved uint64
	Forgotten       uint64 // sessions that made room for others
	// Bytes that were asked for and that other POPs sent then.
	Bytes int64
	// Elsewhere are the requests and bytes of them by POP.
	Elsewhere map[string]Sent
	// Harm is what players say that speak of themselves (CMCD).
	Harm Harm
}

// Sent is what another POP was asked to send.
type Sent struct{ Requests, Bytes uint64 }

type away struct{ requests, bytes atomic.Uint64 }

// send counts an answer that another POP sends.
func (t *totals) send(to redirect.POP, bytes int64) {
	n, ok := t.elsewhere.Load(to)
	if !ok {
		n, _ = t.elsewhere.LoadOrStore(to, new(away))
	}
	n.(*away).requests.Add(1)
	n.(*away).bytes.Add(uint64(max(0, bytes)))
	t.bytes.Add(max(0, bytes))
}

// Harm is what was observed of players that speak of themselves (CMCD): how many
// requests they made, and in how many of them they said that they had stalled
// since the last one (bs). Moved are of sessions that were redirected before,
// Left of others.
type Harm struct{ Moved, Left, MovedStalls, LeftStalls uint64 }

// hear counts a request of a player that speaks.
func (t *totals) hear(c *redirect.CMCD, moved bool) {
	if !c.HasBuffer && !c.Starved {
		return
	}
	asks, stalls := &t.leftAsks, &t.leftStalls
	if moved {
		asks, stalls = &t.movedAsks, &t.movedStalls
	}
	asks.Add(1)
	if c.Starved {
		stalls.Add(1)
		t.starved.Add(1)
	}
}

func (t *totals) count(v redirect.Verdict) {
	switch v.Do {
	case redirect.Redirect:
		t.redirected.Add(1)
	case redirect.Move:
		t.moved.Add(1)
	default:
		n, ok := t.refused.Load(v.Why)
		if !ok {
			n, _ = t.refused.LoadOrStore(v.Why, new(atomic.Uint64))
		}
		n.(*atomic.Uint64).Add(1)
	}
}

// Totals reads them.
func (k *Keeper) Totals() Totals {
	t := &k.totals
	out := Totals{
		Sessions: k.count.Load(), Paced: t.paced.Load(), PacedFor: time.Duration(t.pacedFor.Load()), Redirected: t.redirected.Load(),
		Moved: t.moved.Load(), Refused: map[string]uint64{}, Stalls: t.stalls.Load(), Starved: t.starved.Load(), Forgotten: t.forgotten.Load(), Bytes: t.bytes.Load(),
		Harm: Harm{t.movedAsks.Load(), t.leftAsks.Load(), t.movedStalls.Load(), t.leftStalls.Load()},
	}
	out.Elsewhere = map[string]Sent{}
	t.elsewhere.Range(func(pop, n any) bool {
		out.Elsewhere[string(pop.(redirect.POP))] = Sent{n.(*away).requests.Load(), n.(*away).bytes.Load()}
		return true
	})
	t.refused.Range(func(why, n any) bool {
		out.Refused[why.(string)] = n.(*atomic.Uint64).Load()
		return true
	})
	return out
}
