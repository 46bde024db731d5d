package top

import (
	"fmt"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// paneID is a pane, in the order on the screen.
type paneID int

const (
	alarms paneID = iota
	intents
	services
	loads
	checks
	neighbors
	pops
	decisions
	panes // how many
)

// Marks before a row.
const (
	markNone     = ' '
	markLook     = '!' // needs a look
	markOperator = '*' // an operator's doing
)

// row is a line of a pane.
type row struct {
	key   string // stays the same while the row is about the same thing
	mark  byte
	cells []Span
	of    *scope // what it is about; nil: no slice of ours
	full  string // all of it, uncut
}

// column is a column of a pane.
type column struct {
	head string
	drop int  // which goes first where the line is short: the highest; 0: never
	ends bool // cut in the middle, so that both ends stay
}

// pane is a part of the screen. The last column takes what is left of a line.
type pane struct {
	title   string
	state   Span // how it is altogether, beside the title
	columns []column
	rows    []row
}

// pane builds one of them from the status.
func (m Model) pane(id paneID) pane {
	st := m.status
	switch id {
	case alarms:
		return alarmPane(st)
	case intents:
		return m.intentPane()
	case services:
		return m.servicePane()
	case loads:
		return loadPane(st)
	case checks:
		return checkPane(st)
	case neighbors:
		return neighborPane(st)
	case pops:
		return popPane(st)
	}
	return m.journalPane()
}

// share says how many of how many are as they should be.
func share(n, of int, what string) Span {
	s := Span{fmt.Sprintf("%d/%d %s", n, of, what), Good}
	if n < of {
		s.Style = Warn
	}
	return s
}

// lookFirst brings the rows that need a look to the top and keeps the order
// otherwise.
func lookFirst(rows []row) []row {
	calm := func(r row) int { return boolInt(r.mark != markLook) }
	slices.SortStableFunc(rows, func(a, b row) int { return calm(a) - calm(b) })
	return rows
}

func alarmPane(st api.Status) pane {
	p := pane{title: "ALARMS", columns: []column{{}, {head: "FOR"}, {head: "OF", drop: 1, ends: true}, {head: "WHAT"}}}
	for i, al := range st.Alarms {
		about, of := clean(string(al.Service)), (*scope)(nil)
		if al.Service != "" {
			of = &scope{service: al.Service}
		}
		if al.Slice.Prefix().IsValid() {
			about, of = al.Slice.String(), &scope{slice: al.Slice}
		}
		what := clean(al.Detail)
		p.rows = append(p.rows, row{
			key: fmt.Sprintf("%s %s %d", al.Name, about, i*boolInt(about == "")), mark: markLook, of: of,
			cells: []Span{{clean(al.Name), Bad}, {age(st.Now, al.Since), Plain}, {orDash(about), Plain}, {what, Plain}},
			full:  "alarm " + clean(al.Name) + prefixed(" of ", about) + ": " + what,
		})
	}
	p.state = Span{fmt.Sprint(len(p.rows)), Bad}
	return p
}

func (m Model) intentPane() pane {
	st := m.status
	p := pane{title: "INTENTS", columns: []column{{}, {head: "OF", ends: true}, {head: "FOR"}, {head: "UNTIL", drop: 2}, {head: "BY", drop: 1}, {head: "WHY"}}}
	for _, in := range st.Intents {
		until := "released"
		if !in.Until.IsZero() {
			until = "in " + age(in.Until, st.Now)
		}
		kind := in.What()
		of := scope{service: in.Service, slice: in.Slice}
		if in.Slice.Prefix().IsValid() {
			of.service = ""
		}
		by, why := clean(in.By), clean(in.Why)
		p.rows = append(p.rows, row{
			key: kind + m.label(of), mark: markOperator, of: &of,
			cells: []Span{{kind, Operator}, {m.label(of), Plain}, {age(st.Now, in.At), Plain}, {until, Plain}, {by, Plain}, {orDash(why), Plain}},
			full:  kind + " of " + m.label(of) + " by " + by + prefixed(": ", why),
		})
	}
	p.state = Span{fmt.Sprint(len(p.rows)), Operator}
	return p
}

func checkPane(st api.Status) pane {
	p := pane{title: "CHECKS", columns: []column{{ends: true}, {head: "SERVICE", drop: 3, ends: true}, {head: "STATE"}, {head: "FOR"}, {head: "TOOK", drop: 2}, {head: "LAST", drop: 1}, {head: "DETAIL"}}}
	up := 0
	for _, svc := range st.Services {
		for _, c := range svc.Checks {
			if c.Verdict == policy.Up {
				up++
			}
			p.rows = append(p.rows, checkRow(st.Now, c))
		}
	}
	p.state = share(up, len(p.rows), "up")
	p.rows = lookFirst(p.rows)
	return p
}

func checkRow(now time.Time, c api.CheckStatus) row {
	last := fmt.Sprintf("%s x%d", clean(c.Outcome), c.Streak)
	if c.InDoubt {
		last += "?"
	}
	id := clean(string(c.ID))
	if c.Shared {
		id += " (shared)"
	}
	if c.Maintenance {
		id += " (maint)"
	}
	detail := clean(c.Detail)
	if c.Hung > 0 {
		detail = fmt.Sprintf("%d runs hang; ", c.Hung) + detail
	}
	took := millis(c.Latency)
	r := row{
		key: string(c.Service) + "/" + string(c.ID), mark: markNone, of: &scope{service: c.Service},
		cells: []Span{{id, Plain}, {clean(string(c.Service)), Plain}, verdict(c.Verdict), {age(now, c.Since), Plain}, {took, Plain}, {last, Plain}, {detail, Plain}},
		full:  fmt.Sprintf("check %s of %s: %v: %s", id, clean(string(c.Service)), c.Verdict, orDash(detail)),
	}
	if c.Verdict != policy.Up || c.InDoubt || c.Hung > 0 {
		r.mark = markLook
	}
	return r
}

func verdict(v policy.Verdict) Span {
	switch v {
	case policy.Up:
		return Span{v.String(), Good}
	case policy.Down:
		return Span{v.String(), Bad}
	}
	return Span{v.String(), Warn}
}

// Small words.

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// prefixed is s after lead, or nothing.
func prefixed(lead, s string) string {
	if s == "" {
		return ""
	}
	return lead + s
}

// millis is a short time, in ASCII.
func millis(d api.Duration) string { return fmt.Sprintf("%.1fms", time.Duration(d).Seconds()*1000) }

// age says how long ago t was in one unit, so that it is short and changes
// seldom; "-" for never.
func age(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	switch d := max(0, now.Sub(t)); {
	case d < 100*time.Second:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 100*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}
