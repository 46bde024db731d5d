package top

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func neighborPane(st api.Status) pane {
	p := pane{title: "NEIGHBORS", columns: []column{
		{ends: true}, {head: "AS", drop: 3}, {head: "STATE"}, {head: "FOR"}, {head: "SENT", drop: 4}, {head: "RECV", drop: 5}, {head: "BFD", drop: 2}, {head: "NOTE"},
	}}
	up := 0
	for _, n := range st.Neighbors {
		if n.State == bgp.Established {
			up++
		}
		p.rows = append(p.rows, neighborRow(st.Now, n))
	}
	p.state = share(up, len(p.rows), "up")
	p.rows = lookFirst(p.rows)
	return p
}

func neighborRow(now time.Time, n api.PeerStatus) row {
	state := Span{string(n.State), Good}
	mark := byte(markNone)
	var note []string
	if n.State != bgp.Established {
		state.Style, mark = Bad, markLook
	}
	if n.AdminDown {
		state, mark = Span{state.Text + " (admin)", Operator}, markOperator
	}
	if n.BFD != "" && n.BFD != "up" {
		mark = markLook
	}
	if n.Description != "" {
		note = append(note, n.Description)
	}
	if n.State == bgp.Established && !n.GracefulRestart {
		note = append(note, "no graceful restart")
	}
	if n.Flaps > 0 {
		note = append(note, fmt.Sprintf("lost %d times", n.Flaps))
	}
	if n.LastError != "" {
		note = append(note, n.LastError)
	} else if n.State != bgp.Established && n.Flaps == 0 && !n.AdminDown {
		note = append(note, "has not been up yet")
	}
	notes := clean(strings.Join(note, "; "))
	return row{
		key: n.Address.String(), mark: mark,
		cells: []Span{
			{n.Address.String(), Plain}, {strconv.FormatUint(uint64(n.AS), 10), Plain}, state, {age(now, n.Since), Plain},
			{strconv.Itoa(n.Advertised), Plain}, {strconv.Itoa(n.Received), Plain}, {orDash(clean(n.BFD)), Plain}, {orDash(notes), Plain},
		},
		full: fmt.Sprintf("neighbor %v, AS %d: %s%s", n.Address, n.AS, state.Text, prefixed(": ", notes)),
	}
}

func popPane(st api.Status) pane {
	p := pane{title: "OTHER POPS", columns: []column{{}, {head: "HEARD"}, {head: "RTT", drop: 1}, {head: "BY", drop: 2}, {head: "ANNOUNCES"}, {head: "NOTE"}}}
	fresh := 0
	for _, f := range st.Fleet {
		if !f.Stale {
			fresh++
		}
		p.rows = append(p.rows, popRow(st.Now, f))
	}
	p.state = share(fresh, len(p.rows), "heard")
	p.rows = lookFirst(p.rows)
	return p
}

func popRow(now time.Time, f api.FleetPeerStatus) row {
	heard, rtt := Span{"never", Bad}, "-"
	if !f.Heard.IsZero() {
		heard = Span{age(now, f.Heard) + " ago", Plain}
	}
	if f.RTT > 0 {
		rtt = millis(f.RTT)
	}
	n := 0
	var note []string
	if f.Stale && !f.Heard.IsZero() {
		heard.Style = Bad
		note = append(note, "stale")
	}
	if f.Error != "" {
		note = append(note, f.Error)
	}
	for _, s := range f.Slices {
		if s.Stance.Announced() {
			n++
		}
		if s.Note != "" {
			note = append(note, s.Slice.String()+": "+s.Note)
		}
	}
	r := row{key: string(f.POP) + f.Source, mark: markNone}
	if len(note) > 0 || f.Stale {
		r.mark = markLook
	}
	what := clean(fmt.Sprintf("%d of %d slices", n, len(f.Slices)))
	notes := clean(strings.Join(note, "; "))
	r.cells = []Span{{clean(string(f.POP)), Plain}, heard, {rtt, Plain}, {clean(f.Source), Plain}, {what, Plain}, {orDash(notes), Plain}}
	r.full = fmt.Sprintf("POP %s, heard %s by %s, announces %s%s", clean(string(f.POP)), heard.Text, clean(f.Source), what, prefixed(": ", notes))
	return r
}

// elsewhere names the other POPs that announce a slice, as far as they were
// heard lately.
func elsewhere(st api.Status, id policy.SliceID) Span {
	if len(st.Fleet) == 0 {
		return Span{"-", Plain}
	}
	var names []string
	seen := map[policy.POPID]bool{}
	for _, f := range st.Fleet {
		for _, s := range f.Slices {
			if s.Slice == id && s.Stance.Action == policy.Announce && !f.Stale && !seen[f.POP] {
				seen[f.POP] = true
				names = append(names, clean(string(f.POP)))
			}
		}
	}
	switch text := strings.Join(names, ","); {
	case len(names) == 0:
		return Span{"none", Warn}
	case width(text) > 8:
		return Span{fmt.Sprintf("%d POPs", len(names)), Plain}
	default:
		return Span{text, Plain}
	}
}

func (m Model) journalPane() pane {
	p := pane{title: "JOURNAL", columns: []column{{}, {head: "KIND", drop: 1}, {head: "WHAT"}}}
	if m.lost != "" {
		p.state = Span{"not followed", Bad}
	}
	for i := len(m.entries) - 1; i >= 0; i-- { // the newest first
		p.rows = append(p.rows, entryRow(m.status.Now, m.entries[i]))
	}
	return p
}

func entryRow(now time.Time, e api.JournalEntry) row {
	text, id := clean(e.Text), e.Slice.String()
	r := row{key: strconv.FormatUint(e.Seq, 10), mark: markNone}
	about := clean(string(e.Service))
	if e.Service != "" {
		r.of = &scope{service: e.Service}
	}
	if e.Slice.Prefix().IsValid() {
		about, r.of = id, &scope{slice: e.Slice}
	}
	if about != "" && !strings.HasPrefix(text, about) {
		text = about + ": " + text
	}
	kind := Span{clean(e.Kind), Plain}
	switch e.Kind {
	case "alarm":
		kind.Style = Bad
	case "intent":
		kind.Style, r.mark = Operator, markOperator
	}
	// The clock and its zone are the daemon's.
	at := e.Time.Format("15:04:05")
	if now.Sub(e.Time) >= 24*time.Hour {
		at = e.Time.Format("01-02 15:04")
	}
	r.cells = []Span{{at, Plain}, kind, {text, Plain}}
	r.full = e.Time.Format("2006-01-02T15:04:05.000Z07:00") + "  " + kind.Text + "  " + text
	return r
}
