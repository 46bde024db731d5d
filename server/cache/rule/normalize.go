package rule

import (
	"cmp"
	"slices"
	"strings"
)

// varyRule finds the treatment of a field; VaryList if the policy has none.
func (p *Policy) varyRule(field string) VaryRule {
	for i := range p.Vary {
		if p.Vary[i].Field == field {
			return p.Vary[i]
		}
	}
	return VaryRule{Field: field}
}

// appendVaryKey appends the normalized values of the fields, one line each. A field that is absent differs from one that
// is empty; neither can contain the separators, which header values never have.
func appendVaryKey(b []byte, fields []string, req Fields, p *Policy) []byte {
	for i, name := range fields {
		if i > 0 {
			b = append(b, '\n')
		}
		r := p.varyRule(name)
		lines := req.Values(name)
		switch {
		case r.Mode == VaryIgnore:
		case len(lines) == 0:
			b = append(b, 0)
		case r.Mode == VaryAccept || r.Mode == VaryChoose:
			b = appendAccept(b, lines, &r)
		default:
			b = appendList(b, lines, r.Mode == VaryExact)
		}
	}
	return b
}

// appendRaw appends the values of the fields as they came.
func appendRaw(b []byte, fields []string, req Fields) []byte {
	for _, name := range fields {
		lines := req.Values(name)
		if len(lines) == 0 {
			b = append(b, 0)
		}
		for _, line := range lines {
			b = append(append(b, line...), '\r')
		}
		b = append(b, '\n')
	}
	return b
}

// appendList joins the lines; unless exact it drops blanks around commas and empty members.
func appendList(b []byte, lines []string, exact bool) []byte {
	start := len(b)
	for _, line := range lines {
		if exact {
			if len(b) > start {
				b = append(b, ", "...)
			}
			b = append(b, line...)
			continue
		}
		for line = strings.TrimLeft(line, " \t,"); line != ""; line = strings.TrimLeft(line, " \t,") {
			if len(b) > start {
				b = append(b, ',')
			}
			end := memberEnd(line)
			b = append(b, strings.TrimRight(line[:end], " \t")...)
			line = line[end:]
		}
	}
	return b
}

// accepted is one member of a list with weights: its text without the weight, and that in thousandths.
type accepted struct {
	text string
	q    int
}

// maxAccepted members are normalized; a longer list is compared as a plain one.
const maxAccepted = 24

// readAccepted takes a list apart into out; false if it is too long.
func readAccepted(out *[maxAccepted]accepted, lines []string) (int, bool) {
	n := 0
	for _, line := range lines {
		for line = strings.TrimLeft(line, " \t,"); line != ""; line = strings.TrimLeft(line, " \t,") {
			if n == maxAccepted {
				return 0, false
			}
			end := memberEnd(line)
			out[n] = readWeight(strings.TrimRight(line[:end], " \t"))
			line = line[end:]
			n++
		}
	}
	return n, true
}

// readWeight cuts the weight off a member; without one, or with a broken one, it is 1000.
func readWeight(s string) accepted {
	i := strings.LastIndexByte(s, ';')
	if i < 0 {
		return accepted{s, 1000}
	}
	param := strings.Trim(s[i+1:], " \t")
	if len(param) < 3 || param[0]|0x20 != 'q' || param[1] != '=' {
		return accepted{s, 1000}
	}
	q, scale := 0, 1000
	for j, c := range []byte(param[2:]) {
		switch {
		case j == 1 && c == '.':
		case c < '0' || c > '9' || scale == 0 || j == 1:
			return accepted{s, 1000}
		default:
			q += int(c-'0') * scale
			scale /= 10
		}
	}
	return accepted{strings.TrimRight(s[:i], " \t"), min(q, 1000)}
}

// appendAccept appends the list sorted by weight, then text, in lower case.
func appendAccept(b []byte, lines []string, r *VaryRule) []byte {
	var all [maxAccepted]accepted
	n, ok := readAccepted(&all, lines)
	if !ok {
		return appendList(b, lines, false)
	}
	list := all[:n]
	if r.Mode == VaryChoose {
		return appendChosen(b, list, r.Allow)
	}
	slices.SortFunc(list, func(a, b accepted) int {
		return cmp.Or(cmp.Compare(b.q, a.q), compareFold(a.text, b.text))
	})
	for i, m := range list {
		if i > 0 {
			if list[i-1].q == m.q && strings.EqualFold(list[i-1].text, m.text) {
				continue
			}
			b = append(b, ',')
		}
		b = appendLower(b, m.text)
		if m.q != 1000 {
			b = append(b, ';', byte('0'+m.q/100), byte('0'+m.q/10%10), byte('0'+m.q%10))
		}
	}
	return b
}

// appendChosen appends those of allow that the list accepts, in the order of allow.
func appendChosen(b []byte, list []accepted, allow []string) []byte {
	for _, want := range allow {
		q := -1
		for _, m := range list {
			if strings.EqualFold(m.text, want) || m.text == "*" && q < 0 {
				q = m.q
			}
		}
		if q > 0 {
			b = append(append(b, want...), ',')
		}
	}
	return b
}

// compareFold orders ASCII text without regard to case.
func compareFold(a, b string) int {
	for i := range min(len(a), len(b)) {
		if c := cmp.Compare(lower(a[i]), lower(b[i])); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		b = append(b, lower(s[i]))
	}
	return b
}

// topLanguage is the one language with the highest weight, in lower case; "" if there are several or none.
func topLanguage(lines []string) string {
	var all [maxAccepted]accepted
	n, ok := readAccepted(&all, lines)
	if !ok {
		return ""
	}
	best, count := accepted{}, 0
	for _, m := range all[:n] {
		switch {
		case m.q > best.q:
			best, count = m, 1
		case m.q == best.q:
			count++
		}
	}
	if count != 1 || best.text == "*" {
		return ""
	}
	return strings.ToLower(best.text)
}
