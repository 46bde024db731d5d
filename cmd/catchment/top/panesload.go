package top

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/cmd/internal/amount"
	"github.com/catchment/catchment/pop/api"
)

// loadUnits are the units with a column, by their names in pop/api.
var loadUnits = [...]string{"out", "in", "requests", "connections", "cpu"}

// nearFull is the share of a capacity from which a load needs a look.
const nearFull = 0.9

// loadPane has a row for the POP, each service and each host that is measured:
// rates, and how much that is of what it can carry. Bits and requests are of a
// second.
func loadPane(st api.Status) pane {
	p := pane{title: "LOAD", columns: []column{
		{ends: true}, {head: "OUT BIT/S"}, {head: "IN BIT/S", drop: 3}, {head: "REQ/S", drop: 1}, {head: "CONNS", drop: 2}, {head: "CPU", drop: 4}, {head: "AGE", drop: 5}, {head: "NOTE"},
	}}
	if st.Load != nil && len(st.Load.POP) > 0 {
		p.rows = append(p.rows, loadRow(st, "POP "+clean(string(st.POP)), "POP", st.Load.POP, &scope{}))
	}
	for _, s := range st.Services {
		if len(s.Measured) > 0 {
			p.rows = append(p.rows, loadRow(st, clean(string(s.ID)), "service "+string(s.ID), s.Measured, &scope{service: s.ID}))
		}
	}
	if st.Load != nil {
		for _, h := range st.Load.Hosts {
			p.rows = append(p.rows, loadRow(st, "host "+clean(h.Host), "host "+h.Host, h.Load, nil))
		}
	}
	if len(p.rows) > 0 {
		p.state = fullest(st)
	}
	p.rows = lookFirst(p.rows)
	return p
}

// fullest is the load that is nearest to its capacity, of all that have a row.
func fullest(st api.Status) Span {
	most, unit := 0.0, ""
	look := func(all []api.LoadStatus) {
		for _, l := range all {
			if use, ok := inUse(l); ok && use >= most {
				most, unit = use, l.Unit
			}
		}
	}
	if st.Load != nil {
		look(st.Load.POP)
		for _, h := range st.Load.Hosts {
			look(h.Load)
		}
	}
	for _, s := range st.Services {
		look(s.Measured)
	}
	if unit == "" {
		return Span{"no capacity set", Plain}
	}
	return Span{amount.Percent(most) + " of " + unit, loadStyle(most)}
}

func loadStyle(use float64) Style {
	switch {
	case use > 1:
		return Bad
	case use >= nearFull:
		return Warn
	}
	return Good
}

// inUse is a load as a share of its capacity, where both are known.
func inUse(l api.LoadStatus) (float64, bool) {
	if l.Value == nil || l.Capacity <= 0 {
		return 0, false
	}
	return *l.Value / l.Capacity, true
}

// loadRow is what one thing carries. of is how the sources call it.
func loadRow(st api.Status, name, of string, all []api.LoadStatus, about *scope) row {
	r := row{key: of, mark: markNone, of: about, cells: []Span{{name, Plain}}}
	var oldest time.Time
	var words, over []string
	for _, unit := range loadUnits {
		i := slices.IndexFunc(all, func(l api.LoadStatus) bool { return l.Unit == unit })
		if i < 0 {
			r.cells = append(r.cells, Span{"-", Plain})
			continue
		}
		l := all[i]
		cell := loadCell(l)
		r.cells = append(r.cells, cell)
		words = append(words, unit+" "+cell.Text)
		if use, ok := inUse(l); ok && use >= nearFull {
			r.mark = markLook
			over = append(over, fmt.Sprintf("%s at %s of %s", unit, amount.Percent(use), amount.Of(unit, l.Capacity)))
		}
		if !l.At.IsZero() && (oldest.IsZero() || l.At.Before(oldest)) {
			oldest = l.At
		}
	}
	note := over
	for _, e := range loadErrors(st, of) {
		r.mark = markLook
		note = append(note, e)
	}
	text := strings.Join(note, "; ")
	r.cells = append(r.cells, Span{age(st.Now, oldest), Plain}, Span{orDash(text), Plain})
	r.full = "load of " + name + ": " + strings.Join(words, ", ") + prefixed("; ", text)
	return r
}

// loadCell is an amount, and how much that is of what can be carried.
func loadCell(l api.LoadStatus) Span {
	if l.Value == nil {
		return Span{"unknown", Warn}
	}
	text := amount.Short(l.Unit, *l.Value)
	use, ok := inUse(l)
	if !ok {
		return Span{text, Plain}
	}
	return Span{text + " " + amount.Percent(use), loadStyle(use)}
}

// loadErrors is what is wrong with the sources of one thing. What a host does
// not have at all is no fault.
func loadErrors(st api.Status, of string) (out []string) {
	if st.Load == nil {
		return nil
	}
	for _, s := range st.Load.Sources {
		if s.Of == of && s.Error != "" && !s.Absent {
			out = append(out, clean(s.Name+": "+s.Error))
		}
	}
	return out
}
