package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// figures are the summary of one site's measured responses, in percent.
type figures struct {
	site    string
	base    float64    // share of all clients
	left    [3]float64 // of its own after one, two and three prepends
	split   [6]float64 // where a withdraw sends its clients
	reverse [6]float64 // everybody's share while all others prepend once
}

// summary are figures computed from the measurements of SIDN's anycast tuner
// on the Tangled testbed (MIT licence, copyright 2020 SIDN.nl): shares of
// about 3.4 million responding client blocks.
var summary = []figures{
	{"CDG", 7.2, [3]float64{11, 10, 9}, [6]float64{0, 4, 46, 13, 33, 5}, [6]float64{46.3, 14.7, 13.1, 9.8, 14.7, 1.4}},
	{"IAD", 15.3, [3]float64{96, 96, 96}, [6]float64{65, 0, 7, 10, 11, 8}, [6]float64{4.1, 47.4, 14.9, 9.3, 6.8, 17.5}},
	{"LHR", 23.4, [3]float64{34, 13, 8}, [6]float64{41, 28, 0, 8, 14, 10}, [6]float64{2.4, 15.0, 54.1, 12.4, 14.6, 1.5}},
	{"MIA", 16.0, [3]float64{24, 15, 15}, [6]float64{7, 8, 33, 0, 20, 32}, [6]float64{1.6, 15.8, 12.8, 53.6, 14.9, 1.2}},
	{"POA", 21.0, [3]float64{17, 14, 14}, [6]float64{15, 48, 17, 23, 0, 0}, [6]float64{2.4, 15.3, 14.8, 14.0, 46.4, 7.0}},
	{"SYD", 17.2, [3]float64{9, 8, 8}, [6]float64{39, 1, 6, 50, 3, 0}, [6]float64{2.5, 15.8, 13.7, 9.0, 14.1, 44.9}},
}

// Small writes the small fleet in the format of the measurements: rows made
// from the summary figures, with two points of drift between prepends and the
// rest, as the measurements have it. Prepends beyond three change nothing.
func Small() string {
	r := rand.New(rand.NewPCG(2026, 1))
	var b strings.Builder
	fmt.Fprintln(&b, "# Made by sim.Small from summary figures of the Tangled measurements (SIDN/BGP-Anycast-Tuner,")
	fmt.Fprintln(&b, "# MIT licence, copyright 2020 SIDN.nl); parts of 10000 clients. Not measured itself.")
	b.WriteString("bgp")
	base := make([]float64, len(summary))
	for i, f := range summary {
		b.WriteString(";" + f.site)
		base[i] = f.base
	}
	b.WriteString("\n")
	row := func(name string, v []float64) {
		b.WriteString(name)
		for _, x := range v {
			fmt.Fprintf(&b, ";%.0f", 100*max(0, x))
		}
		b.WriteString("\n")
	}
	row("baseline", base)
	for i, f := range summary {
		row("0x"+f.site, moved(base, i, f, 0, nil))
		for n := 1; n <= prepends; n++ {
			row(fmt.Sprintf("%dx%s", n, f.site), moved(base, i, f, f.left[min(n, 3)-1]/100, r))
		}
		row("-1x"+f.site, f.reverse[:])
	}
	return b.String()
}

// moved is the baseline with all but a part of one site's clients elsewhere.
func moved(base []float64, site int, f figures, left float64, drift *rand.Rand) []float64 {
	out := append([]float64(nil), base...)
	all := sum(f.split[:])
	for q := range out {
		out[q] += base[site] * (1 - left) * f.split[q] / all
		if drift != nil && q != site {
			out[q] += 0.35 * drift.NormFloat64() * math.Sqrt(base[q]/2)
		}
	}
	out[site] = base[site] * left
	return out
}
