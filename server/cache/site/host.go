package site

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

// maxHost is the longest name in the DNS with a port, or an IPv6 literal.
const maxHost = 253 + 1 + 5

// splitHost takes apart what a client sent as its host: the name in small
// letters without a trailing dot, appended to dst, and the port, 0 for none.
// IPv6 literals keep their brackets and are written as RFC 5952 says. Names
// in other scripts are kept as they are sent, in punycode or not at all.
func splitHost(dst, host []byte) (name []byte, port uint16, ok bool) {
	if len(host) == 0 || len(host) > maxHost {
		return dst, 0, false
	}
	if host[0] == '[' {
		return splitLiteral(dst, host)
	}
	start := len(dst)
	dots, label := 0, 0
	for i, c := range host {
		switch {
		case c == ':':
			if port, ok = parsePort(host[i+1:]); !ok {
				return dst, 0, false
			}
			return endName(dst, start, port)
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.':
			if label == 0 {
				return dst, 0, false // an empty label
			}
			dots++
			label = -1
		default:
			return dst, 0, false
		}
		if label++; label > 63 {
			return dst, 0, false
		}
		dst = append(dst, c)
	}
	return endName(dst, start, 0)
}

// endName cuts a trailing dot off, and refuses what is nothing then.
func endName(dst []byte, start int, port uint16) ([]byte, uint16, bool) {
	if n := len(dst); n > start && dst[n-1] == '.' {
		dst = dst[:n-1]
	}
	return dst, port, len(dst) > start && len(dst)-start <= 253
}

// parsePort reads the text after the colon; nothing there is no port (RFC 3986
// section 3.2.3).
func parsePort(text []byte) (uint16, bool) {
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' || len(text) > 5 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return uint16(n), n <= 65535 && (n > 0 || len(text) == 0)
}

// splitLiteral is splitHost for [IPv6].
func splitLiteral(dst, host []byte) ([]byte, uint16, bool) {
	end := bytes.IndexByte(host, ']')
	if end < 0 {
		return dst, 0, false
	}
	addr, err := netip.ParseAddr(string(host[1:end]))
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return dst, 0, false
	}
	dst = append(dst, '[')
	dst = addr.AppendTo(dst)
	dst = append(dst, ']')
	switch rest := host[end+1:]; {
	case len(rest) == 0:
		return dst, 0, true
	case rest[0] == ':':
		port, ok := parsePort(rest[1:])
		return dst, port, ok
	}
	return dst, 0, false
}

// pattern is a host of the configuration: before + * + after, or a plain name.
type pattern struct {
	before, after string // of the *; without one, before is the name
	wild          bool
	port          uint16 // 0: any
}

// String is the pattern in its normal form.
func (p pattern) String() string {
	s := p.before
	if p.wild {
		s += "*" + p.after
	}
	if p.port != 0 {
		s += ":" + strconv.Itoa(int(p.port))
	}
	return s
}

// name is the pattern without its port.
func (p pattern) name() string { p.port = 0; return p.String() }

// parsePattern reads a host of the configuration.
func parsePattern(s string) (p pattern, ok bool) {
	before, after, wild := strings.Cut(s, "*")
	if !wild {
		name, port, ok := splitHost(nil, []byte(s))
		return pattern{before: string(name), port: port}, ok
	}
	// What stands around the * has to be parts of a name: a letter in its
	// place makes one.
	full, port, ok := splitHost(nil, []byte(before+"x"+after))
	if !ok || strings.Contains(after, "*") || full[0] == '[' {
		return p, false
	}
	before = strings.ToLower(before)
	return pattern{before: before, after: string(full[len(before)+1:]), wild: true, port: port}, true
}
