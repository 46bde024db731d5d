package fleet

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/catchment/catchment/lab/goal"
	"github.com/catchment/catchment/lab/netlab"
)

// Options of Play.
type Options struct {
	Topology string    // fleet.clab.yml
	Bin      string    // folder with catchmentd and catchment
	Out      io.Writer // the tables and the goals
	Progress io.Writer // a line as it happens
}

// window is over how many seconds a receiver's load is averaged: a crowd's
// requests come in beats, and so do its reports.
const window = 3

// Play plays the story and prints what was seen; it fails where the story does
// not go on. It needs what netlab needs, and Debian's FRR.
func Play(ctx context.Context, o Options) error {
	done, err := play(ctx, o.Topology, netlab.Options{Bin: o.Bin}, func(s string) { fmt.Fprintln(o.Progress, s) })
	table(o.Out, done)
	if err != nil {
		return err
	}
	for _, g := range goals(done) {
		fmt.Fprintln(o.Out, g)
	}
	return nil
}

// table prints what was seen in each act, then an act a line: how long it took,
// each POP's answers a second at its end and at the most (means of a few
// seconds), and requests that were asked and that failed.
func table(w io.Writer, done []played) {
	for _, p := range done {
		fmt.Fprintf(w, "%s: %s\n    %s\n", p.name, p.what, p.seen)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "ACT\tTOOK\tLON (MOST)\tFRA\tAMS\tDUB\tASKED\tFAILED\n")
	for _, p := range done {
		fmt.Fprintf(t, "%s\t%.0f s", p.name, p.took.Seconds())
		end := mean(p.seconds, window)
		for _, pop := range []string{"LON", "FRA", "AMS", "DUB"} {
			fmt.Fprintf(t, "\t%.0f/s (%.0f)", end[pop], most(p.seconds, pop))
		}
		fmt.Fprintf(t, "\t%.0f\t%d\n", asked(p.seconds), failed(p.seconds))
	}
	t.Flush()
	for _, p := range done {
		for _, s := range p.seconds {
			if s.last != "" {
				fmt.Fprintf(w, "failed in %s: %s\n", p.name, s.last)
			}
		}
	}
}

// most is the highest mean over window seconds.
func most(all []second, pop string) (top float64) {
	for i := min(window, len(all)); i > 0 && i <= len(all); i++ {
		top = max(top, mean(all[:i], window)[pop])
	}
	return top
}

func failed(all []second) (n int) {
	for _, s := range all {
		n += s.failed
	}
	return n
}

func asked(all []second) (n float64) {
	for _, s := range all {
		for _, r := range s.rate {
			n += r
		}
	}
	return n
}

// goals are what the lab has to show. Acts that ended without an error have
// shown the rest.
func goals(done []played) []goal.Goal {
	worst, over, lost, all := 0.0, 0, 0, 0.0
	for _, p := range done {
		for _, pop := range p.receivers {
			worst = max(worst, most(p.seconds, pop)/capacity)
			for i := window; i <= len(p.seconds); i++ {
				if mean(p.seconds[:i], window)[pop] > capacity {
					over++
				}
			}
		}
		lost += failed(p.seconds)
		all += asked(p.seconds)
	}
	settled := slices.IndexFunc(done, func(p played) bool { return p.name == "overload" })
	out := []goal.Goal{
		goal.AtMost("fleet-receiver-worst-share-of-capacity", worst, 1),
		goal.AtMost("fleet-receiver-seconds-above-capacity", float64(over), 0),
		goal.AtMost("fleet-failed-requests-per-million", float64(lost)/max(all, 1)*1e6, 0),
	}
	if settled >= 0 {
		out = append(out, goal.AtMost("fleet-overload-seconds-until-below-capacity", until(done[settled].seconds, "LON"), 60))
	}
	return out
}

// until is how many seconds a POP was above its capacity.
func until(all []second, pop string) (n float64) {
	for i := window; i <= len(all); i++ {
		if mean(all[:i], window)[pop] > capacity {
			n++
		}
	}
	return n
}
