package front

import (
	"bytes"
	"net/http"
)

// field is one header field as positions in the read buffer.
type field struct {
	n0, n1, v0, v1 uint32
	id             id
}

func (f *field) name(buf []byte) []byte  { return buf[f.n0:f.n1:f.n1] }
func (f *field) value(buf []byte) []byte { return buf[f.v0:f.v1:f.v1] }

// refusal is a request that is not served: the status it is answered with and what was wrong, for counters and logs.
type refusal struct {
	status int
	why    string
}

func bad(why string) *refusal { return &refusal{http.StatusBadRequest, why} }

var (
	errTooLong   = &refusal{http.StatusRequestURITooLong, "request target too long"}
	errTooLarge  = &refusal{http.StatusRequestHeaderFieldsTooLarge, "request head too large"}
	errTooMany   = &refusal{http.StatusRequestHeaderFieldsTooLarge, "too many header fields"}
	errVersion   = &refusal{http.StatusHTTPVersionNotSupported, "HTTP version"}
	errConnect   = &refusal{http.StatusMethodNotAllowed, "CONNECT"}
	errCoding    = &refusal{http.StatusNotImplemented, "transfer coding"}
	errBareLF    = bad("line ends without CR")
	errBareCR    = bad("CR without LF")
	errLine      = bad("request line")
	errMethod    = bad("method")
	errTarget    = bad("request target")
	errFold      = bad("folded line")
	errName      = bad("field name")
	errValue     = bad("field value")
	errHost      = bad("host")
	errNoHost    = bad("no host")
	errHosts     = bad("several hosts")
	errLength    = bad("content length")
	errBoth      = bad("content length and transfer coding")
	errTE        = bad("transfer encoding")
	errTEOld     = bad("transfer encoding in HTTP/1.0")
	errConn      = bad("connection names a framing field")
	errOtherHost = bad("target and host differ")
)

// scanHead looks for the end of a head in buf. It has seen buf[:from] before. end is the length of the head with its empty
// line, 0 when it is not there yet; from is where to go on next time. It refuses a bare LF at once, so that a client whose
// head can never end does not hold the connection until a timeout.
func scanHead(buf []byte, from int) (end, next int, ref *refusal) {
	for {
		i := bytes.IndexByte(buf[from:], '\n')
		if i < 0 {
			return 0, from, nil
		}
		i += from
		if i == 0 || buf[i-1] != '\r' {
			return 0, i, errBareLF
		}
		if i == from+1 { // an empty line: from is always the start of a line
			return i + 1, i + 1, nil
		}
		from = i + 1
	}
}

// rules are what the parser goes by.
type rules struct {
	Limits
	slow []string // further names for the general path, in lower case
}

func (r *rules) isSlow(name []byte) bool {
	for _, s := range r.slow {
		if equalFold(name, s) {
			return true
		}
	}
	return false
}

// head is one request head as read. It is used again and again; the slices point into the read buffer.
type head struct {
	buf     []byte // the whole head
	method  []byte
	target  []byte
	host    []byte
	minor   int // HTTP/1.minor
	fields  []field
	at      [idNamed]int16 // 1 + index in fields of the named ones
	length  int64          // Content-Length; -1: none
	chunked bool
	close   bool // Connection: close, or HTTP/1.0 without keep-alive
	slow    bool // the fast path must hand it over
	nHost   int
}

// parse reads a whole head (as found by scanHead) strictly. After nil h is good until buf changes.
func (h *head) parse(buf []byte, l *rules) *refusal {
	*h = head{buf: buf, fields: h.fields[:0], length: -1}
	eol := bytes.IndexByte(buf, '\r')
	if eol < 0 || buf[eol+1] != '\n' {
		return errBareCR
	}
	if ref := h.requestLine(buf[:eol], l); ref != nil {
		return ref
	}
	for pos := eol + 2; ; {
		i := bytes.IndexByte(buf[pos:], '\r')
		if i < 0 || pos+i+1 >= len(buf) || buf[pos+i+1] != '\n' {
			return errBareCR
		}
		if i == 0 {
			break
		}
		if len(h.fields) >= l.HeadFields {
			return errTooMany
		}
		if ref := h.field(pos, pos+i, l); ref != nil {
			return ref
		}
		pos += i + 2
	}
	return h.finish()
}

// requestLine reads "METHOD SP target SP HTTP/1.x" (RFC 9112 §3): single spaces, nothing else.
func (h *head) requestLine(line []byte, l *rules) *refusal {
	i := bytes.IndexByte(line, ' ')
	if i <= 0 || !all(line[:i], inToken) {
		return errMethod
	}
	h.method = line[:i]
	rest := line[i+1:]
	j := bytes.IndexByte(rest, ' ')
	if j <= 0 {
		return errLine
	}
	h.target = rest[:j]
	if j > l.URLBytes {
		return errTooLong
	}
	switch v := rest[j+1:]; {
	case string(v) == "HTTP/1.1":
		h.minor = 1
	case string(v) == "HTTP/1.0":
		h.minor, h.close, h.slow = 0, true, true
	case len(v) == 8 && string(v[:5]) == "HTTP/" && isDigit(v[5]) && v[6] == '.' && isDigit(v[7]):
		return errVersion
	default:
		return errLine
	}
	return nil
}

// field reads one line buf[from:to] without its CRLF (RFC 9112 §5): no space before the colon, no folding, no control bytes.
func (h *head) field(from, to int, l *rules) *refusal {
	line := h.buf[from:to]
	if line[0] == ' ' || line[0] == '\t' {
		return errFold
	}
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !all(line[:colon], inToken) {
		return errName
	}
	v0, v1 := colon+1, len(line)
	for v0 < v1 && (line[v0] == ' ' || line[v0] == '\t') {
		v0++
	}
	for v1 > v0 && (line[v1-1] == ' ' || line[v1-1] == '\t') {
		v1--
	}
	value := line[v0:v1]
	if !all(value, inValue) {
		return errValue
	}
	f := field{uint32(from), uint32(from + colon), uint32(from + v0), uint32(from + v1), fieldID(line[:colon])}
	h.fields = append(h.fields, f)
	switch {
	case f.id == idOther:
		h.slow = h.slow || l.isSlow(line[:colon])
	case f.id < idNamed:
		if h.at[f.id] != 0 {
			h.slow = true
		}
		h.at[f.id] = int16(len(h.fields))
	case f.id == idSlow:
		h.slow = true
	default:
		return h.special(f.id, value)
	}
	return nil
}

// special reads the fields that say how the message is framed and where it goes.
func (h *head) special(i id, value []byte) *refusal {
	switch i {
	case idHost:
		if h.nHost++; h.nHost > 1 {
			return errHosts
		}
		h.host = value
	case idConnection:
		return h.connection(value)
	case idContentLength:
		n, ok := parseLength(value)
		if !ok || h.length >= 0 {
			return errLength
		}
		h.length, h.slow = n, true
	case idTransferEncoding:
		if h.chunked {
			return errTE
		}
		if !equalFold(value, "chunked") {
			if bytes.Contains(bytes.ToLower(value), []byte("chunked")) || !all(value, inToken) || len(value) == 0 {
				return errTE
			}
			return errCoding
		}
		h.chunked, h.slow = true, true
	case idFraming:
		return errName
	}
	return nil
}

// connection reads the options of a Connection field (RFC 9110 §7.6.1). It must not name the fields that frame or route the
// message, which some hops would then drop.
func (h *head) connection(value []byte) *refusal {
	for option := range bytes.SplitSeq(value, []byte{','}) {
		option = bytes.Trim(option, " \t")
		switch {
		case equalFold(option, "close"):
			h.close = true
		case equalFold(option, "keep-alive"):
			if h.minor == 0 {
				h.close = false
			}
		case len(option) == 0:
		default:
			switch i := fieldID(option); i {
			case idHost, idContentLength, idTransferEncoding, idFraming:
				return errConn
			}
			if !all(option, inToken) {
				return errValue
			}
			h.slow = true
		}
	}
	return nil
}

// finish checks what needs the whole head.
func (h *head) finish() *refusal {
	switch {
	case h.chunked && h.length >= 0:
		return errBoth
	case h.chunked && h.minor == 0:
		return errTEOld
	case h.nHost == 0 && h.minor == 1:
		return errNoHost
	case h.nHost == 1 && !validHost(h.host):
		return errHost
	}
	m := string(h.method) // compared only: does not allocate
	if m != "GET" && m != "HEAD" {
		h.slow = true
	}
	return h.checkTarget()
}

// parseLength reads a Content-Length: digits only, so many that an int64 holds it (RFC 9110 §8.6).
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
