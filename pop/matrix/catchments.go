package matrix

import (
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
)

// Catchments are measured: which POP had which part of the clients, by how the
// POPs announced.
type Catchments struct {
	Source   string    // the name of the file
	Measured time.Time // when; zero: not told
	POPs     []policy.POPID
	// Clients is how many networks, or how much, the normal row adds up to.
	Networks int // lines; 0: the file is of counts
	Normal   Row
	Rows     []Row // all others, in the order of the file
}

// Row is what was measured under one configuration.
type Row struct {
	Name     string
	Settings []Setting // none: every POP announces normally
	Line     int       // of the file; with networks the header's
	// Clients are those of each POP.
	Clients map[policy.POPID]float64
	// Moves are, of the clients that each POP has normally, those that each
	// POP has here; nil with counts, which cannot tell.
	Moves map[policy.POPID]map[policy.POPID]float64
}

// Setting is a POP that announces otherwise than normally.
type Setting struct {
	POP policy.POPID
	// Rung is its name or "withdraw"; empty: the one that prepends Prepend
	// times more than the normal announcement.
	Rung    string
	Prepend int
}

// Share is each POP's part of the clients while every POP announces normally.
func (c *Catchments) Share() map[policy.POPID]float64 { return shares(c.Normal.Clients) }

func shares(clients map[policy.POPID]float64) map[policy.POPID]float64 {
	all := sum(clients)
	out := map[policy.POPID]float64{}
	for p, n := range clients {
		if all > 0 {
			out[p] = n / all
		}
	}
	return out
}

// sum adds up in one order, so that the same file gives the same matrix.
func sum(m map[policy.POPID]float64) (all float64) {
	for _, v := range slices.Sorted(maps.Values(m)) {
		all += v
	}
	return all
}

// Response is what part of its own clients a POP alone lost under a
// configuration, and who got them; nil where that says nothing.
func (c *Catchments) Response(r *Row) (leave float64, to map[policy.POPID]float64) {
	if len(r.Settings) != 1 {
		return 0, nil
	}
	pop := r.Settings[0].POP
	to = map[policy.POPID]float64{}
	if r.Moves != nil {
		stays, all := 0.0, sum(r.Moves[pop])
		for q, n := range r.Moves[pop] {
			if q == pop {
				stays = n
			} else {
				to[q] = n
			}
		}
		if all <= 0 {
			return 0, nil
		}
		return 1 - stays/all, to
	}
	before, after := c.Share(), shares(r.Clients)
	if before[pop] <= 0 {
		return 0, nil
	}
	for q := range before {
		if gain := after[q] - before[q]; q != pop && gain > 0 {
			to[q] = gain
		}
	}
	return min(1, max(0, 1-after[pop]/before[pop])), to
}
