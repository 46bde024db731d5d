package top

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/text/unicode/norm"
)

// clean makes what others wrote safe for one line of a terminal: no control
// characters, and nothing invisible that joins or turns characters around
// (joiners, direction marks, variation selectors, skin tones), about whose
// width terminals disagree. Accents are put on their letters: as characters of
// their own they would be lost on the way to the screen.
func clean(s string) string {
	return norm.NFC.String(strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r), r >= 0xFE00 && r <= 0xFE0F, r >= 0x1F3FB && r <= 0x1F3FF:
			return -1
		case unicode.IsControl(r), r == 0x2028, r == 0x2029:
			return ' '
		case r == unicode.ReplacementChar:
			return '?'
		}
		return r
	}, s))
}

// width is the number of cells that clean text takes.
func width(s string) int { return ansi.StringWidthWc(s) }

// cut shortens clean text to at most w cells; two dots say that it did.
func cut(s string, w int) string {
	switch {
	case w <= 0:
		return ""
	case width(s) <= w:
		return s
	case w <= 2:
		return ansi.TruncateWc(s, w, "")
	}
	return ansi.TruncateWc(s, w, "..")
}

// middle shortens clean text to at most w cells and keeps both ends, which is
// where names and prefixes differ.
func middle(s string, w int) string {
	n := width(s)
	if n <= w || w < 8 {
		return cut(s, w)
	}
	head := (w - 2) / 2
	return ansi.TruncateWc(s, head, "") + ".." + ansi.TruncateLeftWc(s, n-(w-2-head), "")
}

// pad fills clean text up to w cells.
func pad(s string, w int) string { return s + strings.Repeat(" ", max(0, w-width(s))) }

// wrap breaks clean text into lines of at most w cells, at blanks where there
// are any, and indents all but the first.
func wrap(s string, w int, indent string) []string {
	if w <= width(indent)+1 {
		return []string{cut(s, w)}
	}
	var lines []string
	for lead := ""; ; lead = indent {
		line := lead + s
		if width(line) <= w {
			return append(lines, line)
		}
		head := ansi.TruncateWc(s, w-width(lead), "")
		if i := strings.LastIndexByte(head, ' '); i > 0 && s[len(head):] != "" && s[len(head)] != ' ' {
			head = head[:i]
		}
		if head == "" { // not even one character fits
			return append(lines, cut(line, w))
		}
		lines = append(lines, strings.TrimRight(lead+head, " "))
		s = strings.TrimLeft(s[len(head):], " ")
	}
}

// tail is the end of clean text, w cells of it at most.
func tail(s string, w int) string {
	for r := []rune(s); ; r = r[1:] {
		if out := string(r); width(out) <= w {
			return out
		}
	}
}
