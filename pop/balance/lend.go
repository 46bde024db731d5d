package balance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/journal"
)

// lend is the part of a round that comes before BGP: above the trigger DNS
// lends some of our clients to a POP that has room reserved for them, below the
// return limit they come back. done says that the round is over with it: what
// was lent must show before anything else moves. Above its capacity a POP does
// not wait for DNS.
func (l *Loop) lend(ctx context.Context, f *Facts, v *shed.View, now time.Time) (d shed.Decision, done bool) {
	c := &l.opt.Config
	if l.opt.Core == nil || f.Isolated || !c.Lend.On() && !l.lends() || l.held() {
		return d, false
	}
	me := &v.POPs[slices.IndexFunc(v.POPs, func(p shed.POP) bool { return p.ID == v.Me })]
	load, over := c.Shed.Expected(me, v.Reserved, now)
	if c.Mode == Act && !l.opt.Dry {
		l.lentSettled(ctx, now)
	}
	st, why := c.Shed.Lend(c.Lend, v, l.last.Loans, l.saved.Lent, now)
	switch {
	case st == nil && over && load < me.Capacity && c.Lend.On() && c.Mode == Act && (now.Sub(l.saved.Lent) < c.Lend.Settle || v.Lends()):
		return shed.Decision{Code: shed.Settling, Detail: fmt.Sprintf("what DNS lends is %v old", now.Sub(l.saved.Lent).Round(time.Second))}, true
	case st == nil:
		return shed.Decision{Detail: why}, false
	case c.Mode != Act || l.opt.Dry:
		return shed.Decision{Detail: "would make " + lending(st)}, false
	}
	if err := l.loan(ctx, f, v, st, now); err != nil {
		l.refused++
		return shed.Decision{Detail: fmt.Sprintf("%s: %v", lending(st), err)}, false
	}
	l.made++
	if load > me.Capacity {
		return shed.Decision{Detail: lending(st)}, false
	}
	return shed.Decision{Code: shed.Lent, Detail: lending(st)}, true
}

// lending is a step in words.
func lending(st *shed.LoanStep) string {
	return fmt.Sprintf("DNS send %.1f %% of new clients to %s (was %.1f %%)", 100*st.Share, st.Loan.To, 100*st.Was)
}

// lends reports whether DNS lends any of our clients.
func (l *Loop) lends() bool {
	return slices.ContainsFunc(l.last.Loans, func(x shed.Loan) bool { return x.From == l.opt.POP })
}

// held reports whether an operator holds what is announced: then DNS changes
// nothing either.
func (l *Loop) held() bool {
	return slices.ContainsFunc(l.opt.Controller.Situation().Decision, func(d policy.SliceDecision) bool {
		return d.Intent != nil && d.Intent.Kind == policy.IntentHold
	})
}

// loan makes one change: the room and the loan in one transaction, which holds
// only if shed.AdmitLoan says so of the revision that it is made on.
func (l *Loop) loan(ctx context.Context, f *Facts, v *shed.View, st *shed.LoanStep, now time.Time) error {
	name := fmt.Sprintf("%s dns %d", l.opt.POP, now.UnixNano())
	r := st.Reserve
	s := core.Step{
		TTL: l.opt.Config.Shed.Hold, Unoffered: true, Scope: []core.Key{{Kind: KindScope, Name: "dns/" + string(l.opt.POP)}},
		Want: []core.Reservation{{
			From: string(r.From), To: string(r.To), Slice: lentSlice, Amount: amount(f.Own.Unit, r.High), Detail: detail{Step: name, Mean: r.Mean, High: r.High}.encode(),
		}},
		Also: []core.Op{loanOp(l.opt.POP, changed(l.last.Loans, st.Loan))},
	}
	s.Admit = func(ctx context.Context, revision int64) error {
		p, err := read(ctx, l.opt.Core, &l.ledger, now, core.At(revision))
		if err != nil {
			return err
		}
		at := *v
		at.Reserved = p.Reserved
		return l.opt.Config.Shed.AdmitLoan(&at, st, now)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*coreTime)
	defer cancel()
	held, err := l.opt.Core.Take(ctx, l.write("load: %s", lending(st)), s)
	if err != nil {
		return fmt.Errorf("not reserved: %w", err)
	}
	k := seenKey{r.ReservationID, name, false}
	l.ledger.first[k], l.ledger.until[k] = now, held[0].Lease.Until
	l.last.Loans = changed(l.last.Loans, st.Loan)
	m := &l.saved.Memory
	m.Lent, m.Changed = time.Now(), time.Now()
	if st.Share < st.Was {
		m.Returned = m.Lent
	} else {
		m.Shed = m.Lent
	}
	l.save()
	me := &v.POPs[slices.IndexFunc(v.POPs, func(p shed.POP) bool { return p.ID == v.Me })]
	l.note(journal.Load, policy.SliceID{}, "%s: %.2f of capacity, up to %.2f of it reserved at %s", lending(st), me.Total()/max(me.Capacity, 1e-300), r.High/max(me.Capacity, 1e-300), r.To)
	return nil
}

// lentSettled notes in the core that what was lent last has moved by now: its
// reservation ends once the receiver's own load shows it.
func (l *Loop) lentSettled(ctx context.Context, now time.Time) {
	for i, r := range l.last.mine {
		if r.Slice == (policy.SliceID{}) && r.Applied.IsZero() && now.Sub(r.Taken) >= l.opt.Config.Lend.Settle {
			l.ledger.first[seenKey{r.ReservationID, l.last.step[i], true}] = now
			l.noteApplied(ctx, l.last.held[i], detail{Step: l.last.step[i], Mean: r.Mean, High: r.High})
		}
	}
}

// callIn takes back all that DNS lends of ours, of a loop that moves nothing any
// more. DNS is slow enough by itself: nothing comes back at once.
func (l *Loop) callIn(ctx context.Context) error {
	if l.opt.Core == nil || l.opt.Dry || !l.lends() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, coreTime)
	defer cancel()
	if _, err := l.opt.Core.Txn(ctx, l.write("load: DNS lends nothing any more"), nil, []core.Op{loanOp(l.opt.POP, nil)}); err != nil {
		return err
	}
	l.last.Loans = slices.DeleteFunc(slices.Clone(l.last.Loans), func(x shed.Loan) bool { return x.From == l.opt.POP })
	l.note(journal.Load, policy.SliceID{}, "DNS lends none of our clients any more (balance.mode %s)", l.opt.Config.Mode)
	return nil
}

// changed are loans with one of them another, or gone.
func changed(loans []shed.Loan, x shed.Loan) []shed.Loan {
	out := slices.DeleteFunc(slices.Clone(loans), func(o shed.Loan) bool { return o.From == x.From && o.To == x.To })
	if x.Share > 0 {
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b shed.Loan) int {
		return strings.Compare(string(a.From)+" "+string(a.To), string(b.From)+" "+string(b.To))
	})
	return out
}

// loanOp writes the loans of a POP, or removes them.
func loanOp(pop policy.POPID, loans []shed.Loan) core.Op {
	own := slices.DeleteFunc(slices.Clone(loans), func(x shed.Loan) bool { return x.From != pop })
	key := core.Key{Kind: KindLoan, Name: string(pop)}
	if len(own) == 0 {
		return core.Op{Key: key, Delete: true}
	}
	b, _ := json.Marshal(own) // names and numbers: never fails
	return core.Op{Key: key, Value: b}
}

// loansOf are the loans of all POPs at a revision. One that makes no sense lends
// nothing.
func loansOf(ctx context.Context, c Core, revision int64) (out []shed.Loan, err error) {
	s, err := c.List(ctx, core.All(KindLoan), core.At(revision))
	if err != nil {
		return nil, err
	}
	for _, o := range s.Objects {
		var own []shed.Loan
		if err := o.Into(&own); err != nil {
			return nil, err
		}
		for _, x := range own {
			if string(x.From) == o.Key.Name && x.To != x.From && x.Share > 0 && x.Share <= 1 {
				out = append(out, x)
			}
		}
	}
	return out, nil
}
