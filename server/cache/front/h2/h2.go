package h2

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// Wire is what is below a connection: bytes, in clear text or by TLS. One goroutine reads; one at a time writes.
type Wire interface {
	// Read waits for bytes and reads them into what room gives, which it asks for only when it needs it where that can be
	// told, and then put takes back what was not used. os.ErrDeadlineExceeded says that the time of SetWake has come.
	Read(room func() []byte, put func()) (int, error)
	// SetWake sets until when Read waits; zero is for ever.
	SetWake(t time.Time)
	// Write sends bufs in order. Without wait it takes what can be had at once: n bytes, and full says that no more goes
	// now. With wait it goes on until all is taken, or an error: also when the client takes too little for too long.
	Write(bufs [][]byte, wait bool) (n int, full bool, err error)
	// Calm says that a new answer begins: time waited for the client before is forgotten.
	Calm()
	// Joins says that bytes are best given in one piece: they are copied anyway.
	Joins() bool
	// Linger lets the client read the last bytes before Close: it sends no more and reads what still comes, for a moment.
	Linger()
	// Close ends it at once, from any goroutine.
	Close()
}

// Owner runs connections.
type Owner interface {
	// Begin looks at a request whose head is complete and right. The Reply, if there is one, is sent; with nil the request
	// goes to ServeHTTP. It is called on the goroutine that reads, with the connection locked: it must not wait and must not
	// call the connection. h is good until it returns; when it gives a Reply, it may take h.Buf and leave another in its place.
	Begin(h *Head) *Reply
	// ServeHTTP answers what Begin does not, each request in a goroutine of its own.
	ServeHTTP(w http.ResponseWriter, r *http.Request)
	// Context is what the contexts of requests come from.
	Context() context.Context
	// Leaving says whether the connection is to end by GOAWAY, with the streams it has. It is asked when Read was woken.
	Leaving() bool
	// Note counts what happens.
	Note(e Event)
}

// Event is something to count.
type Event uint8

// The events.
const (
	Reset    Event = iota // the client reset a stream that was not answered
	Abused                // the client did something too often or too much and is sent away
	SlowHead              // a header block was not complete in time
	SlowBody              // a request body came too slowly
	SlowRead              // the client took too little of an answer
	BadHead               // a request was malformed
)

// Options are the limits and the circumstances of a connection. All must be set, but for Live.
type Options struct {
	Streams    int           // at work at a time
	Resets     int           // streams that may be reset before they are answered; <= 0: no limit
	HeadBytes  int           // of a decoded header list, counted without the 32 bytes that RFC 7541 adds for each field
	HeadFields int           // header fields
	HeadTime   time.Duration // for a header block, from its first frame to its last; <= 0: no limit
	IdleTime   time.Duration // without streams; <= 0: no limit
	BodyTime   time.Duration // for a whole request body; <= 0: no limit
	Grace      time.Duration // the window in which rates are judged; <= 0: no rates
	SendRate   int           // bytes a second that a client must take of each stream's answer; <= 0: no limit
	BodyRate   int           // bytes a second that a request body must bring; <= 0: no limit

	Live *atomic.Int32 // if not nil, the number of streams that are open

	Remote string               // for Request.RemoteAddr
	Local  net.Addr             // for http.LocalAddrContextKey
	TLS    *tls.ConnectionState // nil: clear text
}

// Part is a piece of a body: bytes in memory, or a piece of a file.
type Part struct {
	Bytes  []byte   // used when File is nil; must not change until the end of the answer
	File   *os.File // stays open until the end of the answer
	Offset int64    // in File
	Length int64    // of the piece
}

// Reply is an answer that is there at once. It must stay as it is until Done was called.
type Reply struct {
	Status int
	Fields []Field  // fields that are alike in many answers: they go into the table of HPACK
	Fixed  []byte   // further fields as AppendField writes them, made once
	Own    []byte   // the same, of this answer alone
	Parts  []Part   // the body; empty for HEAD
	Done   Finisher // nil: nobody is told
	// Progress, if not nil, is kept at how many bytes of the body the wire has taken, in steps of what is written at once.
	Progress *atomic.Int64

	length int64 // of Parts
	head   int64 // bytes of the HEADERS frames
}

// over tells who wants to know.
func (r *Reply) over(body int64, err error) {
	if r.Done != nil {
		r.Done.Sent(r.head, body, err)
	}
}

// Field is a name in lower case and a value.
type Field struct{ Name, Value string }

// Finisher hears the end of a Reply.
type Finisher interface {
	// Sent is called once, when the last byte was taken by the wire or nothing more will be sent: how many bytes of head and
	// body went out, and why not all.
	Sent(head, body int64, err error)
}
