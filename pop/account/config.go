package account

import (
	"math"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/cost"
)

// Config is what the operator says about money and harm.
type Config struct {
	Currency string
	Slot     time.Duration // that links are billed by
	Day      int           // of the month, 1 to 28, on which it begins (UTC)
	Keep     int           // days
	POPs     []POP
	Ceiling  Ceiling
}

// POP is a POP and what its traffic costs.
type POP struct {
	ID policy.POPID
	// Links are billed one by one. The only one without a name is all that the
	// POP sends.
	Links []Link
	// Distance is by how much later its clients get answers from another POP.
	Distance map[policy.POPID]time.Duration
}

// Link is a link and its price.
type Link struct {
	Name  string // as the POP measures it; empty: all of them
	In    bool   // what comes in is billed, not what goes out
	Price cost.Price
}

// Ceiling is how much harm is borne.
type Ceiling struct {
	Stalls  float64       // more stalls a request of moved players than of others
	Latency time.Duration // later in the mean of all traffic; 0: not looked at
	Least   int           // requests of moved players below which stalls say nothing
	Window  time.Duration // that is judged
	Calm    time.Duration // for which harm must be below half of it, before steering begins anew
}

// sure is how many standard deviations of chance stalls must be above the
// ceiling: nineteen times of twenty it is no chance then.
const sure = 1.64

// On reports whether there is anything to keep books of.
func (c *Config) On() bool { return len(c.POPs) > 0 }

// pop is the number of a POP; -1: it has no price.
func (c *Config) pop(id policy.POPID) int {
	for i := range c.POPs {
		if c.POPs[i].ID == id {
			return i
		}
	}
	return -1
}

// ledger is an empty one, and the names of its links.
func (c *Config) ledger() (*cost.Ledger, []string) {
	l, names := &cost.Ledger{Second: c.Slot.Seconds()}, []string(nil)
	for i := range c.POPs {
		for _, k := range c.POPs[i].Links {
			l.Links, names = append(l.Links, cost.Link{POP: i, Price: k.Price}), append(names, linkName(c.POPs[i].ID, k.Name))
		}
	}
	return l, names
}

// linkName is how files call a link.
func linkName(pop policy.POPID, link string) string { return string(pop) + "/" + link }

// distances are those between POPs in ms; NaN where none is given.
func (c *Config) distances() [][]float64 {
	out := make([][]float64, len(c.POPs))
	for i := range c.POPs {
		for j := range c.POPs {
			d, ok := c.POPs[i].Distance[c.POPs[j].ID]
			switch {
			case i == j:
				out[i] = append(out[i], 0)
			case !ok:
				out[i] = append(out[i], math.NaN())
			default:
				out[i] = append(out[i], d.Seconds()*1000)
			}
		}
	}
	return out
}

// tick is how often is measured and judged: several times a slot.
func (c *Config) tick() time.Duration {
	if !c.On() {
		return time.Minute
	}
	return min(10*time.Second, c.Slot/5)
}

// ceiling is a judge that is asked each tick.
func (c *Config) ceiling() *cost.Ceiling {
	return &cost.Ceiling{
		ExtraStalls: c.Ceiling.Stalls, Later: c.Ceiling.Latency.Seconds() * 1000, Least: float64(c.Ceiling.Least), Sure: sure,
		Calm: int(c.Ceiling.Calm / c.tick()),
	}
}

// slot is the number of the slot of a time.
func (c *Config) slot(t time.Time) int64 { return t.Unix() / int64(c.Slot.Seconds()) }

// begins is when a slot begins.
func (c *Config) begins(slot int64) time.Time {
	return time.Unix(slot*int64(c.Slot.Seconds()), 0).UTC()
}

// month is the one that a time is in: from its first slot to before the next
// one's.
func (c *Config) month(t time.Time) (from, to time.Time) {
	t = t.UTC()
	from = time.Date(t.Year(), t.Month(), c.Day, 0, 0, 0, 0, time.UTC)
	if from.After(t) {
		from = from.AddDate(0, -1, 0)
	}
	return from, from.AddDate(0, 1, 0)
}
