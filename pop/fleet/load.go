package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/catchment/catchment/policy"
)

// Load is what a POP says that it carries, and how far it steps back for it.
// It goes with the answers of an Exchange to POPs that say that they take it,
// and as the same bytes through whatever else carries presence. What it says
// of the future is no more than what pop/balance makes of it.
type Load struct {
	Unit     string  `json:"unit"`         // of all loads: "out", "in", "requests", "connections"
	Capacity float64 `json:"capacity"`     // 0: not known
	SD       float64 `json:"sd,omitempty"` // standard deviation of the total; 0: not known
	// AgeMS is how old the sample was when this was made: no message carries a time.
	AgeMS int64 `json:"age_ms"`
	// Split says where the loads of slices come from, in words of pop/balance.
	Split  string      `json:"split,omitempty"`
	Other  float64     `json:"other,omitempty"` // carried on no slice that load may move
	Slices []SliceLoad `json:"slices"`
}

// SliceLoad is the load of one slice.
type SliceLoad struct {
	Slice policy.SliceID `json:"slice"`
	Load  float64        `json:"load"`
	// Level is how far the POP steps back for its load: 0 normal, then the
	// rungs, last the withdraw. Missing: what it does has other reasons, and
	// load does not touch the slice.
	Level *int `json:"level,omitempty"`
}

// maxLoad bounds what is believed of one number.
const maxLoad = 1e18

// maxAge bounds the age of a sample: an older one says nothing.
const maxAge = 24 * time.Hour

// Encode returns the bytes that Message.Load and presence carry.
func (l Load) Encode() json.RawMessage {
	b, err := json.Marshal(l)
	if err != nil { // not a number: nothing is said
		return nil
	}
	return b
}

// DecodeLoad reads what Encode wrote, of this version or a newer one: fields
// that are not known are left out, values out of their limits are refused.
func DecodeLoad(b []byte) (Load, error) {
	var l Load
	if err := json.Unmarshal(b, &l); err != nil {
		return Load{}, fmt.Errorf("load: %w", err)
	}
	if err := l.validate(); err != nil {
		return Load{}, fmt.Errorf("load: %w", err)
	}
	return l, nil
}

// Age is how old the sample was when this was made.
func (l Load) Age() time.Duration { return time.Duration(l.AgeMS) * time.Millisecond }

// Of returns what is said of a slice.
func (l Load) Of(id policy.SliceID) (SliceLoad, bool) {
	for _, s := range l.Slices {
		if s.Slice == id {
			return s, true
		}
	}
	return SliceLoad{}, false
}

func (l Load) validate() error {
	for _, x := range []float64{l.Capacity, l.SD, l.Other} {
		if !amount(x) {
			return fmt.Errorf("%v is no amount", x)
		}
	}
	switch {
	case !validName(l.Unit):
		return fmt.Errorf("unit %q", l.Unit)
	case l.Split != "" && !validName(l.Split):
		return fmt.Errorf("split %q", l.Split)
	case l.AgeMS < 0 || l.AgeMS > maxAge.Milliseconds():
		return fmt.Errorf("a sample of %d ms", l.AgeMS)
	case len(l.Slices) > maxSlices:
		return fmt.Errorf("%d slices, more than %d", len(l.Slices), maxSlices)
	}
	seen := make(map[policy.SliceID]bool, len(l.Slices))
	for _, s := range l.Slices {
		if err := s.validate(); err != nil {
			return fmt.Errorf("slice %v: %w", s.Slice, err)
		}
		if seen[s.Slice] {
			return fmt.Errorf("slice %v twice", s.Slice)
		}
		seen[s.Slice] = true
	}
	return nil
}

func (s SliceLoad) validate() error {
	p := s.Slice.Prefix()
	switch {
	case !p.IsValid() || p != p.Masked():
		return errors.New("not a prefix without host bits")
	case !amount(s.Load):
		return fmt.Errorf("%v is no amount", s.Load)
	case s.Level != nil && (*s.Level < 0 || *s.Level > maxRung):
		return fmt.Errorf("level %d is not 0 to %d", *s.Level, maxRung)
	}
	return nil
}

func amount(x float64) bool { return x >= 0 && x <= maxLoad && !math.IsNaN(x) }

// heard is a load with the time of its sample by our own clock, no later than
// it was: counted back from before the question.
type heard struct {
	Load
	at time.Time
}

// hear takes in what an answer says of load. What cannot be read says nothing,
// and what was said before grows old.
func (p *PeerState) hear(m Message, asked time.Time) {
	if len(m.Load) == 0 {
		return
	}
	if l, err := DecodeLoad(m.Load); err == nil {
		p.load = &heard{l, asked.Add(-l.Age())}
	}
}
