package api

import (
	"fmt"
	"strings"

	"github.com/catchment/catchment/policy"
)

// WouldChange says what would change a slice's stance, a sentence each, from
// the rest of its explanation. It knows the rules of policy only as far as
// people need them; policy itself remains the judge.
func WouldChange(e Explanation) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	s := e.Slice
	if s.Next != "" {
		when := ""
		if !s.NextAt.IsZero() {
			when = fmt.Sprintf(" in %v", s.NextAt.Sub(e.Now).Round(100_000_000))
		}
		add("By itself%s: %s.", when, s.Next)
	}
	switch {
	case s.Intent.Kind != "":
		add("`%s` ends the %s of %s.", ending(s), s.Intent.Kind, s.Intent.By)
		if s.Intent.Kind == policy.IntentHold {
			add("Until then health changes nothing here.")
		}
	case s.Cover || e.Always:
		add("Health never changes it; only an operator who names it, or the end of the daemon.")
	default:
		out = append(out, healthChanges(e)...)
	}
	if s.Reason.Code == policy.Guarded {
		out = append(out, guardChanges(s)...)
	}
	return out
}

func ending(s SliceStatus) string {
	verb := "release"
	if s.Intent.Kind == policy.IntentDrain {
		verb = "undrain"
	}
	cmd := "catchment " + verb
	if s.Intent.Service != "" {
		cmd += " " + string(s.Intent.Service)
	}
	if s.Intent.Slice.Prefix().IsValid() {
		cmd += " --slice " + s.Intent.Slice.String()
	}
	return cmd
}

func healthChanges(e Explanation) []string {
	var out []string
	svc := e.Slice.Service
	switch {
	case e.Health.Empty:
		return []string{fmt.Sprintf("A check of %s: without one nothing is judged, so nothing changes.", svc)}
	case e.Health.Maintenance:
		out = append(out, "The maintenance check passing again ends the drain.")
	}
	switch e.Health.Verdict {
	case policy.Unknown:
		out = append(out, fmt.Sprintf("The checks of %s saying something that counts: now nobody knows.", svc))
	case policy.Up:
		out = append(out, fmt.Sprintf("The verdict of %s going down withdraws it, if the guards allow.", svc))
		if len(e.Health.Shared) > 0 {
			out = append(out, "Shared checks passing again ("+names(e.Health.Shared)+") make it preferred as usual.")
		}
	case policy.Degraded:
		out = append(out, "Recovery of "+names(e.Health.Failing)+" makes it preferred as usual; more failures withdraw it.")
	case policy.Down:
		if e.Slice.Stance.Announced() {
			out = append(out, "Recovery of "+names(e.Health.Failing)+" makes it preferred as usual.")
		} else {
			out = append(out, "Recovery of "+names(e.Health.Failing)+", and the hold-down after it, announces it again.")
		}
	}
	return out
}

func names(fs []policy.Failure) string {
	if len(fs) == 0 {
		return "the checks"
	}
	all := make([]string, len(fs))
	for i, f := range fs {
		all[i] = string(f.Check)
	}
	return strings.Join(all, ", ")
}

// guardChanges says when a guard would let go, by its name.
func guardChanges(s SliceStatus) []string {
	want := "the change"
	if s.Wanted != nil {
		want = "`" + s.Wanted.String() + "`"
	}
	switch s.Reason.Guard {
	case "last-pop":
		return []string{"Enough other POPs that announce it, and answer that they know of our leaving, let " + want + " happen."}
	case "stale":
		return []string{"Fresh answers of the other POPs let " + want + " be judged anew."}
	case "correlated":
		return []string{"The failure ending elsewhere, or an operator with --force, lets " + want + " happen: the check is suspect."}
	case "blast":
		return []string{"The end of the interval lets " + want + " happen."}
	case "deadman":
		return []string{"The checks running again let " + want + " be judged anew."}
	case "own-prefix":
		return []string{"Only the configuration of a service that lists the prefix lets it be announced."}
	}
	return []string{"The guard " + s.Reason.Guard + " must let go of " + want + "."}
}
