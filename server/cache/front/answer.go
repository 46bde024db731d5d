package front

import (
	"os"
	"time"

	"github.com/catchment/catchment/server/cache/front/h2"
)

// Hitter answers requests of the fast path from what is stored.
type Hitter interface {
	// Hit fills a and says true when it can answer r at once, without waiting for anything but memory. False sends the
	// request to the http.Handler. It runs on the connection's goroutine, for many connections at the same time.
	// a is empty when Hit is called and is used again afterwards.
	Hit(r *Request, a *Answer) bool
}

// Finisher is told the end of an answer.
type Finisher interface {
	// Finish is called once for each answer that Hit gave with Done set, when the last byte was taken by the kernel or
	// the sending failed. r, a and s are good until it returns. This is the place to let go of the object and to log.
	Finish(r *Request, a *Answer, s *Sent)
}

// Answer is what Hit wants to be sent. For status 200 give Head and the body. For 206 also First, and the body is only the
// part asked: front adds Content-Range and Content-Length. For 304 only the Head: the fields that RFC 9110 §15.4.5 asks for
// are sent. For 416 no body: front adds Content-Range. With other statuses Head's own status is sent.
// For HEAD the body is left out, its length is sent all the same.
type Answer struct {
	Head   *Head // prepared once an object
	Status int   // 0: Head's own status; or 206, 304, 416
	First  int64 // 206: position of the first body byte in the representation
	Length int64 // bytes of body in Parts; for 304 and 416 not used
	Size   int64 // 206, 416: length of the whole representation

	Age         int64  // seconds for "Age:"; negative: none
	CacheStatus []byte // value of "Cache-Status:" (RFC 9211); nil: none
	Extra       []byte // further complete header lines, each with CRLF; none of those that front adds
	Close       bool   // close the connection afterwards
	ETag        string // for the registry of transfers only

	Done  Finisher // nil: nobody is told
	Token any      // the Hitter's own: front only keeps it until Finish
	Num   int64    // likewise

	parts []Part
	one   [4]Part
}

// Part is a piece of a body: bytes in memory, or a piece of a file. Bytes must not change until Finish; a file is sent by
// sendfile with explicit offset where that can be, and stays open until Finish.
type Part = h2.Part

// AddBytes adds b to the body.
func (a *Answer) AddBytes(b []byte) { a.add(Part{Bytes: b, Length: int64(len(b))}) }

// AddFile adds length bytes of f from offset to the body.
func (a *Answer) AddFile(f *os.File, offset, length int64) {
	a.add(Part{File: f, Offset: offset, Length: length})
}

// Parts is the body so far.
func (a *Answer) Parts() []Part { return a.parts }

func (a *Answer) add(p Part) {
	if a.parts == nil {
		a.parts = a.one[:0]
	}
	a.parts = append(a.parts, p)
	a.Length += p.Length
}

// reset empties a for the next request and keeps its memory.
func (a *Answer) reset() {
	clear(a.parts)
	parts := a.parts[:0]
	if cap(parts) == len(a.one) {
		parts = nil
	}
	*a = Answer{Age: -1, parts: parts}
}

// Sent says how the sending of an answer went.
type Sent struct {
	Status    int       // what was sent
	HeadBytes int64     // bytes of head taken by the kernel
	BodyBytes int64     // bytes of body likewise
	Err       error     // nil when all was taken
	Slow      bool      // Err is because the client took less than Limits.SendRate
	Began     time.Time // when the request's head was complete
	Ended     time.Time // when the last byte was taken or the error came
	Conn      *Conn     // Conn.Info gives tcp_info: one system call, so ask only where it matters
}
