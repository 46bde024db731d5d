package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/text/unicode/norm"
)

// table is aligned text. On a pipe it is as wide as what is in it; on a
// terminal it is made to fit, by cutting what matters least, never the first
// column.
type table struct {
	rows   [][]string
	indent string
	// least are the columns to cut first, by number; then come the others
	// from the last. Empty: from the last.
	least []int
	// wrap: the last column goes on in the next line instead of being cut.
	wrap bool
}

const (
	gap      = 2 // blanks between columns
	leastCut = 8 // cells to which a column is cut at most
)

func newTable(head ...string) *table { return &table{rows: [][]string{head}} }

// facts is a table of names and what is said of them, without a heading.
func facts() *table {
	t := newTable()
	t.indent, t.wrap = "  ", true
	return t
}

// row adds one; empty cells show as "-".
func (t *table) row(cells ...string) {
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	t.rows = append(t.rows, cells)
}

// write prints the table. The last column is not padded, so no line ends in
// blanks.
func (t *table) write(w io.Writer) {
	widths := t.natural()
	if s, ok := w.(screen); ok && s.width > 0 {
		t.fit(widths, s.width)
	}
	heading := len(t.rows[0]) > 0
	for n, r := range t.rows {
		if len(r) == 0 {
			continue // no heading
		}
		last := len(r) - 1
		more := []string{""}
		if t.wrap && len(widths) == len(r) {
			more = wrap(r[last], widths[last])
		} else {
			more[0] = cut(r[last], widths[last])
		}
		var line strings.Builder
		line.WriteString(t.indent)
		for i, c := range r[:last] {
			c = cut(c, widths[i])
			line.WriteString(t.paint(w, n, i, c, heading))
			line.WriteString(strings.Repeat(" ", widths[i]-width(c)+gap))
		}
		lead := line.String()
		fmt.Fprintln(w, strings.TrimRight(lead+t.paint(w, n, last, more[0], heading), " "))
		for _, m := range more[1:] {
			fmt.Fprintln(w, strings.Repeat(" ", width(ansi.Strip(lead)))+m)
		}
	}
}

// paint colours a cell: headings, and words of states in columns that hold
// nothing else.
func (t *table) paint(w io.Writer, row, col int, cell string, heading bool) string {
	if heading && row == 0 {
		return paint(w, strong, cell)
	}
	if heading && col < len(t.rows[0]) && slices.Contains(stateColumns, t.rows[0][col]) {
		word := cell
		if i := strings.LastIndex(cell, arrow); i >= 0 {
			word = cell[i+len(arrow):]
		}
		word, _, _ = strings.Cut(word, " ")
		return paint(w, styles[strings.TrimRight(word, ",")], cell)
	}
	return cell
}

// stateColumns are the headings of columns that hold states.
var stateColumns = []string{"STANCE", "VERDICT", "STATE", "SAYS", "LAST", "CHANGE"}

// natural are the widths of the columns if nothing is cut.
func (t *table) natural() []int {
	var widths []int
	for _, r := range t.rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(c))
		}
	}
	return widths
}

// fit makes the columns narrower until the table is at most so many cells
// wide, or nothing more can be cut.
func (t *table) fit(widths []int, most int) {
	total := width(t.indent) - gap
	for _, n := range widths {
		total += n + gap
	}
	order := slices.Clone(t.least)
	for i := len(widths) - 1; i > 0; i-- {
		if !slices.Contains(order, i) {
			order = append(order, i)
		}
	}
	for _, i := range order {
		if total <= most || i <= 0 || i >= len(widths) {
			continue
		}
		floor := leastCut
		if len(t.rows[0]) > i {
			floor = max(floor, width(t.rows[0][i]))
		}
		less := min(total-most, max(0, widths[i]-floor))
		widths[i] -= less
		total -= less
	}
}

// width is the number of cells that text takes.
func width(s string) int { return ansi.StringWidthWc(s) }

// cut shortens text to at most w cells; two dots say that it did.
func cut(s string, w int) string {
	if width(s) <= w {
		return s
	}
	return ansi.TruncateWc(s, w, "..")
}

// wrap breaks text into lines of at most w cells, at blanks where it can.
func wrap(s string, w int) []string {
	if w < leastCut || width(s) <= w {
		return []string{s}
	}
	return strings.Split(ansi.WrapWc(s, w, ""), "\n")
}

// age says how long ago t was, in at most two units; "-" for never.
func age(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now.Sub(t))
}

// span is a time span in at most two units.
func span(d time.Duration) string {
	d = max(0, d)
	two := func(big, small time.Duration, b, s string) string {
		if rest := d % big / small; rest > 0 {
			return fmt.Sprintf("%d%s%d%s", d/big, b, rest, s)
		}
		return fmt.Sprintf("%d%s", d/big, b)
	}
	switch day := 24 * time.Hour; {
	case d >= 2*day:
		return two(day, time.Hour, "d", "h")
	case d >= time.Hour:
		return two(time.Hour, time.Minute, "h", "m")
	case d >= time.Minute:
		return two(time.Minute, time.Second, "m", "s")
	case d >= time.Second:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return d.Round(time.Millisecond).String()
}

// oneLine keeps what others wrote from breaking a table or a terminal: no
// control characters, and nothing invisible about whose width terminals
// disagree; accents are put on their letters.
func oneLine(s string) string {
	return norm.NFC.String(strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r), r >= 0xFE00 && r <= 0xFE0F:
			return -1
		case unicode.IsControl(r), r == 0x2028, r == 0x2029:
			return ' '
		}
		return r
	}, s))
}
