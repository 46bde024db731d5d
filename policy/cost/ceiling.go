package cost

// Ceiling is how much harm is borne. Once over it, steering stops until harm has
// been below half of it for Calm judgements.
type Ceiling struct {
	ExtraStalls float64 // a session; 0: none at all is borne
	Later       float64 // ms in the mean; 0: not looked at
	Least       float64 // moved sessions below which stalls say nothing
	// Sure is how many standard deviations of chance more stalls must be above
	// the ceiling to count, as if stalls came one by one (Poisson).
	Sure float64
	Calm int // judgements

	stopped bool
	why     string
	calm    int
}

// CalmingDown is why steering is still stopped when nothing is over the ceiling
// any more.
const CalmingDown = "calming down"

// Judge takes the quality of the last time and tells whether steering is to
// stop, and by which word ("stalls", "latency", CalmingDown; "" while it goes
// on).
func (c *Ceiling) Judge(q Quality) (stop bool, why string) {
	if why = c.over(q, 1); why != "" {
		c.stopped, c.why, c.calm = true, why, 0
		return true, why
	}
	if !c.stopped {
		return false, ""
	}
	if why = c.over(q, 0.5); why != "" {
		c.calm = 0
		return true, why
	}
	if c.calm++; c.calm > c.Calm {
		c.stopped, c.why = false, ""
		return false, ""
	}
	return true, CalmingDown
}

// over says what is above a part of the ceiling.
func (c *Ceiling) over(q Quality, part float64) string {
	switch {
	case q.Moved >= c.Least && q.Moved > 0 && q.ExtraStalls()-c.Sure*q.chance() > c.ExtraStalls*part:
		return "stalls"
	case c.Later > 0 && q.Later() > c.Later*part:
		return "latency"
	}
	return ""
}

// Stopped tells whether steering is stopped, and by what it was at first.
func (c *Ceiling) Stopped() (bool, string) { return c.stopped, c.why }

// Resume takes up a stop of a former life: it is as if it had begun now.
func (c *Ceiling) Resume(why string) { c.stopped, c.why, c.calm = true, why, 0 }
