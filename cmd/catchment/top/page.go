package top

import (
	"fmt"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// page covers the panes: help, an explanation, or a row that was too long.
type page struct {
	title string
	text  []Line  // of any width
	ids   []slice // what it explains; it is asked for again with each status
	note  string  // e.g. why there is no newer one
	top   int     // the first line shown
}

// pageRows is how much of a page shows on a screen of that height.
func pageRows(h int) int { return max(1, h-3) }

// lines is the page at a width. Text that goes on in the next line keeps its
// indent.
func (p page) lines(w int) []Line {
	var out []Line
	for _, l := range p.text {
		if len(l.Spans) != 1 {
			out = append(out, l)
			continue
		}
		text := strings.TrimLeft(l.Spans[0].Text, " ")
		indent := l.Spans[0].Text[:len(l.Spans[0].Text)-len(text)]
		for _, t := range wrap(text, max(1, w-len(indent)), "  ") {
			out = append(out, line(l.Spans[0].Style, indent+t))
		}
	}
	return out
}

// pageScreen draws the page under the header's first line.
func (m Model) pageScreen(w, h int) []Line {
	all := m.page.lines(w)
	rows := pageRows(h)
	top := min(m.page.top, max(0, len(all)-rows))
	to := min(len(all), top+rows)
	title := Line{Spans: []Span{{m.page.title, Strong}}}
	if why, old := m.old(); old {
		title.Spans = append(title.Spans, Span{"  OLD: as of " + m.status.Now.Format("15:04:05 MST") + ": " + why, Bad})
	} else if m.page.note != "" {
		title.Spans = append(title.Spans, Span{"  " + m.page.note, Warn})
	}
	lines := append([]Line{title}, all[top:to]...)
	for len(lines) < h-1 {
		lines = append(lines, Line{})
	}
	keys := Line{Spans: []Span{{"Esc", Strong}, {" back", Plain}}}
	if len(all) > rows {
		keys.Spans = append(keys.Spans, Span{"  Up Down", Strong}, Span{fmt.Sprintf(" scroll, lines %d-%d of %d", top+1, to, len(all)), Plain})
	}
	return append(lines, keys)
}

// helpPage says what the keys and the marks mean.
func helpPage() *page {
	p := &page{title: "CATCHMENT TOP: KEYS AND MARKS"}
	for _, l := range strings.Split(strings.TrimSpace(help), "\n") {
		style := Plain
		if l != "" && l[0] != ' ' {
			style = Strong
		}
		p.text = append(p.text, line(style, l))
	}
	return p
}

const help = `
Look
  Up Down j k   move the cursor (>); PgUp PgDn Home End by more
  Tab           next pane: the pane with the cursor gets the room
  n             next line that needs a look (!)
  e, Enter      explain the slices of the line; elsewhere Enter shows all of it
  ^L            draw the screen again
  q, ^C         quit; ^Z suspend
Change (asks for a reason and a confirmation; the guards are asked as always)
  d             drain: de-prefer, wait for the traffic to go, withdraw
  u             undrain: end a drain
  h             hold: freeze what is announced
  r             release: end a hold or a pin
  On the first line, POP, it is all services; on a service its slices; on a slice that one. To force a change over the guards, or for a limited time, use the commands: catchment drain --help.
Marks
  !             needs a look: down, less preferred, kept by a guard, not heard,
                90 % of what it can carry or more, not measured
  *             an operator's doing
  OLD           the daemon does not answer; what is shown is of the time given
  ..            something was cut; Enter shows all of it
`

// explanations says of slices what is announced, why, and what would change it.
func explanations(all []api.Explanation) []Line {
	var out []Line
	for i, e := range all {
		if i > 0 {
			out = append(out, Line{})
		}
		out = append(out, explanation(e)...)
	}
	return out
}

// explanation says it of one.
func explanation(e api.Explanation) []Line {
	var out []Line
	add := func(style Style, format string, args ...any) {
		out = append(out, line(style, clean(fmt.Sprintf(format, args...))))
	}
	s := e.Slice
	add(Strong, "%s of %s at %s, %s", s.Slice, s.Service, e.POP, e.Now.Format("15:04:05 MST"))
	add(stance(s).Style, "  %v%s for %s", s.Stance.Action, prefixed(", rung ", s.Rung), age(e.Now, s.Since))
	add(Plain, "  because %s", s.Reason)
	if s.Wanted != nil {
		why := ""
		if s.WantedReason != nil {
			why = ", " + s.WantedReason.String()
		}
		add(Warn, "  the rules want %v%s", *s.Wanted, why)
	}
	if s.Next != "" {
		when := ""
		if wait := s.NextAt.Sub(e.Now); !s.NextAt.IsZero() && wait > 0 {
			when = fmt.Sprintf(" in %v", wait.Round(time.Second))
		}
		add(Plain, "  next: %s%s", s.Next, when)
	}
	for _, w := range e.WouldChange {
		add(Plain, "  would change it: %s", w)
	}
	for _, g := range s.Guards {
		style := Plain
		if g.Says != api.Allow && g.Says != api.Off {
			style = Warn
		}
		add(style, "  guard %s: %s%s", g.Guard, g.Says, prefixed(": ", g.Detail))
	}
	for _, in := range e.Intents {
		if (in.Slice.Prefix().IsValid() && in.Slice != s.Slice) || (in.Service != "" && in.Service != s.Service) {
			continue
		}
		add(Operator, "  %s by %s, %s ago%s", in.Kind, in.By, age(e.Now, in.At), prefixed(": ", in.Why))
	}
	out = append(out, explainInputs(e)...)
	for _, j := range e.Journal {
		add(Plain, "  journal %s %s", j.Time.Format("2006-01-02 15:04:05"), j.Text)
	}
	return out
}

// explainInputs lists what the decision was made from.
func explainInputs(e api.Explanation) []Line {
	var out []Line
	add := func(style Style, format string, args ...any) {
		out = append(out, line(style, clean(fmt.Sprintf(format, args...))))
	}
	for _, c := range e.Checks {
		add(verdict(c.Verdict).Style, "  check %s: %v for %s%s", c.ID, c.Verdict, age(e.Now, c.Since), prefixed(": ", c.Detail))
	}
	if e.Load != nil {
		add(Plain, "  %.0f connections", *e.Load)
	}
	for _, f := range e.Fleet {
		style, note := Plain, "counts as announcing"
		if !f.Counts {
			style, note = Warn, "does not count"+prefixed(": ", f.Because)
		}
		heard := "never heard"
		if !f.Heard.IsZero() {
			heard = "heard " + time.Duration(f.Age).Round(100*time.Millisecond).String() + " ago"
		}
		add(style, "  %s: %v, %v, %s; %s", f.POP, f.Slice.Stance, f.Slice.Verdict, heard, note)
	}
	if e.Slice.Stance.Action == policy.Withdraw {
		return out
	}
	if a := e.Slice.Announced; a != nil {
		var parts []string
		if a.MED != nil {
			parts = append(parts, fmt.Sprintf("MED %d", *a.MED))
		}
		if a.LocalPref != nil {
			parts = append(parts, fmt.Sprintf("local preference %d", *a.LocalPref))
		}
		if a.Prepend > 0 {
			parts = append(parts, fmt.Sprintf("own AS %d times more", a.Prepend))
		}
		parts = append(parts, append(a.Communities, a.LargeCommunities...)...)
		if a.NextHop != "" {
			parts = append(parts, "next hop "+a.NextHop)
		}
		add(Plain, "  routers hear: %s", strings.Join(parts, ", "))
	}
	return out
}
