package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) statusCommand() *cobra.Command {
	return a.showing(&cobra.Command{
		Use:     "status",
		Short:   "What this POP announces, its neighbors, the other POPs, alarms",
		Example: "  catchment status\n  catchment status --watch\n  catchment status -j | jq '.alarms'",
		Args:    cobra.NoArgs,
	}, func(_ context.Context, _ *api.Client, st api.Status, _ []string) (view, error) {
		return view{st, func(w io.Writer) { writeStatus(w, st) }}, nil
	})
}

func writeStatus(w io.Writer, st api.Status) {
	fmt.Fprintf(w, "POP %s, catchmentd %s, up %s", st.POP, st.Version, age(st.Now, st.Started))
	if st.DryRun {
		fmt.Fprint(w, ", dry run: nothing is announced")
	}
	if st.Stopping {
		fmt.Fprint(w, ", stopping")
	}
	fmt.Fprintln(w)
	for _, al := range st.Alarms {
		about := string(al.Service)
		if al.Slice.Prefix().IsValid() {
			about = strings.TrimSpace(about + " " + al.Slice.String())
		}
		if about != "" {
			about = " " + about + ":"
		}
		say(w, "", fmt.Sprintf("%s %s for %s:%s %s", paint(w, bad, "ALARM"), al.Name, age(st.Now, al.Since), about, oneLine(al.Detail)))
	}
	fmt.Fprintln(w)
	writeSlices(w, st.Now, st.Slices())
	if len(st.Intents) > 0 {
		fmt.Fprintln(w)
		writeIntents(w, st.Now, st.Intents)
	}
	if len(st.Maintenance) > 0 {
		fmt.Fprintln(w)
		writeMaintenance(w, st.Now, st.Maintenance)
	}
	if st.Load != nil {
		fmt.Fprintln(w)
		writeLoad(w, st.Now, st.Load.POP, st.Load.Sources)
		if len(st.Load.Hosts) > 1 {
			fmt.Fprintln(w)
			writeHosts(w, st.Load.Hosts)
		}
	}
	if st.Balance != nil {
		fmt.Fprintln(w)
		writeBalance(w, st.Now, st.Balance)
	}
	fmt.Fprintln(w)
	writeNeighbors(w, st)
	if len(st.Fleet) > 0 {
		fmt.Fprintln(w)
		writeFleet(w, st)
	}
	if n := st.Ingress; n != nil {
		fmt.Fprintln(w)
		say(w, "", fmt.Sprintf("%d ingress routers: %d of their slices assigned, %d waiting, %d on plain anycast (catchment ingress)",
			n.Routers, n.Assigned, n.Waiting, n.Plain))
	}
	if st.Cache != nil {
		fmt.Fprintln(w)
		writeCacheLine(w, st.Cache)
	}
	if c := st.Core; c != nil && !(c.Alone && c.Reachable) { // its own, and right: nobody misses it
		fmt.Fprintln(w)
		writeCoreLine(w, st)
	}
}

func writeSlices(w io.Writer, now time.Time, all []api.SliceStatus) {
	t := newTable("SLICE", "SERVICE", "STANCE", "RUNG", "SINCE", "REASON")
	t.least = []int{1}
	for _, s := range all {
		reason := s.Reason.String()
		if s.Note != "" {
			reason += "; " + s.Note
		}
		t.row(sliceName(s), string(s.Service), s.Stance.Action.String(), s.Rung, age(now, s.Since), oneLine(reason))
	}
	t.write(w)
}

func writeIntents(w io.Writer, now time.Time, all []policy.Intent) {
	t := newTable("INTENT", "OF", "BY", "SINCE", "UNTIL", "WHY")
	for _, in := range all {
		until := "released"
		if !in.Until.IsZero() {
			until = "in " + age(in.Until, now)
		}
		kind := in.What()
		t.row(kind, scope(in.Service, in.Slice), oneLine(in.By), age(now, in.At), until, oneLine(in.Why))
	}
	t.write(w)
}

// scope names what an intent or a change is about.
func scope(service policy.ServiceID, slice policy.SliceID) string {
	switch {
	case slice.Prefix().IsValid():
		return slice.String()
	case service != "":
		return string(service)
	}
	return "all services"
}

func writeNeighbors(w io.Writer, st api.Status) {
	t := newTable("NEIGHBOR", "AS", "STATE", "SINCE", "SENT", "RECEIVED", "BFD", "NOTE")
	t.spare = []int{5, 4}
	for _, n := range st.Neighbors {
		state := string(n.State)
		if n.AdminDown {
			state += " (admin)"
		}
		var note []string
		if n.Description != "" {
			note = append(note, n.Description)
		}
		if n.State == "established" && !n.GracefulRestart {
			note = append(note, "no graceful restart")
		}
		if n.Flaps > 0 {
			note = append(note, "lost "+strconv.FormatUint(uint64(n.Flaps), 10)+" times")
		}
		if n.LastError != "" {
			note = append(note, n.LastError)
		}
		t.row(n.Address.String(), strconv.FormatUint(uint64(n.AS), 10), state, age(st.Now, n.Since),
			strconv.Itoa(n.Advertised), strconv.Itoa(n.Received), n.BFD, oneLine(strings.Join(note, "; ")))
	}
	t.write(w)
}

func writeFleet(w io.Writer, st api.Status) {
	t := newTable("OTHER POP", "SOURCE", "HEARD", "RTT", "ANNOUNCES", "NOTE")
	for _, p := range st.Fleet {
		heard, rtt := "never", ""
		if !p.Heard.IsZero() {
			heard = age(st.Now, p.Heard) + " ago"
		}
		if p.RTT > 0 {
			rtt = time.Duration(p.RTT).Round(100 * time.Microsecond).String()
		}
		n := 0
		var note []string
		for _, s := range p.Slices {
			if s.Stance.Action == policy.Announce {
				n++
			}
			if s.Note != "" {
				note = append(note, s.Slice.String()+": "+s.Note)
			}
		}
		if p.Stale && !p.Heard.IsZero() {
			note = append([]string{"stale"}, note...)
		}
		if p.Error != "" {
			note = append(note, p.Error)
		}
		t.row(string(p.POP), p.Source, heard, rtt, fmt.Sprintf("%d of %d slices", n, len(p.Slices)), oneLine(strings.Join(note, "; ")))
	}
	t.write(w)
}
