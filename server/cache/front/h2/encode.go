package h2

import (
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// encoded is where HPACK's encoder writes to: behind what is sent next.
type encoded struct{ c *Conn }

func (e *encoded) Write(p []byte) (int, error) {
	b := e.c.next
	b.buf = append(b.buf, p...)
	return len(p), nil
}

// beginHead begins a HEADERS frame and says where.
func (c *Conn) beginHead(id uint32, status int) (begin int) {
	b := c.batch()
	begin = len(b.buf)
	b.buf = appendFrame(b.buf, 0, kindHeaders, flagEndHeaders, id)
	if status != 0 {
		c.enc.WriteField(hpack.HeaderField{Name: ":status", Value: statusText(status)})
	}
	return begin
}

// endHead completes it; a block that is too large for one frame is cut into several (RFC 9113 §6.10).
func (c *Conn) endHead(begin int, end bool) int64 {
	b := c.next
	if end {
		b.buf[begin+4] |= flagEndStream
	}
	n := len(b.buf) - begin - headLen
	if n <= maxPayload {
		putLength(b.buf[begin:], n)
		return int64(n + headLen)
	}
	f := parseFrame(b.buf[begin:])
	block := append([]byte(nil), b.buf[begin+headLen:]...)
	b.buf = b.buf[:begin]
	k, flags := kindHeaders, f.flags&^flagEndHeaders
	for len(block) > 0 {
		m := min(len(block), maxPayload)
		if m == len(block) {
			flags |= flagEndHeaders
		}
		b.buf = append(appendFrame(b.buf, m, k, flags, f.id), block[:m]...)
		block = block[m:]
		k, flags = kindContinuation, 0
	}
	return int64(len(b.buf) - begin)
}

// writeHead queues the head of a reply.
func (c *Conn) writeHead(id uint32, r *Reply) int64 {
	begin := c.beginHead(id, r.Status)
	for i := range r.Fields {
		c.enc.WriteField(hpack.HeaderField{Name: r.Fields[i].Name, Value: r.Fields[i].Value})
	}
	b := c.next
	b.buf = append(b.buf, r.Fixed...)
	b.buf = append(b.buf, r.Own...)
	return c.endHead(begin, r.length == 0)
}

func statusText(status int) string {
	if status == 200 {
		return "200"
	}
	return strconv.Itoa(status)
}

// static gives the number of names in HPACK's static table (RFC 7541 appendix A).
var static = map[string]byte{
	"accept-ranges": 18, "access-control-allow-origin": 20, "age": 21, "allow": 22, "cache-control": 24,
	"content-disposition": 25, "content-encoding": 26, "content-language": 27, "content-length": 28, "content-location": 29,
	"content-range": 30, "content-type": 31, "date": 33, "etag": 34, "expires": 36, "last-modified": 44, "link": 45,
	"location": 46, "refresh": 52, "retry-after": 53, "server": 54, "set-cookie": 55, "strict-transport-security": 56,
	"vary": 59, "via": 60, "www-authenticate": 61,
}

// AppendField writes a field (name in lower case) for [Reply.Fixed]: HPACK's literal without indexing, as short as can be.
// It needs and changes no table, so that it fits into every block (RFC 7541 §6.2.2).
func AppendField(dst []byte, name, value string) []byte {
	dst = appendName(dst, name)
	if n := hpack.HuffmanEncodeLength(value); n < uint64(len(value)) {
		return hpack.AppendHuffmanString(appendInt(dst, 0x80, 7, n), value)
	}
	return append(appendInt(dst, 0, 7, uint64(len(value))), value...)
}

// AppendPlain is AppendField for values that are made for one answer: fast rather than short.
func AppendPlain[T string | []byte](dst []byte, name string, value T) []byte {
	dst = appendName(dst, name)
	return append(appendInt(dst, 0, 7, uint64(len(value))), value...)
}

func appendName(dst []byte, name string) []byte {
	first := byte(0)
	if name == "set-cookie" {
		first = 0x10 // never to be put into a table (RFC 7541 §7.1.3)
	}
	if i := static[name]; i != 0 {
		return appendInt(dst, first, 4, uint64(i))
	}
	dst = appendInt(append(dst, first), 0, 7, uint64(len(name)))
	return append(dst, name...)
}

// appendInt writes an integer with a prefix of some bits (RFC 7541 §5.1).
func appendInt(dst []byte, first byte, bits uint, n uint64) []byte {
	most := uint64(1)<<bits - 1
	if n < most {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}
