package account

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/cost"
)

// Sample is what a POP says of one slot: of a part of it while it lasts.
type Sample struct {
	Slot    int64   `json:"slot"`    // its number: seconds of 1970 by Every
	Every   int64   `json:"every"`   // seconds a slot
	Seconds float64 `json:"seconds"` // of it that were measured
	// Links are the mean rates of its links. The one without a name is all.
	Links   []Rate    `json:"links,omitempty"`
	Answers []Answers `json:"answers,omitempty"`
	// Redirected is what was asked here and another POP was asked to send.
	Redirected []Redirected `json:"redirected,omitempty"`
	Harm       *Harm        `json:"harm,omitempty"` // nil: not measured
}

// Rate is what a link carried in the mean, bit/s.
type Rate struct {
	Link string  `json:"link,omitempty"`
	In   float64 `json:"in,omitempty"`
	Out  float64 `json:"out,omitempty"`
}

// Answers are those of its DNS server: To whom clients were sent that are
// nearest to From, and why, if they are not the same.
type Answers struct {
	From policy.POPID `json:"from"`
	To   policy.POPID `json:"to"`
	Why  string       `json:"why,omitempty"`
	N    uint64       `json:"n"`
}

// Redirected are requests that another POP was asked to serve.
type Redirected struct {
	To       policy.POPID `json:"to"`
	Requests uint64       `json:"requests"`
	Bytes    uint64       `json:"bytes"` // of the responses that were not sent from here
}

// Harm is what players told here with their requests: of sessions that were
// moved, and of those that could have been and were left alone.
type Harm struct {
	Moved       uint64 `json:"moved"`
	Left        uint64 `json:"left"`
	MovedStalls uint64 `json:"moved_stalls"`
	LeftStalls  uint64 `json:"left_stalls"`
}

// Limits on what others may say.
const (
	maxTold    = 64 << 10 // bytes
	maxSamples = 8
	maxLinks   = 64
	maxAnswers = 4096
	maxName    = 128
	maxRate    = 1e15 // bit/s
	maxCount   = 1 << 50
)

// decode reads what another POP says; what is out of bounds is refused whole.
func decode(b []byte) ([]Sample, error) {
	if len(b) > maxTold {
		return nil, fmt.Errorf("%d bytes, more than %d", len(b), maxTold)
	}
	var out []Sample
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, err
	}
	if len(out) > maxSamples {
		return nil, fmt.Errorf("%d slots, more than %d", len(out), maxSamples)
	}
	for i := range out {
		if err := out[i].check(); err != nil {
			return nil, fmt.Errorf("slot %d: %w", out[i].Slot, err)
		}
	}
	return out, nil
}

func (s *Sample) check() error {
	if s.Slot < 0 || s.Every < 1 || s.Every > 86400 || !within(s.Seconds, 2*float64(s.Every)) {
		return fmt.Errorf("%v s of %d", s.Seconds, s.Every)
	}
	if len(s.Links) > maxLinks || len(s.Answers) > maxAnswers || len(s.Redirected) > maxLinks {
		return fmt.Errorf("%d links, %d kinds of answers, %d of redirects", len(s.Links), len(s.Answers), len(s.Redirected))
	}
	for _, l := range s.Links {
		if !within(l.In, maxRate) || !within(l.Out, maxRate) || len(l.Link) > maxName {
			return fmt.Errorf("link %.20q: %v in, %v out", l.Link, l.In, l.Out)
		}
	}
	var counts []uint64
	for _, a := range s.Answers {
		counts = append(counts, a.N)
	}
	for _, r := range s.Redirected {
		counts = append(counts, r.Requests, r.Bytes)
	}
	if h := s.Harm; h != nil {
		counts = append(counts, h.Moved, h.Left, h.MovedStalls, h.LeftStalls)
	}
	for _, n := range counts {
		if n > maxCount {
			return fmt.Errorf("a count of %d", n)
		}
	}
	return nil
}

func within(x, most float64) bool { return x >= 0 && x <= most && !math.IsNaN(x) }

// rate is what a link of the sample carried; NaN: it does not say.
func (s *Sample) rate(l *Link) float64 {
	for _, r := range s.Links {
		if r.Link == l.Name {
			if l.In {
				return r.In
			}
			return r.Out
		}
	}
	return math.NaN()
}

// heard are the samples of a slot by POP; nil where nothing is known.
type heard []*Sample

// sums are what is made of the samples of a slot: rates by link, moves between
// POPs, and quality by POP.
func (c *Config) sums(h heard) (sent []float64, moves []cost.Move, quality []cost.Quality) {
	all := make([]float64, len(c.POPs))
	var answers []cost.Answers
	var redirected []cost.Move
	for i := range c.POPs {
		all[i] = math.NaN()
		known := 0.0
		for k := range c.POPs[i].Links {
			x := math.NaN()
			if h[i] != nil {
				x = h[i].rate(&c.POPs[i].Links[k])
			}
			if sent = append(sent, x); !math.IsNaN(x) {
				known += x
				all[i] = known
			}
		}
		if h[i] != nil {
			answers, redirected = append(answers, c.answers(h[i])...), append(redirected, c.redirects(i, h[i])...)
		}
	}
	moves = cost.Estimate(all, answers, redirected)
	quality = cost.Later(all, moves, c.distances())
	for i, s := range h {
		if s != nil && s.Harm != nil {
			quality[i].Add(cost.Quality{
				Moved: float64(s.Harm.Moved), Left: float64(s.Harm.Left), MovedStalls: float64(s.Harm.MovedStalls), LeftStalls: float64(s.Harm.LeftStalls),
			})
		}
	}
	return sent, moves, quality
}

// room is why clients are sent elsewhere for want of room: not for cost, and no
// ceiling stops it.
const room = "room"

// answers are those between POPs that have a price.
func (c *Config) answers(s *Sample) (out []cost.Answers) {
	for _, a := range s.Answers {
		if a.Why == room {
			a.From = a.To
		}
		if from, to := c.pop(a.From), c.pop(a.To); from >= 0 && to >= 0 {
			out = append(out, cost.Answers{From: from, To: to, N: float64(a.N)})
		}
	}
	return out
}

func (c *Config) redirects(from int, s *Sample) (out []cost.Move) {
	for _, r := range s.Redirected {
		if to := c.pop(r.To); to >= 0 && s.Seconds > 0 {
			out = append(out, cost.Move{From: from, To: to, Rate: 8 * float64(r.Bytes) / s.Seconds})
		}
	}
	return out
}
