package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/catchment/catchment/lab/goal"
)

const mega = 1_000_000

var controls = []string{"cubic", "bbr"}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

// first: the first megabyte after a client has come back.
func (b *bench) first(ctx context.Context) error {
	p := path{40 * time.Millisecond, 200e6}
	floor := p.floor(mega)
	half := p.floor(mega-p.bdp()/2) + p.rtt
	fmt.Printf("\nThe first megabyte from connect, 40 ms, 200 Mbit/s; the floor of two round trips and the line is %.0f ms.\n"+
		"A first jump of a pair of POPs uses half of what it knows (RFC 9959): it cannot be faster than %.0f ms, %.2f of it, and\n"+
		"misses its goal. Once the pair has earned more, networks that have not jumped yet begin with more.\n", ms(floor), ms(half), ratio(half, floor))
	ways := []way{cold, first, paired, earned, route, metrics}
	for _, control := range controls {
		for _, buffer := range []int{large, stock} {
			client := "stock client"
			if buffer == large {
				client = "4 MB of window"
			}
			rows, err := b.measure(ctx, trial{p, p, control, buffer, mega, []int{mega}}, ways...)
			if err != nil {
				return err
			}
			for _, how := range ways {
				r := rows[how]
				fmt.Printf("  %-5s  %-14s  %-18s  %5.0f ms  %.2f of the floor  %d sent again  %v\n", control, client, how, ms(r.at[mega]), ratio(r.at[mega], floor), r.retrans, r.ended)
			}
			if buffer == large {
				for _, how := range []way{first, paired, earned} {
					b.goals = append(b.goals, goal.AtMost("first-MB-40ms-200Mbit-of-floor-"+control+"-"+how.word(), ratio(rows[how].at[mega], floor), 1.15))
				}
			}
		}
	}
	return nil
}

// compared prints ways beside the first of them.
func (b *bench) compared(rows map[way]row, control, what string, marks []int, ways []way) {
	for _, how := range ways {
		fmt.Printf("  %-5s  %-9s  %-18s", control, what, how)
		for _, m := range marks {
			fmt.Printf("  %d MB %5.0f ms %.2f", m/mega, ms(rows[how].at[m]), ratio(rows[how].at[m], rows[cold].at[m]))
		}
		fmt.Printf("  %d sent again  %v\n", rows[how].retrans, rows[how].ended)
	}
}

// rest: what is left of an object after a client has come back.
func (b *bench) rest(ctx context.Context) error {
	p := path{100 * time.Millisecond, 100e6}
	fmt.Printf("\nThe rest of an object from connect, 100 ms, 100 Mbit/s, beside a cold start.\n")
	ways := []way{cold, first, paired, earned, route, metrics}
	cubic := map[int]time.Duration{} // a cold start of it
	for _, control := range controls {
		for _, n := range []int{mega, 5 * mega} {
			rows, err := b.measure(ctx, trial{p, p, control, large, n, []int{n}}, ways...)
			if err != nil {
				return err
			}
			b.compared(rows, control, "", []int{n}, ways)
			limit := 0.45
			if n > mega {
				limit = 0.65
			}
			if control == "cubic" {
				cubic[n] = rows[cold].at[n]
			}
			for _, how := range []way{first, paired, earned} {
				b.goals = append(b.goals, goal.AtMost(fmt.Sprintf("rest-%dMB-100ms-100Mbit-of-cold-cubic-%s-%s", n/mega, control, how.word()), ratio(rows[how].at[n], cubic[n]), limit))
			}
		}
	}
	return nil
}

// less: the path has a half or a quarter of what it had.
func (b *bench) less(ctx context.Context) error {
	before := path{100 * time.Millisecond, 100e6}
	fmt.Printf("\nThe same, where the path has less than when the checkpoint was made.\n")
	ways, marks := []way{cold, first, paired, earned, route, metrics}, []int{mega, 5 * mega}
	for _, control := range controls {
		for _, part := range []int64{2, 4} {
			now := path{before.rtt, before.rate / part}
			rows, err := b.measure(ctx, trial{before, now, control, large, 5 * mega, marks}, ways...)
			if err != nil {
				return err
			}
			what, word := "a half", "halved"
			if part == 4 {
				what, word = "a quarter", "quartered"
			}
			b.compared(rows, control, what, marks, ways)
			for _, how := range []way{first, paired, earned} {
				b.goals = append(b.goals, goal.AtMost(fmt.Sprintf("capacity-%s-of-cold-%s-%s", word, control, how.word()), ratio(rows[how].at[5*mega], rows[cold].at[5*mega]), 1.05))
			}
		}
	}
	return nil
}

// near: at a short distance there is little to gain.
func (b *bench) near(ctx context.Context) error {
	p := path{20 * time.Millisecond, 100e6}
	fmt.Printf("\nAt 20 ms, 100 Mbit/s little is gained: slow start takes few round trips, and they are short.\n")
	ways, marks := []way{cold, first, earned, route, metrics}, []int{mega, 5 * mega}
	for _, control := range controls {
		rows, err := b.measure(ctx, trial{p, p, control, large, 5 * mega, marks}, ways...)
		if err != nil {
			return err
		}
		b.compared(rows, control, "", marks, ways)
	}
	return nil
}

// beside: what a CUBIC flow on the same path keeps in the seconds from the
// beginning of another flow.
func (b *bench) beside(ctx context.Context) error {
	const warm, window = 3 * time.Second, 10 * time.Second
	p := path{100 * time.Millisecond, 100e6}
	fmt.Printf("\nA CUBIC flow beside 5 MB on 100 ms, 100 Mbit/s: what it gets in the %v from their\nbeginning, in which it has come to its end.\n", window)
	rate, rtt, err := b.ticket(ctx, p)
	if err != nil {
		return err
	}
	ways := []way{cold, first, earned, route, metrics}
	for _, control := range controls {
		t := trial{p, p, control, large, 5 * mega, []int{5 * mega}}
		kept, took := map[way][]time.Duration{}, map[way][]time.Duration{}
		for range min(b.runs, 3) { // each takes a while
			for _, how := range ways {
				got, d, err := b.competed(ctx, t, how, rate, rtt, warm, window)
				if errors.Is(err, errLate) {
					fmt.Printf("  %-5s  %-18s  left out: %v\n", control, how, err)
					continue
				}
				if err != nil {
					return err
				}
				kept[how], took[how] = append(kept[how], time.Duration(got)), append(took[how], d.at[5*mega])
			}
		}
		same := func(d time.Duration) time.Duration { return d }
		var base time.Duration
		if len(kept[cold]) > 0 {
			base = median(kept[cold], same)
		}
		for _, how := range ways {
			if len(kept[how]) == 0 || len(kept[cold]) == 0 {
				continue
			}
			k := median(kept[how], same)
			fmt.Printf("  %-5s  %-18s  %5.1f MB  %.2f of beside a cold start; the 5 MB took %5.0f ms\n", control, how, float64(k)/mega, ratio(k, base), ms(median(took[how], same)))
			if how == first || how == earned {
				b.goals = append(b.goals, goal.AtLeast(fmt.Sprintf("competitor-keeps-beside-%s-%s", control, how.word()), ratio(k, base), 0.9))
			}
		}
	}
	return nil
}
