package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) resyncCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resync",
		Short: "Downloads that go on at other POPs, and theirs here",
		Long: `How downloads outlive the POP that they began at (resync in the configuration):
which POPs are told of the flows here and which tell of theirs, whose clients
were taken over, how flows from other POPs began, and what keeps something of
it from working on this host. Without a word, its status.`,
		Example: "  catchment resync\n  catchment resync --watch\n  catchment resync flows\n  catchment resync flows FRA --limit 20\n  catchment resync -j | jq '.pops[] | select(.gone)'",
	}
	status := a.resyncStatusCommand()
	cmd.Args, cmd.RunE = cobra.NoArgs, status.RunE
	cmd.Flags().AddFlagSet(status.Flags())
	cmd.AddCommand(status, a.resyncFlowsCommand(), a.resyncJumpCommand())
	return cmd
}

func (a *app) resyncStatusCommand() *cobra.Command {
	return a.showing(&cobra.Command{
		Use: "status", Short: "POPs told and telling, takeovers, jumps, what was fetched ahead and reset", Args: cobra.NoArgs,
		Example: "  catchment resync status --watch",
	}, whole((*api.Client).ResyncStatus, writeResync))
}

func (a *app) resyncFlowsCommand() *cobra.Command {
	limit := int32(50)
	cmd := a.showing(&cobra.Command{
		Use: "flows [POP]", Short: "The flows here, or those that a POP has told of, the fastest first", Args: cobra.MaximumNArgs(1),
		Example: "  catchment resync flows\n  catchment resync flows FRA --limit 0",
	}, func(ctx context.Context, c *api.Client, _ api.Status, args []string) (view, error) {
		q := api.ResyncQuery{Limit: limit}
		if len(args) > 0 {
			q.From = policy.POPID(args[0])
		}
		l, err := c.ResyncFlows(ctx, q)
		return view{l, func(w io.Writer) { writeFlows(w, l) }}, err
	})
	cmd.Flags().Int32Var(&limit, "limit", limit, "at most so many; 0: all")
	return cmd
}

func writeResync(w io.Writer, s api.ResyncStatus) {
	known := int64(0)
	for _, p := range s.POPs {
		known += p.Known
	}
	head := fmt.Sprintf("%d flows here, %d of them of the cache server; %d known of other POPs", s.Flows, s.Own, known)
	if s.LeftOut > 0 {
		head += fmt.Sprintf("; %d left out for want of room (resync.flows)", s.LeftOut)
	}
	say(w, "", head)
	t := newTable("POP", "LINE", "TOLD", "KNOWN", "HEARD", "NOTE")
	t.spare = []int{5}
	for _, p := range s.POPs {
		heard := "never"
		if !p.Heard.IsZero() {
			heard = age(s.Now, p.Heard) + " ago"
		}
		t.row(string(p.POP), resyncLine(w, &p), fmt.Sprint(p.Told), fmt.Sprint(p.Known), heard, resyncNote(&p))
	}
	if len(s.POPs) > 0 {
		fmt.Fprintln(w)
		t.write(w)
		fmt.Fprintln(w)
	}
	f := facts()
	if len(s.Moving) > 0 {
		f.row("moving", strings.Join(s.Moving, ", "))
	}
	for _, x := range s.Takeovers[:min(3, len(s.Takeovers))] {
		f.row("taken over", fmt.Sprintf("%s %s ago: %d of %d clients woken, %d requests went on here; it was silent for %v",
			x.POP, age(s.Now, x.At), x.Woken, x.Flows, x.Resumed, time.Duration(x.Silent).Round(time.Millisecond)))
	}
	f.row("went on here", fmt.Sprint(s.Resumed))
	f.row("jumps", resyncJumps(&s.Jumps))
	for _, p := range s.Jumps.Pairs {
		f.row("new networks", fmt.Sprintf("from %s: %.0f %% of a former rate; %d of the last %d jumped right", p.From, 100*p.Part, p.Right, p.Networks))
	}
	for _, l := range s.Jumps.Learned[:min(3, len(s.Jumps.Learned))] {
		f.row("learned", resyncLearned(&l, s.Now))
	}
	f.row("fetched ahead", fmt.Sprintf("%d of %d parts, %s; %d failed", s.Warmed.Done, s.Warmed.Wanted, storedBytes(s.Warmed.Bytes), s.Warmed.Failed))
	f.row("probes", fmt.Sprintf("%d sent, %d clients waiting; refused %d foreign, %d stale, %d full, %d asked lately", s.Probes.Sent, s.Probes.Waiting, s.Probes.Foreign, s.Probes.Stale, s.Probes.Full, s.Probes.Calm))
	if v := s.Vacated; v != (api.ResyncVacated{}) {
		f.row("vacated", fmt.Sprintf("%d closed connections in the place of %d that other POPs have told of", v.Ended, v.Looked)+resyncKept(v))
	}
	f.row("refused", fmt.Sprintf("%d connections of no POP of the fleet; %d flows have expired", s.Refused, s.Expired))
	f.row("reset", fmt.Sprint(s.Reset))
	f.row("sockets", resyncTable(&s.Table))
	f.write(w)
	for _, l := range s.Lacks {
		say(w, "", paint(w, bad, "Lacks: ")+oneLine(l))
	}
}

// resyncKept is what was not vacated.
func resyncKept(v api.ResyncVacated) (out string) {
	if v.Refused > 0 {
		out += fmt.Sprintf("; %d refused by the kernel", v.Refused)
	}
	if v.Full > 0 {
		out += fmt.Sprintf("; %d not looked for: too many at once", v.Full)
	}
	return out
}

func resyncLine(w io.Writer, p *api.ResyncPOP) string {
	switch {
	case p.Address == "":
		return "not told"
	case p.Up:
		return p.Address + " " + paint(w, good, "up")
	case p.Error == "":
		return p.Address + " connecting"
	}
	return p.Address + " " + paint(w, bad, "down")
}

// resyncNote is what there is to know of a POP beyond numbers.
func resyncNote(p *api.ResyncPOP) string {
	var out []string
	if p.Gone {
		out = append(out, "the fleet takes it for gone")
	} else if !p.Heard.IsZero() && !p.Talking {
		out = append(out, "its line is cut")
	}
	if len(p.Moving) > 0 {
		out = append(out, "moves "+strings.Join(p.Moving, ", "))
	}
	for _, x := range []struct {
		n    uint64
		what string
	}{{p.Foreign, "flows of foreign addresses refused"}, {p.Full, "flows refused: too many"}, {p.Broken, "connections broken off"}} {
		if x.n > 0 {
			out = append(out, fmt.Sprint(x.n, " ", x.what))
		}
	}
	if !p.Up && p.Error != "" {
		out = append(out, oneLine(p.Error))
	}
	return strings.Join(out, "; ")
}

func resyncJumps(j *api.ResyncJumps) string {
	out := fmt.Sprintf("by %s: %d validated, %d retreated, %d too short to know", j.Means, j.Validated, j.Retreated, j.Ended)
	if j.Failed > 0 {
		out += fmt.Sprintf(", %d failed", j.Failed)
	}
	for _, r := range j.Refused {
		out += fmt.Sprintf(", %d %s", r.Flows, r.Reason)
	}
	return out
}

// resyncLearned is what a client network has earned.
func resyncLearned(l *api.ResyncLearned, now time.Time) string {
	out := fmt.Sprintf("%s from %s: %.0f %% of a former rate", l.Network, l.From, 100*l.Part)
	if l.Rest.After(now) {
		out = fmt.Sprintf("%s from %s: nothing for %s more, it was too much too often", l.Network, l.From, age(l.Rest, now))
	}
	return out + ", last " + age(now, l.At) + " ago"
}

func resyncTable(t *api.ResyncTable) string {
	what := "seen by sock_diag"
	if t.By == "bpf" {
		what = "large ones read by BPF"
	}
	out := fmt.Sprintf("%d %s in %v of CPU, every %v", t.Sockets, what, time.Duration(t.Cost).Round(10*time.Microsecond), time.Duration(t.Every))
	if t.Error != "" {
		out += "; " + oneLine(t.Error)
	}
	return out
}

func writeFlows(w io.Writer, all []api.ResyncFlow) {
	t := newTable("CLIENT", "ADDRESS", "AT", "LEFT", "RATE", "RTT", "OBJECT")
	t.spare = []int{6}
	for i := range all {
		f := &all[i]
		left := ""
		if f.Left != nil {
			left = storedBytes(uint64(*f.Left))
		}
		t.row(f.Client, f.VIP, storedBytes(f.Offset), left, storedBytes(f.Rate)+"/s", time.Duration(f.RTT).Round(100*time.Microsecond).String(), cmp.Or(f.URL, "-"))
	}
	t.write(w)
}
