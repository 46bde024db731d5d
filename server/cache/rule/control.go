package rule

import (
	"strings"

	"github.com/dunglas/httpsfv"
)

// directives walks over the members of one Cache-Control line: token [ "=" ( token / quoted-string ) ], split at commas
// outside quotes (RFC 9111 §5.2). A blank beside "=" is part of the name or the value, so such a directive is unknown or
// invalid, as the grammar has it.
type directives struct {
	rest        string
	name, value string
	given       bool // there was a "="
}

// next goes to the next member; false at the end.
func (d *directives) next() bool {
	d.rest = strings.TrimLeft(d.rest, " \t,")
	if d.rest == "" {
		return false
	}
	end := memberEnd(d.rest)
	member := strings.TrimRight(d.rest[:end], " \t")
	d.rest = d.rest[end:]
	d.name, d.value, d.given = strings.Cut(member, "=")
	if strings.HasPrefix(d.value, `"`) {
		d.value = unquote(d.value)
	}
	return true
}

// memberEnd is the place of the first comma outside quotes, or the length.
func memberEnd(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == ',' && !quoted:
			return i
		}
	}
	return len(s)
}

// unquote takes the content of a quoted-string; a broken one comes back as it is.
func unquote(s string) string {
	if len(s) < 2 || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseSeconds reads delta-seconds (RFC 9111 §1.2.2): digits only; too large becomes the largest.
func parseSeconds(s string) (Seconds, bool) {
	if s == "" {
		return 0, false
	}
	var n Seconds
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = min(n*10+Seconds(d), maxSeconds)
	}
	return n, true
}

// Control is what a response's Cache-Control says, or the targeted field that replaces it.
type Control struct {
	NoStore, NoCache, Private, Public, MustRevalidate, ProxyRevalidate, MustUnderstand, Immutable bool
	// Present and Targeted: there was such a field, and it was a targeted one (then Expires does not count).
	Present, Targeted bool
	// Invalid: a max-age or s-maxage is no number; the response counts as stale (RFC 9111 §4.2.1).
	Invalid bool
	// MaxAge, SharedMaxAge, Revalidate (stale-while-revalidate) and Error (stale-if-error) are -1 if not given.
	MaxAge, SharedMaxAge, Revalidate, Error Seconds
	// Omit names fields that no-cache="..." or private="..." keep out of the store, as written.
	Omit []string
}

// newControl says nothing.
func newControl() Control {
	return Control{MaxAge: none, SharedMaxAge: none, Revalidate: none, Error: none}
}

// ReadControl finds the control of a response: the first valid targeted field of the policy (RFC 9213 §2.2), else
// Cache-Control. Of two equal directives the first counts (RFC 9111 §4.2.1).
func ReadControl(h Fields, p *Policy) Control {
	for _, name := range p.Targeted {
		if lines := h.Values(name); len(lines) > 0 {
			if c, ok := parseTargeted(lines); ok {
				return c
			}
		}
	}
	c := newControl()
	for _, line := range h.Values("Cache-Control") {
		c.Present = true
		for d := (directives{rest: line}); d.next(); {
			c.add(strings.ToLower(d.name), d.value, d.given)
		}
	}
	return c
}

// flag gives the switch that a directive without number turns on, nil for others.
func (c *Control) flag(name string) *bool {
	switch name {
	case "no-store":
		return &c.NoStore
	case "public":
		return &c.Public
	case "must-revalidate":
		return &c.MustRevalidate
	case "proxy-revalidate":
		return &c.ProxyRevalidate
	case "must-understand":
		return &c.MustUnderstand
	case "immutable":
		return &c.Immutable
	case "no-cache":
		return &c.NoCache
	case "private":
		return &c.Private
	}
	return nil
}

// number gives the place of a directive with seconds, nil for others.
func (c *Control) number(name string) *Seconds {
	switch name {
	case "max-age":
		return &c.MaxAge
	case "s-maxage":
		return &c.SharedMaxAge
	case "stale-while-revalidate":
		return &c.Revalidate
	case "stale-if-error":
		return &c.Error
	}
	return nil
}

// add takes one directive of Cache-Control.
func (c *Control) add(name, value string, given bool) {
	if to := c.flag(name); to != nil {
		if given && value != "" && (to == &c.NoCache || to == &c.Private) {
			c.omit(value)
			return
		}
		*to = true
	}
	if to := c.number(name); to != nil && *to == none {
		n, ok := parseSeconds(value)
		if !ok && (to == &c.MaxAge || to == &c.SharedMaxAge) {
			c.Invalid = true
		}
		*to = n
	}
}

// omit takes the field names of a qualified no-cache or private.
func (c *Control) omit(list string) {
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.Trim(name, " \t"); name != "" {
			c.Omit = append(c.Omit, name)
		}
	}
}

// parseTargeted reads a targeted field: a dictionary of structured fields. An empty one, a syntax error, or a known
// directive of a wrong type make it invalid as a whole, and the next field counts.
func parseTargeted(lines []string) (Control, bool) {
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return Control{}, false
	}
	c := newControl()
	c.Present, c.Targeted = true, true
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		item, isItem := member.(httpsfv.Item)
		if !isItem {
			if c.flag(name) != nil || c.number(name) != nil {
				return Control{}, false
			}
			continue
		}
		if !c.addItem(name, item.Value) {
			return Control{}, false
		}
	}
	return c, true
}

// addItem takes one directive of a targeted field, false if its type is wrong.
func (c *Control) addItem(name string, value any) bool {
	if to := c.number(name); to != nil {
		n, ok := value.(int64)
		if !ok || n < 0 {
			return false
		}
		*to = min(Seconds(n), maxSeconds)
		return true
	}
	to := c.flag(name)
	if to == nil {
		return true
	}
	switch v := value.(type) {
	case bool:
		*to = v
		return true
	case string:
		if (name == "no-cache" || name == "private") && v != "" {
			c.omit(v)
			return true
		}
	}
	return false
}

// mayShare: the origin allows a shared cache to reuse what it made for one user (RFC 9111 §3.5).
func (c *Control) mayShare() bool {
	return c.Public || c.MustRevalidate || c.SharedMaxAge != none
}
