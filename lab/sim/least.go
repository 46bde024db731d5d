package sim

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// central is the least growth of the worst other site with which a site can
// let go of a part of its load, by one planner that gives k slices whatever
// configurations were measured, and knows what each does: exchanges of two
// slices at a time from many starts, so a little above the least of all.
func (m *Measured) central(site int, part float64, k int) float64 {
	c := &mix{limit: 1 - part + 0.01, site: site}
	base := m.Row(0, 0)
	for _, name := range slices.Sorted(maps.Keys(m.Rows)) {
		row := slices.Clone(m.Rows[name])
		for q := range row {
			row[q] /= base[q] * float64(k)
		}
		c.rows = append(c.rows, row)
	}
	r := rand.New(rand.NewPCG(uint64(site), 81))
	best := 1e9
	for range 6 {
		c.sum = make([]float64, len(base))
		c.chosen = c.chosen[:0]
		for range k {
			o := r.IntN(len(c.rows))
			c.chosen = append(c.chosen, o)
			c.add(o, 1)
		}
		for c.exchange() {
		}
		best = min(best, c.judge())
	}
	return best
}

// mix is a choice of configurations, one a slice.
type mix struct {
	rows   [][]float64 // growth of each site by a slice of a configuration
	site   int
	limit  float64 // most that the site itself may keep
	chosen []int
	sum    []float64
}

func (c *mix) add(row int, sign float64) {
	for q, g := range c.rows[row] {
		c.sum[q] += sign * g
	}
}

// judge is the worst growth of the others; what the site keeps above its
// limit counts a hundredfold.
func (c *mix) judge() float64 {
	worst := 0.0
	for q, g := range c.sum {
		if q != c.site {
			worst = max(worst, g)
		}
	}
	return worst + 100*max(0, c.sum[c.site]-c.limit-1e-9)
}

// exchange makes the best change of up to two slices, if any helps.
func (c *mix) exchange() bool {
	best, at := c.judge(), [4]int{-1}
	for a := range c.chosen {
		for b := range a {
			oa, ob := c.chosen[a], c.chosen[b]
			c.add(oa, -1)
			c.add(ob, -1)
			for x := range c.rows {
				c.add(x, 1)
				for y := range x + 1 {
					c.add(y, 1)
					if v := c.judge(); v < best-1e-9 {
						best, at = v, [4]int{a, b, x, y}
					}
					c.add(y, -1)
				}
				c.add(x, -1)
			}
			c.add(oa, 1)
			c.add(ob, 1)
		}
	}
	if at[0] < 0 {
		return false
	}
	c.swap(at[0], at[2])
	c.swap(at[1], at[3])
	return true
}

func (c *mix) swap(slice, row int) {
	c.add(c.chosen[slice], -1)
	c.chosen[slice] = row
	c.add(row, 1)
}
