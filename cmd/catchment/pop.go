package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// here is the source of what this POP knows of itself.
const here = "here"

// mostPOPs is how many POPs have a column of their own in a table of stances.
const mostPOPs = 6

func (a *app) popCommand() *cobra.Command {
	return a.completed(a.showing(&cobra.Command{
		Use:     "pop [NAME]",
		Aliases: []string{"pops"},
		Short:   "This POP and the others: heard when and how, what each announces",
		Long: `This POP and the others: from what source they are heard and when, their
capacity, and the stance of each slice at each of them. "?" is a slice of which
a POP says nothing; what is in brackets is too old to count.`,
		Example: "  catchment pop\n  catchment pop FRA --watch\n  catchment pop -j | jq '.[] | select(.stale)'",
		Args:    cobra.MaximumNArgs(1),
	}, func(_ context.Context, _ *api.Client, st api.Status, args []string) (view, error) {
		all := popsOf(st)
		if len(args) == 0 {
			return view{all, func(w io.Writer) { writePOPs(w, st, all) }}, nil
		}
		i := slices.IndexFunc(all, func(p api.FleetPeerStatus) bool { return string(p.POP) == args[0] })
		if i < 0 {
			return view{}, fmt.Errorf("no POP %q%s", args[0], didYouMean(args[0], among(popNames(st))))
		}
		return view{all[i], func(w io.Writer) { writePOP(w, st, all[i]) }}, nil
	}), popNames)
}

// popsOf are this POP, in the same words as the others, and the others.
func popsOf(st api.Status) []api.FleetPeerStatus {
	own := api.FleetPeerStatus{POP: st.POP, Source: here, Capacity: 1, Location: st.Location, Heard: st.Now}
	for _, svc := range st.Services {
		for _, s := range svc.Slices {
			c := api.FleetSliceStatus{Slice: s.Slice, Stance: s.Stance, Verdict: svc.Health.Verdict, Reason: s.Reason.String(), Note: s.Note}
			if svc.Always || s.Cover {
				c.Verdict = policy.Up
			}
			c.Leaving = s.Wanted != nil && !s.Wanted.Announced()
			for _, f := range slices.Concat(svc.Health.Failing, svc.Health.Shared) {
				c.Failing = append(c.Failing, f.Check)
			}
			own.Slices = append(own.Slices, c)
		}
	}
	return append([]api.FleetPeerStatus{own}, st.Fleet...)
}

func writePOPs(w io.Writer, st api.Status, all []api.FleetPeerStatus) {
	t := newTable("POP", "SOURCE", "HEARD", "RTT", "CAPACITY", "ANNOUNCES", "NOTE")
	for _, p := range all {
		when, rtt, note := heard(st, p), "", oneLine(p.Error)
		if p.Source == here {
			when, note = "", "this POP"
		}
		if p.RTT > 0 {
			rtt = time.Duration(p.RTT).Round(100 * time.Microsecond).String()
		}
		t.row(string(p.POP), p.Source, when, rtt, fmt.Sprintf("%g", p.Capacity), counts(p), note)
	}
	t.write(w)
	if len(all) == 1 {
		fmt.Fprintln(w, "\nNo other POP is configured (fleet.peers, fleet.rib): last-pop, stale and correlated are off.")
	}
	fmt.Fprintln(w)
	writeStances(w, st, all)
}

// counts says how many of its slices a POP announces, and how else it has them.
func counts(p api.FleetPeerStatus) string {
	n := map[policy.Action]int{}
	for _, s := range p.Slices {
		n[s.Stance.Action]++
	}
	out := fmt.Sprintf("%d of %d", n[policy.Announce], len(p.Slices))
	if n[policy.Drain] > 0 {
		out += fmt.Sprintf(", %d in drain", n[policy.Drain])
	}
	return out
}

// writeStances is a table of slices by POPs. Where there are too many POPs for
// columns of their own, they are counted.
func writeStances(w io.Writer, st api.Status, all []api.FleetPeerStatus) {
	head := []string{"SLICE"}
	if len(all) <= mostPOPs {
		for _, p := range all {
			head = append(head, string(p.POP))
		}
	} else {
		head = append(head, string(all[0].POP), "ANNOUNCED AT", "NOT AT")
	}
	t := newTable(head...)
	for _, s := range st.Slices() {
		row := []string{sliceName(s)}
		if len(all) <= mostPOPs {
			for _, p := range all {
				row = append(row, stanceAt(p, s.Slice))
			}
		} else {
			row = append(row, stanceAt(all[0], s.Slice))
			row = append(row, whoAnnounces(all[1:], s.Slice)...)
		}
		t.row(row...)
	}
	t.write(w)
}

// stanceAt is what a POP does with a slice, in a word; "?" if it says nothing.
func stanceAt(p api.FleetPeerStatus, id policy.SliceID) string {
	s, ok := sliceAt(p, id)
	out := stanceWords(s.Stance)
	if s.Verdict == policy.Down && s.Stance.Announced() {
		out += ", down"
	}
	switch {
	case !ok:
		return "?"
	case p.Stale:
		return "(" + out + ")"
	}
	return out
}

func stanceWords(s policy.Stance) string {
	if s.Action == policy.Announce && s.Rung > 0 {
		return fmt.Sprintf("rung %d", s.Rung)
	}
	return s.Action.String()
}

// whoAnnounces counts the POPs that announce a slice, and names those that do
// not.
func whoAnnounces(others []api.FleetPeerStatus, id policy.SliceID) []string {
	n, not := 0, []string{}
	for _, p := range others {
		if s, ok := sliceAt(p, id); ok && !p.Stale && s.Stance.Action == policy.Announce {
			n++
			continue
		}
		not = append(not, string(p.POP)+" "+stanceAt(p, id))
	}
	return []string{fmt.Sprintf("%d of %d others", n, len(others)), strings.Join(not, ", ")}
}

// writePOP prints one POP whole.
func writePOP(w io.Writer, st api.Status, p api.FleetPeerStatus) {
	t := facts()
	if p.Source == here {
		fmt.Fprintf(w, "%s, this POP: catchmentd %s, up %s\n", paint(w, strong, string(p.POP)), st.Version, age(st.Now, st.Started))
		for _, al := range st.Alarms {
			t.row("alarm", fmt.Sprintf("%s for %s: %s", al.Name, age(st.Now, al.Since), oneLine(al.Detail)))
		}
	} else {
		fmt.Fprintf(w, "%s, another POP\n", paint(w, strong, string(p.POP)))
		source := p.Source
		if p.URL != "" {
			source += ", " + p.URL
		}
		t.row("source", oneLine(source))
		t.row("heard", heard(st, p))
		if p.RTT > 0 {
			t.row("round trip", time.Duration(p.RTT).Round(100*time.Microsecond).String())
		}
	}
	t.row("capacity", fmt.Sprintf("%g", p.Capacity))
	t.row("announces", counts(p))
	if l := p.Location; l != nil {
		t.row("location", fmt.Sprintf("%.4f, %.4f", l.Latitude, l.Longitude))
	}
	if p.Error != "" {
		t.row("error", oneLine(p.Error))
	}
	t.write(w)
	if len(p.Slices) > 0 {
		fmt.Fprintln(w)
		s := newTable("SLICE", "STANCE", "VERDICT", "REASON")
		for _, c := range p.Slices {
			s.row(c.Slice.String(), stanceWords(c.Stance), c.Verdict.String(), elsewhere(api.FleetPeerStatus{}, c))
		}
		s.write(w)
	}
	writeHints(w, fmt.Sprintf("catchment plan pop %s=%s says what would follow.", cmp.Or(otherThan(st, p), "POP"), api.IsGone))
}

func otherThan(st api.Status, p api.FleetPeerStatus) string {
	if p.Source == here {
		return strings.Join(otherPOPNames(st)[:min(1, len(st.Fleet))], "")
	}
	return string(p.POP)
}
