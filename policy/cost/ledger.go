package cost

import "slices"

// Ledger writes down what POPs sent, and what they would have sent had nobody
// been moved: the counterfactual. Days are of 288 slots of five minutes, or as
// many as Slots says.
type Ledger struct {
	Prices []Price
	Slots  int     // a day; 288 if zero
	Second float64 // of a slot; 300 if zero

	sent, would [][]float64 // [POP][slot]
	quality     []Quality   // by day
	slots       int
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

func (q *Quality) add(o Quality) {
	q.Moved, q.Left = q.Moved+o.Moved, q.Left+o.Left
	q.MovedStalls, q.LeftStalls = q.MovedStalls+o.MovedStalls, q.LeftStalls+o.LeftStalls
	q.LaterSum, q.LaterCounted = q.LaterSum+o.LaterSum, q.LaterCounted+o.LaterCounted
}

// Later is the mean delay that moving added, in ms over all sessions counted.
func (q *Quality) Later() float64 { return ratio(q.LaterSum, q.LaterCounted) }

// ExtraStalls is by how much more a moved session stalls than one left alone.
func (q *Quality) ExtraStalls() float64 {
	return ratio(q.MovedStalls, q.Moved) - ratio(q.LeftStalls, q.Left)
}

func ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}

// Add writes one slot down: the rate that each POP sent (bit/s), and what was
// moved of it.
func (l *Ledger) Add(sent []float64, moves []Move, q Quality) {
	if l.sent == nil {
		l.sent, l.would = make([][]float64, len(l.Prices)), make([][]float64, len(l.Prices))
	}
	would := slices.Clone(sent)
	for _, m := range moves {
		would[m.From] += m.Rate
		would[m.To] -= m.Rate
	}
	for i := range l.Prices {
		l.sent[i] = append(l.sent[i], sent[i])
		l.would[i] = append(l.would[i], max(0, would[i]))
	}
	if day := l.slots / l.day(); day == len(l.quality) {
		l.quality = append(l.quality, Quality{})
	}
	l.quality[len(l.quality)-1].add(q)
	l.slots++
}

func (l *Ledger) day() int {
	if l.Slots > 0 {
		return l.Slots
	}
	return 288
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
	Moved       float64 // GB that others sent for it (below 0: that it sent for others)
}

// Saved is what was not paid; below 0: what this POP cost more, for others.
func (s Saving) Saved() float64 { return s.Would - s.Cost }

// Total gives the whole time by POP. With prices by percentile this is what
// counts: days of a month do not add up to its bill.
func (l *Ledger) Total() []Saving { return l.between(0, l.slots) }

// Day gives one day, as the part of a month in which all days are like it.
func (l *Ledger) Day(n int) ([]Saving, Quality) {
	if n < 0 || n >= len(l.quality) {
		return nil, Quality{}
	}
	return l.between(n*l.day(), min(l.slots, (n+1)*l.day())), l.quality[n]
}

// Days is how many there are.
func (l *Ledger) Days() int { return len(l.quality) }

func (l *Ledger) between(from, to int) []Saving {
	out := make([]Saving, len(l.Prices))
	for i := range l.Prices {
		if l.sent == nil {
			break
		}
		s, w := l.sent[i][from:to], l.would[i][from:to]
		out[i] = Saving{Cost: l.Prices[i].Bill(s, l.second()), Would: l.Prices[i].Bill(w, l.second())}
		for j := range s {
			out[i].Moved += (w[j] - s[j]) * l.second() / 8e9
		}
	}
	return out
}

// Ceiling is how much harm is borne. Once over it, steering stops until harm has
// been below half of it for Calm slots.
type Ceiling struct {
	ExtraStalls float64 // a session; 0: none at all is borne
	Later       float64 // ms in the mean; 0: not looked at
	Least       float64 // moved sessions below which stalls say nothing
	Calm        int     // slots

	stopped bool
	calm    int
}

// Judge takes the quality of the last slots and tells whether steering is to
// stop, and by which word ("stalls", "latency"; "" while it goes on).
func (c *Ceiling) Judge(q Quality) (stop bool, why string) {
	at := func(part float64) string {
		switch {
		case q.Moved >= c.Least && q.Moved > 0 && q.ExtraStalls() > c.ExtraStalls*part:
			return "stalls"
		case c.Later > 0 && q.Later() > c.Later*part:
			return "latency"
		}
		return ""
	}
	if why = at(1); why != "" {
		c.stopped, c.calm = true, 0
		return true, why
	}
	if !c.stopped {
		return false, ""
	}
	if why = at(0.5); why != "" {
		c.calm = 0
		return true, why
	}
	if c.calm++; c.calm > c.Calm {
		c.stopped = false
		return false, ""
	}
	return true, "calming down"
}
