// Command run plays 10,000 players and simulated months, and prints what steering
// by cost saves and what it harms, with a line for each goal.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/catchment/catchment/lab/goal"
	"github.com/catchment/catchment/lab/steer"
)

func main() {
	players := flag.Int("players", 10_000, "players")
	months := flag.Int("months", 4, "months, each a world of its own")
	slow := flag.Float64("slow", 0.1, "share of traffic of slow networks, which moves as well")
	dns := flag.Float64("dns", 0.7, "share of the rest whose new sessions follow the weights of DNS within a slot; its delay counts like any other")
	flag.Parse()
	if !run(*players, *months, *slow, *dns) {
		os.Exit(1)
	}
}

func run(players, months int, slow, dns float64) bool {
	sums, extra := steer.Players(players)
	for m, s := range sums {
		fmt.Printf("%-15v %d stalls, %d of %d players with more than beside the nearest POP, %.1f %% of bytes from the cheap POP\n",
			steer.Mode(m), s.Stalls, extra[m], players, 100*s.Away())
	}
	unnoticed := sums[steer.Ours].Away() + slow
	movable := unnoticed + (1-unnoticed)*dns
	smooth := 1 - sums[steer.Pacing].PeakNear/sums[steer.Nearest].PeakNear
	fmt.Printf("so %.1f %% of the traffic can move unnoticed, that of slow networks with it, and %.1f %% by DNS as well\n", 100*unnoticed, 100*movable)
	worst, later := 1.0, 0.0
	for n := range months {
		all := steer.NewMonth(uint64(n), movable).Run(smooth)
		for _, c := range all {
			fmt.Println(c)
		}
		ours := all[len(all)-1]
		less := steer.NewMonth(uint64(n), unnoticed).Run(smooth)
		fmt.Printf("%v, without DNS\n", less[len(less)-1])
		worst, later = min(worst, 1-ours.Total/all[0].Total), max(later, ours.Later)
	}
	goals := []goal.Goal{
		goal.AtLeast("cost-saved-worst-month-percent", 100*worst, 35), goal.AtMost("cost-mean-latency-ms", later, 3),
		goal.AtMost("players-with-extra-stalls", float64(extra[steer.Ours]), 0),
	}
	met := true
	for _, g := range goals {
		fmt.Println(g)
		met = met && g.Met()
	}
	return met
}
