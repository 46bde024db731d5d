package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) serviceCommand() *cobra.Command {
	return a.completed(a.showing(&cobra.Command{
		Use:     "service [NAME]",
		Aliases: []string{"services"},
		Short:   "Services and their checks, or one of them in detail",
		Example: "  catchment service\n  catchment service web --watch\n  catchment service web -j | jq .health",
		Args:    cobra.MaximumNArgs(1),
	}, func(_ context.Context, _ *api.Client, st api.Status, args []string) (view, error) {
		if len(args) == 0 {
			return view{st.Services, func(w io.Writer) { writeServices(w, st) }}, nil
		}
		s, err := serviceOf(st, args[0])
		return view{s, func(w io.Writer) { writeService(w, st, s) }}, err
	}), serviceNames)
}

func serviceOf(st api.Status, name string) (api.ServiceStatus, error) {
	i := slices.IndexFunc(st.Services, func(s api.ServiceStatus) bool { return string(s.ID) == name })
	if i < 0 {
		return api.ServiceStatus{}, fmt.Errorf("no service %q%s", name, didYouMean(name, among(serviceNames(st))))
	}
	return st.Services[i], nil
}

func writeServices(w io.Writer, st api.Status) {
	t := newTable("SERVICE", "VERDICT", "CAPACITY", "SINCE", "ANNOUNCED", "LOAD", "NOTE")
	for _, s := range st.Services {
		load := ""
		if s.Load != nil {
			load = fmt.Sprintf("%.0f", *s.Load)
		}
		verdict, capacity := s.Health.Verdict.String(), percent(s.Health.Fraction)
		if s.Always {
			verdict, capacity = "always", ""
		}
		t.row(string(s.ID), verdict, capacity, age(st.Now, s.Health.Since), fmt.Sprintf("%d of %d", announced(s.Slices), len(s.Slices)), load, serviceNote(s))
	}
	t.write(w)
	var checks []api.CheckStatus
	for _, s := range st.Services {
		checks = append(checks, s.Checks...)
	}
	if len(checks) > 0 {
		fmt.Fprintln(w)
		writeChecks(w, st.Now, checks, "")
	}
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", share*100) }

func announced(all []api.SliceStatus) int {
	n := 0
	for _, s := range all {
		if s.Stance.Announced() {
			n++
		}
	}
	return n
}

func serviceNote(s api.ServiceStatus) string {
	removed := func(sl api.SliceStatus) bool {
		return sl.Reason.Code == policy.Removed || sl.WantedReason != nil && sl.WantedReason.Code == policy.Removed
	}
	switch h := s.Health; {
	case slices.ContainsFunc(s.Slices, removed):
		return "removed from the configuration, not off the air yet"
	case h.Stalled:
		return "the checks have stopped running"
	case h.Empty:
		return "no checks configured"
	case h.Maintenance:
		return "maintenance"
	case len(h.Shared) > 0:
		return fmt.Sprintf("%d shared checks down", len(h.Shared))
	}
	return ""
}

// writeService prints one service whole.
func writeService(w io.Writer, st api.Status, s api.ServiceStatus) {
	verdict := fmt.Sprintf("%s for %s, %s of capacity", s.Health.Verdict, age(st.Now, s.Health.Since), percent(s.Health.Fraction))
	if s.Always {
		verdict = "announced always, whatever checks say"
	}
	say(w, "", fmt.Sprintf("%s at %s: %s", paint(w, strong, string(s.ID)), st.POP, paint(w, styles[s.Health.Verdict.String()], verdict)))
	t := facts()
	if note := serviceNote(s); note != "" {
		t.row("note", note)
	}
	for _, f := range slices.Concat(s.Health.Failing, s.Health.Shared) {
		t.row("failing", string(f.Check)+": "+oneLine(f.Detail))
	}
	if s.Load != nil {
		t.row("load", fmt.Sprintf("%.0f", *s.Load))
	}
	t.write(w)
	fmt.Fprintln(w)
	writeSlices(w, st.Now, s.Slices)
	if len(s.Measured) > 0 {
		fmt.Fprintln(w)
		writeLoad(w, st.Now, s.Measured, sourcesOf(st, s.ID))
	}
	if len(s.Checks) > 0 {
		fmt.Fprintln(w)
		writeChecks(w, st.Now, s.Checks, "")
	}
	mine := slices.DeleteFunc(slices.Clone(st.Intents), func(in policy.Intent) bool {
		return !slices.ContainsFunc(s.Slices, func(sl api.SliceStatus) bool { return in.Covers(s.ID, sl.Slice) })
	})
	if len(mine) > 0 {
		fmt.Fprintln(w)
		writeIntents(w, st.Now, mine)
	}
	writeHints(w, "catchment explain "+string(s.ID)+" says why, catchment plan drain "+string(s.ID)+" what a drain would do.")
}

// writeHints prints what to look at next, where a person reads.
func writeHints(w io.Writer, hints ...string) {
	if s, ok := w.(screen); !ok || !s.clear {
		return
	}
	fmt.Fprintln(w)
	for _, h := range hints {
		say(w, "", h)
	}
}
