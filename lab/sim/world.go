package sim

import "github.com/catchment/catchment/policy/shed"

// Loads is the demand that each POP gets with the POPs at given levels: the
// truth that a forecast is held against.
func (g *Graph) Loads(level []shed.Level) []float64 {
	out := make([]float64, len(g.pops))
	for n, p := range g.Catchment(level) {
		if p >= 0 {
			out[p] += g.nets[n].weight
		}
	}
	return out
}
