package slow

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/catchment/catchment/lab/goal"
)

// story is something that is shown with the two POPs.
type story struct {
	name, what, edit string
	do               func(*pops, context.Context) ([]string, []goal.Goal, error)
}

func stories() []story {
	return []story{
		{"slow client", "a client behind 1 Mbit/s is recognized and goes to the cheap POP; one behind 40 stays", "", (*pops).slowClient},
		{"video", "a player with a full buffer goes to the cheap POP, comes back when it seeks, and never stalls", steering, (*pops).video},
	}
}

// Tell tells the stories, each in a world of its own, and prints what was seen;
// it fails where one did not go as it should. It needs what netlab needs, nginx,
// curl and dig.
func Tell(ctx context.Context, o TellOptions) error {
	t := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "STORY\tTOOK\t\tSEEN\n")
	bad := 0
	var goals []goal.Goal
	for _, s := range stories() {
		if !o.wants(s.name) {
			continue
		}
		fmt.Fprintf(o.Progress, "%s: %s\n", s.name, s.what)
		began := time.Now()
		seen, met, err := s.tell(ctx, o)
		goals = append(goals, met...)
		word := "ok"
		if err != nil {
			word = "FAILED"
			bad++
			seen = append(seen, strings.SplitN(err.Error(), "\n", 2)[0])
			fmt.Fprintf(o.Progress, "%s: FAILED: %v\n", s.name, err)
		}
		for i, line := range seen {
			if i == 0 {
				fmt.Fprintf(t, "%s\t%.0f s\t%s\t%s\n", s.name, time.Since(began).Seconds(), word, line)
			} else {
				fmt.Fprintf(t, "\t\t\t%s\n", line)
			}
		}
	}
	t.Flush()
	for _, g := range goals {
		fmt.Fprintln(o.Out, g)
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d stories did not go as they should", bad, len(stories()))
	}
	return nil
}

func (o *TellOptions) wants(name string) bool {
	return o.Only == "" || slices.Contains(strings.Split(o.Only, ","), name)
}

func (s *story) tell(ctx context.Context, o TellOptions) ([]string, []goal.Goal, error) {
	w, err := raisePOPs(ctx, o, s.edit)
	if err != nil {
		return nil, nil, err
	}
	defer w.Down()
	seen, goals, err := s.do(w, ctx)
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, w.logs())
	}
	return seen, goals, err
}
