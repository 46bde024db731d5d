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
	dns := flag.Float64("dns", -1, "share of the rest whose new sessions follow the weights of DNS within a slot; its delay counts like any other; below 0: as played")
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
	played := (sums[steer.DNS].Away() - sums[steer.Ours].Away()) / (1 - sums[steer.Ours].Away())
	if dns < 0 {
		dns = played
	}
	smooth := 1 - sums[steer.Pacing].PeakNear/sums[steer.Nearest].PeakNear
	assume(sums[steer.Ours].Away(), slow, dns, played)
	movable := func(dns float64) float64 { return unnoticed + (1-unnoticed)*dns }
	for n := range months {
		fmt.Printf("month %d, %.1f %% movable:\n", n+1, 100*movable(dns))
		for _, c := range steer.NewMonth(uint64(n), movable(dns)).Run(smooth) {
			fmt.Println(c)
		}
	}
	fmt.Println("what hangs on the share that DNS moves:")
	worst, later := 0.0, 0.0
	for _, share := range []float64{0, 0.3, 0.5, 0.7, 0.9} {
		l := sweep(months, movable(share), smooth)
		fmt.Printf("DNS moves %2.0f %% of what cannot move unnoticed (%4.1f %% of all can move): worst month %4.1f %% cheaper than nearest, mean %4.1f %%, %+.2f ms at most, %.1f %% of bytes moved\n",
			100*share, 100*movable(share), 100*l.worst, 100*l.mean, l.later, 100*l.moved)
	}
	l := sweep(months, movable(dns), smooth)
	worst, later = l.worst, l.later
	goals := []goal.Goal{
		goal.AtLeast("cost-saved-worst-month-percent", 100*worst, 35), goal.AtMost("cost-mean-latency-ms", later, 3),
		goal.AtMost("players-with-extra-stalls", float64(extra[steer.Ours]+extra[steer.DNS]), 0),
	}
	met := true
	for _, g := range goals {
		fmt.Println(g)
		met = met && g.Met()
	}
	return met
}

// line is what months saved beside the nearest POPs.
type line struct{ worst, mean, later, moved float64 }

// sweep plays months with a share of traffic that can move.
func sweep(months int, movable, smooth float64) line {
	l := line{worst: 1}
	for n := range months {
		all := steer.NewMonth(uint64(n), movable).Run(smooth)
		ours := all[len(all)-1]
		saved := 1 - ours.Total/all[0].Total
		l.worst, l.mean = min(l.worst, saved), l.mean+saved/float64(months)
		l.later, l.moved = max(l.later, ours.Later), l.moved+ours.Moved/float64(months)
	}
	return l
}

// assume prints what the result rests on.
func assume(away, slow, dns, played float64) {
	fmt.Printf(`what is assumed, and where it comes from:
  %4.1f %% of bytes move unnoticed by redirects: played above, nobody of them stalls more often
  %4.1f %% are of slow networks, which DNS sends to cheap POPs (-slow): not from a measurement; one's own share is in catchment slowness
  %4.1f %% of the rest follows the weights of DNS (-dns). Played above are %.1f %%: those whose path to the cheap POP is known and carries
         the worst second of their stream; they begin there and do not stall more often either. A share above that is not played.
         Their answers come later by the distance of the two POPs; that is in the mean, with a budget of 3 ms.
         That new sessions follow within a slot of five minutes (answers that live 30 s) is assumed; see the table below for less
  twelve POPs in four regions; links by 95th percentile (0.1 to 6 a month and Mbit/s) or by volume; 4 to 12 ms within a region
  targets are chosen by the month before, at another growth for each POP; day, week, noise and events are drawn by chance
`, 100*away, 100*slow, 100*dns, 100*played)
}
