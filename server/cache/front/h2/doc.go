// Package h2 is the server side of one HTTP/2 connection (RFC 9113, HPACK of RFC 7541).
//
// It decides how frames are read and written and when a client has gone too far, nothing of what is answered. A connection
// has one goroutine that reads: it takes all frames of one read, asks its [Owner] about each complete request, and a [Reply]
// that the Owner has at once goes into the same batch as all others of that read: one write for many answers. Longer bodies
// follow in turns of the streams as the windows of flow control allow, out of memory by reference or out of files. What the
// Owner has no Reply for is given to it as an http.Request in a goroutine of its own.
//
// Only one goroutine writes at a time. Who has something to write does it itself as long as the socket takes it; when the
// socket is full, a goroutine is started that waits for it, so that reading never waits for writing unless the client lets
// too much pile up.
//
// What a connection can take is bounded: streams, bytes and number of header fields, CONTINUATION frames, frames that bring
// nothing, streams reset (CVE-2023-44487), bytes waiting to be sent, time without progress. Who exceeds it gets GOAWAY with
// ENHANCE_YOUR_CALM (RFC 9113 §10.5).
//
// The package never looks at what is sent, knows no store and opens no socket. Server push and the priorities of RFC 7540 are
// not implemented: both are gone (RFC 9113 §8.4, §5.3).
package h2
