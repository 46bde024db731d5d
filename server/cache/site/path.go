package site

import "bytes"

// plainPath reports whether normalPath would leave the path as it is.
func plainPath(path []byte, merge bool) bool {
	for i, c := range path {
		switch c {
		case '%':
			return false
		case '/':
			if i+1 < len(path) && (path[i+1] == '.' || merge && path[i+1] == '/') {
				return false
			}
		}
	}
	return true
}

// normalPath appends the path in its normal form (RFC 3986 section 6.2.2):
// percent-encodings in capitals, those of unreserved characters decoded, dot
// segments resolved. It never leaves the root, and an encoded slash stays
// encoded. A percent sign that encodes nothing is encoded itself, so that what
// is decoded after it makes no new encoding. With merge, several slashes are one.
func normalPath(dst, path []byte, merge bool) []byte {
	if plainPath(path, merge) {
		return append(dst, path...)
	}
	start := len(dst)
	dst = decodeUnreserved(dst, path)
	out := dst[:start]
	for rest := dst[start:]; len(rest) > 0; {
		// rest begins with a slash (or is a path without one at the start).
		end := len(rest)
		if i := bytes.IndexByte(rest[1:], '/'); i >= 0 {
			end = i + 1
		}
		segment := rest[:end]
		rest = rest[end:]
		last := len(rest) == 0
		switch {
		case string(segment) == "/.":
			if last {
				out = append(out, '/')
			}
		case string(segment) == "/..":
			out = out[:start+max(0, bytes.LastIndexByte(out[start:], '/'))]
			if last {
				out = append(out, '/')
			}
		case merge && len(segment) == 1 && segment[0] == '/' && !last:
		case merge && len(segment) == 1 && segment[0] == '/' && len(out) > start && out[len(out)-1] == '/':
		default:
			out = append(out, segment...)
		}
	}
	if len(out) == start {
		out = append(out, '/')
	}
	return out
}

// decodeUnreserved appends the text with its percent-encodings in their normal form.
func decodeUnreserved(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '%' {
			dst = append(dst, c)
			continue
		}
		hi, lo := byte(255), byte(255)
		if i+2 < len(text) {
			hi, lo = unhex(text[i+1]), unhex(text[i+2])
		}
		if hi > 15 || lo > 15 {
			dst = append(dst, "%25"...)
			continue
		}
		if b := hi<<4 | lo; unreserved(b) {
			dst = append(dst, b)
		} else {
			const digits = "0123456789ABCDEF"
			dst = append(dst, '%', digits[hi], digits[lo])
		}
		i += 2
	}
	return dst
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// unreserved characters never need an encoding (RFC 3986 section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// hasPrefix reports whether the path is the prefix or below it: /video holds
// /video and /video/a, not /videos.
func hasPrefix(path []byte, prefix string) bool {
	n := len(prefix)
	return len(path) >= n && string(path[:n]) == prefix && (n == 0 || prefix[n-1] == '/' || len(path) == n || path[n] == '/')
}
