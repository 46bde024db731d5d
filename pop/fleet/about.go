package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
)

// About is what a POP says of itself as a whole. It goes with questions and
// answers to POPs that say that they take it. People read it; of all in it
// decisions depend on Turn alone.
type About struct {
	Version    string `json:"version,omitempty"`
	Sessions   int    `json:"sessions,omitempty"`    // BGP neighbors
	SessionsUp int    `json:"sessions_up,omitempty"` // established
	// Core is what it is to the control core (config.Core.Mode); empty: nothing.
	Core     string `json:"core,omitempty"`
	CoreLost bool   `json:"core_lost,omitempty"` // out of reach
	// Resync is where it takes what others tell of their flows, host:port;
	// empty: nowhere.
	Resync string `json:"resync,omitempty"`
	// Drains are those that operators asked for, Windows the maintenance to
	// come and under way, earliest first.
	Drains  []Drain  `json:"drains,omitempty"`
	Windows []Window `json:"windows,omitempty"`
	// Turn is its place in the queue of drains; nil: it does not know of any.
	Turn *Turn `json:"turn,omitempty"`
	// Account is what it carried lately (account.Keeper.Message).
	Account json.RawMessage `json:"account,omitempty"`
	// Seen are clients that other POPs have sent here, lately.
	Seen []Seen `json:"seen,omitempty"`
}

// Seen is a client that another POP has sent here by a redirect.
type Seen struct {
	POP   string `json:"pop"`    // that has sent it
	Mark  string `json:"mark"`   // of the redirect
	AgeMS int64  `json:"age_ms"` // since it was answered here
}

// Drain is one drain at a POP. No message carries a time: spans count from the
// moment when it was made.
type Drain struct {
	Of     string `json:"of"` // a service, a prefix, or "all services"
	By     string `json:"by,omitempty"`
	Why    string `json:"why,omitempty"`
	AgeMS  int64  `json:"age_ms"`            // since it was asked for
	LeftMS int64  `json:"left_ms,omitempty"` // until it ends by itself; 0: by undrain
	Waits  bool   `json:"waits,omitempty"`   // has not begun: a guard waits
}

// Window is one maintenance window of a POP.
type Window struct {
	Name    string `json:"name"`
	Of      string `json:"of"`
	Why     string `json:"why,omitempty"`
	InMS    int64  `json:"in_ms"` // until it starts; below 0: since
	LastsMS int64  `json:"lasts_ms"`
}

// Turn is a POP's place in the queue of drains (policy.Turn).
type Turn struct {
	Ticket uint64 `json:"ticket"`
	Held   bool   `json:"held,omitempty"`
	LeftMS int64  `json:"left_ms,omitempty"` // until its drain ends by itself; 0: not known
}

// Limits on what an About may hold.
const (
	maxDrains  = 32
	maxSeen    = 64
	maxVersion = 64
	maxAddress = 300 // host:port
	maxAccount = 64 << 10
	maxSpan    = 10 * 366 * 24 * time.Hour
)

// Encode returns the bytes that Message.About carries, within the limits.
func (a About) Encode() json.RawMessage {
	a.Version = tidyTo(a.Version, maxVersion)
	a.Drains = a.Drains[:min(len(a.Drains), maxDrains)]
	a.Windows = a.Windows[:min(len(a.Windows), maxDrains)]
	if len(a.Account) > maxAccount {
		a.Account = nil
	}
	a.Seen = a.Seen[:min(len(a.Seen), maxSeen)]
	b, err := json.Marshal(a)
	if err != nil {
		return nil
	}
	return b
}

// DecodeAbout reads what Encode wrote, of this version or a newer one: fields
// that are not known are left out, values out of their limits are refused.
func DecodeAbout(b []byte) (About, error) {
	var a About
	if err := json.Unmarshal(b, &a); err != nil {
		return About{}, fmt.Errorf("about: %w", err)
	}
	if err := a.validate(); err != nil {
		return About{}, fmt.Errorf("about: %w", err)
	}
	a.Version, a.Core = tidyTo(a.Version, maxVersion), tidyTo(a.Core, maxVersion)
	if _, _, err := net.SplitHostPort(a.Resync); err != nil || len(a.Resync) > maxAddress || strings.ContainsAny(a.Resync, "/ @") {
		a.Resync = ""
	}
	if len(a.Account) > maxAccount {
		a.Account = nil
	}
	for i := range a.Drains {
		d := &a.Drains[i]
		d.Of, d.By, d.Why = tidy(d.Of), tidy(d.By), tidy(d.Why)
	}
	for i := range a.Windows {
		w := &a.Windows[i]
		w.Name, w.Of, w.Why = tidy(w.Name), tidy(w.Of), tidy(w.Why)
	}
	return a, nil
}

func (a About) validate() error {
	if a.Sessions < 0 || a.SessionsUp < 0 || a.SessionsUp > a.Sessions || a.Sessions > math.MaxInt32 {
		return fmt.Errorf("%d of %d sessions", a.SessionsUp, a.Sessions)
	}
	if len(a.Drains) > maxDrains || len(a.Windows) > maxDrains {
		return fmt.Errorf("%d drains and %d windows, at most %d", len(a.Drains), len(a.Windows), maxDrains)
	}
	if len(a.Seen) > maxSeen {
		return fmt.Errorf("%d clients seen, at most %d", len(a.Seen), maxSeen)
	}
	spans := []int64{}
	for _, s := range a.Seen {
		if !validName(s.POP) || !validName(s.Mark) {
			return fmt.Errorf("a client seen of %q with mark %q", s.POP, s.Mark)
		}
		spans = append(spans, s.AgeMS)
	}
	for _, d := range a.Drains {
		spans = append(spans, d.AgeMS, d.LeftMS)
	}
	for _, w := range a.Windows {
		spans = append(spans, max(w.InMS, -w.InMS), w.LastsMS)
	}
	if t := a.Turn; t != nil {
		spans = append(spans, t.LeftMS)
		if t.Ticket > math.MaxInt64 { // room to count on
			return errors.New("a ticket out of bounds")
		}
	}
	for _, ms := range spans {
		if ms < 0 || ms > maxSpan.Milliseconds() {
			return fmt.Errorf("a span of %d ms", ms)
		}
	}
	return nil
}

// learn takes in what a message says of the POP as a whole. What cannot be
// read says nothing. asked is the time of the question that it answers, if
// that told our own About as well; zero: it is a question, or did not.
func (p *PeerState) learn(m Message, asked, now time.Time, answer bool) (changed bool) {
	var a About
	err := errors.New("nothing said")
	if len(m.About) > 0 {
		a, err = DecodeAbout(m.About)
	}
	if err != nil {
		if answer && p.about != nil { // it was replaced by an older version
			p.about, p.turn, changed = nil, policy.PeerTurn{}, true
		}
		return changed
	}
	turn := policy.PeerTurn{Known: a.Turn != nil, Asked: p.turn.Asked}
	if a.Turn != nil {
		turn.Ticket, turn.Held = a.Turn.Ticket, a.Turn.Held
		if a.Turn.LeftMS > 0 {
			turn.Until = now.Add(time.Duration(a.Turn.LeftMS) * time.Millisecond)
		}
	}
	if !answer {
		turn = strongerTurn(p.turn, turn)
	} else if !asked.IsZero() {
		turn.Asked = asked
	}
	changed = turn.Ticket != p.turn.Ticket || turn.Held != p.turn.Held || turn.Known != p.turn.Known
	p.about, p.aboutAt, p.turn = &a, now, turn
	return changed
}

// strongerTurn is what a question may change: it claims a place at once, and
// never gives one up.
func strongerTurn(held, said policy.PeerTurn) policy.PeerTurn {
	out := said
	out.Held = held.Held || said.Held
	if held.Ticket > 0 && (said.Ticket == 0 || held.Ticket < said.Ticket) {
		out.Ticket = held.Ticket
	}
	if out.Until.IsZero() {
		out.Until = held.Until
	}
	return out
}
