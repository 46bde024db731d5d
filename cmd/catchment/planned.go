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

// writePlan prints a plan: what changes, what guards say, what to do.
func writePlan(w io.Writer, p api.Plan) {
	say(w, "", paint(w, strong, fmt.Sprintf("What would happen at %s, supposing: %s", p.POP, oneLine(strings.Join(p.Suppose, ", ")))))
	if p.Refused != "" {
		fmt.Fprintf(w, "\n%s\n", paint(w, bad, "A reload would be refused:"))
		for line := range strings.Lines(p.Refused) {
			say(w, "  ", oneLine(strings.TrimRight(line, "\n")))
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
	writePlanLoads(w, p.Loads)
	writeLines(w, "Guards", atMost(mostLines, objections(p)))
	var advice []string
	for _, s := range p.Slices {
		for _, l := range s.Advice {
			if !slices.Contains(advice, l) && !standing(s) {
				advice = append(advice, l)
			}
		}
	}
	writeLines(w, "What you can do", atMost(mostLines, advice))
	writeAlternative(w, p)
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
	for _, l := range lines {
		say(w, "  - ", oneLine(l))
	}
}

// standing reports whether all that guards object to is so already.
func standing(s api.PlanSlice) bool {
	return !slices.ContainsFunc(s.Objections, func(o api.PlanObjection) bool { return !o.Anyway })
}

// stepTable is what changes, a line a step. Who hears it is a column only
// where that is news.
func stepTable(p api.Plan) *table {
	t := newTable("SLICE", "AFTER", "CHANGE", "WHEN", "HEARD BY", "WHY")
	t.least, t.spare = []int{5}, []int{5}
	news := false
	for _, s := range p.Slices {
		name := s.Slice.String()
		if s.Cover {
			name += " (cover)"
		}
		was, from := s.Before, stanceName(s.Before)+" "
		for _, st := range s.Steps {
			when := st.When
			if st.Anyway {
				when += " (anyway)"
			}
			by := hears(was, st.PlanStance)
			news = news || by != ""
			t.row(name, after(st.At), from+becomes(was, st.PlanStance), when, by, oneLine(st.Reason.String()))
			name, was, from = " ", st.PlanStance, ""
		}
	}
	if !news {
		t.leave(4)
		t.least, t.spare = []int{4}, []int{4}
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
		to := stanceName(is)
		if was.Stance.Action == is.Stance.Action && is.Rung != "" {
			to = is.Rung
		}
		return arrow + to
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
	case !is.Stance.Announced() || slices.Equal(was.HeardBy, is.HeardBy):
		return ""
	case len(is.HeardBy) == 0:
		return "nobody"
	}
	var names []string
	for _, n := range is.HeardBy {
		names = append(names, netip.Addr.String(n))
	}
	return strings.Join(names, ", ")
}

// objections is what guards would say that they do not say already.
func objections(p api.Plan) []string {
	var out []string
	for _, s := range p.Slices {
		for _, o := range s.Objections {
			if o.Anyway {
				continue
			}
			when := fmt.Sprintf("from %s on", after(o.At))
			if o.Ends > 0 {
				when = fmt.Sprintf("from %s to %s", after(o.At), after(o.Ends))
			}
			instead := stanceName(api.PlanStance{Stance: o.Instead, Rung: o.Rung})
			out = append(out, fmt.Sprintf("%s: %s says %s %s, %s instead of %s: %s", s.Slice, o.Guard, o.Says, when, instead, stanceWords(o.Wanted), o.Detail))
		}
	}
	return out
}

// mostLines is how many sentences of a kind are printed.
const mostLines = 8

func atMost(n int, lines []string) []string {
	if more := len(lines) - n; more > 0 {
		return append(lines[:n:n], fmt.Sprintf("and %d more like these, all in --json", more))
	}
	return lines
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
