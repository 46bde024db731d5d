package top

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// servicePane has a row for the POP, one for each service and one for each of
// its slices. Services that need a look come first.
func (m Model) servicePane() pane {
	st := m.status
	p := pane{title: "SLICES", columns: []column{
		{ends: true}, {head: "STATE"}, {head: "RUNG", drop: 3}, {head: "CONNS", drop: 2}, {head: "ALSO AT", drop: 4}, {head: "FOR", drop: 1}, {head: "WHY"},
	}}
	var groups [][]row
	announced, all := 0, 0
	for _, s := range st.Services {
		g := []row{m.serviceRow(s)}
		for _, sl := range s.Slices {
			all++
			announced += boolInt(sl.Stance.Announced())
			g = append(g, sliceRow(st, sl))
		}
		groups = append(groups, g)
	}
	needsLook := func(g []row) int {
		return boolInt(!slices.ContainsFunc(g, func(r row) bool { return r.mark == markLook }))
	}
	slices.SortStableFunc(groups, func(a, b []row) int { return needsLook(a) - needsLook(b) })
	p.state = share(announced, all, "announced")
	if len(groups) > 0 {
		p.rows = []row{m.popWideRow(p.state)}
	}
	for _, g := range groups {
		p.rows = append(p.rows, g...)
	}
	return p
}

func (m Model) popWideRow(state Span) row {
	name := "POP " + clean(string(m.status.POP))
	r := row{key: "pop", mark: markNone, of: &scope{}, full: name + ": all services, " + state.Text}
	if m.intended("") {
		r.mark = markOperator
	}
	what := fmt.Sprintf("all %d services", len(m.status.Services))
	if len(m.status.Services) == 1 {
		what = "the one service"
	}
	r.cells = []Span{{name, Plain}, {}, {}, {}, {}, {}, {what, Plain}}
	return r
}

func (m Model) serviceRow(s api.ServiceStatus) row {
	h := s.Health
	state, capacity := verdict(h.Verdict), fmt.Sprintf("%.0f%%", h.Fraction*100)
	if s.Always {
		state, capacity = Span{"always", Good}, "-"
	}
	note := serviceNote(s)
	load := "-"
	if s.Load != nil {
		load = fmt.Sprintf("%.0f", *s.Load)
		if r, ok := m.rate(s.ID); ok && (r >= 0.5 || r <= -0.5) {
			load += fmt.Sprintf(" %+.0f/s", r)
		}
	}
	name := clean(string(s.ID))
	r := row{
		key: "service " + string(s.ID), mark: markNone, of: &scope{service: s.ID},
		cells: []Span{{name, Strong}, state, {capacity, Plain}, {load, Plain}, {}, {age(m.status.Now, h.Since), Plain}, {note, Plain}},
		full:  fmt.Sprintf("service %s: %s, %s of its capacity, %s", name, state.Text, capacity, note),
	}
	if !s.Always && (h.Verdict != policy.Up || h.Stalled || h.Empty || len(h.Shared) > 0) {
		r.mark = markLook
	} else if m.intended(s.ID) {
		r.mark = markOperator
	}
	return r
}

// intended reports whether an operator asked for something of exactly that
// service; empty: of all of them.
func (m Model) intended(id policy.ServiceID) bool {
	return slices.ContainsFunc(m.status.Intents, func(in policy.Intent) bool {
		return in.Service == id && !in.Slice.Prefix().IsValid()
	})
}

func serviceNote(s api.ServiceStatus) string {
	up := 0
	for _, c := range s.Checks {
		up += boolInt(c.Verdict == policy.Up)
	}
	note := []string{fmt.Sprintf("%d/%d checks up", up, len(s.Checks))}
	switch h := s.Health; {
	case s.Always:
		note = nil
	case h.Stalled:
		note = []string{"the checks have stopped running"}
	case h.Empty:
		note = []string{"no checks configured"}
	case h.Maintenance:
		note = append(note, "maintenance")
	case len(h.Shared) > 0:
		note = append(note, fmt.Sprintf("%d shared checks down", len(h.Shared)))
	case h.Rising:
		note = append(note, "rising")
	}
	if len(note) == 0 {
		return "announced without checks"
	}
	return strings.Join(note, ", ")
}

func sliceRow(st api.Status, s api.SliceStatus) row {
	why := clean(s.Reason.String())
	full := fmt.Sprintf("%s of %s: %v%s, because %s", s.Slice, clean(string(s.Service)), s.Stance.Action, prefixed(", rung ", clean(s.Rung)), why)
	if s.Wanted != nil {
		full += fmt.Sprintf("; the rules want %v", *s.Wanted)
		if s.WantedReason != nil {
			full += ", " + clean(s.WantedReason.String())
		}
	}
	if s.Next != "" {
		full += "; next: " + clean(s.Next)
		if wait := s.NextAt.Sub(st.Now); !s.NextAt.IsZero() && wait > 0 {
			full += fmt.Sprintf(" in %v", wait.Round(time.Second))
		}
	}
	name := "  " + s.Slice.String()
	if s.Cover {
		name += " cover"
	}
	return row{
		key: "slice " + s.Slice.String(), mark: sliceMark(s), of: &scope{slice: s.Slice}, full: full,
		cells: []Span{{name, Plain}, stance(s), {orDash(clean(s.Rung)), Plain}, {}, elsewhere(st, s.Slice), {age(st.Now, s.Since), Plain}, {why, Plain}},
	}
}

func sliceMark(s api.SliceStatus) byte {
	switch {
	case s.Reason.Code == policy.Guarded:
		return markLook
	case s.Intent.Kind != "" && s.Reason.Code != policy.Always:
		return markOperator
	case s.Wanted != nil, s.Stance.Action != policy.Announce, s.Stance.Rung > 0:
		return markLook
	}
	return markNone
}

func stance(s api.SliceStatus) Span {
	out := Span{s.Stance.Action.String(), Good}
	switch {
	case s.Intent.Kind != "" && s.Reason.Code != policy.Guarded && s.Stance.Action != policy.Announce:
		out.Style = Operator
	case s.Stance.Action == policy.Withdraw:
		out.Style = Bad
	case s.Stance.Action == policy.Drain, s.Stance.Rung > 0, s.Wanted != nil:
		out.Style = Warn
	}
	return out
}
