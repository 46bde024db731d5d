package shed

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
)

// Loan is a share of the new sessions of a POP's clients that DNS sends to
// another one: the rung below all those of BGP. Room is reserved before it
// grows, as for a step.
type Loan struct {
	From  policy.POPID `json:"from"`
	To    policy.POPID `json:"to"`
	Share float64      `json:"share"`
}

// Lending is how a POP lends clients. The zero value: it does not.
type Lending struct {
	// Most is the largest share of the POP's clients that is lent in all, and
	// Step the largest change of it at a time.
	Most, Step float64
	// Part is the share of the load that follows the answers of DNS, as expected.
	// Room is reserved as if all of it did.
	Part float64
	// Settle is how long a change takes until all that follows it has moved: the
	// life of an answer, and of sessions.
	Settle time.Duration
	// To are the POPs to lend to, the best first.
	To []policy.POPID
}

// On reports whether anything is ever lent.
func (l *Lending) On() bool { return l.Most > 0 && len(l.To) > 0 }

// leastLoan is a change that is worth a reservation.
const leastLoan = 0.005

// LoanStep is a change of one loan, with what must be reserved before it.
type LoanStep struct {
	Loan            // after the step
	Was     float64 // the share before it
	Arrival         // what it brings to the receiver (of a return: to this POP)
	Reserve Reservation
}

// Lend decides what this POP lends more, or less, now; nil: nothing changes, and
// why says it in words for people (empty: there is nothing to say). lent is when
// it last lent more, loans are those of all POPs.
func (c Config) Lend(l Lending, v *View, loans []Loan, lent time.Time, now time.Time) (step *LoanStep, why string) {
	i := slices.IndexFunc(v.POPs, func(p POP) bool { return p.ID == v.Me })
	if i < 0 || v.Isolated || v.Surprised {
		return nil, ""
	}
	me := &v.POPs[i]
	high, fresh := c.High(me, now)
	if !fresh || now.Sub(v.Changed) < c.Settle || now.Sub(lent) < l.Settle {
		return nil, ""
	}
	if v.Lends() {
		return nil, "" // the change before is still on its way
	}
	load, over := c.Expected(me, v.Reserved, now)
	all := mine(loans, v.Me)
	if over {
		return c.lendMore(l, v, loans, all, load, now)
	}
	below := slices.ContainsFunc(v.Slices, func(s policy.SliceID) bool { return me.Level[s] > 0 })
	if all == 0 || below || now.Sub(v.Shed) < c.Turn { // what BGP moved comes back first
		return nil, ""
	}
	return c.lendLess(l, v, loans, demand(load, l.Part, all), high, now)
}

// Lends reports whether room is reserved for a change of what DNS lends: for one
// POP there is one such reservation at a time.
func (v *View) Lends() bool {
	return slices.ContainsFunc(v.Reserved, func(r Reservation) bool { return r.From == v.Me && r.Slice == policy.SliceID{} })
}

// mine is what a POP lends in all.
func mine(loans []Loan, me policy.POPID) (all float64) {
	for _, x := range loans {
		if x.From == me {
			all += x.Share
		}
	}
	return all
}

// demand is what a POP would carry if it lent nothing.
func demand(load, part, lent float64) float64 { return load / max(0.05, 1-part*min(1, lent)) }

// lendMore finds the first POP that can take what is too much, or a part of it.
func (c Config) lendMore(l Lending, v *View, loans []Loan, all, load float64, now time.Time) (*LoanStep, string) {
	me := &v.POPs[slices.IndexFunc(v.POPs, func(p POP) bool { return p.ID == v.Me })]
	d := demand(load, l.Part, all)
	want := min(l.Step, l.Most-all, (load-c.Target*me.Capacity)/(d*max(0.01, l.Part)))
	if want < leastLoan {
		return nil, fmt.Sprintf("DNS lends %.0f %% of our clients, and no more than %.0f %%", 100*all, 100*l.Most)
	}
	for _, to := range l.To {
		i := slices.IndexFunc(v.POPs, func(p POP) bool { return p.ID == to })
		if i < 0 || to == v.Me || mine(loans, to) > 0 {
			continue // who lends has nothing to give
		}
		p := &v.POPs[i]
		if _, over := c.Expected(p, v.Reserved, now); over || v.leaves(p) {
			continue
		}
		share := min(want, c.Room(p, v.Reserved, now)/d)
		if share < leastLoan {
			continue
		}
		x := Loan{v.Me, to, shareOf(loans, v.Me, to) + share}
		return c.loanStep(x, x.Share-share, Arrival{to, share * d * l.Part, share * d}, now), ""
	}
	return nil, "no POP that DNS may lend clients to has room for any"
}

// leaves reports whether a POP announces none of the slices for all that its
// load has to say: one that is drained, or whose checks are down, has much room
// and wants no clients.
func (v *View) leaves(p *POP) bool {
	return len(v.Slices) > 0 && !slices.ContainsFunc(v.Slices, func(s policy.SliceID) bool {
		_, announced := p.Level[s]
		return announced
	})
}

// lendLess takes back what this POP surely has room for, from the POP that is
// the last choice first.
func (c Config) lendLess(l Lending, v *View, loans []Loan, d, high float64, now time.Time) (*LoanStep, string) {
	me := &v.POPs[slices.IndexFunc(v.POPs, func(p POP) bool { return p.ID == v.Me })]
	_, pending, _ := c.Pending(me, v.Reserved, now)
	share := min(l.Step, (c.Return*me.Capacity-high-pending)/d)
	if !l.On() { // nothing is lent any more
		share = 1
	}
	order := func(x Loan) int {
		if i := slices.Index(l.To, x.To); i >= 0 {
			return i
		}
		return len(l.To) // no longer a choice: first of all
	}
	own := slices.DeleteFunc(slices.Clone(loans), func(x Loan) bool { return x.From != v.Me })
	slices.SortFunc(own, func(a, b Loan) int {
		return cmp.Or(cmp.Compare(order(b), order(a)), cmp.Compare(a.To, b.To))
	})
	x := own[0]
	if share = min(share, x.Share); share < min(leastLoan, x.Share) {
		return nil, fmt.Sprintf("DNS lends %.0f %% of our clients; with more of them back we may exceed %.0f %%", 100*mine(loans, v.Me), 100*c.Return)
	}
	return c.loanStep(Loan{v.Me, x.To, x.Share - share}, x.Share, Arrival{v.Me, share * d * l.Part, share * d}, now), ""
}

func (c Config) loanStep(x Loan, was float64, a Arrival, now time.Time) *LoanStep {
	if x.Share < leastLoan && x.Share < was {
		x.Share = 0
	}
	return &LoanStep{Loan: x, Was: was, Arrival: a, Reserve: Reservation{
		ReservationID: ReservationID{From: x.From, To: a.POP}, Mean: a.Mean, High: a.High, Taken: now, Until: now.Add(c.Hold),
	}}
}

// shareOf is what one POP lends to another.
func shareOf(loans []Loan, from, to policy.POPID) float64 {
	for _, x := range loans {
		if x.From == from && x.To == to {
			return x.Share
		}
	}
	return 0
}

// AdmitLoan says whether a change of a loan may be made on top of what stands in
// the core, as Admit does of a step. A POP that takes back takes its own room,
// below its return limit.
func (c Config) AdmitLoan(v *View, st *LoanStep, now time.Time) error {
	i := slices.IndexFunc(v.POPs, func(p POP) bool { return p.ID == st.Arrival.POP })
	if i < 0 {
		return fmt.Errorf("shed: reservation at %s: not a POP of the fleet", st.Arrival.POP)
	}
	p := &v.POPs[i]
	rest := slices.DeleteFunc(slices.Clone(v.Reserved), func(r Reservation) bool { return r.ReservationID == st.Reserve.ReservationID })
	if _, over := c.Expected(p, rest, now); over {
		return fmt.Errorf("shed: reservation at %s: it is overloaded itself", p.ID)
	}
	if room := c.Room(p, rest, now); room < st.High-1e-9*p.Capacity || room <= 0 {
		return fmt.Errorf("shed: reservation at %s: room for %.4g, want %.4g", p.ID, room, st.High)
	}
	return nil
}
