package main

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/cmd/internal/amount"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// writeLoad prints what the POP or a service carries; sources are those whose
// troubles say why something is unknown.
func writeLoad(w io.Writer, now time.Time, all []api.LoadStatus, sources []api.LoadSource) {
	t := newTable("LOAD", "NOW", "CAPACITY", "IN USE", "SAMPLE", "NOTE")
	t.spare = []int{4}
	for _, l := range all {
		carried, capacity, use, sampled, note := "unknown", "", "", "never", ""
		if !l.At.IsZero() {
			sampled = age(now, l.At) + " ago"
		}
		if l.Capacity > 0 {
			capacity = amount.Of(l.Unit, l.Capacity)
		}
		switch {
		case l.Value == nil:
			note = trouble(l.Unit, sources)
		case l.Capacity > 0:
			use = percent(*l.Value / l.Capacity)
			fallthrough
		default:
			carried = amount.Of(l.Unit, *l.Value)
		}
		t.row(l.Unit, carried, capacity, use, sampled, note)
	}
	t.write(w)
}

// writeHosts prints what each host of the POP carries, and how much that is of
// what it can.
func writeHosts(w io.Writer, hosts []api.HostLoad) {
	t := newTable("HOST", "IN", "OUT", "REQUESTS", "CONNECTIONS", "CPU")
	for _, h := range hosts {
		cells := []string{h.Host}
		for _, unit := range []string{"in", "out", "requests", "connections", "cpu"} {
			cell := "" // not measured
			if i := slices.IndexFunc(h.Load, func(l api.LoadStatus) bool { return l.Unit == unit }); i >= 0 {
				l := h.Load[i]
				switch {
				case l.Value == nil:
					cell = "unknown"
				case l.Capacity > 0:
					cell = amount.Of(unit, *l.Value) + ", " + percent(*l.Value/l.Capacity)
				default:
					cell = amount.Of(unit, *l.Value)
				}
			}
			cells = append(cells, cell)
		}
		t.row(cells...)
	}
	t.write(w)
}

// trouble is what is wrong with the sources of a unit.
func trouble(unit string, sources []api.LoadSource) string {
	var words []string
	for _, s := range sources {
		if s.Error != "" && slices.ContainsFunc(s.Load, func(l api.LoadStatus) bool { return l.Unit == unit }) {
			words = append(words, s.Name+": "+oneLine(s.Error))
		}
	}
	return strings.Join(words, "; ")
}

// sourcesOf are the sources that tell the load of a service: its own, and
// what counts connections for all.
func sourcesOf(st api.Status, id policy.ServiceID) (out []api.LoadSource) {
	if st.Load == nil {
		return nil
	}
	for _, s := range st.Load.Sources {
		if s.Of == "service "+string(id) || s.Name == "host:connections" {
			out = append(out, s)
		}
	}
	return out
}
