package main

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// mostAdvice is how many sentences of advice are printed.
const mostAdvice = 6

// writePlan prints a plan: what changes, what guards say, what to do.
func writePlan(w io.Writer, p api.Plan) {
	fmt.Fprintf(w, "%s\n", paint(w, strong, fmt.Sprintf("What would happen at %s, supposing: %s", p.POP, oneLine(strings.Join(p.Suppose, ", ")))))
	if p.Refused != "" {
		fmt.Fprintf(w, "\n%s\n", paint(w, bad, "A reload would be refused:"))
		for line := range strings.Lines(p.Refused) {
			fmt.Fprintln(w, "  "+oneLine(strings.TrimRight(line, "\n")))
		}
		return
	}
	writeLines(w, "The configuration", p.Changes)
	steps := stepTable(p)
	if len(steps.rows) > 1 {
		fmt.Fprintln(w)
		steps.write(w)
	} else {
		fmt.Fprintln(w, "\nNothing that is announced would change.")
	}
	if t := objectionTable(p); len(t.rows) > 1 {
		fmt.Fprintln(w)
		t.write(w)
	}
	var advice []string
	for _, s := range p.Slices {
		for _, l := range s.Advice {
			if !slices.Contains(advice, l) && !standing(s) {
				advice = append(advice, l)
			}
		}
	}
	if more := len(advice) - mostAdvice; more > 0 {
		advice = append(advice[:mostAdvice], fmt.Sprintf("and %d more like these, all in --json", more))
	}
	writeLines(w, "What you can do", advice)
	notes := p.Notes
	if same := unmoved(p); same != "" {
		notes = append([]string{same}, notes...)
	}
	if !p.Settled {
		notes = append(slices.Clone(notes), fmt.Sprintf("More would happen after the %v that were looked ahead (--horizon).", time.Duration(p.Until)))
	}
	writeLines(w, "Notes", notes)
}

// writeLines prints sentences under a heading, wrapped on a terminal.
func writeLines(w io.Writer, head string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", paint(w, strong, head))
	wide := 0
	if s, ok := w.(screen); ok && s.width > 0 {
		wide = s.width - 4
	}
	for _, l := range lines {
		for i, part := range wrap(oneLine(l), wide) {
			lead := "  - "
			if i > 0 {
				lead = "    "
			}
			fmt.Fprintln(w, lead+part)
		}
	}
}

// standing reports whether all that guards object to is so already.
func standing(s api.PlanSlice) bool {
	return !slices.ContainsFunc(s.Objections, func(o api.PlanObjection) bool { return !o.Anyway })
}

func stepTable(p api.Plan) *table {
	t := newTable("SLICE", "AFTER", "CHANGE", "WHEN", "HEARD BY", "WHY")
	t.least = []int{5, 4, 3}
	for _, s := range p.Slices {
		name := s.Slice.String()
		if s.Cover {
			name += " (cover)"
		}
		for i, st := range s.Steps {
			if i > 0 {
				name = " "
			}
			was, from := s.Before, stanceName(s.Before)+" "
			if i > 0 {
				was, from = s.Steps[i-1].PlanStance, ""
			}
			when := st.When
			if st.Anyway {
				when += " (anyway)"
			}
			t.row(name, after(st.At), from+becomes(was, st.PlanStance), when, hears(was, st.PlanStance), oneLine(st.Reason.String()))
		}
	}
	return t
}

// arrow stands between what was and what becomes of it.
const arrow = "-> "

// after is the time of a step from now.
func after(d api.Duration) string {
	if t := time.Duration(d); t < time.Minute {
		return t.Round(100 * time.Millisecond).String()
	}
	return span(time.Duration(d))
}

// becomes says what a slice becomes: its stance, or how else it is announced.
func becomes(was, is api.PlanStance) string {
	if was.Stance != is.Stance || is.Announced == nil || was.Announced == nil {
		return arrow + stanceName(is)
	}
	if a := attributes(*is.Announced); a != attributes(*was.Announced) {
		return arrow + stanceName(is) + ", " + a
	}
	return "still"
}

// stanceName is a stance with the name of its rung.
func stanceName(s api.PlanStance) string {
	if s.Stance.Action == policy.Announce && s.Rung != "" {
		return "announce " + s.Rung
	}
	return s.Stance.Action.String()
}

// hears names the neighbors that would hear it, where that is news.
func hears(was, is api.PlanStance) string {
	switch {
	case len(is.HeardBy) == 0:
		return "nobody"
	case slices.Equal(was.HeardBy, is.HeardBy):
		return "as before"
	}
	var names []string
	for _, n := range is.HeardBy {
		names = append(names, netip.Addr.String(n))
	}
	return strings.Join(names, ", ")
}

// objectionTable is what guards say that they do not say already.
func objectionTable(p api.Plan) *table {
	t := newTable("SLICE", "GUARD", "SAYS", "AFTER", "UNTIL", "WANTED", "INSTEAD", "DETAIL")
	t.least = []int{7}
	for _, s := range p.Slices {
		for _, o := range s.Objections {
			if o.Anyway {
				continue
			}
			until := "the end"
			if o.Ends > 0 {
				until = after(o.Ends)
			}
			t.row(s.Slice.String(), o.Guard, o.Says, after(o.At), until, stanceWords(o.Wanted), stanceName(api.PlanStance{Stance: o.Instead, Rung: o.Rung}), oneLine(o.Detail))
		}
	}
	return t
}

// unmoved names the slices that stay as they are.
func unmoved(p api.Plan) string {
	var names []string
	for _, s := range p.Slices {
		if len(s.Steps) == 0 {
			names = append(names, s.Slice.String())
		}
	}
	switch n := len(names); {
	case n == 0 || n == len(p.Slices):
		return ""
	case n > 8:
		return fmt.Sprintf("No change of %d other slices.", n)
	}
	return "No change: " + strings.Join(names, ", ") + "."
}
