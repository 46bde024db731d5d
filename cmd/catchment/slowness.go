package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

func (a *app) slownessCommand() *cobra.Command {
	q := api.SlownessQuery{Limit: 50}
	cmd := a.showing(&cobra.Command{
		Use:   "slowness [NETWORK]",
		Short: "Which client networks take little, and why",
		Long: `What is known of client networks (slowness in the configuration): how fast their
clients take what they are sent, and what limits them, path or receiver. With an
address or a network, what is known of that one, all of it; what was seen at
other POPs of the fleet is in it. How the measuring itself goes is told by
catchment slowness status.`,
		Args: cobra.MaximumNArgs(1),
		Example: `  catchment slowness --slow
  catchment slowness 203.0.113.9
  catchment slowness 203.0.0.0/16 --sort samples --limit 0
  catchment slowness --slow -j | jq -r '.[].network'
  catchment slowness export > networks.csv`,
	}, func(ctx context.Context, c *api.Client, st api.Status, args []string) (view, error) {
		q := q
		if len(args) > 0 {
			q.Network = args[0]
		}
		l, err := c.SlownessNetworks(ctx, q)
		if err != nil {
			return view{}, err
		}
		return view{l, func(w io.Writer) { writeSlowness(w, st.Now, q, l) }}, nil
	})
	f := cmd.Flags()
	f.BoolVar(&q.Slow, "slow", false, "those alone that are slow")
	f.StringVar(&q.Sort, "sort", "rate", "order: "+strings.Join(api.SlownessSorts, ", "))
	f.Int32Var(&q.Limit, "limit", q.Limit, "at most so many; 0: all")
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(api.SlownessSorts, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(a.slownessStatusCommand(), a.slownessExportCommand())
	return cmd
}

func (a *app) slownessStatusCommand() *cobra.Command {
	return a.showing(&cobra.Command{
		Use: "status", Short: "How the measuring of client networks goes, and what comes of it", Args: cobra.NoArgs,
		Example: "  catchment slowness status --watch",
	}, whole((*api.Client).SlownessStatus, writeSlownessStatus))
}

func (a *app) slownessExportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "export", Short: "All client networks as CSV, which maps them to what limits them", Args: cobra.NoArgs,
		Example: "  catchment slowness export > networks.csv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *api.Client) error { return c.SlownessExport(cmd.Context(), a.out) })
		},
	}
}

// bits writes a rate in bytes a second as bit/s.
func bits(bytes float64) string {
	x := 8 * bytes
	for _, u := range []struct {
		n    float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if x >= u.n {
			return fmt.Sprintf("%.3g %sbit/s", x/u.n, u.name)
		}
	}
	return fmt.Sprintf("%.3g bit/s", x)
}

func percentOf(x float64) string { return fmt.Sprintf("%.3g %%", 100*x) }

// slowVerdict is the verdict with what comes of it.
func slowVerdict(n *api.SlownessNetwork) string {
	if n.Moved {
		return n.Verdict + ", to cheap POPs"
	}
	return n.Verdict
}

func writeSlowness(w io.Writer, now time.Time, q api.SlownessQuery, all []api.SlownessNetwork) {
	switch p, _ := q.Prefix(); {
	case len(all) == 0 && q.Network != "":
		say(w, "", "nothing was seen of "+q.Network)
		return
	case len(all) == 0:
		say(w, "", "no network is judged yet: catchment slowness status tells how the measuring goes")
		return
	case q.Network != "" && p.IsSingleIP():
		writeSlowNetwork(w, now, &all[0])
		return
	}
	t := newTable("NETWORK", "VERDICT", "P10", "P50", "P90", "RECEIVER", "RTT", "LOSS", "SAMPLES", "SEEN", "WHY")
	t.spare, t.least = []int{7, 2, 4}, []int{10}
	for i := range all {
		n := &all[i]
		style := good
		if n.Verdict == "slow" {
			style = bad
		}
		t.row(n.Network.String(), paint(w, style, slowVerdict(n)), bits(n.P10), bits(n.P50), bits(n.P90), percentOf(n.Receiver),
			time.Duration(n.RTT).Round(100*time.Microsecond).String(), percentOf(n.Loss), fmt.Sprint(n.Samples), age(now, n.Seen), slowWhy(n))
	}
	t.write(w)
	if q.Limit > 0 && len(all) == int(q.Limit) {
		say(w, "", fmt.Sprintf("the first %d; --limit 0 shows all", len(all)))
	}
}

// slowWhy is why a network's verdict is what it is.
func slowWhy(n *api.SlownessNetwork) string {
	if n.By != "" && n.By != "measured" {
		return "a list says: " + oneLine(n.By) + "; " + n.Why
	}
	return n.Why
}

func writeSlowNetwork(w io.Writer, now time.Time, n *api.SlownessNetwork) {
	f := facts()
	f.row("network", n.Network.String())
	f.row("verdict", slowVerdict(n))
	f.row("why", slowWhy(n))
	if n.Samples == 0 {
		f.write(w)
		return
	}
	f.row("limited by", n.Class)
	f.row("confidence", percentOf(n.Confidence)+" of the transfers at least")
	f.row("rate", fmt.Sprintf("10 %% below %s, half below %s, 90 %% below %s", bits(n.P10), bits(n.P50), bits(n.P90)))
	f.row("receiver", percentOf(n.Receiver)+" of the time the client was the limit")
	f.row("rtt", fmt.Sprintf("%v, %v at least", time.Duration(n.RTT).Round(100*time.Microsecond), time.Duration(n.MinRTT).Round(100*time.Microsecond)))
	f.row("loss", percentOf(n.Loss))
	of := ""
	if n.Clients > 0 {
		of = fmt.Sprintf(" of at least %d of its clients", n.Clients)
	}
	f.row("samples", fmt.Sprintf("%d%s, the last %s ago", n.Samples, of, age(now, n.Seen)))
	f.write(w)
}

func writeSlownessStatus(w io.Writer, s api.SlownessStatus) {
	head := fmt.Sprintf("%d networks judged, %d of them slow, %d with too few transfers to tell; %d kept here", s.Networks, s.Slow, s.Unsure, s.Kept)
	if s.At.IsZero() {
		head = fmt.Sprintf("nothing is judged yet; %d networks kept here", s.Kept)
	}
	say(w, "", head)
	f := facts()
	if s.Rate > 0 {
		f.row("slow is", "who takes less than "+bits(s.Rate/8))
	}
	if !s.At.IsZero() {
		f.row("judged", fmt.Sprintf("%s ago, in %v; every %v", age(s.Now, s.At), time.Duration(s.Took).Round(time.Millisecond), time.Duration(s.Judge)))
	}
	var parts []string
	for _, x := range s.Samples {
		parts = append(parts, fmt.Sprintf("%d %s", x.Count, x.Class))
	}
	f.row("samples", strings.Join(parts, ", "))
	f.row("looked at now", fmt.Sprintf("%d connections of our cache server", s.Own))
	if s.Table != nil {
		f.row("sockets", resyncTable(s.Table))
	}
	for _, p := range s.POPs {
		text := "never heard"
		if !p.At.IsZero() {
			text = fmt.Sprintf("%d networks, %s ago", p.Networks, age(s.Now, p.At))
		}
		if p.Error != "" {
			text += "; " + paint(w, bad, oneLine(p.Error))
		}
		f.row("from "+string(p.POP), text)
	}
	for _, l := range s.Lists {
		f.row("list "+l.Name, fmt.Sprintf("%d ranges of addresses", l.Ranges))
	}
	f.row("DNS", slownessDNS(&s))
	f.write(w)
	for _, e := range s.Errors {
		say(w, "", paint(w, bad, "Wrong: ")+oneLine(e))
	}
}

// slownessDNS is what comes of it.
func slownessDNS(s *api.SlownessStatus) string {
	if !s.Steer {
		return "is not told (slowness.steer)"
	}
	out := fmt.Sprintf("sends %d networks to cheap POPs", s.Moved)
	if s.Stale > 0 {
		out += fmt.Sprintf("; %d slow ones were not seen for too long", s.Stale)
	}
	if s.Held != "" {
		out += "; held: " + s.Held
	}
	return out
}
