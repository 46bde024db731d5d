package core

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind is a sort of object; each has its own prefix.
type Kind string

// Kinds.
const (
	KindConfig      Kind = "config"      // config objects, see Configs
	KindHistory     Kind = "history"     // former versions of config objects
	KindManifest    Kind = "manifest"    // which config objects there are, at which version
	KindMember      Kind = "member"      // who belongs to the fleet
	KindPresence    Kind = "presence"    // who is here now; each under a lease
	KindIntent      Kind = "intent"      // what operators asked for
	KindRoom        Kind = "room"        // what a POP can take
	KindReservation Kind = "reservation" // what was promised of it; each under a lease
	KindResponse    Kind = "response"    // entries of the response matrix
	KindToken       Kind = "token"       // tokens to join with, hashed
	KindRollout     Kind = "rollout"     // how far a change of the config has come
	KindReport      Kind = "report"      // what POPs say became of config and intents
	kindLast        Kind = "last"        // who made the last write, see Blame
)

// Key names one object.
type Key struct {
	Kind Kind
	Name string // any printable text: "web", "192.0.2.0/24", "LON/web"
}

// String is the key as people write it: kind/name.
func (k Key) String() string { return string(k.Kind) + "/" + k.Name }

const maxName = 512

func (k Key) check() error {
	switch {
	case k.Kind == "" || strings.ContainsFunc(string(k.Kind), func(r rune) bool { return r < 'a' || r > 'z' }):
		return fail(Invalid, "kind %q: want letters a to z", k.Kind)
	case k.Name == "":
		return fail(Invalid, "no name")
	case len(k.Name) > maxName:
		return fail(TooLarge, "name of %d bytes, at most %d", len(k.Name), maxName)
	case !utf8.ValidString(k.Name) || strings.ContainsFunc(k.Name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fail(Invalid, "name %q is not printable", k.Name)
	}
	return nil
}

// Selector picks the objects of a kind whose names begin with Prefix.
type Selector struct {
	Kind   Kind
	Prefix string
}

// All picks every object of a kind.
func All(k Kind) Selector { return Selector{Kind: k} }

// Under picks the objects below a name: Under(KindReservation, "LON") picks
// LON/x, not LONDON/x.
func Under(k Kind, name string) Selector { return Selector{Kind: k, Prefix: name + "/"} }

// String is the selector as people write it: kind/prefix*.
func (s Selector) String() string { return string(s.Kind) + "/" + s.Prefix + "*" }

// Write says who writes, and why. Both are stored with the object.
type Write struct {
	Who string `json:"who"` // "operator ann", "pop LON": also what rates are counted by
	Why string `json:"why"`
}

const maxWho, maxWhy = 128, 1024

func (w Write) check() error {
	switch {
	case strings.TrimSpace(w.Who) == "":
		return fail(Invalid, "a write says who makes it")
	case strings.TrimSpace(w.Why) == "":
		return fail(Invalid, "a write says why")
	case len(w.Who) > maxWho || len(w.Why) > maxWhy:
		return fail(TooLarge, "who and why have at most %d and %d bytes", maxWho, maxWhy)
	case !utf8.ValidString(w.Who) || !utf8.ValidString(w.Why):
		return fail(Invalid, "who and why are UTF-8")
	}
	return nil
}

// Object is one stored object at one revision.
type Object struct {
	Key      Key             `json:"key"`
	Value    json.RawMessage `json:"value"`
	Write                    // the last one
	At       time.Time       `json:"at"`       // by the writer's clock: for people, never for order
	Revision int64           `json:"revision"` // of the last change
	Created  int64           `json:"created"`  // revision since which it exists without a break
	Lease    LeaseID         `json:"lease,omitempty"`
}

// Into decodes the value.
func (o Object) Into(v any) error {
	if err := json.Unmarshal(o.Value, v); err != nil {
		return &Error{Code: Corrupt, Op: "decode", Key: o.Key.String(), Err: err}
	}
	return nil
}

// envelope is the stored form: JSON, so that people can read it with the
// engine's own tools.
type envelope struct {
	Format int             `json:"v"`
	Who    string          `json:"who"`
	Why    string          `json:"why"`
	At     time.Time       `json:"at"`
	Value  json.RawMessage `json:"value"`
}

const format = 1

func encode(w Write, at time.Time, value json.RawMessage) ([]byte, error) {
	if len(value) == 0 || !json.Valid(value) {
		return nil, fail(Invalid, "the value is not JSON")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(envelope{format, w.Who, w.Why, at.UTC().Truncate(time.Millisecond), value}); err != nil {
		return nil, fail(Invalid, "%v", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode reads what encode wrote. What it cannot read is Corrupt: objects are
// written by this package only, but the engine can be shared or restored.
func decode(stored []byte) (envelope, error) {
	var e envelope
	if err := json.Unmarshal(stored, &e); err != nil {
		return envelope{}, fail(Corrupt, "%v", err)
	}
	switch {
	case e.Format != format:
		return envelope{}, fail(Corrupt, "format %d, this is format %d", e.Format, format)
	case len(e.Value) == 0:
		return envelope{}, fail(Corrupt, "no value")
	}
	return e, nil
}

// Marshal makes a value of anything JSON can say.
func Marshal(v any) (json.RawMessage, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fail(Invalid, "%v", err)
	}
	return b, nil
}
