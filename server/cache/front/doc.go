// Package front is the client side of the cache server: listeners, TLS, HTTP/1.1, 2 and 3, and the limits on all of them.
//
// It decides how a request is read and how a response is written, nothing of what is answered. Two ways lead out of it:
//
//   - the fast path: an own HTTP/1.1 loop, one goroutine a connection, with a strict parser (RFC 9112) and neither an
//     http.Request nor a header map. It asks a [Hitter] for plain GET and HEAD; the [Answer] names a ready head and the
//     body as bytes or as pieces of files, which go out by sendfile;
//   - the general path: everything else, and what the Hitter does not have, is served by net/http through an
//     http.Handler: HTTP/1.1 by hand-over of the connection, HTTP/3 by quic-go.
//
// HTTP/2 is package h2: it asks the same Hitter, and gives the rest to the same http.Handler.
//
// The hand-over keeps the reins: net/http reads from a gate that gives it one validated message after the other and that
// runs the fast loop again between them. So a connection that once missed is fast again at its next hit, and net/http
// never sees a byte that the strict parser has not passed: both Content-Length and Transfer-Encoding, bare LF, folded
// lines, odd lengths and the like are refused with 400 before it (RFC 9112 §2.2, §5, §6, §7, §11.2).
//
// The package owns sockets, connections and their registry. It never looks into a store, never talks to an origin, and
// starts nothing before Serve.
package front
