package top

import (
	"slices"
	"strings"
)

// Key is a key that was pressed: its name ("d", "enter", "ctrl+c", "pgdown"),
// and the text that it types, if any.
type Key struct{ Name, Text string }

// Pasted is text from a clipboard.
type Pasted struct{ Text string }

func (e Pasted) apply(m Model) (Model, []Effect) {
	if m.prompt != nil {
		m.prompt = m.prompt.typed(e.Text)
	}
	return m, nil
}

func (e Key) apply(m Model) (Model, []Effect) {
	if rest, ok := strings.CutPrefix(e.Name, "alt+"); ok && rest != "" {
		// Esc and a key look like that where they arrive together, as they do
		// over a slow link. Alt has no meaning here.
		m, first := Key{Name: "esc"}.apply(m)
		m, then := Key{Name: rest}.apply(m)
		return m, append(first, then...)
	}
	switch e.Name {
	case "ctrl+c":
		m.prompt = nil // with its cursor
		return m, []Effect{Quit{}}
	case "ctrl+z":
		return m, []Effect{Suspend{}}
	case "ctrl+l":
		return m, []Effect{Repaint{}}
	}
	switch {
	case m.prompt != nil:
		return m.promptKey(e)
	case m.page != nil:
		return m.pageKey(e)
	}
	m.message = Span{}
	return m.mainKey(e)
}

// mainKey is a key while the panes are shown.
func (m Model) mainKey(e Key) (Model, []Effect) {
	if v, ok := verbKeys[e.Name]; ok {
		return m.ask(v)
	}
	switch e.Name {
	case "q":
		return m, []Effect{Quit{}}
	case "?", "f1":
		m.page = helpPage()
	case "tab", "shift+tab":
		m.focus = m.nextPane(e.Name == "tab")
	case "e":
		return m.explain()
	case "enter":
		if m.focus == services {
			return m.explain()
		}
		if r, ok := m.current(); ok {
			m.page = &page{title: "ALL OF THE LINE", text: []Line{line(Plain, r.full)}}
		}
	case "n":
		m = m.nextProblem()
	default:
		if by, ok := steps(e.Name, max(1, m.height/2)); ok {
			m = m.move(by)
		}
	}
	return m, nil
}

// steps is how far a key moves the cursor or the page.
func steps(key string, screen int) (int, bool) {
	const all = 1 << 20
	by, ok := map[string]int{
		"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -screen, "pgdown": screen, "space": screen,
		"home": -all, "g": -all, "end": all, "G": all,
	}[key]
	return by, ok
}

// pageKey is a key while a page covers the panes.
func (m Model) pageKey(e Key) (Model, []Effect) {
	switch e.Name {
	case "q", "esc", "enter", "?", "f1", "e", "backspace":
		m.page = nil
		return m, nil
	}
	if by, ok := steps(e.Name, max(1, m.height-3)); ok {
		p := *m.page
		last := len(p.lines(m.width)) - pageRows(m.height)
		p.top = min(max(0, p.top+by), max(0, last))
		m.page = &p
	}
	return m, nil
}

// explain opens the page that explains the slices of the row.
func (m Model) explain() (Model, []Effect) {
	r, ok := m.current()
	if !ok || r.of == nil {
		m.message = Span{"no slice belongs to this line: choose a service or a slice", Warn}
		return m, nil
	}
	var ids []slice
	for _, s := range m.status.Slices() {
		if r.of.covers(s) {
			ids = append(ids, s.Slice)
		}
	}
	if len(ids) == 0 {
		m.message = Span{"there is no slice to explain", Warn}
		return m, nil
	}
	m.page = &page{title: "EXPLAIN " + m.label(*r.of), ids: ids, note: "asking the daemon"}
	return m, []Effect{Explain{ids}}
}

// rowAt is the place of the pane's cursor among its rows.
func (m Model) rowAt(id paneID, rows []row) int {
	i := slices.IndexFunc(rows, func(r row) bool { return r.key == m.selected[id] })
	if i < 0 && id == services && len(rows) > 1 {
		return 1 // the first service: the first row is the whole POP
	}
	return max(0, i)
}

// current is the row with the cursor.
func (m Model) current() (row, bool) {
	rows := m.pane(m.focus).rows
	if len(rows) == 0 {
		return row{}, false
	}
	return rows[m.rowAt(m.focus, rows)], true
}

// move moves the cursor.
func (m Model) move(by int) Model {
	rows := m.pane(m.focus).rows
	if len(rows) > 0 {
		i := min(max(0, m.rowAt(m.focus, rows)+by), len(rows)-1)
		m.selected[m.focus] = rows[i].key
	}
	return m
}

// nextPane is the next one with rows, or the one before.
func (m Model) nextPane(forth bool) paneID {
	by := panes - 1
	if forth {
		by = 1
	}
	for i := (m.focus + by) % panes; i != m.focus; i = (i + by) % panes {
		if len(m.pane(i).rows) > 0 {
			return i
		}
	}
	return m.focus
}

// nextProblem puts the cursor on the next row that needs a look, in this pane
// or the ones after it.
func (m Model) nextProblem() Model {
	for step := range panes + 1 {
		id := (m.focus + step) % panes
		rows := m.pane(id).rows
		from, to := 0, len(rows)
		switch step {
		case 0:
			from = min(m.rowAt(id, rows)+1, to)
		case panes:
			to = min(m.rowAt(id, rows)+1, to)
		}
		if i := slices.IndexFunc(rows[from:to], func(r row) bool { return r.mark == markLook }); i >= 0 {
			m.focus, m.selected[id] = id, rows[from+i].key
			return m
		}
	}
	m.message = Span{"nothing needs a look", Good}
	return m
}
