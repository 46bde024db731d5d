package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) checkCommand() *cobra.Command {
	return a.completed(a.showing(&cobra.Command{
		Use:   "check [SERVICE[/CHECK]]",
		Short: "Checks: verdict, last result, how long it took",
		Long: `Checks: verdict, last result, how long it took. "pass x5400" is 5400 passes in
a row; "in doubt" is probed faster until rise or fall decides; "hung" runs did
not come back. A shared check lowers preference and never withdraws.`,
		Example: "  catchment check\n  catchment check web --watch\n  catchment check web/http -j",
		Args:    cobra.MaximumNArgs(1),
	}, func(_ context.Context, _ *api.Client, st api.Status, args []string) (view, error) {
		all := checksOf(st)
		if len(args) == 0 {
			return view{all, func(w io.Writer) { writeCheckList(w, st.Now, all) }}, nil
		}
		some, err := selectChecks(st, all, args[0])
		if err != nil {
			return view{}, err
		}
		if strings.Contains(args[0], "/") {
			return view{some[0], func(w io.Writer) { writeCheck(w, st, some[0]) }}, nil
		}
		return view{some, func(w io.Writer) { writeCheckList(w, st.Now, some) }}, nil
	}), either(checkNames, serviceNames))
}

func checksOf(st api.Status) []api.CheckStatus {
	all := []api.CheckStatus{}
	for _, s := range st.Services {
		all = append(all, s.Checks...)
	}
	return all
}

// selectChecks finds those of a service, one by SERVICE/CHECK, or all of a
// name whatever their service.
func selectChecks(st api.Status, all []api.CheckStatus, what string) ([]api.CheckStatus, error) {
	var some []api.CheckStatus
	for _, c := range all {
		if what == string(c.Service) || what == string(c.Service)+"/"+string(c.ID) || what == string(c.ID) {
			some = append(some, c)
		}
	}
	if len(some) > 0 {
		return some, nil
	}
	if service, check, ok := strings.Cut(what, "/"); ok {
		s, err := serviceOf(st, service)
		if err != nil {
			return nil, err
		}
		names := map[string]bool{}
		for _, c := range s.Checks {
			names[string(c.ID)] = true
		}
		return nil, fmt.Errorf("no check %q of %s%s", check, service, didYouMean(check, names))
	}
	if s, err := serviceOf(st, what); err == nil {
		return nil, fmt.Errorf("%s has no checks%s", s.ID, because(serviceNote(s)))
	}
	return nil, fmt.Errorf("no service or check %q%s", what, didYouMean(what, among(either(checkNames, serviceNames)(st))))
}

func writeCheckList(w io.Writer, now time.Time, all []api.CheckStatus) {
	if len(all) == 0 {
		fmt.Fprintln(w, "no checks")
		return
	}
	writeChecks(w, now, all, "")
}

func writeChecks(w io.Writer, now time.Time, checks []api.CheckStatus, indent string) {
	t := newTable("CHECK", "SERVICE", "VERDICT", "SINCE", "LAST", "TOOK", "DETAIL")
	t.indent, t.least = indent, []int{1}
	for _, c := range checks {
		t.row(checkName(c), string(c.Service), c.Verdict.String(), age(now, c.Since), lastRun(c), took(c), checkDetail(c))
	}
	t.write(w)
}

func checkName(c api.CheckStatus) string {
	id := string(c.ID)
	if c.Shared {
		id += " (shared)"
	}
	if c.Maintenance {
		id += " (maintenance)"
	}
	return id
}

// lastRun says what the last run said, and how often in a row.
func lastRun(c api.CheckStatus) string {
	last := fmt.Sprintf("%s x%d", c.Outcome, c.Streak)
	if c.InDoubt {
		last += ", in doubt"
	}
	if c.Hung > 0 {
		last += fmt.Sprintf(", %d hung", c.Hung)
	}
	return last
}

func took(c api.CheckStatus) string {
	return time.Duration(c.Latency).Round(10 * time.Microsecond).String()
}

func checkDetail(c api.CheckStatus) string {
	detail := oneLine(c.Detail)
	if c.DetectedBy != "" && c.DetectedBy != "probe" && c.Verdict == policy.Down {
		detail += " (seen by " + c.DetectedBy + ")"
	}
	return detail
}

// writeCheck prints one check whole.
func writeCheck(w io.Writer, st api.Status, c api.CheckStatus) {
	name := string(c.Service) + "/" + checkName(c)
	say(w, "", fmt.Sprintf("%s at %s: %s for %s", paint(w, strong, name), st.POP, paint(w, styles[c.Verdict.String()], c.Verdict.String()), age(st.Now, c.Since)))
	t := facts()
	t.row("last run", lastRun(c)+", took "+took(c))
	t.row("it said", checkDetail(c))
	if c.DetectedBy != "" {
		t.row("seen by", c.DetectedBy)
	}
	if s, err := serviceOf(st, string(c.Service)); err == nil {
		t.row("service", fmt.Sprintf("%s for %s, %s of capacity; announces %d of %d slices",
			s.Health.Verdict, age(st.Now, s.Health.Since), percent(s.Health.Fraction), announced(s.Slices), len(s.Slices)))
	}
	t.write(w)
	writeHints(w, fmt.Sprintf("catchment plan check %s/%s=down says what would happen if it failed.", c.Service, c.ID))
}
