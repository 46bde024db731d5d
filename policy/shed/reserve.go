package shed

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
)

// ReservationID names a reservation: who moves which slice to whom.
type ReservationID struct {
	From  policy.POPID   `json:"from"`
	To    policy.POPID   `json:"to"`
	Slice policy.SliceID `json:"slice"`
}

// Reservation says that From may move up to High of a slice's load toward To
// until Until. A POP that takes a slice back reserves its own room: then To
// and From are the same.
type Reservation struct {
	ReservationID
	Level Level   `json:"level"` // that From goes to
	Mean  float64 `json:"mean"`  // load expected to arrive
	High  float64 `json:"high"`  // load for which room is kept
	// Taken is when it was made, Applied when the route was changed (zero:
	// not yet) and Until when it ends by itself.
	Taken   time.Time `json:"taken"`
	Applied time.Time `json:"applied,omitzero"`
	Until   time.Time `json:"until"`
}

// Arrived reports whether a load sample of that time contains all that the
// reservation brought.
func (r *Reservation) Arrived(sample time.Time, settle time.Duration) bool {
	return !r.Applied.IsZero() && !sample.Before(r.Applied.Add(settle))
}

// pending reports whether the reservation's load may be missing in a sample.
func (r *Reservation) pending(sample, now time.Time, settle time.Duration) bool {
	return now.Before(r.Until) && !r.Arrived(sample, settle)
}

// High returns the upper bound of a POP's own load now: its last sample,
// grown for its age. Without a usable sample or a capacity ok is false.
func (c Config) High(p *POP, now time.Time) (high float64, ok bool) {
	age := now.Sub(p.At)
	if p.At.IsZero() || age > c.Stale || p.Capacity <= 0 {
		return 0, false
	}
	return p.Total() + c.Z*c.sd(p, now), true
}

// sd is the standard deviation of a POP's own load now: of its last sample,
// and of what has changed since.
func (c Config) sd(p *POP, now time.Time) float64 {
	sample := p.SD
	if sample == 0 {
		sample = c.Noise * p.Total()
	}
	return sample + c.Growth*p.Total()*math.Sqrt(max(0, now.Sub(p.At).Minutes()))
}

// Pending returns what is on its way to a POP, mean and upper bound, and does
// not show in its last sample yet; and the mean of what is on its way from it.
func (c Config) Pending(p *POP, reserved []Reservation, now time.Time) (in, high, out float64) {
	for i := range reserved {
		r := &reserved[i]
		if !r.pending(p.At, now, c.Settle) {
			continue
		}
		if r.To == p.ID {
			in += r.Mean
			high += r.High
		} else if r.From == p.ID && !r.Applied.IsZero() {
			out += r.Mean
		}
	}
	return in, high, out
}

// Expected returns a POP's load without what is on its way from it, and
// whether that is known to be above its trigger. What is on its way to it is
// left out: a sample may show part of it, and it has been given room.
func (c Config) Expected(p *POP, reserved []Reservation, now time.Time) (load float64, over bool) {
	_, _, away := c.Pending(p, reserved, now)
	load = max(0, p.Total()-away)
	_, ok := c.High(p, now)
	return load, ok && load > c.Trigger*p.Capacity
}

// Room returns how much more load may be sent to a POP: up to Receive of its
// capacity, less the upper bounds of what it carries and of what is on its
// way. 0 where its load is not known or too old.
func (c Config) Room(p *POP, reserved []Reservation, now time.Time) float64 {
	high, ok := c.High(p, now)
	if !ok {
		return 0
	}
	_, pending, _ := c.Pending(p, reserved, now)
	return max(0, c.Receive*p.Capacity-high-pending)
}

// Claim says that a POP stands below normal on a slice. It is written with the
// reservations of the step that begins it and removed by the return, so that
// the core knows at every moment how many POPs are normal on a slice, however
// old the samples of others are.
type Claim struct {
	POP   policy.POPID   `json:"pop"`
	Slice policy.SliceID `json:"slice"`
	Level Level          `json:"level"`
	Before
}

// Before is what was carried of a slice when a POP first stepped back on it,
// in load units: by that POP (Had) and by all (Of). Zero: not known. It is
// what comes back with the slice, whatever the matrix has learned: an attack
// does not come from where the users are.
type Before struct {
	Had float64 `json:"had,omitempty"`
	Of  float64 `json:"of,omitempty"`
}

// Admit says whether a step may be made on top of what stands in the core. It
// is the condition of the transaction there: the caller reads reservations and
// claims at a revision into the view, asks, and writes the step's reservations
// and its claim only if the revision still holds. A reservation that replaces
// one of the same name counts once.
//
// A receiver that is above its trigger is about to let go, and two POPs that
// are overloaded and feed each other a little could never begin if neither
// might get anything: see ceiling.
func (c Config) Admit(v *View, st Step, now time.Time) error {
	if err := c.lastPOP(v, st, now); err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(v.Reserved), func(r Reservation) bool {
		return slices.ContainsFunc(st.Reserve, func(w Reservation) bool { return w.ReservationID == r.ReservationID })
	})
	need := map[policy.POPID]float64{}
	for _, w := range st.Reserve {
		need[w.To] += w.High
	}
	for _, w := range st.Reserve {
		i := slices.IndexFunc(v.POPs, func(p POP) bool { return p.ID == w.To })
		if i < 0 {
			return fmt.Errorf("shed: reservation at %s: not a POP of the fleet", w.To)
		}
		p := &v.POPs[i]
		room := c.Room(p, rest, now)
		if load, over := c.Expected(p, rest, now); over {
			_, pending, _ := c.Pending(p, rest, now)
			room = c.ceiling(load, p.Capacity) - load - pending
		}
		if room <= 0 || room < need[w.To]-1e-9*p.Capacity {
			return fmt.Errorf("shed: reservation at %s: room for %.4g, want %.4g", w.To, room, need[w.To])
		}
	}
	return nil
}

// ceiling is how far a POP above its trigger may be filled: up to its
// capacity, as it is expected and not at the bound, for it is about to let go;
// above that already, by no more than what is no surprise. It is not filled
// further for what it lets go of in the plan: that has not gone yet.
func (c Config) ceiling(load, capacity float64) float64 {
	if load <= capacity {
		return capacity
	}
	return load + c.Surprised*capacity
}

// lastPOP refuses a step back after which fewer than Normal other POPs would
// surely announce the slice normally.
func (c Config) lastPOP(v *View, st Step, now time.Time) error {
	if st.To == 0 || st.To < st.From {
		return nil
	}
	normal := 0
	for i := range v.POPs {
		p := &v.POPs[i]
		l, announced := p.Level[st.Slice]
		_, fresh := c.High(p, now)
		claimed := slices.ContainsFunc(v.Claims, func(o Claim) bool { return o.POP == p.ID && o.Slice == st.Slice && o.Level > 0 })
		if p.ID != v.Me && announced && fresh && l == 0 && !claimed {
			normal++
		}
	}
	if normal < c.Normal {
		return fmt.Errorf("shed: %s: %d other POPs announce it normally, want %d", st.Slice, normal, c.Normal)
	}
	return nil
}

// Free lists the reservations of a POP that are over, or whose load has
// arrived in the receiver's own sample.
func (c Config) Free(me policy.POPID, pops []POP, reserved []Reservation, now time.Time) []ReservationID {
	var out []ReservationID
	for i := range reserved {
		r := &reserved[i]
		if r.From != me {
			continue
		}
		to := slices.IndexFunc(pops, func(p POP) bool { return p.ID == r.To })
		if !now.Before(r.Until) || to >= 0 && r.Arrived(pops[to].At, c.Settle) {
			out = append(out, r.ReservationID)
		}
	}
	return out
}
