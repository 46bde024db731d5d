package resync

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/catchment/catchment/lab/goal"
)

// Bench has a thousand downloads drained, and then their POP dead, and does the
// same to clients without help, and prints what became of them and a goal a
// line. It needs what netlab needs, and Debian's FRR, BIRD, nginx and nftables.
func Bench(ctx context.Context, o Options) error {
	var ours []result
	if o.wants("catchment") {
		var err error
		if ours, err = benchOurs(ctx, o); err != nil {
			return err
		}
		thousands(o, ours)
	}
	if o.wants("curl") {
		theirs, err := benchTheirs(ctx, o)
		if err != nil {
			return err
		}
		others(o, theirs)
	}
	if len(ours) == 2 {
		for _, g := range goals(ours[0], ours[1]) {
			fmt.Fprintln(o.Out, g)
		}
	}
	return nil
}

// far are the vars of a world whose client is so far away that a thousand small
// windows are no more than what the line and the machine carry.
var far = map[string]string{"DELAY": (farRTT / 2).String(), "RATE": "300mbit", "QUEUE": "8MB"}

// prepare makes the object, with small windows at the client.
func (w *lab) prepare(ctx context.Context) (sum string, err error) {
	if _, err := w.sh(ctx, "client", "sysctl -qw net.ipv4.tcp_rmem='"+smallRmem+"'"); err != nil {
		return "", err
	}
	if err := w.file(ctx, "f", fileSize); err != nil {
		return "", err
	}
	return w.sum(ctx, "origin", "/run/www/f")
}

// benchOurs drains LON under downloads, and then lets its host die.
func benchOurs(ctx context.Context, o Options) (all []result, err error) {
	w, err := raise(ctx, o, withCatchment, far)
	if err != nil {
		return nil, err
	}
	defer w.down()
	defer func() {
		if err != nil {
			fmt.Fprintln(o.Progress, w.logs())
		}
	}()
	sum, err := w.prepare(ctx)
	if err != nil {
		return nil, err
	}
	r, err := w.thousand(ctx, o, "drain", sum, func(ctx context.Context) error {
		_, err := w.sh(ctx, "lon", "catchment drain web --why 'the bench'")
		return err
	})
	if err != nil {
		return nil, err
	}
	all = append(all, r)
	if _, err := w.sh(ctx, "lon", "catchment undrain web"); err != nil {
		return all, err
	}
	if err := w.leads(ctx, "lon"); err != nil {
		return all, err
	}
	if err := eventually(ctx, "LON is heard again", w.heard); err != nil {
		return all, err
	}
	r, err = w.thousand(ctx, o, "death", sum, func(context.Context) error { return w.Crash("lon") })
	if err != nil {
		return all, err
	}
	return append(all, r), nil
}

// thousand has as many downloads under way, lets something happen to them and
// sees what becomes of them.
func (w *lab) thousand(ctx context.Context, o Options, name, sum string, happen func(context.Context) error) (result, error) {
	if err := w.count(ctx); err != nil {
		return result{}, err
	}
	run, err := w.crowd(ctx, "http://"+vip4+"/f", sum)
	if err != nil {
		return result{}, err
	}
	if err := w.knows(ctx, run); err != nil {
		return result{}, err
	}
	moved, err := w.moved(ctx)
	if err != nil {
		return result{}, err
	}
	watching, err := w.watch(ctx)
	if err != nil {
		return result{}, err
	}
	fmt.Fprintf(o.Progress, "%s: %d downloads are under way\n", name, many)
	began := time.Now()
	if err := happen(ctx); err != nil {
		return result{}, err
	}
	route, err := moved(ctx)
	if err != nil {
		return result{}, err
	}
	fmt.Fprintf(o.Progress, "%s: the route moved after %v\n", name, route.Sub(began).Round(time.Millisecond))
	flows, err := run.end(ctx)
	if err != nil {
		return result{}, err
	}
	payload, err := w.counted(ctx)
	if err != nil {
		return result{}, err
	}
	r := judge(name, flows, route, payload)
	r.stages, err = watching.end(ctx, flows, route)
	return r, err
}

// moved watches the router; the function that it gives waits until the route
// leads to FRA and says since when.
func (w *lab) moved(ctx context.Context) (func(context.Context) (time.Time, error), error) {
	ctx, cancel := context.WithCancel(ctx)
	events, err := w.WatchRoutes(ctx, "r")
	if err != nil {
		cancel()
		return nil, err
	}
	want, via := netip.MustParsePrefix(prefix4), netip.MustParseAddr(pops["fra"].addr)
	return func(ctx context.Context) (time.Time, error) {
		defer cancel()
		over := time.NewTimer(patience)
		defer over.Stop()
		for {
			select {
			case e := <-events:
				if !e.Gone && e.Route.Prefix == want && slices.Contains(e.Route.Via, via) {
					return e.Time, nil
				}
			case <-over.C:
				return time.Time{}, fmt.Errorf("the route did not move within %v", patience)
			case <-ctx.Done():
				return time.Time{}, ctx.Err()
			}
		}
	}, nil
}

// thousands prints what became of the downloads of package get.
func thousands(o Options, all []result) {
	t := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "WITH CATCHMENT\tDOWNLOADS\tWHOLE\tFAILED\tRESYNCS\tTOLD AFTER THE ROUTE: HALF, 99.9 %%, LAST\tA READ SAYS SO: HALF, 99 %%\tGAP: HALF, 99 %%\tTWICE\tLATE\tTOOK\n")
	for _, r := range all {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%v, %v, %v\t%v, %v\t%v, %v\t%d B\t%.0f B\t%.1f s\n", r.name, r.n, r.whole, r.failed, r.resyncs,
			ms(of(r.told, .5)), ms(of(r.told, .999)), ms(of(r.told, 1)), ms(of(r.broke, .5)), ms(of(r.broke, .99)), ms(of(r.gaps, .5)), ms(of(r.gaps, .99)), r.again, r.late, of(r.took, 1).Seconds())
	}
	t.Flush()
	for _, r := range all {
		for text, n := range r.errors {
			fmt.Fprintf(o.Out, "%s: %d times: %s\n", r.name, n, text)
		}
	}
	for _, r := range all {
		fmt.Fprintf(o.Out, "%s:\n", r.name)
		r.stages.print(o.Out, r.name == "death")
	}
	fmt.Fprintln(o.Out, "TOLD is when a program that waits for a connection hears that it was reset; A READ SAYS SO is the one process that is all the clients, on the processors of all the rest.")
	fmt.Fprintln(o.Out, "TWICE is what the worst download read beyond its object; LATE what came to the client's host and was of no use, the old POP's repetitions counted too.")
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// goals are what the bench has to show.
func goals(drain, death result) []goal.Goal {
	perFlow := float64(fileSize) / max(of(drain.took, .5).Seconds(), 1e-3)
	bdp := perFlow * farRTT.Seconds()
	limit := (farRTT + 50*time.Millisecond).Seconds() * 1000
	return []goal.Goal{
		goal.AtMost("resync-drain-errors", float64(drain.n-drain.whole), 0),
		goal.AtMost("resync-drain-refetched-in-bandwidth-delay-products", float64(drain.again)/bdp, 1),
		goal.AtLeast("resync-death-whole-percent", 100*float64(death.whole)/float64(death.n), 99.9),
		// What being told is, told.go says.
		goal.AtMost("resync-death-told-after-the-route-ms", nearly(death.told, death.n), limit),
		goal.AtMost("resync-death-reset-at-the-client-after-the-route-ms", nearly(death.stages.told(), death.n), limit),
	}
}

// nearly is by when, in milliseconds, 99.9 % of n clients have been told; not a
// number if so many never were.
func nearly(sorted []time.Duration, n int) float64 {
	if last := (999*n+999)/1000 - 1; last < len(sorted) {
		return sorted[last].Seconds() * 1000
	}
	return math.NaN()
}
