package balance

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/journal"
)

// Report is what the loop shows of itself. Nothing in it changes after.
type Report struct {
	Mode       Mode
	Unit       string
	Unmeasured string // why our own load is not known; empty: it is
	At         time.Time
	Code       shed.Code
	Detail     string
	Notes      []string // what was not used or not done, and why
	Load       float64
	Capacity   float64
	LoadAt     time.Time
	Split      string
	Overload   float64
	Memory     Memory
	Core       bool      // there is one
	Lost       time.Time // since when it is out of reach; zero: it is not
	Steps      []StepReport
	Reserved   []shed.Reservation
	Loans      []shed.Loan // of all POPs
	POPs       []POPReport
	Rounds     map[shed.Code]uint64
	Made       uint64 // steps that were made
	Refused    uint64 // steps that could not be
	Surprises  uint64

	facts Facts
}

// POPReport is a POP as the last round saw it.
type POPReport struct {
	POP      policy.POPID
	Load     float64
	Capacity float64
	At       time.Time // of its sample; zero: never heard
	Room     float64   // what may still be sent to it
	Over     bool      // above its trigger
	// After is the forecast after the steps that are wanted or were made in
	// the round; zero Known without any.
	After shed.Interval
}

// StepReport is a step that was made, or would be.
type StepReport struct {
	Slice    policy.SliceID
	Service  policy.ServiceID
	From, To shed.Level
	Was      string // name of From
	Rung     string // name of To
	Moves    float64
	SD       float64
	Arrive   []shed.Arrival
	Probe    bool
	At       time.Time // when it was made; zero: it would be
	Outcome  string    // what came of it; empty: not known yet
	Wrong    bool
}

// Report returns what the last round saw and did.
func (l *Loop) Report() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.report
	r.Load, r.Capacity, r.LoadAt, r.Split = l.own.Other, l.own.Capacity, l.ownAt, l.own.Split
	for _, s := range l.own.Slices {
		r.Load += s.Load
	}
	return r
}

// tell publishes a round, and journals it where it says something new.
func (l *Loop) tell(now time.Time, f Facts, v *shed.View, d shed.Decision, notes []string) {
	cfg := &l.opt.Config
	r := Report{
		Mode: cfg.Mode, Unit: cfg.Unit.String(), At: now, Code: d.Code, Detail: d.Detail, Notes: notes, Overload: d.Overload,
		Memory: l.saved.Memory, Core: l.opt.Core != nil, Lost: l.lost, Reserved: f.Book.Reserved, Loans: l.last.Loans, facts: f,
	}
	if f.Own.Split == SplitEqually {
		r.Notes = append(slices.Clone(notes), "loads by slice are equal parts of ours: no connections are counted on this host")
	}
	var after []shed.Interval
	if v != nil {
		changes := make([]shed.Change, 0, len(d.Steps))
		for _, st := range d.Steps {
			changes = append(changes, shed.Change{POP: v.Me, Slice: st.Slice, To: st.To})
		}
		if len(changes) > 0 {
			after, _ = shed.Forecast(cfg.Shed, v, changes, now)
		}
		for i := range v.POPs {
			r.POPs = append(r.POPs, l.popReport(&v.POPs[i], v, after, i, now))
		}
	}
	r.Steps = l.stepReports(d)
	l.mu.Lock()
	old := l.report
	r.Rounds, r.Made, r.Refused, r.Surprises, r.Unmeasured = map[shed.Code]uint64{d.Code: 1}, l.made, l.refused, l.surprises, old.Unmeasured
	for c, n := range old.Rounds {
		r.Rounds[c] += n
	}
	l.report = r
	l.mu.Unlock()
	l.journal(d, &r)
}

func (l *Loop) popReport(p *shed.POP, v *shed.View, after []shed.Interval, i int, now time.Time) POPReport {
	cfg := &l.opt.Config.Shed
	out := POPReport{POP: p.ID, Load: p.Total(), Capacity: p.Capacity, At: p.At, Room: cfg.Room(p, v.Reserved, now)}
	_, out.Over = cfg.Expected(p, v.Reserved, now)
	if after != nil {
		out.After = after[i]
	}
	return out
}

// stepReports are the last step of each slice, and those that would be made.
func (l *Loop) stepReports(d shed.Decision) (out []StepReport) {
	add := func(st shed.Step) *StepReport {
		r := StepReport{Slice: st.Slice, From: st.From, To: st.To, Moves: st.Moves, SD: st.SD, Arrive: st.Arrive, Probe: st.Probe}
		if t := l.target(st.Slice); t != nil {
			r.Service, r.Was, r.Rung = t.ID, t.rung(st.From), t.rung(st.To)
		}
		out = append(out, r)
		return &out[len(out)-1]
	}
	for _, c := range l.saved.Checks {
		r := add(c.Step)
		r.At, r.Outcome, r.Wrong = c.At, c.Outcome, c.Wrong
	}
	if l.opt.Config.Mode != Act {
		for _, st := range d.Steps {
			add(st)
		}
	}
	slices.SortFunc(out, func(a, b StepReport) int { return cmp.Or(compare(a.Slice, b.Slice), a.At.Compare(b.At)) })
	return out
}

// journaled is the round that was written down last.
type journaled struct {
	code, all string
	at        time.Time
}

// journal writes what is new in a round: another code, or other steps that
// would be made. What was made has been written when it was.
func (l *Loop) journal(d shed.Decision, r *Report) {
	said := string(d.Code)
	if said == l.said.code && r.At.Sub(l.said.at) < l.opt.Config.Shed.Turn {
		return // what would be done differs a little from round to round
	}
	var would []string
	if l.opt.Config.Mode == Observe {
		for _, st := range d.Steps {
			would = append(would, fmt.Sprintf("%v from level %d to %d", st.Slice, st.From, st.To))
		}
		said += strings.Join(would, ", ")
	}
	if said == l.said.all || d.Code == shed.Settling || d.Code == shed.Turning || d.Code == shed.Lent { // those only wait
		return
	}
	first := l.said.all == ""
	l.said = journaled{string(d.Code), said, r.At}
	if first && d.Code == shed.Fine {
		return
	}
	text := fmt.Sprintf("%s: %s", d.Code, d.Detail)
	if len(would) > 0 {
		text += "; would move " + strings.Join(would, ", ") + l.forecast(d, r)
	}
	l.note(journal.Load, policy.SliceID{}, "%s", text)
}

// forecast says what wanted steps would do.
func (l *Loop) forecast(d shed.Decision, r *Report) string {
	moves := 0.0
	for _, st := range d.Steps {
		moves += st.Moves
	}
	text := ""
	for _, p := range r.POPs {
		if p.POP == l.opt.POP && p.Capacity > 0 {
			text = fmt.Sprintf(": %.2f of capacity", moves/p.Capacity)
		}
	}
	for _, p := range r.POPs {
		if p.After.Known && (p.After.Mean-p.After.Now > 0.001*p.Capacity || p.After.Now-p.After.Mean > 0.001*p.Capacity) {
			text += fmt.Sprintf(", %s at %.2f to %.2f of capacity", p.POP, p.After.Low(within95)/p.Capacity, p.After.High(within95)/p.Capacity)
		}
	}
	return text
}
