package top

import (
	"slices"
	"strings"
)

// Style says what a piece of text means; Paint knows how that looks.
type Style uint8

// Styles.
const (
	Plain    Style = iota
	Strong         // headings and keys
	Good           // as it should be
	Warn           // less than it should be
	Bad            // needs a look
	Operator       // an operator's doing
)

// Span is text of one style.
type Span struct {
	Text  string
	Style Style
}

// Line is one line of the screen.
type Line struct {
	Spans    []Span
	Selected bool // shown reversed, over the whole width
}

// line makes a Line of plain text.
func line(style Style, text string) Line { return Line{Spans: []Span{{text, style}}} }

// Text is the line without styles.
func (l Line) Text() string {
	var b strings.Builder
	for _, s := range l.Spans {
		b.WriteString(s.Text)
	}
	return b.String()
}

// SGR parameters (ECMA-48, 8.3.117) of the styles. Without colour bold is
// enough: the words and marks say the rest.
var (
	inColour = [...]string{Plain: "", Strong: "1", Good: "32", Warn: "33", Bad: "1;31", Operator: "36"}
	inMono   = [...]string{Plain: "", Strong: "1", Good: "", Warn: "", Bad: "1", Operator: ""}
)

// Paint writes a line with the escape sequences of its styles. It leaves no
// style switched on at the end.
func (l Line) Paint(colour bool) string {
	codes := inMono[:]
	if colour {
		codes = inColour[:]
	}
	var b strings.Builder
	for _, s := range l.Spans {
		code := codes[s.Style]
		if l.Selected {
			code = strings.TrimPrefix(code+";7", ";")
		}
		if code == "" || s.Text == "" {
			b.WriteString(s.Text)
			continue
		}
		b.WriteString("\x1b[" + code + "m" + s.Text + "\x1b[m")
	}
	return b.String()
}

// fitLine cuts a line to w cells, with two dots if it does, and fills it up if
// it is selected.
func fitLine(l Line, w int) Line {
	total := width(l.Text())
	if total <= w {
		if l.Selected {
			l.Spans = append(slices.Clip(l.Spans), Span{Text: strings.Repeat(" ", w-total)})
		}
		return l
	}
	out := Line{Selected: l.Selected}
	left := w
	for _, s := range l.Spans {
		n := width(s.Text)
		if n <= left-2 {
			out.Spans = append(out.Spans, s)
			left -= n
			continue
		}
		out.Spans = append(out.Spans, Span{cut(s.Text+strings.Repeat(" ", w), left), s.Style})
		break
	}
	return fitLine(out, w) // a wide character at the edge may have left a cell
}
