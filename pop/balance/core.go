package balance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/matrix"
)

// Core is what the loop needs of the control core; *core.Core has it.
type Core interface {
	Reservations(ctx context.Context, reads ...core.Read) ([]core.Held, int64, error)
	List(ctx context.Context, s core.Selector, reads ...core.Read) (core.Snapshot, error)
	Take(ctx context.Context, w core.Write, s core.Step) ([]core.Held, error)
	Note(ctx context.Context, w core.Write, h core.Held, detail json.RawMessage) (core.Held, error)
	Release(ctx context.Context, w core.Write, held []core.Held, also ...core.Op) error
	Txn(ctx context.Context, w core.Write, conds []core.Cond, ops []core.Op) (int64, error)
}

// Kinds of objects in the core that are this package's.
const (
	// KindClaim: who stands below normal on which slice, by POP/SLICE.
	KindClaim core.Kind = "claim"
	// KindScope: written by each step on a slice, so that two steps on it are
	// never decided on the same state.
	KindScope core.Kind = "scope"
	// KindLoan: the clients that DNS sends to other POPs, by POP ([]shed.Loan).
	KindLoan core.Kind = "loan"
)

// lentSlice stands for the slice in reservations of what DNS lends.
const lentSlice = "dns"

// coreTime bounds one operation with the core: a round must end before the next.
const coreTime = 5 * time.Second

// detail is what a reservation says beside who, whom and how much.
type detail struct {
	Step  string     `json:"step"` // tells two of the same name apart
	Level shed.Level `json:"level"`
	Mean  float64    `json:"mean"`
	High  float64    `json:"high"`
	// Applied: the route has been changed.
	Applied bool `json:"applied,omitempty"`
}

func (d detail) encode() json.RawMessage {
	b, _ := json.Marshal(d) // numbers and words only: never fails
	return b
}

func claimKey(pop policy.POPID, id policy.SliceID) core.Key {
	return core.Key{Kind: KindClaim, Name: string(pop) + "/" + id.String()}
}

// claimOp writes a claim, or removes it with the normal level.
func claimOp(c shed.Claim) core.Op {
	key := claimKey(c.POP, c.Slice)
	if c.Level == 0 {
		return core.Op{Key: key, Delete: true}
	}
	b, _ := json.Marshal(c) // numbers that were measured: never fails
	return core.Op{Key: key, Value: b}
}

// amount is a load as the core keeps it, of a unit. It is only a sum for
// people: what is admitted is judged by the details.
func amount(unit string, load float64) core.Amount {
	n := int64(math.Ceil(min(max(load, 1), math.MaxInt64/2)))
	switch unit {
	case "requests":
		return core.Amount{Requests: n}
	case "connections":
		return core.Amount{Flows: n}
	}
	return core.Amount{Bits: n}
}

// ledger is what the POP has read of the core, and what only it can know of
// that: since when it has seen a reservation so.
type ledger struct {
	me    policy.POPID
	hold  time.Duration
	first map[seenKey]time.Time
	until map[seenKey]time.Time // of our own, by their leases
}

type seenKey struct {
	id      shed.ReservationID
	step    string
	applied bool
}

// page is a Book with the objects it was made of.
type page struct {
	Book
	held []core.Held // reservations of ours, in the order of mine
	mine []shed.Reservation
	step []string
	bad  []string // what could not be read, and is taken for taken
}

// read reads reservations and claims, both at one revision.
func read(ctx context.Context, c Core, l *ledger, now time.Time, at ...core.Read) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, coreTime)
	defer cancel()
	held, revision, err := c.Reservations(ctx, at...)
	if err != nil {
		return page{}, err
	}
	s, err := c.List(ctx, core.All(KindClaim), core.At(revision))
	if err != nil {
		return page{}, err
	}
	if len(s.Broken) > 0 {
		return page{}, fmt.Errorf("claims %v cannot be read: nothing moves", s.Broken)
	}
	p := page{Book: Book{Revision: revision}}
	for _, o := range s.Objects {
		var cl shed.Claim
		if err := o.Into(&cl); err != nil {
			return page{}, err
		}
		if o.Key != claimKey(cl.POP, cl.Slice) {
			return page{}, fmt.Errorf("claim %s says %+v: nothing moves", o.Key, cl)
		}
		p.Claims = append(p.Claims, cl)
	}
	if p.Loans, err = loansOf(ctx, c, revision); err != nil {
		return page{}, err
	}
	for _, h := range held {
		r, step, err := l.reservation(h, now)
		if err != nil {
			p.bad = append(p.bad, fmt.Sprintf("reservation %s: %v", h.Name(), err))
		}
		p.Reserved = append(p.Reserved, r)
		if r.From == l.me {
			p.held, p.mine, p.step = append(p.held, h), append(p.mine, r), append(p.step, step)
		}
	}
	return p, nil
}

// reservation is one as a round sees it. Times are our own: it is in force as
// long as it is in the core, and applied since we first saw it so. One that
// says nothing of itself counts with its whole amount.
func (l *ledger) reservation(h core.Held, now time.Time) (shed.Reservation, string, error) {
	var d detail
	var id policy.SliceID
	err := json.Unmarshal(h.Detail, &d)
	if h.Slice == lentSlice {
	} else if e := id.UnmarshalText([]byte(h.Slice)); e != nil {
		err = errors.Join(err, e)
	}
	all := float64(max(h.Amount.Bits, h.Amount.Requests, h.Amount.Flows))
	if err != nil || !sane(d, all) {
		d = detail{High: all, Mean: all}
		err = errors.Join(err, errors.New("it counts with its whole amount"))
	}
	r := shed.Reservation{
		ReservationID: shed.ReservationID{From: policy.POPID(h.From), To: policy.POPID(h.To), Slice: id},
		Level:         d.Level, Mean: d.Mean, High: d.High, Until: now.Add(l.hold),
	}
	r.Taken = l.since(seenKey{r.ReservationID, d.Step, false}, now)
	if d.Applied {
		r.Applied = l.since(seenKey{r.ReservationID, d.Step, true}, now)
	}
	if t, ok := l.until[seenKey{r.ReservationID, d.Step, false}]; ok {
		r.Until = t
	}
	return r, d.Step, err
}

// sane: what a detail says fits the amount beside it.
func sane(d detail, all float64) bool {
	return d.Mean >= 0 && d.High >= d.Mean && d.High <= all+1 && !math.IsNaN(d.High)
}

// since is when we first saw something of a reservation.
func (l *ledger) since(k seenKey, now time.Time) time.Time {
	if _, ok := l.first[k]; !ok {
		l.first[k] = now
	}
	return l.first[k]
}

// forget drops what is no longer in the book.
func (l *ledger) forget(p *page) {
	there := map[shed.ReservationID]bool{}
	for _, r := range p.Reserved {
		there[r.ReservationID] = true
	}
	for k := range l.first {
		if !there[k.id] {
			delete(l.first, k)
			delete(l.until, k)
		}
	}
}

// take writes a step's reservations and its claim in one transaction, which
// holds only if shed.Admit says so of the revision that it is made on.
func (l *Loop) take(ctx context.Context, unit string, v *shed.View, st shed.Step, now time.Time) ([]core.Held, string, error) {
	name := fmt.Sprintf("%s %d", l.opt.POP, now.UnixNano())
	s := core.Step{TTL: l.opt.Config.Shed.Hold, Unoffered: true, Scope: []core.Key{{Kind: KindScope, Name: st.Slice.String()}}}
	for _, r := range st.Reserve {
		s.Want = append(s.Want, core.Reservation{
			From: string(r.From), To: string(r.To), Slice: r.Slice.String(), Amount: amount(unit, r.High),
			Detail: detail{Step: name, Level: r.Level, Mean: r.Mean, High: r.High}.encode(),
		})
	}
	if st.To > st.From { // a return's claim goes after the route is back
		s.Also = append(s.Also, claimOp(st.Claim(l.opt.POP)))
	}
	s.Admit = func(ctx context.Context, revision int64) error {
		p, err := read(ctx, l.opt.Core, &l.ledger, now, core.At(revision))
		if err != nil {
			return err
		}
		at := *v
		at.Reserved, at.Claims = p.Reserved, p.Claims
		return l.opt.Config.Shed.Admit(&at, st, now)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*coreTime)
	defer cancel()
	held, err := l.opt.Core.Take(ctx, l.write("load: %v from level %d to %d, %.4g moves", st.Slice, st.From, st.To, st.Moves), s)
	if err != nil {
		return nil, name, err
	}
	for i, r := range st.Reserve {
		k := seenKey{r.ReservationID, name, false}
		l.ledger.first[k], l.ledger.until[k] = now, held[i].Lease.Until
	}
	return held, name, nil
}

// write says who writes and why.
func (l *Loop) write(format string, args ...any) core.Write {
	return core.Write{Who: "pop " + string(l.opt.POP), Why: fmt.Sprintf(format, args...)}
}

// responses brings what this POP has learned to the core, and what others have
// learned here. One object each POP and service.
func (l *Loop) responses(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, coreTime)
	defer cancel()
	s, err := l.opt.Core.List(ctx, core.All(core.KindResponse))
	if err != nil {
		return err
	}
	there := map[string]json.RawMessage{}
	for _, o := range s.Objects {
		there[o.Key.Name] = o.Value
		var events []matrix.Event
		if err := o.Into(&events); err != nil {
			l.log.Warn("balance: responses that another POP has learned cannot be read", "err", err)
			continue
		}
		if n, err := l.opt.Responses.Merge(events); err != nil {
			l.log.Warn("balance: what others have learned is not kept", "err", err)
		} else if n > 0 {
			l.log.Info("balance: learned from others", "object", o.Key, "events", n)
		}
	}
	if l.opt.Dry {
		return nil
	}
	mine := map[policy.ServiceID][]matrix.Event{}
	for _, e := range l.opt.Responses.Events() {
		if e.POP == l.opt.POP {
			mine[e.Service] = append(mine[e.Service], e)
		}
	}
	for svc, events := range mine {
		events = events[max(0, len(events)-keptEvents):]
		name := string(svc) + "/" + string(l.opt.POP)
		b, err := json.Marshal(events)
		if err != nil || slices.Equal(b, there[name]) {
			continue
		}
		op := core.Op{Key: core.Key{Kind: core.KindResponse, Name: name}, Value: b}
		if _, err := l.opt.Core.Txn(ctx, l.write("responses learned"), nil, []core.Op{op}); err != nil {
			return err
		}
	}
	return nil
}

// keptEvents bounds what one POP keeps of a service in the core.
const keptEvents = 64
