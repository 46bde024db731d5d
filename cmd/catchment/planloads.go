package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/catchment/catchment/cmd/internal/amount"
	"github.com/catchment/catchment/pop/api"
)

// writePlanLoads prints who would carry how much: shares of what each POP can,
// where that is known.
func writePlanLoads(w io.Writer, l *api.PlanLoads) {
	if l == nil {
		return
	}
	if len(l.POPs) > 0 {
		fmt.Fprintln(w)
		loadTable(l).write(w)
	}
	writeLines(w, "What the loads are made of", l.Notes)
}

func loadTable(l *api.PlanLoads) *table {
	head := map[string]string{"in": "IN", "out": "OUT", "requests": "REQUESTS", "connections": "CONNECTIONS"}[l.Unit]
	t := newTable(strings.TrimSpace("LOAD "+head), "CAN CARRY", "NOW", "AFTER [95 %]", "NOTE")
	t.spare = []int{1}
	for _, p := range l.POPs {
		t.row(string(p.POP), carries(l.Unit, p), loadNow(l.Unit, p), loadThen(l.Unit, p), loadNote(l, p))
	}
	return t
}

func carries(unit string, p api.PlanLoad) string {
	switch {
	case unit == percentOfLoad || p.Capacity == 0:
		return ""
	case p.Supposed > 0:
		return amount.Of(unit, p.Capacity) + " " + arrow + amount.Of(unit, p.Supposed)
	}
	return amount.Of(unit, p.Capacity)
}

// percentOfLoad is the unit of plans that know no loads, only where they go.
const percentOfLoad = "percent"

func loadNow(unit string, p api.PlanLoad) string {
	switch {
	case p.Before == nil:
		return "unknown"
	case unit == percentOfLoad:
		return fmt.Sprintf("%.0f %%", *p.Before)
	case p.Capacity > 0:
		return percent(*p.Before / p.Capacity)
	}
	return amount.Of(unit, *p.Before)
}

// loadThen is what is expected, with its interval; where only the change is
// known, that.
func loadThen(unit string, p api.PlanLoad) string {
	r, sign := p.After, ""
	if r == nil {
		if r = p.Change; r == nil {
			return "unknown"
		}
		if sign = "+"; r.Mean < 0 {
			sign, r = "-", &api.PlanRange{Mean: -r.Mean, Low: -r.High, High: -r.Low}
		}
	}
	switch limit := p.Limit(); {
	case unit == percentOfLoad:
		return fmt.Sprintf("%s%.0f %% [%.0f-%.0f]", sign, r.Mean, r.Low, r.High)
	case limit > 0 && sign == "":
		return fmt.Sprintf("%.0f %% [%.0f-%.0f]", 100*r.Mean/limit, 100*r.Low/limit, 100*r.High/limit)
	}
	return fmt.Sprintf("%s%s [%s-%s]", sign, amount.Of(unit, r.Mean), amount.Short(unit, r.Low), amount.Short(unit, r.High))
}

func loadNote(l *api.PlanLoads, p api.PlanLoad) string {
	limit := p.Limit()
	switch {
	case p.Note != "":
		return oneLine(p.Note)
	case p.After == nil || limit == 0 || p.After.High <= limit:
		return ""
	case p.After.Low > limit:
		return "too much"
	case slices.Contains(l.Over, p.POP):
		return "may be too much"
	}
	return "too much already"
}

// writeAlternative prints what could be done instead, and what would come of it.
func writeAlternative(w io.Writer, p api.Plan) {
	switch a := p.Alternative; {
	case a != nil:
		fmt.Fprintf(w, "\n%s\n", paint(w, strong, fmt.Sprintf("The cheapest of %d alternatives", p.Compared)))
		part := ""
		if a.Part != nil && *a.Part < 0.995 {
			part = fmt.Sprintf(" (%s of what was to leave)", percent(*a.Part))
		}
		say(w, "  - ", oneLine(a.Text)+part+": "+oneLine(a.Why)+".")
		if a.Loads != nil && len(a.Loads.POPs) > 0 {
			t := loadTable(a.Loads)
			t.indent = "    "
			t.write(w)
		}
		for _, c := range atMost(mostLines, a.Commands) {
			fmt.Fprintln(w, "    "+oneLine(c))
		}
	case p.Compared > 0:
		fmt.Fprintln(w)
		say(w, "", fmt.Sprintf("Compared with %d alternatives (milder rungs, fewer slices, other POPs that help): none is better.", p.Compared))
	}
}
