package cachetest

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/catchment/catchment/lab/goal"
)

//go:embed reasons.txt
var reasonsFile string

// reasons reads the file: one line a test, its name first.
func reasons(text string) (map[string]string, error) {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		id, why, _ := strings.Cut(line, " ")
		if why = strings.TrimSpace(why); why == "" {
			return nil, fmt.Errorf("reasons.txt: %s has no reason", id)
		}
		if out[id] != "" {
			return nil, fmt.Errorf("reasons.txt: %s stands there twice", id)
		}
		out[id] = why
	}
	return out, nil
}

// SuiteOptions of a run of the public suite.
type SuiteOptions struct {
	Out      io.Writer
	Dir      string // of the checkout
	Work     string // an empty folder
	Bin      string
	Subjects []Subject
	Repeat   int    // runs of each; the last counts
	One      string // only this test, with all that was sent; "" for all
	Failures string // a file for our failures with what the suite says of them; "" for none
}

// RunSuite runs the suite against all subjects at the same time and prints a
// table, our failures with their reasons, and goal lines. The error says what
// could not be run, or that a failure has no reason.
func RunSuite(ctx context.Context, o SuiteOptions) error {
	why, err := reasons(reasonsFile)
	if err != nil {
		return err
	}
	s, err := LoadSuite(ctx, o.Dir)
	if err != nil {
		return err
	}
	origin, end, err := s.Origin(ctx, o.Work)
	if err != nil {
		return err
	}
	defer end()
	runs := make([][]results, len(o.Subjects))
	errs := make([]error, len(o.Subjects))
	var wg sync.WaitGroup
	for i, sub := range o.Subjects {
		wg.Go(func() {
			r, err := sub.Start(ctx, Setup{Origin: origin, Dir: filepath.Join(o.Work, sub.Name), CPU: -1, Bin: o.Bin})
			if err != nil {
				errs[i] = err
				return
			}
			defer r.Stop()
			for range max(1, o.Repeat) {
				one, err := s.run(ctx, r.HTTP, o.One)
				if err = errors.Join(err, r.Alive()); err != nil {
					errs[i] = fmt.Errorf("%s: %w", sub.Name, err)
					return
				}
				runs[i] = append(runs[i], one)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || o.One != "" {
		return err
	}
	return s.report(o, runs, why)
}

func (s *Suite) report(o SuiteOptions, runs [][]results, why map[string]string) error {
	tw := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "cache\trequired\toptimal\tcheck\tnot the same in all runs")
	for i, sub := range o.Subjects {
		last := runs[i][len(runs[i])-1]
		fmt.Fprint(tw, sub.Name)
		for _, kind := range []Kind{Required, Optimal, Check} {
			n, all := s.score(kind, last)
			fmt.Fprintf(tw, "\t%d of %d", n, all)
		}
		fmt.Fprintf(tw, "\t%s\n", strings.Join(s.differ(runs[i]), " "))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	s.writeGroups(o, runs)
	for i, sub := range o.Subjects {
		if sub.Ours {
			return s.reportOurs(o, runs[i][len(runs[i])-1], why)
		}
	}
	return nil
}

// writeGroups prints required and optimal passes by the suite's groups.
func (s *Suite) writeGroups(o SuiteOptions, runs [][]results) {
	fmt.Fprintln(o.Out, "\nBy group, required + optimal passed")
	tw := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "group\tof")
	for _, sub := range o.Subjects {
		fmt.Fprint(tw, "\t", sub.Name)
	}
	fmt.Fprintln(tw)
	var groups []string
	for _, id := range s.order {
		if g := s.tests[id].Group; !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	for _, g := range groups {
		count := func(r results) string {
			n := map[Kind]int{}
			for _, id := range s.order {
				if t := s.tests[id]; t.Group == g && (r == nil || s.judge(id, r) == Pass) {
					n[t.Kind]++
				}
			}
			return fmt.Sprintf("%d+%d", n[Required], n[Optimal])
		}
		if count(nil) == "0+0" {
			continue
		}
		fmt.Fprintf(tw, "%s\t%s", g, count(nil))
		for i := range o.Subjects {
			fmt.Fprint(tw, "\t", count(runs[i][len(runs[i])-1]))
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}

// reportOurs lists our failures and judges the goals.
func (s *Suite) reportOurs(o SuiteOptions, r results, why map[string]string) error {
	var bare []string
	failed := s.failures(r)
	fmt.Fprintf(o.Out, "\nOurs does not pass (%d)\n", len(failed))
	for _, id := range failed {
		t, reason := s.tests[id], why[id]
		switch v := s.judge(id, r); {
		case reason != "":
		case v == Dependency:
			reason = "depends on one that fails"
		default:
			reason = "NO REASON: " + r[id].kind + " " + r[id].why
			bare = append(bare, id)
		}
		fmt.Fprintf(o.Out, "  %-8s %s: %s\n", t.Kind, id, reason)
	}
	for _, id := range s.order {
		if why[id] != "" && s.judge(id, r) == Pass {
			fmt.Fprintf(o.Out, "  reasons.txt has %s, which passes\n", id)
		}
	}
	fmt.Fprintln(o.Out)
	required, _ := s.score(Required, r)
	optimal, _ := s.score(Optimal, r)
	fmt.Fprintln(o.Out, goal.AtLeast("cache-tests-required", float64(required), 150))
	fmt.Fprintln(o.Out, goal.AtLeast("cache-tests-optimal", float64(optimal), 85))
	err := s.writeFailures(o.Failures, failed, r)
	if len(bare) > 0 {
		err = errors.Join(err, fmt.Errorf("%d failures without a reason in reasons.txt: %s", len(bare), strings.Join(bare, " ")))
	}
	return err
}

// writeFailures writes what the suite says of each failure, for those who
// will mend it.
func (s *Suite) writeFailures(file string, failed []string, r results) error {
	if file == "" {
		return nil
	}
	var b strings.Builder
	for _, id := range failed {
		fmt.Fprintf(&b, "- %s %s (%s): %s: %s %s\n", s.tests[id].Kind, id, s.tests[id].Name, s.judge(id, r), r[id].kind, r[id].why)
	}
	return writeFile(file, b.String())
}

func writeFile(name, text string) error { return os.WriteFile(name, []byte(text), 0o644) }
