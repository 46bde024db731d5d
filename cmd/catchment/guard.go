package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// guardDoc is a guard and what it said in the last decision.
type guardDoc struct {
	Guard  string      `json:"guard"`
	On     bool        `json:"on"`
	Rule   string      `json:"rule"`
	Limits []string    `json:"limits,omitempty"`
	Detail string      `json:"detail,omitempty"` // why it is off
	Said   []guardSaid `json:"said"`             // of each slice that it was asked about
	// Objects is how many of them it keeps from what is wanted.
	Objects int `json:"objects"`
}

type guardSaid struct {
	Slice   policy.SliceID   `json:"slice"`
	Service policy.ServiceID `json:"service"`
	Says    string           `json:"says"`
	Wanted  *policy.Stance   `json:"wanted,omitempty"` // nil: what is there is what is wanted
	Stance  policy.Stance    `json:"stance"`           // what is there instead
	Detail  string           `json:"detail,omitempty"`
}

func (a *app) guardCommand() *cobra.Command {
	return a.completed(a.showing(&cobra.Command{
		Use:     "guard [NAME]",
		Aliases: []string{"guards"},
		Short:   "Safety rules: their limits, and what they object to",
		Long: `Safety rules: what each does, whether it is on, its limits, and what it said in
the last decision about each slice. A guard is asked before anything takes
traffic away, so one that has nothing to say was not asked or did not mind.

weaken: something milder is done instead; veto: what is there stays; wait: it
is allowed later without anybody's doing.`,
		Example: "  catchment guard\n  catchment guard last-pop --watch\n  catchment guard -j | jq '.[] | select(.objects > 0)'",
		Args:    cobra.MaximumNArgs(1),
	}, func(_ context.Context, _ *api.Client, st api.Status, args []string) (view, error) {
		all := guardsOf(st)
		if len(args) == 0 {
			return view{all, func(w io.Writer) { writeGuards(w, all) }}, nil
		}
		i := slices.IndexFunc(all, func(g guardDoc) bool { return g.Guard == args[0] })
		if i < 0 {
			return view{}, fmt.Errorf("no guard %q%s", args[0], didYouMean(args[0], among(guardNames(st))))
		}
		return view{all[i], func(w io.Writer) { writeGuard(w, all[i]) }}, nil
	}), guardNames)
}

func guardsOf(st api.Status) []guardDoc {
	all := []guardDoc{}
	for _, g := range st.Guards {
		doc := guardDoc{Guard: g.Guard, On: g.Says != api.Off, Rule: g.Rule, Limits: g.Limits, Detail: g.Detail, Said: []guardSaid{}}
		for _, s := range st.Slices() {
			for _, said := range s.Guards {
				if said.Guard != g.Guard {
					continue
				}
				doc.Said = append(doc.Said, guardSaid{Slice: s.Slice, Service: s.Service, Says: said.Says, Wanted: s.Wanted, Stance: s.Stance, Detail: said.Detail})
				if said.Says != api.Allow {
					doc.Objects++
				}
			}
		}
		all = append(all, doc)
	}
	return all
}

func writeGuards(w io.Writer, all []guardDoc) {
	t := newTable("GUARD", "STATE", "OBJECTS", "RULE, LIMITS")
	t.wrap = true
	var said []guardDoc
	for _, g := range all {
		state, limits := api.On, strings.Join(g.Limits, "; ")
		if !g.On {
			state, limits = api.Off, g.Detail
		}
		objects := "-"
		if g.Objects > 0 {
			objects = fmt.Sprintf("to %d", g.Objects)
		}
		t.row(g.Guard, state, objects, oneLine(g.Rule))
		if limits != "" {
			t.row(" ", " ", " ", oneLine(limits))
		}
		if len(g.Said) > 0 {
			said = append(said, g)
		}
	}
	t.write(w)
	if len(said) == 0 {
		fmt.Fprintln(w, "\nNone of them had anything to say about the last decision.")
		return
	}
	fmt.Fprintln(w)
	writeSaid(w, said, true)
}

// writeSaid is what guards said in the last decision.
func writeSaid(w io.Writer, all []guardDoc, name bool) {
	head := []string{"SLICE", "GUARD", "SAYS", "WANTED", "INSTEAD", "DETAIL"}
	if !name {
		head = slices.Delete(head, 1, 2)
	}
	t := newTable(head...)
	for _, g := range all {
		for _, s := range g.Said {
			wanted, instead := "", ""
			if s.Wanted != nil {
				wanted, instead = stanceWords(*s.Wanted), stanceWords(s.Stance)
			}
			row := []string{s.Slice.String(), g.Guard, s.Says, wanted, instead, oneLine(s.Detail)}
			if !name {
				row = slices.Delete(row, 1, 2)
			}
			t.row(row...)
		}
	}
	t.write(w)
}

func writeGuard(w io.Writer, g guardDoc) {
	state := api.On
	if !g.On {
		state = api.Off
	}
	fmt.Fprintf(w, "%s: %s\n", paint(w, strong, g.Guard), paint(w, styles[state], state))
	t := facts()
	t.row("rule", oneLine(g.Rule))
	if g.Detail != "" {
		t.row("off because", oneLine(g.Detail))
	}
	for i, l := range g.Limits {
		name := " "
		if i == 0 {
			name = "limits"
		}
		t.row(name, oneLine(l))
	}
	t.write(w)
	fmt.Fprintln(w)
	if len(g.Said) == 0 {
		fmt.Fprintln(w, "It had nothing to say about the last decision.")
		return
	}
	writeSaid(w, []guardDoc{g}, false)
}
