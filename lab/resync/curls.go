package resync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// client is a way to download without Catchment, and what became of it.
type client struct {
	name, event string
	args        string // of curl
	loop        bool   // a script's: again where curl fails
	n           int
	whole       int
	failed      int
	hang        int // nothing came for hangs
	first       string
	after       []time.Duration // from the route to their ends, of those that ended
	again       int64           // bytes that were thrown away and fetched again, all together
}

// hangs is how long nothing happens to any download until those that are still
// there are taken for hanging: longer than the 30 seconds that some wait.
const hangs = 40 * time.Second

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
	const retry = "--retry 5 --retry-all-errors --retry-delay 1 -C -"
	withdraw := []client{
		{name: "curl", event: "withdraw by BIRD"},
		{name: "curl --retry 5 -C -", event: "withdraw by BIRD", args: retry},
		{name: "curl -C -, in a loop", event: "withdraw by BIRD", args: "-C -", loop: true},
	}
	if err := w.curls(ctx, o, withdraw, func(ctx context.Context) error {
		_, err := w.sh(ctx, "lon", "birdc -s /run/bird/bird.ctl disable vip4; birdc -s /run/bird/bird.ctl disable vip6")
		return err
	}); err != nil {
		return nil, err
	}
	if _, err := w.sh(ctx, "lon", "birdc -s /run/bird/bird.ctl enable vip4; birdc -s /run/bird/bird.ctl enable vip6"); err != nil {
		return nil, err
	}
	if err := w.leads(ctx, "lon"); err != nil {
		return nil, err
	}
	death := []client{
		{name: "curl (RST only)", event: "death", args: "--no-keepalive " + retry},
		{name: "curl --keepalive-time 30 --retry 5 -C -", event: "death", args: "--keepalive-time 30 " + retry},
		{name: "curl -y 30 -Y 1 --retry 5 -C -", event: "death", args: "-y 30 -Y 1 " + retry},
	}
	err = w.curls(ctx, o, death, func(context.Context) error { return w.Crash("lon") })
	return append(withdraw, death...), err
}

// each is how many curls of a kind there are.
const each = 60

// script starts each downloads of a kind, and writes for each what it came to:
// status, when, and how many bytes its last connection brought.
func (k *client) script(i int) string {
	curl := fmt.Sprintf("curl -sS %s -w '%%{size_download}' -o $i http://%s/f 2>>$i.err", k.args, vip4)
	if k.loop {
		curl = fmt.Sprintf("for t in 1 2 3 4 5; do n=$(%s) && break; sleep 1; false; done", curl)
	} else {
		curl = "n=$(" + curl + ")"
	}
	return fmt.Sprintf(`rm -rf /run/dl/%d; mkdir -p /run/dl/%d; cd /run/dl/%d
for i in $(seq %d); do (%s; echo $? $(date +%%s%%N) ${n:-0} >$i.new; mv $i.new $i.rc) & done; wait`, i, i, i, each, curl)
}

// curls has downloads of curl under way, lets something happen, and sees what
// becomes of them.
func (w *lab) curls(ctx context.Context, o Options, kinds []client, happen func(context.Context) error) error {
	for i := range kinds {
		kinds[i].n = each
		if err := w.run("client", kinds[i].script(i)); err != nil {
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
	had, err := w.sizes(ctx)
	if err != nil {
		return err
	}
	if err := w.settled(ctx, total); err != nil {
		return err
	}
	for i := range kinds {
		if err := w.look(ctx, i, &kinds[i], route, had); err != nil {
			return err
		}
	}
	_, err = w.sh(ctx, "client", "pkill curl; rm -rf /run/dl")
	return err
}

// sizes are those of all files of the downloads, by names like 0/17 and 0/17.rc.
func (w *lab) sizes(ctx context.Context) (map[string]int64, error) {
	out, err := w.sh(ctx, "client", "cd /run/dl; find . -type f -printf '%P %s\\n'")
	if err != nil {
		return nil, err
	}
	all := map[string]int64{}
	for line := range strings.Lines(out) {
		var name string
		var n int64
		if _, err := fmt.Sscan(line, &name, &n); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		all[name] = n
	}
	return all, nil
}

// settled waits until all downloads have ended, or nothing happens any more.
func (w *lab) settled(ctx context.Context, total int) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last map[string]int64
	since := time.Now()
	for {
		now, err := w.sizes(ctx)
		if err != nil {
			return err
		}
		ended := 0
		for name := range now {
			if strings.HasSuffix(name, ".rc") {
				ended++
			}
		}
		same := len(now) == len(last)
		for name, n := range now {
			same = same && last[name] == n
		}
		if !same {
			last, since = now, time.Now()
		}
		if ended == total || time.Since(since) > hangs {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look sees what became of the downloads of a kind. had is how much each had
// when the route moved.
func (w *lab) look(ctx context.Context, i int, k *client, route time.Time, had map[string]int64) error {
	sum, err := w.sum(ctx, "origin", "/run/www/f")
	if err != nil {
		return err
	}
	out, err := w.sh(ctx, "client", fmt.Sprintf(`cd /run/dl/%d; for i in $(seq %d); do echo $(cat $i.rc 2>/dev/null || echo - 0 0) $(sha256sum <$i) $(tail -n 1 $i.err); done`, i, each))
	if err != nil {
		return err
	}
	n := 0
	for line := range strings.Lines(out) {
		n++
		var code, got, dash string
		var at, last int64
		if _, err := fmt.Sscan(line, &code, &at, &last, &got, &dash); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		_, words, _ := strings.Cut(line, " - ")
		switch {
		case code == "-":
			k.hang++
			continue
		case code == "0" && got == sum:
			k.whole++
			if last == fileSize { // its last connection brought all of it
				k.again += had[fmt.Sprintf("%d/%d", i, n)]
			}
		default:
			k.failed++
			k.first = strings.TrimSpace(words)
		}
		k.after = append(k.after, time.Unix(0, at).Sub(route))
	}
	if n != each {
		return errors.New("not all downloads are there: " + out)
	}
	slices.Sort(k.after)
	return nil
}

// others prints what became of curl's downloads.
func others(o Options, all []client) {
	t := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "WITHOUT\tEVENT\tDOWNLOADS\tWHOLE\tFAILED\tHANG\tENDED AFTER THE ROUTE: HALF, LAST\tTWICE\tSAYS\n")
	for _, c := range all {
		ended := "-"
		if len(c.after) > 0 {
			ended = fmt.Sprintf("%.1f s, %.1f s", of(c.after, .5).Seconds(), of(c.after, 1).Seconds())
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%d B\t%s\n", c.name, c.event, c.n, c.whole, c.failed, c.hang, ended, c.again/int64(c.n), c.first)
	}
	t.Flush()
	fmt.Fprintf(o.Out, "HANG: nothing came for %v, and nothing would; TWICE is what a download threw away and fetched again.\n", hangs)
}
