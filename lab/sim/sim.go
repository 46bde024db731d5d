// Package sim plays the real policy code (policy/shed, policy/plan) against
// client networks and POPs that exist only in memory, in virtual time, and
// beside other ways to do the same: withdraw, local prepending, layered DNS,
// assignment without learning, greedy, and a central optimum that knows
// everything.
//
// What the policy code sees is what a POP would see: load samples with noise,
// age and loss, responses it has learned, reservations in a shared core. What
// happens then is decided by the world alone: measured catchments where they
// are at hand, the summary figures of the same measurements otherwise, or a
// generated graph of networks with Gao-Rexford routing.
//
// Everything is a function of a seed. Each experiment returns a Report; Main
// (lab/sim/run) prints them, and one line a goal.
package sim

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/catchment/catchment/lab/goal"
	"github.com/catchment/catchment/policy"
)

// Report is what one experiment says.
type Report struct {
	Name  string // of the files written: NAME.csv, NAME.svg
	Title string
	// Head and Rows are the table; the first column names the row.
	Head  []string
	Rows  [][]string
	Notes []string
	Goals []goal.Goal
	Chart *Chart // nil: no picture
}

// Add appends a row; numbers are printed short.
func (r *Report) Add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		switch v := c.(type) {
		case float64:
			row[i] = short(v)
		default:
			row[i] = fmt.Sprint(v)
		}
	}
	r.Rows = append(r.Rows, row)
}

func short(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v) && a < 1e9:
		return fmt.Sprintf("%.0f", v)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// Slices names k slices of one service.
func Slices(k int) []policy.SliceID {
	out := make([]policy.SliceID, k)
	for i := range out {
		out[i] = policy.SliceID(netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(i), 0}), 24))
	}
	return out
}
