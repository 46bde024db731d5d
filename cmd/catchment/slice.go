package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) sliceCommand() *cobra.Command {
	return a.completed(a.showing(&cobra.Command{
		Use:     "slice [PREFIX|ADDRESS|SERVICE]",
		Aliases: []string{"slices"},
		Short:   "Announced prefixes: stance here and elsewhere, and why",
		Example: "  catchment slice\n  catchment slice 2001:db8:100::/48 --watch\n  catchment slice web -j | jq '.[].stance'",
		Args:    aSlice(0),
	}, func(_ context.Context, _ *api.Client, st api.Status, args []string) (view, error) {
		all := st.Slices()
		if len(args) == 0 {
			if all == nil {
				all = []api.SliceStatus{}
			}
			return view{all, func(w io.Writer) { writeSliceList(w, st, all) }}, nil
		}
		ids, err := resolve(all, args[0])
		if err != nil {
			return view{}, err
		}
		var some []api.SliceStatus
		for _, s := range all {
			for _, id := range ids {
				if s.Slice == id {
					some = append(some, s)
				}
			}
		}
		switch {
		case len(some) == 0:
			return view{}, fmt.Errorf("%v is no slice of this POP%s", ids[0], didYouMean(ids[0].String(), among(sliceNames(st))))
		case string(some[0].Service) == args[0]:
			return view{some, func(w io.Writer) { writeSliceList(w, st, some) }}, nil
		}
		return view{some[0], func(w io.Writer) { writeSlice(w, st, some[0]) }}, nil
	}), either(sliceNames, serviceNames))
}

func writeSliceList(w io.Writer, st api.Status, all []api.SliceStatus) {
	if len(all) == 0 {
		fmt.Fprintln(w, "no slices")
		return
	}
	t := newTable("SLICE", "SERVICE", "STANCE", "RUNG", "SINCE", "ALSO AT", "REASON")
	t.least = []int{1, 6}
	for _, s := range all {
		reason := s.Reason.String()
		if s.Note != "" {
			reason += "; " + s.Note
		}
		t.row(sliceName(s), string(s.Service), s.Stance.Action.String(), s.Rung, age(st.Now, s.Since), alsoAt(st, s.Slice), oneLine(reason))
	}
	t.write(w)
}

func sliceName(s api.SliceStatus) string {
	if s.Cover {
		return s.Slice.String() + " (cover)"
	}
	return s.Slice.String()
}

// alsoAt says how many of the other POPs announce a slice, as far as they are
// heard.
func alsoAt(st api.Status, id policy.SliceID) string {
	n := 0
	for _, p := range st.Fleet {
		if s, ok := sliceAt(p, id); ok && !p.Stale && s.Stance.Action == policy.Announce {
			n++
		}
	}
	if len(st.Fleet) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d", n, len(st.Fleet))
}

func sliceAt(p api.FleetPeerStatus, id policy.SliceID) (api.FleetSliceStatus, bool) {
	for _, s := range p.Slices {
		if s.Slice == id {
			return s, true
		}
	}
	return api.FleetSliceStatus{}, false
}

// writeSlice prints one slice whole: here, and at every other POP.
func writeSlice(w io.Writer, st api.Status, s api.SliceStatus) {
	stance := s.Stance.Action.String()
	if s.Stance.Action == policy.Announce && s.Rung != "" {
		stance += ", rung " + s.Rung
	}
	say(w, "", fmt.Sprintf("%s of %s at %s: %s, for %s", paint(w, strong, sliceName(s)), s.Service, st.POP,
		paint(w, styles[s.Stance.Action.String()], stance), age(st.Now, s.Since)))
	t := facts()
	writeStance(t, s)
	if s.Next != "" {
		t.row("next", oneLine(s.Next))
	}
	if in := s.Intent; in.Kind != "" {
		t.row("intent", fmt.Sprintf("%s by %s, %s ago%s", in.Kind, oneLine(in.By), age(st.Now, in.At), because(in.Why)))
	}
	t.write(w)
	if len(st.Fleet) > 0 {
		fmt.Fprintln(w)
		writeElsewhere(w, st, s.Slice)
	}
	writeHints(w, fmt.Sprintf("catchment explain %v says why, catchment plan drain %v what a drain would do.", s.Slice, s.Slice))
}

// writeElsewhere is what the other POPs do with a slice.
func writeElsewhere(w io.Writer, st api.Status, id policy.SliceID) {
	t := newTable("OTHER POP", "STANCE", "VERDICT", "HEARD", "REASON")
	for _, p := range st.Fleet {
		s, ok := sliceAt(p, id)
		stance, verdict := s.Stance.Action.String(), s.Verdict.String()
		if !ok {
			stance, verdict = "", ""
		}
		t.row(string(p.POP), stance, verdict, heard(st, p), elsewhere(p, s))
	}
	t.write(w)
}

// heard says when another POP was heard last.
func heard(st api.Status, p api.FleetPeerStatus) string {
	switch {
	case p.Heard.IsZero():
		return "never"
	case p.Stale:
		return age(st.Now, p.Heard) + " ago, stale"
	}
	return age(st.Now, p.Heard) + " ago"
}

// elsewhere is what else is known of a slice at another POP.
func elsewhere(p api.FleetPeerStatus, s api.FleetSliceStatus) string {
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if s.Leaving {
		add("wants to leave")
	}
	if len(s.Failing) > 0 {
		var ids []string
		for _, id := range s.Failing {
			ids = append(ids, string(id))
		}
		add("failing: %s", strings.Join(ids, ", "))
	}
	for _, text := range []string{s.Reason, s.Note} {
		if text != "" {
			add("%s", text)
		}
	}
	if p.Error != "" {
		add("%s", p.Error)
	}
	return oneLine(strings.Join(words, "; "))
}
