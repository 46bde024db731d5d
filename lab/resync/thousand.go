package resync

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Bench has a thousand downloads drained, and then their POP dead, and does the
// same to clients without help, and prints what became of them and a goal a
// line. It needs what netlab needs, and Debian's FRR, BIRD, nginx and nftables.
func Bench(ctx context.Context, o Options) error {
	ours, err := benchOurs(ctx, o)
	thousands(o, ours)
	if err != nil {
		return err
	}
	theirs, err := benchTheirs(ctx, o)
	others(o, theirs)
	if err != nil {
		return err
	}
	for _, g := range goals(ours[0], ours[1]) {
		fmt.Fprintln(o.Out, g)
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
	if err := w.known(ctx, many); err != nil {
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
	fmt.Fprintf(t, "WITH CATCHMENT\tDOWNLOADS\tWHOLE\tFAILED\tRESYNCS\tTOLD AFTER THE ROUTE: HALF, 99 %%, LAST\tGAP: HALF, 99 %%\tTWICE\tLATE\tTOOK\n")
	for _, r := range all {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%v, %v, %v\t%v, %v\t%.0f B\t%.0f B\t%.1f s\n", r.name, r.n, r.whole, r.failed, r.resyncs,
			ms(of(r.told, .5)), ms(of(r.told, .99)), ms(of(r.told, 1)), ms(of(r.gaps, .5)), ms(of(r.gaps, .99)), r.again, r.late, of(r.took, 1).Seconds())
	}
	t.Flush()
	for _, r := range all {
		for text, n := range r.errors {
			fmt.Fprintf(o.Out, "%s: %d times: %s\n", r.name, n, text)
		}
	}
	for _, r := range all {
		fmt.Fprintf(o.Out, "%s:\n", r.name)
		r.stages.print(o.Out)
	}
	fmt.Fprintln(o.Out, "TWICE is read from all connections of a download beyond its object; LATE what the old POP went on to send, its repetitions counted too.")
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// goals are what the bench has to show.
func goals(drain, death result) []string {
	perFlow := float64(fileSize) / max(of(drain.took, .5).Seconds(), 1e-3)
	bdp := perFlow * farRTT.Seconds()
	limit := (farRTT + 50*time.Millisecond).Seconds() * 1000
	return []string{
		goal("resync-drain-errors", float64(drain.n-drain.whole), 0, true),
		goal("resync-drain-refetched-in-bandwidth-delay-products", drain.again/bdp, 1, true),
		goal("resync-death-whole-percent", 100*float64(death.whole)/float64(death.n), 99.9, false),
		goal("resync-death-told-after-the-route-ms", of(death.told, .99).Seconds()*1000, limit, true),
	}
}

// goal is a line: at most a limit, or at least.
func goal(name string, value, limit float64, most bool) string {
	word := "met"
	if most && value > limit || !most && value < limit {
		word = "missed"
	}
	return fmt.Sprintf("goal %s %.4g %g %s", name, value, limit, word)
}

// client is a way to download without Catchment, and what became of it.
type client struct {
	name, event string
	args        string
	n           int
	whole       int
	failed      int
	hang        int
	first       string        // error
	half        time.Duration // until half of those that failed had, after the route moved
}

// benchTheirs withdraws a route by BIRD under downloads of curl, and then lets
// the host die.
func benchTheirs(ctx context.Context, o Options) (all []client, err error) {
	w, err := raise(ctx, o, withBIRD, far)
	if err != nil {
		return nil, err
	}
	defer w.down()
	if _, err := w.prepare(ctx); err != nil {
		return nil, err
	}
	withdraw := []client{
		{name: "curl", event: "withdraw by BIRD"},
		{name: "curl --retry 5 -C -", event: "withdraw by BIRD", args: "--retry 5 --retry-all-errors --retry-delay 1 -C -"},
	}
	if err := w.curls(ctx, o, withdraw, 15*time.Second, func(ctx context.Context) error {
		_, err := w.sh(ctx, "lon", "birdc -s /run/bird/bird.ctl disable vip4; birdc -s /run/bird/bird.ctl disable vip6")
		return err
	}); err != nil {
		return withdraw, err
	}
	if _, err := w.sh(ctx, "lon", "birdc -s /run/bird/bird.ctl enable vip4; birdc -s /run/bird/bird.ctl enable vip6"); err != nil {
		return withdraw, err
	}
	if err := w.leads(ctx, "lon"); err != nil {
		return withdraw, err
	}
	death := []client{
		{name: "curl (RST only)", event: "death", args: "--no-keepalive"},
		{name: "curl --keepalive-time 30 --retry 5 -C -", event: "death", args: "--keepalive-time 30 --retry 5 --retry-all-errors -C -"},
		{name: "curl -y 30 -Y 1 --retry 5 -C -", event: "death", args: "-y 30 -Y 1 --retry 5 --retry-all-errors -C -"},
	}
	err = w.curls(ctx, o, death, 45*time.Second, func(context.Context) error { return w.Crash("lon") })
	return append(withdraw, death...), err
}

// each is how many curls of a kind there are.
const each = 60

// curls has downloads of curl under way, lets something happen, and looks after
// some time what became of them.
func (w *lab) curls(ctx context.Context, o Options, kinds []client, wait time.Duration, happen func(context.Context) error) error {
	for i := range kinds {
		k := &kinds[i]
		k.n = each
		script := fmt.Sprintf(`rm -rf /run/dl/%d; mkdir -p /run/dl/%d; cd /run/dl/%d; for i in $(seq %d); do (curl -sS %s -o $i http://%s/f 2>$i.err; echo $? $(date +%%s%%N) >$i.rc) & done; wait`, i, i, i, each, k.args, vip4)
		if err := w.run("client", script); err != nil {
			return err
		}
	}
	total := each * len(kinds)
	if err := eventually(ctx, "all curls are under way", func(ctx context.Context) error {
		out, err := w.sh(ctx, "client", fmt.Sprintf("find /run/dl -type f -name '*[0-9]' -size +%dc | wc -l", soFar))
		if err == nil && out != fmt.Sprint(total) {
			err = fmt.Errorf("%s of %d", out, total)
		}
		return err
	}); err != nil {
		return err
	}
	moved, err := w.moved(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Progress, "%s: %d downloads of curl are under way\n", kinds[0].event, total)
	if err := happen(ctx); err != nil {
		return err
	}
	route, err := moved(ctx)
	if err != nil {
		return err
	}
	select {
	case <-time.After(wait): // how long one watches is part of the figure
	case <-ctx.Done():
		return ctx.Err()
	}
	for i := range kinds {
		if err := w.look(ctx, i, &kinds[i], route); err != nil {
			return err
		}
	}
	_, err = w.sh(ctx, "client", "pkill curl; rm -rf /run/dl")
	return err
}

// look sees what became of the downloads of a kind.
func (w *lab) look(ctx context.Context, i int, k *client, route time.Time) error {
	sum, err := w.sum(ctx, "origin", "/run/www/f")
	if err != nil {
		return err
	}
	out, err := w.sh(ctx, "client", fmt.Sprintf(`cd /run/dl/%d; for i in $(seq %d); do echo "$(cat $i.rc 2>/dev/null || echo - 0) $(sha256sum <$i) $(cat $i.err)"; done`, i, each))
	if err != nil {
		return err
	}
	var told []time.Duration
	for line := range strings.Lines(out) {
		var code, got, dash string
		var at int64
		if _, err := fmt.Sscan(line, &code, &at, &got, &dash); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		_, words, _ := strings.Cut(line, " - ")
		switch {
		case code == "-":
			k.hang++
		case code == "0" && got == sum:
			k.whole++
		default:
			k.failed++
			k.first = strings.TrimSpace(words)
			told = append(told, time.Unix(0, at).Sub(route))
		}
	}
	slices.Sort(told)
	k.half = of(told, .5)
	return nil
}

// others prints what became of curl's downloads.
func others(o Options, all []client) {
	t := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "WITHOUT\tEVENT\tDOWNLOADS\tWHOLE\tFAILED\tHANG\tFAILED AFTER\tSAYS\n")
	for _, c := range all {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%v\t%s\n", c.name, c.event, c.n, c.whole, c.failed, c.hang, c.half.Round(10*time.Millisecond), c.first)
	}
	t.Flush()
}
