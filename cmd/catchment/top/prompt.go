package top

import (
	"cmp"
	"strings"
	"unicode/utf8"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

type slice = policy.SliceID

// Verb is a call that changes something.
type Verb uint8

// Verbs.
const (
	Drain Verb = iota
	Undrain
	Hold
	Release
)

func (v Verb) String() string {
	return [...]string{"drain", "undrain", "hold", "release"}[v]
}

var verbKeys = map[string]Verb{"d": Drain, "u": Undrain, "h": Hold, "r": Release}

// ends reports whether the verb ends intents of that kind; it is false for
// verbs that begin something.
func (v Verb) ends(kind policy.IntentKind) bool {
	switch v {
	case Undrain:
		return kind == policy.IntentDrain
	case Release:
		return kind == policy.IntentHold || kind == policy.IntentPin
	}
	return false
}

// scope is what a change is about, in the terms of api.Change: both empty is
// the whole POP, a slice stands alone.
type scope struct {
	service policy.ServiceID
	slice   slice
}

func (s scope) all() bool { return s == scope{} }

// covers reports whether a slice belongs to the scope.
func (s scope) covers(sl api.SliceStatus) bool {
	if s.slice.Prefix().IsValid() {
		return sl.Slice == s.slice
	}
	return s.service == "" || s.service == sl.Service
}

// label names a scope.
func (m Model) label(s scope) string {
	switch {
	case s.slice.Prefix().IsValid():
		return s.slice.String()
	case s.service != "":
		return clean(string(s.service))
	}
	return "all services of " + clean(string(m.status.POP))
}

// maxWhy is the longest reason in bytes; the API takes 1000.
const maxWhy = 300

// prompt asks for a reason, then for a confirmation.
type prompt struct {
	verb  Verb
	of    scope
	what  string // the question's subject, for people
	why   string
	sure  bool   // the reason is given, the confirmation is asked for
	word  string // what confirms
	typo  string // typed towards word
	wrong string // what is wrong with the last key
}

// typed adds text to what is being typed.
func (p *prompt) typed(text string) *prompt {
	q := *p
	text = clean(text)
	switch {
	case q.sure:
		q.typo += text
	case len(q.why)+len(text) > maxWhy:
		q.wrong = "that is long enough"
	default:
		q.why, q.wrong = q.why+text, ""
	}
	return &q
}

// ask opens the prompt for a change of what the cursor is on.
func (m Model) ask(v Verb) (Model, []Effect) {
	fail := func(why string) (Model, []Effect) {
		m.message = Span{why, Warn}
		return m, nil
	}
	if why, old := m.old(); old {
		return fail("cannot " + v.String() + ": " + why)
	}
	if m.busy != "" {
		return fail("wait: " + m.busy + " is under way")
	}
	r, ok := m.current()
	if !ok || r.of == nil {
		return fail("no slice belongs to this line: choose a service or a slice to " + v.String())
	}
	of := *r.of
	if v == Undrain || v == Release {
		if of, ok = m.intentOf(v, of); !ok {
			return fail("nothing to " + v.String() + " at " + m.label(*r.of))
		}
	}
	m.prompt = &prompt{verb: v, of: of, what: m.subject(v, of), word: "y"}
	if of.all() {
		m.prompt.word = cmp.Or(clean(string(m.status.POP)), "all")
	}
	return m, nil
}

// intentOf finds the scope of the intent that a verb would end: the one of
// exactly that scope, or the one around it, or the only one within.
func (m Model) intentOf(v Verb, of scope) (scope, bool) {
	var around, within []scope
	for _, in := range m.status.Intents {
		if !v.ends(in.Kind) {
			continue
		}
		s := scope{service: in.Service, slice: in.Slice}
		if s.slice.Prefix().IsValid() {
			s.service = ""
		}
		switch {
		case s == of || of.all():
			return of, true
		case s.all() || m.within(of, s):
			around = append(around, s)
		case m.within(s, of):
			within = append(within, s)
		}
	}
	switch {
	case len(around) > 0:
		return around[0], true
	case len(within) == 1:
		return within[0], true
	}
	return scope{}, false
}

// within reports whether all slices of a are slices of b, and there is one.
func (m Model) within(a, b scope) bool {
	found := false
	for _, s := range m.status.Slices() {
		if a.covers(s) {
			if !b.covers(s) {
				return false
			}
			found = true
		}
	}
	return found
}

// subject says what a change would concern: for a drain the slices that it
// moves, which are covers and static prefixes only where they are named.
func (m Model) subject(v Verb, of scope) string {
	what := v.String() + " " + m.label(of)
	if of.slice.Prefix().IsValid() {
		for _, s := range m.status.Slices() {
			if s.Slice == of.slice {
				what += " of " + clean(string(s.Service))
			}
		}
		return what
	}
	var names []string
	for _, svc := range m.status.Services {
		for _, s := range svc.Slices {
			if of.covers(s) && (v != Drain || !s.Cover && !svc.Always) {
				names = append(names, s.Slice.String())
			}
		}
	}
	if len(names) == 0 {
		return what + ": no slice"
	}
	return what + ": " + strings.Join(names, ", ")
}

// promptKey is a key while a prompt is open.
func (m Model) promptKey(e Key) (Model, []Effect) {
	p := *m.prompt
	p.wrong = ""
	text := &p.why
	if p.sure {
		text = &p.typo
	}
	switch e.Name {
	case "esc", "ctrl+g":
		m.prompt, m.message = nil, Span{"left alone: nothing was changed", Plain}
		return m, nil
	case "backspace", "ctrl+h":
		_, n := utf8.DecodeLastRuneInString(*text)
		*text = (*text)[:len(*text)-n]
	case "ctrl+u":
		*text = ""
	case "ctrl+w":
		*text = strings.TrimRight(*text, " ")
		*text = (*text)[:strings.LastIndexByte(*text, ' ')+1]
	case "enter":
		return m.enter(p)
	default:
		if e.Text != "" {
			m.prompt = p.typed(e.Text)
			return m, nil
		}
	}
	m.prompt = &p
	return m, nil
}

// enter takes what was typed: the reason, or the confirmation.
func (m Model) enter(p prompt) (Model, []Effect) {
	m.prompt = &p
	p.why = strings.TrimSpace(p.why)
	switch {
	case !p.sure && p.why == "":
		p.wrong = "a reason is needed: colleagues will read it"
	case !p.sure:
		p.sure = true
	case strings.TrimSpace(p.typo) != p.word:
		p.wrong = "type " + p.word + " to " + p.verb.String() + ", or Esc to leave it"
	default:
		if why, old := m.old(); old {
			p.wrong = why
			break
		}
		do := Do{p.verb, api.Change{Service: p.of.service, Slice: p.of.slice, Why: p.why}}
		m.prompt, m.busy = nil, p.verb.String()+" of "+m.label(p.of)
		m.message = Span{m.busy + ": asking the daemon", Plain}
		return m, []Effect{do}
	}
	return m, nil
}
