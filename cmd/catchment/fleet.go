package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/cmd/internal/amount"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) fleetCommand() *cobra.Command {
	return a.showing(&cobra.Command{
		Use:   "fleet",
		Short: "All POPs: load, sessions, drains, maintenance, and who is believed",
		Long: `All POPs as this one knows them: when each was heard, its version, what it
announces, its load against its capacity, the deepest rung on which it is, its
BGP sessions, and what it is to the control core. Below are drains and
maintenance windows, where BGP shows another thing than a POP says, and what
the guards make of all that. What is in brackets is too old to count.`,
		Example: "  catchment fleet\n  catchment fleet --watch\n  catchment fleet -j | jq '.all[] | select(.stale)'",
		Args:    cobra.NoArgs,
	}, whole((*api.Client).Fleet, writeAll))
}

func writeAll(w io.Writer, f api.Fleet) {
	t := newTable("POP", "AT", "HEARD", "VERSION", "ANNOUNCES", "LEVEL", "LOAD", "IN USE", "SESSIONS", "CORE")
	t.spare = []int{1, 3}
	for _, m := range f.All {
		t.row(memberRow(f, m)...)
	}
	t.write(w)
	writeDrains(w, f)
	writeWindows(w, f)
	writeDiffers(w, f)
	said := false
	for _, m := range f.All {
		for _, s := range m.Follows {
			if !said {
				fmt.Fprintln(w)
				said = true
			}
			say(w, "  ", fmt.Sprintf("%s %s", paint(w, strong, string(m.POP)+":"), oneLine(s)))
		}
	}
	if len(f.All) == 1 {
		fmt.Fprintln(w, "\nNo other POP is configured (fleet.peers, fleet.rib).")
	}
}

func memberRow(f api.Fleet, m api.FleetMember) []string {
	at, when := "", "here"
	if l := m.Location; l != nil {
		at = fmt.Sprintf("%.2f %.2f", l.Latitude, l.Longitude)
	}
	if !m.Here {
		if when = age(f.Now, m.Heard) + " ago"; m.Heard.IsZero() {
			when = "never"
		}
	}
	announces := fmt.Sprintf("%d of %d", m.Slices.Announced, m.Slices.All)
	if m.Slices.Drained > 0 {
		announces += fmt.Sprintf(", %d in drain", m.Slices.Drained)
	}
	if m.Slices.Down > 0 {
		announces += fmt.Sprintf(", %d down", m.Slices.Down)
	}
	level := ""
	if m.Slices.Announced > 0 {
		level = fmt.Sprint(m.Level)
	}
	carried, use, sessions := "", "", ""
	if l := m.Load; l != nil && l.Value != nil {
		carried = amount.Of(l.Unit, *l.Value)
		if l.Capacity > 0 {
			use = amount.Percent(*l.Value / l.Capacity)
			carried += " of " + amount.Of(l.Unit, l.Capacity)
		}
	}
	if m.Sessions.All > 0 {
		sessions = fmt.Sprintf("%d of %d", m.Sessions.Up, m.Sessions.All)
	}
	core := m.Core
	if m.CoreLost {
		core += ", lost"
	}
	row := []string{string(m.POP), at, when, oneLine(m.Version), announces, level, carried, use, sessions, oneLine(core)}
	if m.Stale && !m.Heard.IsZero() {
		for i := range row[3:] {
			if c := &row[3+i]; *c != "" {
				*c = "(" + *c + ")"
			}
		}
	}
	return row
}

func writeDrains(w io.Writer, f api.Fleet) {
	t := newTable("DRAIN AT", "OF", "STATE", "SINCE", "UNTIL", "BY", "WHY")
	t.wrap = true
	for _, m := range f.All {
		for _, d := range m.Drains {
			state, until, why := "drain", "undrain", oneLine(d.Why)
			if d.Waits {
				state = "wait"
			}
			if !d.Until.IsZero() {
				until = "in " + age(d.Until, f.Now)
			}
			t.row(string(m.POP), oneLine(d.Of), state, age(f.Now, d.Since), until, oneLine(d.By), why)
			if d.Detail != "" {
				t.row(" ", " ", " ", " ", " ", " ", oneLine(d.Detail))
			}
		}
	}
	t.after(w)
}

func writeWindows(w io.Writer, f api.Fleet) {
	t := newTable("MAINTENANCE AT", "NAME", "OF", "STARTS", "ENDS", "WHY")
	for _, m := range f.All {
		for _, x := range m.Windows {
			t.row(string(m.POP), oneLine(x.Name), oneLine(x.Of), clock(f, x.Start), clock(f, x.End), oneLine(x.Why))
		}
	}
	t.after(w)
}

func writeDiffers(w io.Writer, f api.Fleet) {
	t := newTable("POP", "SLICE", "SAYS", "BGP SHOWS", "FOR", "FOLLOWS")
	for _, m := range f.All {
		for _, d := range m.Differs {
			shows := "nothing of it"
			if d.Shown {
				shows = "its route"
			}
			t.row(string(m.POP), d.Slice.String(), stanceWords(d.Says), shows, age(f.Now, d.Since), oneLine(d.Follows))
		}
	}
	t.after(w)
}

// after writes a table that has rows, below a blank line.
func (t *table) after(w io.Writer) {
	if len(t.rows) > 1 {
		fmt.Fprintln(w)
		t.write(w)
	}
}

// clock is a time of day with how far it is away.
func clock(f api.Fleet, t time.Time) string {
	out := t.UTC().Format("2006-01-02 15:04 UTC")
	if t.After(f.Now) {
		return out + ", in " + age(t, f.Now)
	}
	return out + ", " + age(f.Now, t) + " ago"
}
