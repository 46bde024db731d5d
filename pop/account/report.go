package account

import (
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/cost"
)

// Report is what the books say.
type Report struct {
	Currency string
	Slot     time.Duration
	Month    Period
	Before   *Period  // the month before, if anything of it is known
	Days     []Period // the newest first
	Stopped  *Stop
	Ceiling  Ceiling
	Window   cost.Quality // that was judged last
	// Bad says what is wrong with what other POPs say.
	Bad map[policy.POPID]string
	// Stalls: some POP tells of stalls now; without, they are not measured.
	Stalls bool
	// NoDistance are pairs of POPs between which traffic may move, and no
	// distance is given.
	NoDistance int
}

// Period is a time: of a month that is not over only what has been.
type Period struct {
	From, To time.Time
	Slots    int // that are over and closed
	Rows     []Row
}

// Row is one POP.
type Row struct {
	POP policy.POPID
	cost.Saving
}

// Sum is all POPs together.
func (p *Period) Sum() (out cost.Saving) {
	for i := range p.Rows {
		s := &p.Rows[i].Saving
		out.Cost, out.Would, out.Sent = out.Cost+s.Cost, out.Would+s.Would, out.Sent+s.Sent
		out.Moved += max(0, s.Moved)
		out.Quality.Add(s.Quality)
		if out.Slots == 0 || s.Slots < out.Slots {
			out.Slots = s.Slots
		}
	}
	return out
}

// Report bills the month that now is in, the one before, and so many days.
func (k *Keeper) Report(now time.Time, days int) Report {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.cfg.On() {
		return Report{}
	}
	out := Report{
		Currency: k.cfg.Currency, Slot: k.cfg.Slot, Ceiling: k.cfg.Ceiling, Window: k.last, Stopped: k.stopped.Load(), Bad: maps.Clone(k.bad),
	}
	from, to := k.cfg.month(now)
	length := to.Sub(from).Seconds()
	out.Month = k.period(from, to, now, length)
	first, _, any := k.ledger.Span()
	if start, _ := k.cfg.month(from.AddDate(0, 0, -1)); any && k.cfg.begins(first).Before(from) {
		p := k.period(start, from, now, from.Sub(start).Seconds())
		out.Before = &p
	}
	today := now.UTC().Truncate(24 * time.Hour)
	for n := range days {
		day := today.AddDate(0, 0, -n)
		if !any || !day.AddDate(0, 0, 1).After(k.cfg.begins(first)) {
			break
		}
		m, next := k.cfg.month(day)
		out.Days = append(out.Days, k.period(day, day.AddDate(0, 0, 1), now, next.Sub(m).Seconds()))
	}
	for _, h := range k.heard {
		out.Stalls = out.Stalls || slices.ContainsFunc(h, func(s *Sample) bool { return s != nil && s.Harm != nil })
	}
	for i := range k.cfg.POPs {
		out.NoDistance += len(k.cfg.POPs) - 1 - len(k.cfg.POPs[i].Distance)
	}
	return out
}

// period bills from one time to before another, of a month of so many seconds.
func (k *Keeper) period(from, to, now time.Time, month float64) Period {
	p := Period{From: from, To: to}
	a, b := k.cfg.slot(from), min(k.cfg.slot(to), k.cfg.slot(now)-1) // later ones are not closed
	p.Slots = max(0, int(b-a))
	for i, s := range k.ledger.Between(a, k.cfg.slot(p.To), month) {
		p.Rows = append(p.Rows, Row{k.cfg.POPs[i].ID, s})
	}
	return p
}
