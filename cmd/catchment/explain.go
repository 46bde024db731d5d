package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) explainCommand() *cobra.Command {
	cmd := a.completed(a.showing(&cobra.Command{
		Use:   "explain SLICE|ADDRESS|SERVICE",
		Short: "Why a slice is announced as it is, and what would change it",
		Example: `  catchment explain 192.0.2.0/24
  catchment explain 2001:db8:100::1      # the slice with that address
  catchment explain web --watch          # every slice of the service`,
		Args: aSlice(1),
	}, explain), either(sliceNames, serviceNames))
	cmd.AddCommand(a.explainDNSCommand())
	return cmd
}

func explain(ctx context.Context, c *api.Client, st api.Status, args []string) (view, error) {
	ids, err := resolve(st.Slices(), args[0])
	if err != nil {
		return view{}, err
	}
	var out []api.Explanation
	for _, id := range ids {
		e, err := c.Explain(ctx, id)
		if err != nil {
			return view{}, err
		}
		out = append(out, e)
	}
	return view{out, func(w io.Writer) {
		for i, e := range out {
			if i > 0 {
				fmt.Fprintln(w)
			}
			writeExplanation(w, e)
		}
	}}, nil
}

// resolve finds the slices that an argument means: a prefix, the longest one
// that holds an address, or all of a service.
func resolve(all []api.SliceStatus, what string) ([]policy.SliceID, error) {
	if strings.Contains(what, "/") {
		p, err := prefixOf("SLICE", what)
		return []policy.SliceID{policy.SliceID(p)}, err
	}
	if addr, err := netip.ParseAddr(what); err == nil {
		var best netip.Prefix
		for _, s := range all {
			if p := s.Slice.Prefix(); p.Contains(addr) && (!best.IsValid() || p.Bits() > best.Bits()) {
				best = p
			}
		}
		if !best.IsValid() {
			return nil, fmt.Errorf("no slice of this POP holds %v", addr)
		}
		return []policy.SliceID{policy.SliceID(best)}, nil
	}
	var ids []policy.SliceID
	names := map[string]bool{}
	for _, s := range all {
		names[string(s.Service)] = true
		if string(s.Service) == what {
			ids = append(ids, s.Slice)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("no service %q%s", what, didYouMean(what, names))
	}
	return ids, nil
}

func writeExplanation(w io.Writer, e api.Explanation) {
	s := e.Slice
	stance := s.Stance.Action.String()
	if s.Stance.Action == policy.Announce && s.Rung != "" {
		stance += ", rung " + s.Rung
	}
	say(w, "", fmt.Sprintf("%s of %s at %s: %s, for %s", paint(w, strong, s.Slice.String()), s.Service, e.POP,
		paint(w, styles[s.Stance.Action.String()], stance), age(e.Now, s.Since)))
	t := facts()
	writeStance(t, s)
	if e.Always {
		t.row("health", "not asked: the service is announced always")
	} else {
		t.row("health", fmt.Sprintf("%s for %s, %.0f %% of capacity", e.Health.Verdict, age(e.Now, e.Health.Since), e.Health.Fraction*100))
	}
	if e.Load != nil {
		t.row("load", fmt.Sprintf("%.0f", *e.Load))
	}
	t.write(w)
	writeInputs(w, e)
	if e.Balance != nil {
		fmt.Fprintf(w, "  Load (%s): %s\n", e.Balance.Mode, balanceCode(e.Now, e.Balance))
		writeSteps(w, e.Now, e.Balance, "    ")
	}
	writeSection(w, "What would change it", e.WouldChange)
	var lines []string
	for _, j := range e.Journal {
		lines = append(lines, journalTime(j)+"  "+oneLine(j.Text))
	}
	writeSection(w, "Journal", lines)
}

// writeStance is what a slice does and why.
func writeStance(t *table, s api.SliceStatus) {
	t.row("reason", oneLine(s.Reason.String()))
	if s.Wanted != nil {
		why := ""
		if s.WantedReason != nil {
			why = ", because " + oneLine(s.WantedReason.String())
		}
		t.row("wanted", s.Wanted.String()+why)
	}
	if s.Note != "" {
		t.row("note", oneLine(s.Note))
	}
	if len(s.Refused) > 0 {
		t.row("refused", "new connections to "+strings.Join(s.Refused, ", ")+" (drain.accept)")
	}
	if s.Announced != nil {
		t.row("heard as", attributes(*s.Announced))
		for _, n := range s.Announced.Neighbors {
			if n.Withhold {
				t.row(" ", "not announced to "+n.Neighbor)
				continue
			}
			t.row(" ", "to "+n.Neighbor+": "+attributes(n.Attributes))
		}
	}
	for _, g := range s.Guards {
		says := g.Says
		if g.Detail != "" {
			says += ": " + oneLine(g.Detail)
		}
		t.row("guard "+g.Guard, says)
	}
}

// writeInputs prints the parts that a decision is made of.
func writeInputs(w io.Writer, e api.Explanation) {
	if len(e.Checks) > 0 {
		fmt.Fprintln(w, "  Checks")
		writeChecks(w, e.Now, e.Checks, "    ")
	}
	if len(e.Intents) > 0 {
		fmt.Fprintln(w, "  Intents")
		for _, in := range e.Intents {
			fmt.Fprintf(w, "    %s of %s by %s, %s ago%s\n", in.What(), scope(in.Service, in.Slice), oneLine(in.By), age(e.Now, in.At), because(in.Why))
		}
	}
	if len(e.Fleet) == 0 {
		return
	}
	fmt.Fprintln(w, "  Other POPs")
	t := newTable()
	t.indent = "    "
	for _, p := range e.Fleet {
		counts := "does not count" + because(p.Because)
		if p.Counts {
			counts = "counts as announcing"
		}
		heard := "never heard"
		if !p.Heard.IsZero() {
			heard = "heard " + age(e.Now, p.Heard) + " ago by " + p.Source
		}
		says := p.Slice.Stance.String() + ", " + p.Slice.Verdict.String()
		if p.Slice.Leaving {
			says += ", wants to leave"
		}
		t.row(string(p.POP), says, heard, counts)
	}
	t.write(w)
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + oneLine(why)
}

func writeSection(w io.Writer, head string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintln(w, "  "+head)
	for _, l := range lines {
		say(w, "    ", l)
	}
}

func attributes(a api.Attributes) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if a.MED != nil {
		add("MED %d", *a.MED)
	}
	if a.LocalPref != nil {
		add("local preference %d", *a.LocalPref)
	}
	if a.Prepend > 0 {
		add("own AS %d times more", a.Prepend)
	}
	if len(a.Communities) > 0 {
		add("communities %s", strings.Join(a.Communities, " "))
	}
	if len(a.LargeCommunities) > 0 {
		add("large communities %s", strings.Join(a.LargeCommunities, " "))
	}
	if a.NextHop != "" {
		add("next hop %s", a.NextHop)
	}
	return strings.Join(parts, ", ")
}
