package h2

import (
	"bytes"

	"golang.org/x/net/http2/hpack"
)

// Head is a request head: pseudo fields and fields (RFC 9113 §8.3.1). All slices point into Buf.
type Head struct {
	Buf    []byte
	Method []byte
	Target []byte // :path
	Scheme []byte
	Host   []byte // :authority, or Host where there is none
	Fields []At   // in the order sent, cookies joined to one; Host is not among them

	Length   int64  // Content-Length; -1: none
	End      bool   // no body follows
	TooLarge bool   // more bytes or fields than allowed: Fields is not complete
	Bad      string // what is malformed; such a head is not given to anyone

	at, to  [pseudos]int32 // where the pseudo fields and Host are in Buf; to 0: not there
	size    int
	regular bool // a field that is no pseudo field has come
	trailer bool // it is a trailer section
	cookies int
	opts    *Options
}

// At says where a field is in Buf: name and value.
type At struct{ N0, N1, V0, V1 uint32 }

const (
	pMethod = iota
	pPath
	pScheme
	pAuthority
	pHost
	pseudos
)

// reset prepares for another head; the memory stays.
func (h *Head) reset(trailer bool) {
	if cap(h.Buf) == 0 || cap(h.Buf) > 16<<10 {
		h.Buf = make([]byte, 0, 4<<10)
	}
	*h = Head{Buf: h.Buf[:0], Fields: h.Fields[:0], Length: -1, trailer: trailer, opts: h.opts}
}

func (h *Head) fail(why string) {
	if h.Bad == "" {
		h.Bad = why
	}
}

// add takes one field from HPACK.
func (h *Head) add(f hpack.HeaderField) {
	h.size += len(f.Name) + len(f.Value)
	if h.size > h.opts.HeadBytes || len(h.Fields) >= h.opts.HeadFields {
		h.TooLarge = true
	}
	if h.TooLarge || h.Bad != "" {
		return // HPACK's table was kept, and that is all
	}
	if f.Name == "" {
		h.fail("empty field name")
		return
	}
	if f.Name[0] == ':' {
		h.pseudo(f)
		return
	}
	h.regular = true
	h.field(f)
}

// pseudo takes a pseudo field: known, once, before all others, never in trailers.
func (h *Head) pseudo(f hpack.HeaderField) {
	i := -1
	switch f.Name {
	case ":method":
		i = pMethod
	case ":path":
		i = pPath
	case ":scheme":
		i = pScheme
	case ":authority":
		i = pAuthority
	}
	switch {
	case h.trailer || h.regular:
		h.fail("pseudo field in the wrong place")
	case i < 0:
		h.fail("unknown pseudo field")
	case h.to[i] != 0:
		h.fail("pseudo field twice")
	case f.Value == "":
		h.fail("empty pseudo field")
	case !all(f.Value, inValue) || i == pMethod && !all(f.Value, inToken):
		h.fail("pseudo field's value")
	default:
		h.keep(i, f.Value)
	}
}

func (h *Head) keep(i int, v string) {
	h.at[i] = int32(len(h.Buf))
	h.Buf = append(h.Buf, v...)
	h.to[i] = int32(len(h.Buf))
}

// field takes a regular field (RFC 9113 §8.2): lower case, no control bytes, no blanks around the value, none that is about
// a connection of HTTP/1.1.
func (h *Head) field(f hpack.HeaderField) {
	if !all(f.Name, inLower) {
		h.fail("field name")
		return
	}
	v := f.Value
	if !all(v, inValue) || v != "" && (blank(v[0]) || blank(v[len(v)-1])) {
		h.fail("field value")
		return
	}
	switch f.Name {
	case "host":
		h.host(v)
		return
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "content_length", "transfer_encoding":
		h.fail("field of a connection")
		return
	case "te":
		if v != "trailers" {
			h.fail("TE")
			return
		}
	case "content-length":
		n, ok := parseLength(v)
		if !ok || h.Length >= 0 {
			h.fail("content length")
			return
		}
		h.Length = n
	case "cookie":
		h.cookies++
	}
	a := At{N0: uint32(len(h.Buf))}
	h.Buf = append(h.Buf, f.Name...)
	a.N1 = uint32(len(h.Buf))
	a.V0 = a.N1
	h.Buf = append(h.Buf, v...)
	a.V1 = uint32(len(h.Buf))
	h.Fields = append(h.Fields, a)
}

func (h *Head) host(v string) {
	switch {
	case h.trailer:
	case h.to[pHost] != 0 || v == "":
		h.fail("host")
	default:
		h.keep(pHost, v)
	}
}

// finish checks what needs the whole head, and fills in the slices.
func (h *Head) finish() {
	if h.trailer || h.Bad != "" {
		return
	}
	get := func(i int) []byte { return h.Buf[h.at[i]:h.to[i]:h.to[i]] }
	h.Method, h.Target, h.Scheme, h.Host = get(pMethod), get(pPath), get(pScheme), get(pAuthority)
	if h.TooLarge {
		return
	}
	host := get(pHost)
	switch {
	case len(h.Method) == 0:
		h.fail("no method")
	case string(h.Method) == "CONNECT":
		if len(h.Target) > 0 || len(h.Scheme) > 0 || len(h.Host) == 0 {
			h.fail("CONNECT")
		}
	case len(h.Target) == 0 || string(h.Scheme) != "http" && string(h.Scheme) != "https":
		h.fail("no path, or scheme")
	case len(h.Host) > 0 && len(host) > 0 && !bytes.EqualFold(h.Host, host):
		h.fail("authority and host differ")
	case h.End && h.Length > 0:
		h.fail("content length without a body")
	}
	if len(h.Host) == 0 {
		h.Host = host
	}
	if h.cookies > 1 && h.Bad == "" {
		h.joinCookies()
	}
}

// joinCookies makes one field of several (RFC 9113 §8.2.3).
func (h *Head) joinCookies() {
	isCookie := func(a At) bool { return string(h.Buf[a.N0:a.N1]) == "cookie" }
	n0 := uint32(len(h.Buf))
	buf := append(h.Buf, "cookie"...)
	a := At{N0: n0, N1: n0 + 6, V0: n0 + 6}
	kept := h.Fields[:0]
	for _, f := range h.Fields {
		if !isCookie(f) {
			kept = append(kept, f)
			continue
		}
		if len(buf) > int(a.V0) {
			buf = append(buf, "; "...)
		}
		buf = append(buf, buf[f.V0:f.V1]...)
	}
	a.V1 = uint32(len(buf))
	h.Fields = append(kept, a)
	if &buf[0] != &h.Buf[0] { // the slices go with it
		h.Buf = buf
		for i, p := range []*[]byte{&h.Method, &h.Target, &h.Scheme} {
			*p = buf[h.at[i]:h.to[i]:h.to[i]]
		}
		i := pAuthority
		if h.to[i] == 0 {
			i = pHost
		}
		h.Host = buf[h.at[i]:h.to[i]:h.to[i]]
	}
	h.Buf = buf
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// parseLength reads a Content-Length: digits only, so many that an int64 holds it (RFC 9110 §8.6).
func parseLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// Classes of bytes (RFC 9110 §5.6.2, RFC 9113 §8.2).
const (
	inToken = 1 << iota
	inLower // token without capital letters
	inValue // VCHAR, obs-text, SP, HTAB
)

var class = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), byte(c)) >= 0:
			t[c] |= inToken | inLower
		case c >= 'A' && c <= 'Z':
			t[c] |= inToken
		}
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= inValue
		}
	}
	return t
}()

// all says whether every byte of s is of the class.
func all(s string, of uint8) bool {
	for i := range len(s) {
		if class[s[i]]&of == 0 {
			return false
		}
	}
	return true
}
