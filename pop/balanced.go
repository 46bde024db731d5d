package pop

import (
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/balance"
)

// balanced is the load loop in the API's words; nil: there is none, or it is off.
func (c *Controller) balanced() *api.BalanceStatus {
	if c.opt.Balance == nil {
		return nil
	}
	r := c.opt.Balance.Report()
	if r.Mode != balance.Observe && r.Mode != balance.Act {
		return nil
	}
	out := &api.BalanceStatus{
		Mode: string(r.Mode), Unit: r.Unit, At: r.At, Code: string(r.Code), Detail: r.Detail, Overload: digits(r.Overload),
		Lost: r.Lost, Notes: r.Notes,
	}
	if r.Unmeasured != "" {
		out.Notes = append(append([]string{}, r.Notes...), r.Unmeasured)
	}
	for _, p := range r.POPs {
		b := api.BalancePOP{POP: p.POP, Load: digits(p.Load), Capacity: p.Capacity, At: p.At, Room: digits(p.Room), Over: p.Over}
		if p.After.Known {
			low, high := digits(p.After.Low(within95)), digits(p.After.High(within95))
			b.Low, b.High = &low, &high
		}
		out.POPs = append(out.POPs, b)
	}
	for _, s := range r.Steps {
		step := api.BalanceStep{
			Slice: s.Slice, Service: s.Service, From: s.Was, To: s.Rung, At: s.At, Moves: digits(s.Moves), Within: digits(within95 * s.SD),
			Probe: s.Probe, Outcome: s.Outcome, Wrong: s.Wrong,
		}
		for _, a := range s.Arrive {
			step.Arrive = append(step.Arrive, room(c.cfgPOP(), a.POP, s.Slice, a.Mean, a.High))
		}
		out.Steps = append(out.Steps, step)
	}
	for _, v := range r.Reserved {
		b := room(v.From, v.To, v.Slice, v.Mean, v.High)
		b.Applied = !v.Applied.IsZero()
		if v.From == c.cfgPOP() {
			b.Until = v.Until
		}
		out.Reserved = append(out.Reserved, b)
	}
	return out
}

// cfgPOP is our own name, which never changes.
func (c *Controller) cfgPOP() policy.POPID { return c.opt.Config.POP }

func room(from, to policy.POPID, id policy.SliceID, mean, high float64) api.BalanceRoom {
	return api.BalanceRoom{From: from, To: to, Slice: id, Mean: digits(mean), High: digits(high)}
}
