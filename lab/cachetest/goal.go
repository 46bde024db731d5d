package cachetest

import (
	"fmt"
	"math"
	"os"
)

// Goal is a promise and what was measured: one line at a report's end.
type Goal struct {
	Name         string
	Value, Limit float64
	Least        bool // the value must reach the limit; else it must not pass it
}

// AtLeast is a goal that is met from the limit on.
func AtLeast(name string, value, limit float64) Goal { return Goal{name, value, limit, true} }

// AtMost is a goal that is met up to the limit.
func AtMost(name string, value, limit float64) Goal { return Goal{name, value, limit, false} }

// Met says whether it is; NaN, not measured, is not.
func (g Goal) Met() bool {
	if g.Least {
		return g.Value >= g.Limit
	}
	return g.Value <= g.Limit
}

func (g Goal) String() string {
	switch {
	case math.IsNaN(g.Value):
		return fmt.Sprintf("goal %s - %g not-measured", g.Name, g.Limit)
	case g.Met():
		return fmt.Sprintf("goal %s %.4g %g met", g.Name, g.Value, g.Limit)
	}
	return fmt.Sprintf("goal %s %.4g %g missed", g.Name, g.Value, g.Limit)
}

func writeFile(name, text string) error { return os.WriteFile(name, []byte(text), 0o644) }
