package cost

import (
	"cmp"
	"math"
	"slices"
)

// Ledger writes down what links carried, and what they would have carried had
// nobody been moved: the counterfactual. Slots are numbered; those that are
// missing, or in which a link was not heard of, are not billed.
type Ledger struct {
	Links  []Link
	Second float64 // of a slot; 300 if zero

	slots []entry // by number
}

// Link is what is billed by itself.
type Link struct {
	POP   int
	Price Price
}

// entry is one slot: rates by link, NaN where a link was not heard of.
type entry struct {
	at          int64
	sent, would []float32
	quality     []Quality // by POP; nil: nothing is known
}

// Quality is what was seen of the clients in a time: those that were moved, and
// those that could have been and were left alone, to compare with.
type Quality struct {
	Moved, Left  float64 // sessions
	MovedStalls  float64
	LeftStalls   float64
	LaterSum     float64 // ms x sessions by which answers came later
	LaterCounted float64
}

// Add adds another time, or other clients.
func (q *Quality) Add(o Quality) {
	q.Moved, q.Left = q.Moved+o.Moved, q.Left+o.Left
	q.MovedStalls, q.LeftStalls = q.MovedStalls+o.MovedStalls, q.LeftStalls+o.LeftStalls
	q.LaterSum, q.LaterCounted = q.LaterSum+o.LaterSum, q.LaterCounted+o.LaterCounted
}

// Later is the mean delay that moving added, in ms over all sessions counted.
func (q Quality) Later() float64 { return ratio(q.LaterSum, q.LaterCounted) }

// ExtraStalls is by how much more a moved session stalls than one left alone.
func (q Quality) ExtraStalls() float64 {
	return ratio(q.MovedStalls, q.Moved) - ratio(q.LeftStalls, q.Left)
}

// chance is the standard deviation of ExtraStalls, if stalls come by chance.
func (q Quality) chance() float64 {
	return math.Sqrt(ratio(q.MovedStalls, q.Moved*q.Moved) + ratio(q.LeftStalls, q.Left*q.Left))
}

func ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}

// Add writes a slot down: the rate of each link (bit/s; NaN: not known), what
// was moved between POPs, and what was seen of the clients of each POP (nil:
// nothing). A slot that is there already is replaced.
func (l *Ledger) Add(at int64, sent []float64, moves []Move, quality []Quality) {
	e := entry{at: at, quality: slices.Clone(quality)}
	for i, x := range l.Counterfactual(sent, moves) {
		e.sent, e.would = append(e.sent, float32(sent[i])), append(e.would, float32(x))
	}
	i, there := l.find(at)
	if there {
		l.slots[i] = e
		return
	}
	l.slots = slices.Insert(l.slots, i, e)
}

// Counterfactual is what links would have carried. Each link of a POP has the
// part of what was moved that it has of the POP's traffic.
func (l *Ledger) Counterfactual(sent []float64, moves []Move) []float64 {
	would, all, links := make([]float64, len(sent)), map[int]float64{}, map[int]float64{}
	for i, x := range sent {
		if !math.IsNaN(x) {
			all[l.Links[i].POP] += x
			links[l.Links[i].POP]++
		}
	}
	away := map[int]float64{}
	for _, m := range moves {
		away[m.From] += m.Rate
		away[m.To] -= m.Rate
	}
	for i, x := range sent {
		pop := l.Links[i].POP
		part := 1 / links[pop]
		if all[pop] > 0 {
			part = x / all[pop]
		}
		if would[i] = x; away[pop] != 0 {
			would[i] = x + away[pop]*part
		}
		if would[i] < 0 {
			would[i] = 0
		}
	}
	return would
}

func (l *Ledger) find(at int64) (int, bool) {
	return slices.BinarySearchFunc(l.slots, at, func(e entry, at int64) int { return cmp.Compare(e.at, at) })
}

// Restore puts a slot back of which the counterfactual is known; one that does
// not fit the links is left out.
func (l *Ledger) Restore(at int64, sent, would []float64, quality []Quality) {
	if len(sent) != len(l.Links) || len(would) != len(sent) {
		return
	}
	e := entry{at: at, quality: quality}
	for i := range sent {
		e.sent, e.would = append(e.sent, float32(sent[i])), append(e.would, float32(would[i]))
	}
	if i, there := l.find(at); !there {
		l.slots = slices.Insert(l.slots, i, e)
	}
}

// Drop forgets slots before one.
func (l *Ledger) Drop(before int64) {
	i, _ := l.find(before)
	l.slots = slices.Delete(l.slots, 0, i)
}

// Span is the first and the last slot there is; false: none.
func (l *Ledger) Span() (first, last int64, ok bool) {
	if len(l.slots) == 0 {
		return 0, 0, false
	}
	return l.slots[0].at, l.slots[len(l.slots)-1].at, true
}

func (l *Ledger) second() float64 {
	if l.Second > 0 {
		return l.Second
	}
	return 300
}

// Saving is what a POP cost, and would have cost, in a time.
type Saving struct {
	Cost, Would float64
	Sent        float64 // GB
	Moved       float64 // GB that others sent for it (below 0: that it sent for others)
	Slots       int     // that were heard of, by the link with the fewest
	Quality     Quality
}

// Saved is what was not paid; below 0: what this POP cost more, for others.
func (s Saving) Saved() float64 { return s.Would - s.Cost }

// Between gives slots from one to before another, by POP, as the part that they
// are of a month of so many seconds (0: Month) in which all slots are like
// them. With prices by percentile the whole month is what counts: its days do
// not add up to its bill.
func (l *Ledger) Between(from, to int64, month float64) []Saving {
	if month == 0 {
		month = Month
	}
	i, _ := l.find(from)
	j, _ := l.find(to)
	pops := 0
	for _, k := range l.Links {
		pops = max(pops, k.POP+1)
	}
	out := make([]Saving, pops)
	billed := make([]bool, pops)
	for n := range l.Links {
		s, x := &out[l.Links[n].POP], l.link(n, l.slots[i:max(i, j)], month)
		s.Cost, s.Would, s.Sent, s.Moved = s.Cost+x.Cost, s.Would+x.Would, s.Sent+x.Sent, s.Moved+x.Moved
		if !billed[l.Links[n].POP] || x.Slots < s.Slots {
			s.Slots = x.Slots
		}
		billed[l.Links[n].POP] = true
	}
	for _, e := range l.slots[i:max(i, j)] {
		for pop := range min(len(e.quality), pops) {
			out[pop].Quality.Add(e.quality[pop])
		}
	}
	return out
}

// link bills one link.
func (l *Ledger) link(n int, slots []entry, month float64) (out Saving) {
	var sent, would []float64
	for _, e := range slots {
		s, w := float64(e.sent[n]), float64(e.would[n])
		if math.IsNaN(s) || math.IsNaN(w) {
			continue
		}
		sent, would = append(sent, s), append(would, w)
		out.Sent += s * l.second() / 8e9
		out.Moved += (w - s) * l.second() / 8e9
	}
	p := &l.Links[n].Price
	out.Cost, out.Would, out.Slots = p.BillOf(sent, l.second(), month), p.BillOf(would, l.second(), month), len(sent)
	return out
}
