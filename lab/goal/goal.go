// Package goal is the last lines of every report: what was promised, and what
// was measured.
package goal

import (
	"fmt"
	"math"
)

// Goal is a promise and what was measured.
type Goal struct {
	Name         string // words joined by "-", with the unit if it has one
	Value, Limit float64
	Least        bool // the value must reach the limit; else it must not pass it
}

// AtLeast is a goal that is met from the limit on.
func AtLeast(name string, value, limit float64) Goal { return Goal{name, value, limit, true} }

// AtMost is a goal that is met up to the limit.
func AtMost(name string, value, limit float64) Goal { return Goal{name, value, limit, false} }

// Met reports whether it is; NaN, not measured, is not.
func (g Goal) Met() bool {
	if g.Least {
		return g.Value >= g.Limit
	}
	return g.Value <= g.Limit
}

// String is the line "goal NAME VALUE LIMIT met", or missed, or not-measured.
func (g Goal) String() string {
	switch {
	case math.IsNaN(g.Value):
		return fmt.Sprintf("goal %s - %g not-measured", g.Name, g.Limit)
	case g.Met():
		return fmt.Sprintf("goal %s %.4g %g met", g.Name, g.Value, g.Limit)
	}
	return fmt.Sprintf("goal %s %.4g %g missed", g.Name, g.Value, g.Limit)
}
