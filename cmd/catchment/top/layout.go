package top

import "slices"

// minLast is the least that the last column of a pane is shown with; a column
// that is dropped makes room for it.
const minLast = 18

// minName is the least width of a first column that could be wider.
const minName = 20

// gutter is the place of cursor, mark and a blank before each row.
const gutter = 3

// fit gives the columns of a pane their widths; -1: not shown. Where the last
// one would be cut, columns that say nothing go. Where it would be cut to less
// than minLast, the first one gives way, then columns go, the highest drop first.
func (p pane) fit(title string, total int) []int {
	widths := make([]int, len(p.columns))
	for i, c := range p.columns {
		widths[i] = width(c.head)
		for _, r := range p.rows {
			widths[i] = max(widths[i], width(r.cells[i].Text))
		}
	}
	// The title stands over the first column and the gutter.
	widths[0] = max(widths[0], width(title)-gutter)
	last := len(widths) - 1
	whole := widths[last]
	want := min(minLast, whole)
	for {
		left := total - gutter
		for _, w := range widths[:last] {
			if w >= 0 {
				left -= w + 1
			}
		}
		if i := p.nextEmpty(widths); left < whole && i >= 0 {
			widths[i] = -1
			continue
		}
		if short := want - left; short > 0 {
			if give := min(short, widths[0]-max(minName, width(title)-gutter)); give > 0 {
				widths[0] -= give
				continue
			}
			if i := p.nextDropped(widths); i >= 0 {
				widths[i] = -1
				continue
			}
		}
		widths[last] = max(0, left)
		return widths
	}
}

// nextDropped is the column to go next; -1: none may.
func (p pane) nextDropped(widths []int) int {
	best := -1
	for i, c := range p.columns {
		if c.drop > 0 && widths[i] >= 0 && (best < 0 || c.drop > p.columns[best].drop) {
			best = i
		}
	}
	return best
}

// nextEmpty is a column that may go and has nothing to say; -1: none.
func (p pane) nextEmpty(widths []int) int {
	for i, c := range p.columns {
		says := func(r row) bool { return r.cells[i].Text != "" && r.cells[i].Text != "-" }
		if c.drop > 0 && widths[i] >= 0 && !slices.ContainsFunc(p.rows, says) {
			return i
		}
	}
	return -1
}

// order is how panes come to their lines: what to show first where little fits.
var order = [...]struct {
	id    paneID
	least int // rows that the others leave to it
}{
	{services, 4}, {alarms, 1}, {intents, 1}, {loads, 1}, {decisions, 2}, {neighbors, 1}, {checks, 1}, {pops, 1},
}

// share of a pane in the height of the screen.
type portion struct {
	shown bool // at least the title
	rows  int
}

// portions shares height lines among panes of that many rows: titles first,
// then to each its least, then the rest, first to the focused pane.
func portions(counts [panes]int, focus paneID, height int) (out [panes]portion, spare int) {
	// The focused one has a title before all others; 3 lines are for its rows.
	left := height
	ids := []paneID{focus}
	for _, o := range order {
		if o.id != focus {
			ids = append(ids, o.id)
		}
	}
	for i, id := range ids {
		if (counts[id] > 0 || id == services) && (i == 0 || left > 3) {
			out[id].shown = true
			left--
		}
	}
	give := func(id paneID, upTo int) {
		if n := min(upTo, counts[id]) - out[id].rows; out[id].shown && n > 0 {
			n = min(n, left)
			out[id].rows += n
			left -= n
		}
	}
	give(focus, 3)
	for _, o := range order {
		give(o.id, o.least)
	}
	give(focus, counts[focus])
	for _, o := range order {
		give(o.id, counts[o.id])
	}
	return out, left
}

// window is which n of all rows to show so that the one at the cursor is in
// the middle, where that can be.
func window(all, n, at int) (from, to int) {
	from = min(max(0, at-n/2), max(0, all-n))
	return from, min(all, from+n)
}
