package cost

import "math"

// Answers are answers of DNS: to clients that are nearest to From, who were
// sent To. Those that moved nobody have From and To alike.
type Answers struct {
	From, To int
	N        float64
}

// Estimate says what was moved in a slot, from what POPs sent (bit/s; NaN: not
// known), the answers of all DNS servers, and what redirects asked of other
// POPs (measured, bit/s). An answer to a POP stands for as much of what that
// POP sent as any other: of that no better is known, for who asks DNS is a
// resolver. What redirects brought is left out of it.
func Estimate(sent []float64, answers []Answers, redirected []Move) []Move {
	all, rest := make([]float64, len(sent)), make([]float64, len(sent))
	for _, a := range answers {
		all[a.To] += a.N
	}
	for i, x := range sent {
		if !math.IsNaN(x) {
			rest[i] = x
		}
	}
	moves := map[[2]int]float64{}
	for _, m := range redirected {
		if x := min(m.Rate, rest[m.To]); x > 0 && m.From != m.To {
			moves[[2]int{m.From, m.To}] += x
			rest[m.To] -= x
		}
	}
	for _, a := range answers {
		if a.From != a.To && a.N > 0 {
			moves[[2]int{a.From, a.To}] += rest[a.To] * a.N / all[a.To]
		}
	}
	var out []Move
	for from := range sent {
		for to := range sent {
			if x := moves[[2]int{from, to}]; x > 0 {
				out = append(out, Move{from, to, x})
			}
		}
	}
	return out
}

// Later is the quality that moves cost in latency, by the POP whose clients
// were moved: the mean over all that POPs sent, each bit/s moved by the distance
// of the two POPs (ms; +Inf or NaN: not known, and not counted).
func Later(sent []float64, moves []Move, distance [][]float64) []Quality {
	out := make([]Quality, len(sent))
	for i, x := range sent {
		if !math.IsNaN(x) {
			out[i].LaterCounted += x
		}
	}
	for _, m := range moves {
		// What others sent for it is its clients' traffic.
		out[m.From].LaterCounted += m.Rate
		out[m.To].LaterCounted -= m.Rate
		if ms := distance[m.From][m.To]; !math.IsNaN(ms) && !math.IsInf(ms, 0) {
			out[m.From].LaterSum += m.Rate * ms
		}
	}
	return out
}
