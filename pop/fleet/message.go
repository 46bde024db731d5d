package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/catchment/catchment/policy"
)

// Limits on what a message may hold. They bound memory, and are far above
// what a POP with 10,000 slices says.
const (
	maxBody    = 4 << 20
	maxSlices  = 20000
	maxFailing = 64
	maxName    = 128
	maxRung    = 255
	maxReason  = 200 // bytes
)

// Claim is what a POP says of one slice.
type Claim struct {
	Slice   policy.SliceID `json:"slice"`
	Stance  policy.Stance  `json:"stance"`
	Verdict policy.Verdict `json:"verdict"`
	// Leaving: the rules want a withdraw, whatever the guards still hold.
	Leaving bool             `json:"leaving,omitempty"`
	Failing []policy.CheckID `json:"failing,omitempty"`
	// Reason is why, for people; no decision depends on it. It is told only
	// to a POP that said that it takes reasons: older ones know no such field.
	Reason string `json:"reason,omitempty"`
}

// Message is one half of an exchange: all that a POP says of itself.
type Message struct {
	From policy.POPID `json:"from"`
	To   policy.POPID `json:"to"`
	// Boot names one life of a daemon, Sequence orders its messages.
	Boot     string  `json:"boot"`
	Sequence uint64  `json:"sequence"`
	Slices   []Claim `json:"slices"`
	// Load is what the POP carries (DecodeLoad). It is told only in answers,
	// and only to a POP that said that it takes loads: older ones know no such
	// field. What is in it grows by fields that older readers leave out.
	Load json.RawMessage `json:"load,omitempty"`
	// About is what the POP says of itself as a whole (DecodeAbout), to a POP
	// that said that it takes it.
	About json.RawMessage `json:"about,omitempty"`
}

// decode reads a message strictly: one JSON object, no unknown fields, nothing
// after it, and every value within its limits.
func decode(body []byte) (Message, error) {
	var m Message
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Message{}, fmt.Errorf("message: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Message{}, errors.New("message: something follows the object")
	}
	if err := m.validate(); err != nil {
		return Message{}, fmt.Errorf("message: %w", err)
	}
	for i := range m.Slices {
		m.Slices[i].Reason = tidy(m.Slices[i].Reason)
	}
	return m, nil
}

// tidy makes one line of at most maxReason bytes of a reason. Too long is no
// ground to refuse what the rest of a message says.
func tidy(reason string) string { return tidyTo(reason, maxReason) }

func tidyTo(reason string, most int) string {
	line := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, reason)
	if len(line) <= most {
		return line
	}
	const more = "…"
	end := most - len(more)
	for !utf8.RuneStart(line[end]) {
		end--
	}
	return line[:end] + more
}

func (m Message) validate() error {
	for _, s := range []string{string(m.From), string(m.To), m.Boot} {
		if !validName(s) {
			return fmt.Errorf("%q is not a name of 1 to %d printable characters", s, maxName)
		}
	}
	if m.Sequence == 0 {
		return errors.New("sequence 0")
	}
	if len(m.Slices) > maxSlices {
		return fmt.Errorf("%d slices, more than %d", len(m.Slices), maxSlices)
	}
	seen := make(map[policy.SliceID]bool, len(m.Slices))
	for _, c := range m.Slices {
		if err := c.validate(); err != nil {
			return fmt.Errorf("slice %v: %w", c.Slice, err)
		}
		if seen[c.Slice] {
			return fmt.Errorf("slice %v twice", c.Slice)
		}
		seen[c.Slice] = true
	}
	return nil
}

func (c Claim) validate() error {
	p := c.Slice.Prefix()
	if !p.IsValid() || p != p.Masked() {
		return errors.New("not a prefix without host bits")
	}
	if c.Stance.Rung < 0 || c.Stance.Rung > maxRung {
		return fmt.Errorf("rung %d is not 0 to %d", c.Stance.Rung, maxRung)
	}
	if len(c.Failing) > maxFailing {
		return fmt.Errorf("%d failing checks, more than %d", len(c.Failing), maxFailing)
	}
	for _, f := range c.Failing {
		if !validName(string(f)) {
			return fmt.Errorf("check %q is not a name", f)
		}
	}
	return nil
}

func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for _, r := range s {
		if r < ' ' || r == 0x7F || r == '�' {
			return false
		}
	}
	return true
}

// clip keeps our own claims within the limits, so that a peer does not refuse
// all of a message for one long list, and leaves reasons out where they are
// not wanted.
func clip(claims []Claim, reasons bool) []Claim {
	out := slices.Clone(claims)
	for i := range out {
		out[i].Reason = tidy(out[i].Reason)
		if !reasons {
			out[i].Reason = ""
		}
		if len(out[i].Failing) > maxFailing {
			out[i].Failing = out[i].Failing[:maxFailing]
		}
	}
	return out
}
