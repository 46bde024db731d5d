package maintenance

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/catchment/catchment/policy"
)

// Window is work that is announced: before it starts what it is of is drained,
// and when it ends it comes back as after any drain, and its hold-down.
type Window struct {
	Name string        `json:"name"`
	At   string        `json:"at"`  // its start: Parse
	For  time.Duration `json:"for"` // how long, by a clock that nobody changes
	// Lead is how long before the start the drain begins; 0: so long that the
	// drain is over by then.
	Lead    time.Duration    `json:"lead,omitempty"`
	Service policy.ServiceID `json:"service,omitempty"` // empty: all
	Slice   policy.SliceID   `json:"slice,omitzero"`
	By      string           `json:"by,omitempty"`
	Why     string           `json:"why,omitempty"`
}

// Limits on windows.
const (
	MaxFor  = 30 * 24 * time.Hour
	MaxLead = 24 * time.Hour
	maxName = 63
	maxWhy  = 1000
)

// Check says what is wrong with a window, nil if nothing.
func (w Window) Check() error {
	word := func(r rune) bool {
		return !(r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("._-", r))
	}
	when, err := Parse(w.At)
	switch {
	case w.Name == "" || len(w.Name) > maxName || strings.ContainsFunc(w.Name, word):
		return fmt.Errorf("name %q: want letters, digits, dots, dashes and underscores, at most %d", w.Name, maxName)
	case err != nil:
		return fmt.Errorf("at %w", err)
	case w.For < time.Minute || w.For > MaxFor:
		return fmt.Errorf("for %v: want a minute to %v", w.For, MaxFor)
	case w.Lead < 0 || w.Lead > MaxLead:
		return fmt.Errorf("lead %v: want at most %v", w.Lead, MaxLead)
	case when.Repeats() && w.For+w.Lead >= when.Period():
		return fmt.Errorf("for %v: it would not be over when the next begins", w.For)
	case len(w.Why) > maxWhy || strings.ContainsFunc(w.Why, unicode.IsControl):
		return errors.New("why: at most 1000 bytes of text on one line")
	}
	return nil
}

// Occurrence is one time that a window is.
type Occurrence struct {
	Begin time.Time // of the drain
	Start time.Time
	End   time.Time
}

// Under reports whether the drain for it is asked for at that time.
func (o Occurrence) Under(now time.Time) bool { return !now.Before(o.Begin) && now.Before(o.End) }

// Planned is a window whose time has been read.
type Planned struct {
	Window
	when When
}

// Plan reads the time of a window that has been checked.
func Plan(w Window) (Planned, error) {
	when, err := Parse(w.At)
	return Planned{w, when}, err
}

// Around returns the occurrence that is not over at now, the one under way or
// the next; false: there is none any more. lead counts where the window does
// not say its own.
func (w Planned) Around(now time.Time, lead time.Duration) (Occurrence, bool) {
	start, ok := w.when.Next(now.Add(-w.For))
	if !ok {
		return Occurrence{}, false
	}
	if w.Lead > 0 {
		lead = w.Lead
	}
	return Occurrence{Begin: start.Add(-lead), Start: start, End: start.Add(w.For)}, true
}

// Intent is the drain that the window asks for during an occurrence.
func (w Window) Intent(o Occurrence) policy.Intent {
	why := w.Why
	if why == "" {
		why = "maintenance until " + o.End.Format("2006-01-02 15:04 MST")
	}
	return policy.Intent{
		Kind: policy.IntentDrain, Service: w.Service, Slice: w.Slice, By: "maintenance " + w.Name, Why: why, At: o.Begin, Until: o.End, Window: w.Name,
	}
}
