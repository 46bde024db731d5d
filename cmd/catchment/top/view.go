package top

import (
	"fmt"
	"strings"
	"time"
)

// The least screen that has room for anything.
const (
	leastWidth  = 30
	leastHeight = 6
)

// Screen is what a terminal shows.
type Screen struct {
	Lines []Line // as many as it is high, each as wide at most
	// Cursor is where text is typed; nil: nowhere.
	Cursor *Point
}

// Point is a cell of the screen, from the upper left corner.
type Point struct{ X, Y int }

// View draws a model at a width and height.
func View(m Model, w, h int) Screen {
	var s Screen
	switch {
	case w < leastWidth || h < leastHeight:
		s.Lines = []Line{line(Plain, "too small"), line(Plain, "q quits")}
	case !m.have:
		s.Lines = []Line{line(Plain, "asking the daemon")}
	case m.page != nil:
		s.Lines = m.pageScreen(w, h)
	default:
		s = m.mainScreen(w, h)
	}
	for i := range s.Lines {
		s.Lines[i] = fitLine(s.Lines[i], w)
	}
	s.Lines = s.Lines[:min(len(s.Lines), h)]
	for len(s.Lines) < h {
		s.Lines = append(s.Lines, Line{})
	}
	return s
}

// mainScreen is the header, the panes, a few lines about the row with the
// cursor (or the prompt), and the keys.
func (m Model) mainScreen(w, h int) Screen {
	lines := m.header(w)
	foot, cursor := m.foot(w, h)
	room := h - len(lines) - len(foot)
	lines = append(lines, m.body(w, room)...)
	for len(lines) < h-len(foot) {
		lines = append(lines, Line{})
	}
	if cursor != nil {
		cursor.Y += h - len(foot)
	}
	return Screen{Lines: append(lines, foot...), Cursor: cursor}
}

// header says which POP this is and whether what is shown is of now.
func (m Model) header(w int) []Line {
	st := m.status
	name := Span{clean(string(st.POP)), Strong}
	text := Span{fmt.Sprintf("  catchmentd %s  up %s", clean(st.Version), age(st.Now, st.Started)), Plain}
	var flags []Span
	if st.DryRun {
		flags = append(flags, Span{"  DRY RUN: announces nothing", Warn})
	}
	if st.Stopping {
		flags = append(flags, Span{"  STOPPING", Warn})
	}
	right := Span{st.Now.Format("15:04:05 MST") + "  live", Good}
	why, old := m.old()
	if old {
		right = Span{"OLD: as of " + st.Now.Format("15:04:05 MST"), Bad}
	}
	l := Line{Spans: append([]Span{name, text}, flags...)}
	if space := w - width(right.Text) - 2; width(l.Text()) > space {
		l = fitLine(Line{Spans: append([]Span{name}, flags...)}, max(0, space)) // the version is worth least
	}
	l.Spans = append(l.Spans, Span{Text: strings.Repeat(" ", max(1, w-width(l.Text())-width(right.Text)))}, right)
	if !old {
		return []Line{l}
	}
	since := m.now.Sub(m.heard).Truncate(time.Second)
	return []Line{l, line(Bad, fmt.Sprintf("NO ANSWER for %v: %s", since, why))}
}

// body is the panes.
func (m Model) body(w, room int) []Line {
	var all [panes]pane
	var counts [panes]int
	shown := 0
	for id := range panes {
		all[id] = m.pane(id)
		counts[id] = len(all[id].rows)
	}
	parts, spare := portions(counts, m.focus, room)
	for id := range panes {
		shown += boolInt(parts[id].shown)
	}
	airy := spare >= shown-1
	var lines []Line
	for id := range panes {
		if !parts[id].shown {
			continue
		}
		if airy && len(lines) > 0 {
			lines = append(lines, Line{})
		}
		lines = append(lines, m.paneLines(id, all[id], parts[id].rows, w)...)
	}
	return lines
}

// paneLines is a pane with n of its rows.
func (m Model) paneLines(id paneID, p pane, n, w int) []Line {
	at := m.rowAt(id, p.rows)
	from, to := window(len(p.rows), n, at)
	title := []Span{{p.title, Strong}}
	if p.state.Text != "" {
		title = append(title, Span{" ", Plain}, p.state)
	}
	switch {
	case len(p.rows) == 0:
		title = append(title, Span{" none", Plain})
	case n < len(p.rows) && n > 0:
		title = append(title, Span{fmt.Sprintf(" %d-%d/%d", from+1, to, len(p.rows)), Plain})
	}
	head := Line{Spans: title}
	if n == 0 {
		return []Line{head}
	}
	widths := p.fit(head.Text(), w)
	head.Spans = append(head.Spans, Span{Text: strings.Repeat(" ", max(0, gutter+widths[0]-width(head.Text())))})
	for i, c := range p.columns[1:] {
		if widths[i+1] >= 0 {
			head.Spans = append(head.Spans, Span{Text: " "}, Span{pad(cut(c.head, widths[i+1]), widths[i+1]), Strong})
		}
	}
	lines := []Line{head}
	for i := from; i < to; i++ {
		lines = append(lines, p.line(p.rows[i], widths, id == m.focus && i == at))
	}
	return lines
}

// line is a row of a pane.
func (p pane) line(r row, widths []int, selected bool) Line {
	l := Line{Selected: selected}
	mark := Span{string(rune(r.mark)), Plain}
	switch r.mark {
	case markLook:
		mark.Style = Bad
	case markOperator:
		mark.Style = Operator
	}
	cursor := " "
	if selected {
		cursor = ">"
	}
	l.Spans = append(l.Spans, Span{cursor, Strong}, mark, Span{Text: " "})
	for i, c := range r.cells {
		if widths[i] < 0 {
			continue
		}
		if i > 0 {
			l.Spans = append(l.Spans, Span{Text: " "})
		}
		text := cut(c.Text, widths[i])
		if p.columns[i].ends {
			text = middle(c.Text, widths[i])
		}
		l.Spans = append(l.Spans, Span{text, c.Style})
		if i < len(r.cells)-1 {
			l.Spans = append(l.Spans, Span{Text: strings.Repeat(" ", max(0, widths[i]-width(text)))})
		}
	}
	return l
}

// foot is what is under the panes, and where the cursor is in it.
func (m Model) foot(w, h int) ([]Line, *Point) {
	if m.prompt != nil {
		return m.promptLines(w, h)
	}
	n := 1
	if h >= 20 {
		n = 2
	}
	var about []Line
	if m.message.Text != "" {
		about = wrapTo(m.message, w, n)
	} else if r, ok := m.current(); ok {
		about = wrapTo(Span{Text: r.full}, w, n)
	}
	for len(about) < n {
		about = append(about, Line{})
	}
	return append(about, keyLine(w)), nil
}

// wrapTo wraps text to at most n lines; the last one is cut if need be.
func wrapTo(s Span, w, n int) []Line {
	var lines []Line
	all := wrap(s.Text, w, "")
	for i, t := range all {
		if i == n-1 && len(all) > n {
			t = cut(strings.Join(all[i:], " "), w)
		}
		if i < n {
			lines = append(lines, line(s.Style, t))
		}
	}
	return lines
}

// keyLine names the keys, the most needed ones where not all fit.
func keyLine(w int) Line {
	keys := []struct {
		key, what string
		drop      int // the highest goes first
	}{
		{"d", "drain", 1}, {"u", "undrain", 1}, {"h", "hold", 2}, {"r", "release", 2}, {"e", "explain", 1},
		{"tab", "pane", 3}, {"n", "next !", 4}, {"?", "help", 0}, {"q", "quit", 0},
	}
	for limit := 4; ; limit-- {
		var l Line
		for _, k := range keys {
			if k.drop <= limit {
				if len(l.Spans) > 0 {
					l.Spans = append(l.Spans, Span{Text: "  "})
				}
				l.Spans = append(l.Spans, Span{k.key, Strong}, Span{" " + k.what, Plain})
			}
		}
		if width(l.Text()) <= w || limit == 0 {
			return l
		}
	}
}

// promptLines asks for a reason or for a confirmation.
func (m Model) promptLines(w, h int) ([]Line, *Point) {
	p := m.prompt
	lines := wrapTo(Span{p.what, Strong}, w, min(3, max(1, h-leastHeight)))
	ask, typed := "Why? ", p.why
	keys := "Enter goes on, Esc leaves it"
	if p.sure {
		lines = append(lines, line(Plain, cut("Why: "+p.why, w)))
		ask, typed = "Type "+p.word+" and Enter to "+p.verb.String()+": ", p.typo
		keys = "Enter does it, Esc leaves it"
	}
	// What does not fit moves out on the left.
	if over := width(ask) + width(typed) + 1 - w; over > 0 {
		typed = tail(typed, max(0, w-width(ask)-1))
	}
	cursor := &Point{X: min(w-1, width(ask)+width(typed)), Y: len(lines)}
	lines = append(lines, Line{Spans: []Span{{ask, Strong}, {typed, Plain}}})
	if p.wrong != "" {
		return append(lines, line(Bad, p.wrong)), cursor
	}
	return append(lines, line(Plain, keys)), cursor
}
