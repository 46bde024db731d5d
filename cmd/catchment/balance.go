package main

import (
	"fmt"
	"io"
	"time"

	"github.com/catchment/catchment/cmd/internal/amount"
	"github.com/catchment/catchment/pop/api"
)

// writeBalance prints the load loop: what it decided, by which loads, and what
// came of its steps.
func writeBalance(w io.Writer, now time.Time, b *api.BalanceStatus) {
	say(w, "", fmt.Sprintf("Balance (%s): %s", b.Mode, balanceCode(now, b)))
	for _, n := range b.Notes {
		say(w, "  ", "note: "+oneLine(n))
	}
	if len(b.POPs) > 0 {
		writeBalancePOPs(w, now, b)
	}
	writeSteps(w, now, b, "  ")
}

func balanceCode(now time.Time, b *api.BalanceStatus) string {
	if b.At.IsZero() {
		return "no round yet"
	}
	text := b.Code
	if b.Detail != "" {
		text += ": " + oneLine(b.Detail)
	}
	return text + ", " + age(now, b.At) + " ago"
}

func writeBalancePOPs(w io.Writer, now time.Time, b *api.BalanceStatus) {
	t := newTable("POP", "LOAD", "USED", "HEARD", "ROOM", "AFTER")
	t.indent = "  "
	for _, p := range b.POPs {
		heard, used, after := "never", "", ""
		if !p.At.IsZero() {
			heard = age(now, p.At) + " ago"
		}
		if p.Capacity > 0 {
			used = percent(p.Load / p.Capacity)
		}
		if p.Low != nil && p.High != nil && p.Capacity > 0 {
			after = percent(*p.Low/p.Capacity) + " to " + percent(*p.High/p.Capacity)
		}
		t.row(string(p.POP), amount.Of(b.Unit, p.Load), used, heard, amount.Of(b.Unit, p.Room), after)
	}
	t.write(w)
}

// writeSteps prints the steps of slices, and the room that is reserved.
func writeSteps(w io.Writer, now time.Time, b *api.BalanceStatus, indent string) {
	for _, s := range b.Steps {
		when := "would go"
		if !s.At.IsZero() {
			when = age(now, s.At) + " ago"
		}
		text := fmt.Sprintf("%v %s from %s to %s: %s ± %s", s.Slice, when, s.From, s.To, amount.Of(b.Unit, max(s.Moves, -s.Moves)), amount.Of(b.Unit, s.Within))
		if s.Moves < 0 {
			text += " back"
		}
		for i, a := range s.Arrive {
			sep := ", "
			if s.Moves < 0 {
				break // all of it to us
			}
			if i == 0 {
				sep = " to "
			}
			text += fmt.Sprintf("%s%s %s (at most %s)", sep, a.To, amount.Of(b.Unit, a.Mean), amount.Of(b.Unit, a.High))
		}
		if s.Probe {
			text += "; never tried before"
		}
		say(w, indent, text)
		if s.Outcome != "" {
			style := plain
			if s.Wrong {
				style = bad
			}
			say(w, indent+"  ", paint(w, style, oneLine(s.Outcome)))
		}
	}
	for _, r := range b.Reserved {
		text := fmt.Sprintf("%s has reserved %s at %s for %v", r.From, amount.Of(b.Unit, r.High), r.To, r.Slice)
		if r.Applied {
			text += ", on its way"
		}
		if !r.Until.IsZero() {
			text += ", until " + r.Until.UTC().Format("15:04:05 MST")
		}
		say(w, indent, text)
	}
}
