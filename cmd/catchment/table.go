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
	// spare are columns that are left out where there is no room for them.
	spare []int
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
		for _, i := range t.spare {
			if t.tooWide(widths, s.width, i) {
				t.leave(i)
				widths = t.natural()
			}
		}
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

// tooWide reports whether cutting does not help, or leaves next to nothing of
// column i.
func (t *table) tooWide(widths []int, most, i int) bool {
	cut := slices.Clone(widths)
	t.fit(cut, most)
	return t.total(cut) > most || i < len(cut) && cut[i] < min(widths[i], 2*leastCut)
}

// leave takes a column out.
func (t *table) leave(i int) {
	for n, r := range t.rows {
		if i < len(r) {
			t.rows[n] = slices.Delete(slices.Clone(r), i, i+1)
		}
	}
}

func (t *table) total(widths []int) int {
	total := width(t.indent) - gap
	for _, n := range widths {
		total += n + gap
	}
	return total
}

// fit makes the columns narrower until the table is at most so many cells
// wide, or nothing more can be cut: at first so that much is left of each, and
// only then so that something is.
func (t *table) fit(widths []int, most int) {
	var last []int
	for i := len(widths) - 1; i > 0; i-- {
		last = append(last, i)
	}
	t.shrink(widths, most, append(slices.Clone(t.spare), last...), 3*leastCut)
	t.shrink(widths, most, slices.Concat(t.least, last), leastCut)
}

// shrink cuts columns in an order, each down to a floor and to its heading.
func (t *table) shrink(widths []int, most int, order []int, floor int) {
	total := t.total(widths)
	for _, i := range order {
		if total <= most || i <= 0 || i >= len(widths) {
			continue
		}
		least := floor
		if len(t.rows[0]) > i {
			least = max(floor, width(t.rows[0][i]))
		}
		less := min(total-most, max(0, widths[i]-least))
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

// wrap breaks text at blanks into lines of at most w cells; a word that is
// longer is broken too.
func wrap(s string, w int) []string {
	if w < leastCut || width(s) <= w {
		return []string{s}
	}
	lines := []string{""}
	for _, word := range strings.Fields(s) {
		for _, part := range strings.Split(ansi.HardwrapWc(word, w, false), "\n") {
			last := &lines[len(lines)-1]
			switch {
			case *last == "":
				*last = part
			case width(*last)+1+width(part) <= w:
				*last += " " + part
			default:
				lines = append(lines, part)
			}
		}
	}
	return lines
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
