package front

import "errors"

// errChunk is a body whose chunked coding is not exactly RFC 9112 §7.1.
var errChunk = errors.New("front: malformed chunked body")

// chunkScanner follows a chunked body byte by byte, strictly: hexadecimal sizes of at most 15 digits with nothing but an
// extension behind them, CRLF everywhere, bounded extensions and trailers, no trailer field that frames or routes.
type chunkScanner struct {
	maxExt int
	state  chunkState
	size   int64 // of the chunk, then what is left of it
	digits int
	ext    int    // bytes of extensions of this chunk
	exts   int    // of all chunks
	line   []byte // trailer line so far
	trail  int    // bytes of trailers
}

type chunkState uint8

const (
	ckSize chunkState = iota
	ckExt
	ckSizeLF
	ckData
	ckDataCR
	ckDataLF
	ckTrailer
	ckTrailerLF
	ckDone
)

const (
	maxExts    = 16 << 10 // bytes of extensions in a body
	maxTrailer = 4 << 10  // bytes of trailers
)

// scan goes over p and says how many bytes belong to the body, and whether it is complete.
func (s *chunkScanner) scan(p []byte) (n int, done bool, err error) {
	for n < len(p) && s.state != ckDone {
		if s.state == ckData {
			m := min(int64(len(p)-n), s.size)
			s.size -= m
			n += int(m)
			if s.size == 0 {
				s.state = ckDataCR
			}
			continue
		}
		if !s.step(p[n]) {
			return n, false, errChunk
		}
		n++
	}
	return n, s.state == ckDone, nil
}

// step takes one byte outside chunk data.
func (s *chunkScanner) step(c byte) bool {
	switch s.state {
	case ckSize:
		return s.sizeByte(c)
	case ckExt:
		if c == '\r' {
			s.state = ckSizeLF
			return true
		}
		s.ext++
		s.exts++
		return class[c]&inValue != 0 && s.ext <= s.maxExt && s.exts <= maxExts
	case ckSizeLF:
		s.state = ckData
		if s.size == 0 {
			s.state = ckTrailer
		}
		s.digits, s.ext = 0, 0
		return c == '\n'
	case ckDataCR:
		s.state = ckDataLF
		return c == '\r'
	case ckDataLF:
		s.state, s.size = ckSize, 0
		return c == '\n'
	case ckTrailer:
		if c == '\r' {
			s.state = ckTrailerLF
			return true
		}
		s.line = append(s.line, c)
		s.trail++
		return s.trail <= maxTrailer
	case ckTrailerLF:
		s.state = ckTrailer
		if len(s.line) == 0 {
			s.state = ckDone
		}
		ok := c == '\n' && trailerLine(s.line)
		s.line = s.line[:0]
		return ok
	}
	return false
}

func (s *chunkScanner) sizeByte(c byte) bool {
	switch {
	case isHex(c):
		s.digits++
		s.size = s.size<<4 | int64(unhex(c))
		return s.digits <= 15
	case s.digits == 0:
		return false
	case c == ';':
		s.state = ckExt
		return true
	case c == '\r':
		s.state = ckSizeLF
		return true
	}
	return false
}

// trailerLine checks one line of the trailer section; the empty one ends it.
func trailerLine(line []byte) bool {
	if len(line) == 0 {
		return true
	}
	var h head
	h.buf, h.length = line, -1
	if h.field(0, len(line), &rules{}) != nil {
		return false
	}
	switch h.fields[0].id {
	case idHost, idContentLength, idTransferEncoding, idConnection, idFraming, idSlow, idRange:
		return false
	}
	return true
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
