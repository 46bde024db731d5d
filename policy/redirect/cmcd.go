package redirect

import (
	"strings"
	"time"
)

// CMCD is what a client says of itself (CTA-5004), as far as we listen.
type CMCD struct {
	HasBuffer bool
	Buffer    time.Duration // bl
	Bitrate   float64       // br, bytes a second
	Length    time.Duration // d, of the object
	Speed     float64       // pr; 0: not said
	Startup   bool          // su: needed at once
	Starved   bool          // bs: the player has stalled since the last request
	Session   string        // sid
	Next      string        // nor
}

// ParseCMCD reads the value of one of the headers CMCD-Request, CMCD-Object,
// CMCD-Status and CMCD-Session, or of the query argument CMCD once decoded, into
// c. What is not understood is left out: it is a hint.
func ParseCMCD(c *CMCD, s string) {
	for len(s) > 0 && len(s) <= 8<<10 {
		var pair string
		pair, s = member(s)
		key, value, has := strings.Cut(strings.TrimSpace(pair), "=")
		if !has {
			value = "1"
		}
		n, ok := decimal(value)
		switch key {
		case "bl":
			if ok {
				c.HasBuffer, c.Buffer = true, time.Duration(n)*time.Millisecond
			}
		case "br":
			if ok {
				c.Bitrate = float64(n) * 1000 / 8
			}
		case "d":
			if ok {
				c.Length = time.Duration(n) * time.Millisecond
			}
		case "pr":
			c.Speed = fraction(value)
		case "su":
			c.Startup = !has
		case "bs":
			c.Starved = !has
		case "sid":
			c.Session = unquote(value)
		case "nor":
			c.Next = unquote(value)
		}
	}
}

// member cuts the first member of a list off; commas in quotes do not count.
func member(s string) (first, rest string) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '\\' && quoted:
		case s[i] == '"' && (i == 0 || s[i-1] != '\\'):
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// decimal reads a whole number of at most nine digits.
func decimal(s string) (n int64, ok bool) {
	if s == "" || len(s) > 9 || number(s) != s {
		return 0, false
	}
	for i := range len(s) {
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// fraction reads a number with a point, not below zero; 0 if it is none.
func fraction(s string) float64 {
	whole, part, _ := strings.Cut(s, ".")
	a, ok := decimal(whole)
	if !ok {
		return 0
	}
	f := float64(a)
	if b, ok := decimal(part); ok {
		scale := 1.0
		for range len(part) {
			scale *= 10
		}
		f += float64(b) / scale
	}
	return f
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return ""
	}
	return strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`)
}
