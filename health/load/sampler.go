package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Sampler takes samples of one source. The Runner calls it from one goroutine,
// one call at a time, so it may keep what it needs between calls. It returns
// when ctx ends. What it could read it returns even beside an error that says
// what it could not.
type Sampler interface {
	Sample(ctx context.Context) (Reading, error)
}

// Reading is what one sample said.
type Reading []Point

// ErrAbsent is wrapped by errors about what this kernel or host does not have
// and will not have soon: it is said once and is no fault.
var ErrAbsent = errors.New("not available on this host")

// Kind says what a Point's value is.
type Kind uint8

// Kinds.
const (
	Gauge   Kind = iota // the value at this moment
	Counter             // a total that only grows; its rate is the load
	Mean                // the average since the last sample
)

func (k Kind) String() string { return [...]string{"gauge", "counter", "mean"}[k] }

// Point is one number of a Reading.
type Point struct {
	Name  string // within the source, such as a direction or an address; it stays the same
	Unit  Unit
	Kind  Kind
	Value float64 // in the unit; of a counter the integral of it (bits, requests)
	// At is when it was measured by the source's own word; zero: now. What is
	// not measured again becomes too old, however often it is asked for.
	At time.Time
	// Epoch tells apart counters that began anew (the device was made again,
	// the server restarted); with another one no rate is made across.
	Epoch uint64
	// Limit is the most that this very source can carry, if that is known; 0:
	// it is not.
	Limit float64
	// Most is what it cannot exceed whatever is wanted of it, if that is known;
	// 0: it is not. A link of 10 Gbit/s may have a Limit of the one that is paid
	// for.
	Most float64
	// Down: it can carry nothing now, as a link without a carrier.
	Down bool
	// Wrap is the total at which a counter of this kind may begin at zero
	// again, in the unit of Value; 0: it never does.
	Wrap float64
}

// ceiling is what no POP reaches: above it a value is a lie.
var ceiling = [Units]float64{
	In: 1e15, Out: 1e15, Requests: 1e12, Connections: 1e12,
	CPU: 1.1, PressureCPU: 1.1, PressureMemory: 1.1, PressureIO: 1.1, // clocks are read one after the other
}

// overMost is how far beyond what is possible a source is believed: counters
// that a driver updates once a second make rates of up to twice the truth.
const overMost = 4

// plausible refuses values that cannot be.
func plausible(u Unit, x, most float64) error {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return fmt.Errorf("%s: %v is no number to go by", u, x)
	case x < 0:
		return fmt.Errorf("%s: %v %s is negative", u, x, u.Per())
	case x > ceiling[u]:
		return fmt.Errorf("%s: %.4g %s is beyond reason", u, x, u.Per())
	case most > 0 && x > overMost*most:
		return fmt.Errorf("%s: %.4g %s is more than %d times what it can carry (%.4g)", u, x, u.Per(), overMost, most)
	}
	return nil
}
