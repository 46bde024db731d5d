package demo

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// outcome is what became of a step.
type outcome struct {
	title   string
	seen    bool
	skipped bool   // a step before it failed
	figures string // or what was missing
}

// summary is the table at the end.
func (s style) summary(list []outcome) string {
	const seenWidth = 5
	width := 0
	for _, o := range list {
		width = max(width, utf8.RuneCountInString(o.title))
	}
	left := 3 + width + 2 + seenWidth
	var b strings.Builder
	b.WriteString("\n" + s.paint(bold, "   "+pad("what", width+2)+pad("seen", seenWidth)+"figures") + "\n")
	for i, o := range list {
		word, colour := "yes", green
		if !o.seen {
			word, colour = "NO", red
		}
		if o.skipped {
			word, colour = "-", dim
		}
		lines := wrap(o.figures, columns-left, columns-left)
		fmt.Fprintf(&b, "%d  %s%s%s\n", i+1, pad(o.title, width+2), s.paint(colour, pad(word, seenWidth)), lines[0])
		for _, l := range lines[1:] {
			b.WriteString(strings.Repeat(" ", left) + l + "\n")
		}
	}
	return b.String()
}
