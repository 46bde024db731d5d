package policy

import "time"

// GuardAnswer is what a guard says about a change.
type GuardAnswer uint8

// Answers, from the weakest to the strongest objection.
const (
	Allow  GuardAnswer = iota
	Weaken             // not so far: to the service's last rung at most
	Veto               // not at all: the stance stays
)

var answerNames = [...]string{"allow", "weaken", "veto"}

func (a GuardAnswer) String() string { return name(answerNames[:], uint8(a)) }

// MarshalText encodes the lower-case name.
func (a GuardAnswer) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText decodes the lower-case name.
func (a *GuardAnswer) UnmarshalText(b []byte) error {
	return unname(answerNames[:], b, (*uint8)(a), "guard answer")
}

// GuardVerdict is what one guard said about one change, for people.
type GuardVerdict struct {
	Guard  string      `json:"guard"`
	Answer GuardAnswer `json:"answer"`
	Detail string      `json:"detail,omitempty"`
	// Wake is when time alone may change the answer; zero: never.
	Wake time.Time `json:"wake,omitzero"`
	// Ask: fresh answers of the other POPs may change the answer.
	Ask bool `json:"ask,omitempty"`
	// Queued: the change waits its turn, and none of its time runs.
	Queued bool `json:"queued,omitempty"`
	Alarm  bool `json:"alarm,omitempty"` // a person should look
}

// Question is a change that a guard is asked about.
type Question struct {
	Service Service
	Slice   SliceID
	State   SliceState
	From    Stance
	To      Stance
	Why     Reason // what wants the change
	// Forced: the operator said that guards do not count.
	Forced bool
	// Drain: a drain wants it, of an operator or a maintenance check. A stop
	// of the daemon is none.
	Drain bool
	Turn  Turn // of this POP in the queue of drains

	Input *Input
	// Reductions are the recent losses of preference, this round's included.
	Reductions []time.Time
	Moved      []Moved
	// Announced is how many slices are announced now.
	Announced int
	Now       time.Time
}

// ByHealth reports whether health, not the operator, wants the change.
func (q Question) ByHealth() bool {
	switch q.Why.Code {
	case CheckDown, CheckPart, SharedDown, Healthy, NoVerdict, Recovering:
		return true
	}
	return false
}

// Guard is one safety rule. It is pure: the same question has the same answer.
type Guard interface {
	Name() string
	Ask(Question) GuardVerdict
}
