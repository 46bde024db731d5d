package demo

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// The columns of a line: time, who, what, text, figure. 80 in all.
const (
	columns     = 80
	indent      = 9 + 2 + 7 + 10
	figureWidth = 10
	textWidth   = columns - indent - figureWidth - 1
	mostLines   = 5 // of text in one event
)

// narrator is who speaks where the demo itself does or sees something.
const narrator = "demo"

// style turns events into text.
type style struct{ colour bool }

const (
	plain  = "0"
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
)

func (s style) paint(code, text string) string {
	if !s.colour || code == plain || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// render gives the event's lines, each with its line end.
func (s style) render(e Event, start, cause time.Time) string {
	if e.Title {
		return "\n" + s.paint(bold, e.Detail) + "\n"
	}
	text := e.Detail
	if e.Family != "" {
		text += " (" + e.Family + ")"
	}
	lines := wrap(text, textWidth, columns-indent)
	figure := ""
	if e.Who != narrator && !cause.IsZero() && e.At.After(cause) {
		figure = "+" + span(e.At.Sub(cause))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s %s %s", s.paint(dim, fmt.Sprintf("%8.3fs", e.At.Sub(start).Seconds())),
		s.paint(e.whoColour(), pad(e.Who, 6)), s.paint(e.whatColour(), pad(e.What, 9)), lines[0])
	if figure != "" {
		gap := textWidth - utf8.RuneCountInString(lines[0]) + 1 + figureWidth - len(figure)
		b.WriteString(strings.Repeat(" ", max(1, gap)) + s.paint(bold, figure))
	}
	b.WriteByte('\n')
	for _, l := range lines[1:] {
		b.WriteString(strings.Repeat(" ", indent) + l + "\n")
	}
	return b.String()
}

func (e Event) whoColour() string {
	if e.Cause {
		return bold
	}
	return plain
}

func (e Event) whatColour() string {
	switch {
	case e.Alert, e.What == "withdraw":
		return red
	case strings.HasPrefix(e.What, "announce"), e.What == "answered":
		return green
	case e.What == "drain", e.What == "guard":
		return yellow
	case e.What == "route":
		return blue
	}
	return plain
}

func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}

// span is a duration with the digits that matter.
func span(d time.Duration) string {
	switch ms := float64(d.Microseconds()) / 1000; {
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.1f s", ms/1000)
	}
}

// wrap breaks text at blanks into lines of at most first and then rest
// columns; what is more than mostLines is cut, and said to be.
func wrap(text string, first, rest int) []string {
	lines, line, width := []string{}, "", first
	put := func() {
		lines, line, width = append(lines, line), "", rest
	}
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			put()
		}
		for r := []rune(word); line == "" && len(r) > width; r = []rune(word) {
			line, word = string(r[:width]), string(r[width:])
			put()
		}
		if line != "" && word != "" {
			line += " "
		}
		line += word
	}
	if put(); len(lines) > mostLines {
		cut := []rune(lines[mostLines-1])
		lines = append(lines[:mostLines-1], string(cut[:min(len(cut), rest-2)])+" …")
	}
	return lines
}
